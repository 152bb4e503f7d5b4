// What a table is: shape, rule and limits, as declared by an algorithm or a job.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "ps/types.h"

namespace troupe {

struct TableSpec {
  std::string name;
  uint32_t width = 1;
  /// Dense: rows 0 .. *rows - 1, all present, zero at the start. nullopt: sparse, rows come into being at the first push.
  std::optional<uint64_t> rows;
  /// Update rule by name: add, sgd, adagrad, adam, ftrl.
  std::string rule = "add";
  /// The rule's numbers (learning_rate, beta1, ...); a rule refuses names it does not know and values out of their range.
  std::map<std::string, double> rule_options;
  /// Penalties that the rule applies; keys below `penalised_from` (the intercept) are spared.
  double l1 = 0, l2 = 0;
  Key penalised_from = 0;
  /// How BSP combines the pushes of one round.
  enum class Combine : uint8_t { kMean, kSum } combine = Combine::kMean;
  /// Virtual ranges. 0: 64, and for dense tables enough that a range's values are at most 1 MiB.
  uint32_t ranges = 0;
};

/// Width 1 .. 65536, rows >= 1, a known rule with known options in range, l1/l2 finite and >= 0. InvalidArgument says which.
absl::Status Validate(const TableSpec& spec);
/// The number of virtual ranges: spec.ranges, or the default for its shape.
uint32_t RangeCount(const TableSpec& spec);

}   // namespace troupe
