// How a pushed gradient changes a row, at the shard. One file a rule under ps/rules/, registered by name; a rule is written once, for one element, and runs
// vectorised over dense rows and row by row over sparse ones (ps/internal/element_rule.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/table_spec.h"

namespace troupe {

/// All rows of a dense range as flat arrays, and which of them a call is about. Row r's values are values[r * width ..]. The rule's state lies behind: one
/// array as long as the values for each whole `width` of state, then one of `rows` floats for each float that is left over (Adam: m, v, steps); each array
/// starts `stride` floats after the one before.
struct DenseRows {
  float* values = nullptr;
  float* state = nullptr;
  uint64_t stride = 0;
  uint32_t width = 1;
  uint64_t first = 0, n = 0;   ///< rows [first, first + n)
  uint64_t unpenalised = 0;    ///< rows below this are spared l1 and l2
};

/// A row in a store is `stride` floats: width values, then state(width) floats of the rule's own.
class UpdateRule {
 public:
  virtual ~UpdateRule() = default;
  /// Floats of state behind a row's `width` values (0 for sgd, width for adagrad, 2 * width + 1 for adam (m, v, step), ...).
  virtual uint32_t state(uint32_t width) const = 0;
  /// How many of them, the leading ones, belong to the value itself (add: its rounding error): then Value() is wider than float, and assigning clears them.
  virtual uint32_t error_state(uint32_t /*width*/) const { return 0; }

  /// Sparse: for each i: apply gradient[i * width ..] to the row that starts at rows[i]. penalised[i] false: without l1, l2 (empty: all are penalised).
  virtual void ApplyRows(std::span<float* const> rows, const float* gradient, uint32_t width, std::span<const bool> penalised) const = 0;
  /// Dense: gradient is n x width, for the rows [first, first + n). Vectorised; no aliasing. Equal to ApplyRows on the same rows bit for bit.
  virtual void ApplyDense(const DenseRows& rows, const float* gradient) const = 0;
  /// The exact value of element `i` of a row, wider than float where the rule keeps more (add: value plus its rounding error, so that counts are exact to
  /// 2^48).
  virtual double Value(const float* row, uint32_t width, uint32_t i) const;
};

/// The rule that `spec` names, with its options checked. NotFound: unknown name (with the nearest one). InvalidArgument: unknown option, value out of range.
absl::StatusOr<std::unique_ptr<UpdateRule>> MakeUpdateRule(const TableSpec& spec);
std::vector<std::string> UpdateRuleNames();

/// One number that a rule takes from TableSpec::rule_options.
struct RuleOption {
  std::string name;
  double default_value;
  double low, high;   ///< both allowed
};

/// What a rule's constructor gets: its options, checked and completed, in the order in which it declared them, and the penalties.
struct RuleNumbers {
  std::vector<double> options;
  double l1 = 0, l2 = 0;
};

struct RuleEntry {
  std::string name;
  std::vector<RuleOption> options;
  bool penalties;   ///< takes l1 and l2
  std::function<std::unique_ptr<UpdateRule>(const RuleNumbers&)> make;
};

/// A rule's file holds one: `const RegisterRule registration({...});`. The layer is linked whole, so that no second edit is needed.
struct RegisterRule {
  explicit RegisterRule(RuleEntry entry);
};

}   // namespace troupe
