// A guard stands between a daemon and a program that it runs: a small process of its own, the program's parent, which keeps the program within its memory and
// ends it with everything that it has started, however that has hidden itself (sessions, groups, parents that are gone): when the program ends, when the daemon
// asks for it, and when the daemon is gone, also by kill -9.
//
//   daemon  --posix_spawn-->  guard (this program again, one thread)  --fork, exec-->  program, in a session and, if limited, a control group of its own
//
// Whoever loses its parent below the guard becomes a child of the guard (PR_SET_CHILD_SUBREAPER): it has ended when the guard has no child any more. A limit on
// memory is the control group's where one can be made; else the guard looks ten times a second.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/cgroup.h"

namespace troupe {

struct GuardOptions {
  std::string program;                         ///< a path; "/proc/self/exe": the guard's own
  std::vector<std::string> arguments;          ///< with argv[0]
  uint64_t memory_max = 0;                     ///< bytes of the program and all that it starts; 0: no limit
  std::optional<CgroupPlace> cgroups = {};     ///< where a group can be made (PrepareCgroups); none: the guard looks itself
  std::vector<std::string> environment = {};   ///< NAME=VALUE, for the program alone: what a loader reads there is not for the guard
  /// The name of a variable that tells the program its parent, which is the guard; empty: none.
  std::string parent_variable = {};
  std::chrono::milliseconds grace{0};   ///< between SIGTERM to the program and the end, when the daemon asks with kGuardStop
};

/// How a guarded program has ended.
struct GuardEnd {
  enum class Kind : uint8_t {
    kExit,          ///< value: its exit code
    kSignal,        ///< value: the signal
    kMemory,        ///< it was beyond its limit, with what it has started
    kCannotStart,   ///< text: why
  };
  Kind kind = Kind::kExit;
  int value = 0;
  std::string text = {};
};

/// What a daemon sends to a guard: end now; or, after SIGTERM and `grace`, a program that has not ended by itself.
inline constexpr int kGuardEnd = SIGUSR1, kGuardStop = SIGTERM;
/// A program that has been ended and is still there after this is left to the kernel.
inline constexpr std::chrono::seconds kGuardEndMax{5};
inline constexpr char kGuardRole[] = "guard";

/// The daemon's end of a guard.
class Guard {
 public:
  /// Internal: no pipe.
  static absl::StatusOr<std::shared_ptr<Guard>> Make(GuardOptions options);
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  /// To be started with this very program (/proc/self/exe), whose RunGuard it ends in, as a child of this process.
  std::vector<std::string> CommandLine() const;
  /// What its environment must have besides.
  std::vector<std::string> Environment() const;
  /// To be inherited by it.
  int descriptor() const { return write_; }
  /// When it has ended, with this wait status.
  GuardEnd End(int wait_status) const;

 private:
  explicit Guard(GuardOptions options) : options_(std::move(options)) {}
  const GuardOptions options_;
  int read_ = -1, write_ = -1;   // a pipe on which it says how its program has ended
};

/// The guard's life: argv[1] is kGuardRole. Its exit code is the program's, 128 + the signal, 137 for want of memory, 127 where it cannot be started.
int RunGuard(int argc, char** argv);

}   // namespace troupe
