// What a push costs that goes through the shard's actor, as training's do: routed, numbered, sent, de-duplicated, applied, answered; rows of `troupe bench ps`.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "actors/bench_row.h"

namespace troupe {

/// In this process: a dense push of 10M floats with SGD, and sparse AdaGrad pushes of 1,700 keys, each beside the plain loop of the same run. About 3 s.
absl::StatusOr<std::vector<BenchRow>> BenchShard();

}   // namespace troupe
