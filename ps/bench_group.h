// What a round of a table costs that two worker processes keep, over Unix sockets with shared memory: rows of `troupe bench ps`.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/bench_row.h"

namespace troupe {

/// Starts `peer_command` with two more arguments as the other worker. A round: each pushes 40 MB, the sum goes to both by ring, each applies sgd. The limit:
/// two processes that do the same through memory which both map, without any runtime. In GB/s of one array. About 10 s.
absl::StatusOr<std::vector<BenchRow>> BenchGroup(const std::vector<std::string>& peer_command);
/// The other process. Ends with its parent.
int RunBenchGroupPeer(const std::vector<std::string>& arguments);

}   // namespace troupe
