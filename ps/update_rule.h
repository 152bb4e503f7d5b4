// How a pushed gradient changes a row, at the shard. One file a rule under ps/rules/, registered by name; a rule is written once, for one element, and runs
// vectorised over dense rows and row by row over sparse ones (ps/internal/element_rule.h).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/table_spec.h"

namespace troupe {

/// All rows of a dense range as flat arrays, and which of them a call is about. A rule's floats of row r: of each whole `width` of them, array k holds
/// arrays[k * stride + r * width ..]; behind them the counts of a rule that counts_pushes (ps/internal/step_counts.h).
struct DenseRows {
  float* arrays = nullptr;
  uint64_t stride = 0;
  uint32_t width = 1;
  uint64_t first = 0, n = 0;   ///< rows [first, first + n)
  uint64_t unpenalised = 0;    ///< rows below this are spared l1, l2 and weight decay
};

/// One row of a dense range: array k of it begins at values + k * stride.
struct DenseRow {
  float* values = nullptr;
  uint64_t stride = 0;
  float count = 0;   ///< of a rule that counts_pushes: this push included

  /// Asks for all of the row.
  [[gnu::always_inline]] void Prefetch(uint32_t width, uint32_t arrays) const {
    constexpr uint32_t kFloatsALine = 16;
    for (uint32_t k = 0; k < arrays; ++k) {
      for (uint32_t i = 0; i < width; i += kFloatsALine) __builtin_prefetch(values + k * stride + i);
    }
  }
  /// How many rows ahead of their use: as many as the processor waits for at once.
  static size_t Ahead(uint32_t width, uint32_t arrays) { return std::clamp<size_t>(256 / (size_t{width} * arrays), 1, 32); }
};

/// A row in a store is floats(width) floats: mostly `width` values, then the rule's state.
class UpdateRule {
 public:
  virtual ~UpdateRule() = default;
  /// Floats of a row, all zero at the start (width for sgd, 2 * width for adagrad, 3 * width + 1 for adam (value, m, v, step), ...).
  virtual uint32_t floats(uint32_t width) const = 0;
  /// The first `width` floats of a row are its values. Else only Read knows them (ftrl: they follow from z and n).
  virtual bool holds_values() const { return true; }
  /// The last float of a row is how often it was pushed to (Adam's t).
  virtual bool counts_pushes() const { return false; }
  /// Value() is wider than float (add keeps the rounding error).
  virtual bool wide() const { return false; }

  /// Sparse: for each i: apply gradient[i * width ..] to the row that starts at rows[i]. penalised[i] false: without penalties (empty: all are penalised).
  /// scale: of the learning rate, in this push.
  virtual void ApplyRows(std::span<float* const> rows, const float* gradient, uint32_t width, std::span<const bool> penalised, float scale) const = 0;
  /// Dense: gradient is n x width, for the rows [first, first + n). Vectorised; no aliasing. Equal to ApplyRows on the same rows bit for bit.
  virtual void ApplyDense(const DenseRows& rows, const float* gradient, float scale) const = 0;
  /// Dense: as ApplyRows, to rows that lie anywhere. They are brought near here; counts of pushes are counted by the caller.
  virtual void ApplyDenseRows(std::span<const DenseRow> rows, const float* gradient, uint32_t width, std::span<const bool> penalised, float scale) const = 0;

  /// The values of rows that start at rows[i], and of dense rows. A null row's values are those of `missing` (as `out`; null: zeros). penalised: as above.
  virtual void ReadRows(std::span<float* const> rows, uint32_t width, std::span<const bool> penalised, const float* missing, float* out) const;
  virtual void ReadDense(const DenseRows& rows, float* out) const;
  /// Makes the row's values these. Its state is left as it is, but for what belongs to the values.
  virtual void Set(float* row, uint32_t width, bool penalised, const float* values) const;
  virtual void SetDense(const DenseRows& rows, const float* values) const;
  /// The exact value of element `i` of a row, wider than float where the rule keeps more (add: value plus its rounding error, so that counts are exact to
  /// 2^48).
  virtual double Value(const float* row, uint32_t width, uint32_t i, bool penalised) const;
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
  double l1 = 0, l2 = 0, weight_decay = 0;
};

struct RuleEntry {
  std::string name;
  std::vector<RuleOption> options;
  bool penalties = true;   ///< takes l1, l2 and weight decay
  bool scales = true;      ///< takes a schedule and other scales of its learning rate
  std::function<std::unique_ptr<UpdateRule>(const RuleNumbers&)> make;
};

/// A rule's file holds one: `const RegisterRule registration({...});`. The layer is linked whole, so that no second edit is needed.
struct RegisterRule {
  explicit RegisterRule(RuleEntry entry);
};

}   // namespace troupe
