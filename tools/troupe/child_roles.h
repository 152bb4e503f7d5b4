// What this program is when a troupe process has started it as one of its own: a worker, a shard, or the other end of a benchmark.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace troupe {

/// The exit code of the role that the command line asks for; nothing where it is a command for people.
std::optional<int> RunChildRole(int argc, char** argv);
/// Program and first arguments that come to RunBenchLinkPeer.
std::vector<std::string> BenchLinkPeerCommand();
/// The same for RunBenchProcessesPeer.
std::vector<std::string> BenchProcessesPeerCommand();
/// The same for RunBenchGroupPeer.
std::vector<std::string> BenchGroupPeerCommand();

}   // namespace troupe
