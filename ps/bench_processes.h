// What the parameter server costs between two processes, over Unix sockets with shared memory and over TCP: rows of `troupe bench ps`.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/bench_row.h"

namespace troupe {

/// Starts `peer_command` with three more arguments as the process that holds the shard; the two run on different processors. About 13 s.
absl::StatusOr<std::vector<BenchRow>> BenchProcesses(const std::vector<std::string>& peer_command);
/// The other process. Ends with its parent.
int RunBenchProcessesPeer(const std::vector<std::string>& arguments);

}   // namespace troupe
