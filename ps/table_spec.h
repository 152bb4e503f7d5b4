// What a table is: shape, rule and limits, as declared by an algorithm or a job.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "ps/encoding.h"
#include "ps/schedule.h"
#include "ps/types.h"

namespace troupe {

/// What a row's values are before its first push: a pure function of seed, key and element, so that a row that is only read need not exist.
struct RowInit {
  enum class Kind : uint8_t {
    kZero,
    kUniform,   ///< in [-scale, scale]
    kNormal,    ///< mean 0, standard deviation scale
  };
  Kind kind = Kind::kZero;
  double scale = 0;
  uint64_t seed = 1;

  /// width values of row `key`.
  void Fill(Key key, uint32_t width, float* values) const;
  bool operator==(const RowInit&) const = default;
};

/// What a shard does with a gradient that is NaN or infinite. It is counted, and the writer is named, whatever happens to it.
enum class NonFinite : uint8_t {
  kRefuse,   ///< the whole push, with an error
  kDrop,     ///< the row: it counts as zeros
  kClip,     ///< the element: NaN counts as 0, an infinity as clip_value (where there is none, as the largest float)
};

struct TableSpec {
  std::string name;
  uint32_t width = 1;
  /// Dense: rows 0 .. *rows - 1, all present from the start. nullopt: sparse, rows come into being at the first push.
  std::optional<uint64_t> rows;
  RowInit init = {};
  /// Update rule by name: add, sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, lamb, ftrl.
  std::string rule = "add";
  /// The rule's numbers (learning_rate, beta1, ...); a rule refuses names it does not know and values out of their range.
  std::map<std::string, double> rule_options;
  Schedule schedule = {};
  /// Penalties that the rule applies; keys below `penalised_from` (the intercept) are spared. weight_decay: w -= rate * weight_decay * w, beside the rule.
  double l1 = 0, l2 = 0, weight_decay = 0;
  Key penalised_from = 0;
  /// Gradients: each element is cut to [-clip_value, clip_value], then each row to the norm clip_norm. 0: not.
  double clip_value = 0, clip_norm = 0;
  NonFinite non_finite = NonFinite::kRefuse;
  /// The learning rate of a push is divided by how many pushes the table has had, at the same shard, since its writer was given rows for it. Not for BSP,
  /// where there are none.  Source: Zhang, Gupta, Lian, Liu, "Staleness-aware Async-SGD for Distributed Deep Learning", IJCAI 2016.
  bool staleness_scale = false;
  /// lambda in gradient + lambda * gradient^2 * (row now - row as its writer was given it), 0: not. Shards keep the rows that are given until the push comes.
  /// Source: Zheng, Meng, Wang et al., "Asynchronous Stochastic Gradient Descent with Delay Compensation", ICML 2017.
  double delay_compensation = 0;
  /// How BSP combines the pushes of one round.
  enum class Combine : uint8_t { kMean, kSum } combine = Combine::kMean;
  /// Virtual ranges. 0: 64, and for dense tables enough that a range's values are at most 1 MiB.
  uint32_t ranges = 0;
  /// How rows travel. Tables of the rule "add" hold exact sums: they lose nothing.
  Encoding encoding = {};

  bool operator==(const TableSpec&) const = default;
};

/// Width 1 .. 65536, rows >= 1, a known rule with known options in range, penalties, clips and scales finite and >= 0, an encoding that
/// fits the rule. InvalidArgument says which.
absl::Status Validate(const TableSpec& spec);
/// The number of virtual ranges: spec.ranges, or the default for its shape.
uint32_t RangeCount(const TableSpec& spec);

}   // namespace troupe
