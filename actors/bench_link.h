// `troupe bench link`: pushes of floats to another process, applied there as a step of SGD and acknowledged, and pulls from it, through RpcNetwork over Unix
// sockets and over TCP, and beside each through a bare blocking socket of the same kind (bench_bare.h), in turns in one run.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/bench_row.h"

namespace troupe {

/// Starts `peer_command` (program and arguments, to which two are added) as the other process; it must come to RunBenchLinkPeer. For each kind of socket rows
/// of 64 B, 64 KiB and 1 MiB, with `full` of 4 MiB, where the next push leaves from the reply of the last one, as an actor's would; and of 40 MiB in chunks,
/// some of them under way, over TCP with one and with four connections. Takes some 12 s.
absl::StatusOr<std::vector<BenchRow>> BenchLink(const std::vector<std::string>& peer_command, bool full);

/// The other process; `arguments`: what BenchLink has added. Ends with its parent. The exit code.
int RunBenchLinkPeer(const std::vector<std::string>& arguments);

}   // namespace troupe
