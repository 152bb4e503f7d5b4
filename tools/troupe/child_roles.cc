// Command lines of child processes, told apart by their first word.
#include "tools/troupe/child_roles.h"

#include <unistd.h>

#include <filesystem>
#include <string_view>
#include <system_error>

#include "actors/bench_link.h"
#include "actors/process_guard.h"
#include "algorithms/run/process_cluster.h"
#include "algorithms/run/table_driver.h"
#include "ps/bench_group.h"
#include "ps/bench_processes.h"
#include "tools/troupe/tables.h"

namespace troupe {
namespace {

constexpr char kBenchLinkPeer[] = "bench-link-peer", kBenchProcessesPeer[] = "bench-ps-peer", kBenchGroupPeer[] = "bench-group-peer";

std::vector<std::string> This(const char* role) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return {error ? "/proc/self/exe" : program.string(), role};
}

}   // namespace

std::optional<int> RunChildRole(int argc, char** argv) {
  const std::string_view word = argc > 1 ? argv[1] : "";
  if (word == "worker" || word == "shard") return RunExecutor(argc, argv);
  // At once: where its parent has just been killed, a search for leaks at its end (address sanitizer) may never end.
  if (word == kGuardRole) ::_exit(RunGuard(argc, argv));
  if (word == kTableDriver) return RunTableDriverRole({argv + 2, argv + argc});
  if (word == kBenchLinkPeer) return RunBenchLinkPeer({argv + 2, argv + argc});
  if (word == kBenchProcessesPeer) return RunBenchProcessesPeer({argv + 2, argv + argc});
  if (word == kBenchGroupPeer) return RunBenchGroupPeer({argv + 2, argv + argc});
  return std::nullopt;
}

std::vector<std::string> BenchLinkPeerCommand() {
  return This(kBenchLinkPeer);
}

std::vector<std::string> BenchProcessesPeerCommand() {
  return This(kBenchProcessesPeer);
}

std::vector<std::string> BenchGroupPeerCommand() {
  return This(kBenchGroupPeer);
}

}   // namespace troupe
