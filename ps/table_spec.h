// What a table is: shape, rule and limits, as declared by an algorithm or a job.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
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

/// Which keys of a sparse table have rows, and which of its rows are in memory: docs/dynamic_tables.md. Time is counted in rounds that are over (batches of
/// each writer; under SSP and ASP the writers' mean), so that a run replays; a row is touched when it is pushed to.
struct RowLimits {
  /// A key gets its row at the n-th touch (BSP: rounds that push to it), 1 .. 255. Gradients before that are dropped and counted; pulls read initial values.
  uint32_t admit_after = 1;
  /// Rows that were not touched for so many rounds go, at the latest a quarter later. 0: never.
  uint64_t ttl = 0;
  /// Rows of the whole table; every range has its share of them. In a range that is beyond it the least lately touched eighth goes. 0: no limit.
  uint64_t rows_max = 0;
  /// Bytes in memory at a shard, a quarter of them for buffers of the disk that holds the coldest other rows. 0: all rows are in memory.
  uint64_t memory_max = 0;

  bool any() const { return admit_after > 1 || ttl > 0 || rows_max > 0 || memory_max > 0; }
  bool operator==(const RowLimits&) const = default;
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
  /// Sparse tables only. Rows of the rule "add" are exact sums: of these only memory_max is for them.
  RowLimits limits = {};
  /// A branch of this table of the job: it is made of it, compared with it and merged into it by the functions fork, diff, merge and drop, takes memory only
  /// where it differs, and is pushed to and pulled as any table. Its rows are of the same kind (CheckSameRows). Empty: no branch.
  std::string branch_of = {};
  /// Dense tables only, which travel as they are. Kept by workers, the table goes by rounds, and the rule sees all of its rows in each of them: what no batch
  /// of the round has touched has a gradient of zeros. Set from the job's consistency (KeepTables).
  KeptBy kept_by = KeptBy::kShards;

  bool operator==(const TableSpec&) const = default;
};

/// Width 1 .. 65536, rows >= 1, a known rule with known options in range, penalties, clips and scales finite and >= 0, an encoding and
/// limits that fit shape and rule. InvalidArgument says which.
absl::Status Validate(const TableSpec& spec);
/// May rows of the one be rows of the other, with their state? InvalidArgument: width, number of rows, ranges, rule or initial values differ, or, where a rule
/// makes its values of its state, the rule's numbers.
absl::Status CheckSameRows(const TableSpec& table, const TableSpec& expected);
/// Every branch is one of a table in the list that is none itself, with rows of the same kind. InvalidArgument says which is not.
absl::Status ValidateBranches(std::span<const TableSpec> tables);
/// The number of virtual ranges: spec.ranges, or the default for its shape.
uint32_t RangeCount(const TableSpec& spec);

}   // namespace troupe
