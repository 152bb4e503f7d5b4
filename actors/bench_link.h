// `troupe bench link`: a push of floats to another process, applied there as a step of SGD and acknowledged, through RpcNetwork and beside it through a
// bare blocking socket, in turns in one run.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/bench_row.h"

namespace troupe {

/// Starts `peer_command` (program and arguments, to which one folder is added) as the other process; it must come to RunBenchLinkPeer. One row for each
/// of 64 B, 64 KiB and 1 MiB; `full` adds 4 MiB. Takes some 3 s. The next push leaves from the reply of the last one, as an actor's would.
absl::StatusOr<std::vector<BenchRow>> BenchLink(const std::vector<std::string>& peer_command, bool full);

/// The other process; `arguments`: what BenchLink has added. Ends with its parent. The exit code.
int RunBenchLinkPeer(const std::vector<std::string>& arguments);

}   // namespace troupe
