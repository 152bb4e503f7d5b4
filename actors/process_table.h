// The child processes of this one: started by posix_spawn (a fork after CAF's start would hang), waited for by a thread each, killed with their owner.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace troupe {

/// When a process began, in the kernel's ticks since boot (sysconf(_SC_CLK_TCK) a second); 0: there is none, it has ended, or there is no /proc. With the pid
/// it names one process.
uint64_t StartOfProcess(pid_t pid);
/// Ends this process within a quarter of a second when `parent` is not its parent any more, after `last`.
void EndWithParent(pid_t parent, std::function<void()> last = nullptr);

class ProcessTable {
 public:
  ProcessTable() = default;
  ~ProcessTable() { KillAll(); }
  ProcessTable(const ProcessTable&) = delete;
  ProcessTable& operator=(const ProcessTable&) = delete;

  struct Launch {
    std::string program;
    std::vector<std::string> arguments;          ///< with argv[0]
    std::vector<int> inherit;                    ///< descriptors that stay open in the child, under their numbers
    std::vector<std::string> environment = {};   ///< NAME=VALUE, each instead of this process' own of that name
    std::string folder = {};                     ///< where it starts; empty: where this process is
    std::string out = {}, err = {};              ///< files that its stdout and stderr are appended to, and nothing to read; empty: this process' own
    /// It leads a process group of its own, and Kill means the group: what it has started goes with it.
    bool group = false;
    /// How Kill and KillAll end it. Any other one than SIGKILL is sent to the process alone, which must then end by itself, with what it has started; where it
    /// is killed nevertheless, and orphans come to this process (PR_SET_CHILD_SUBREAPER), the table ends all children that it has not started.
    int end_signal = SIGKILL;
    /// Called once, on a thread of the table's, when the process has ended: its wait status.
    std::function<void(int status)> ended;
  };
  /// The child's pid. Errors Unavailable: "cannot start PROGRAM: reason".
  absl::StatusOr<pid_t> Start(Launch launch);
  void Kill(pid_t pid);
  /// Sends a signal to one of its children, if that has not ended.
  void Signal(pid_t pid, int signal);
  /// Kills all children and waits for them; none can be started any more.
  void KillAll();

 private:
  struct Child {
    pid_t pid;
    bool group;
    int end_signal;
  };
  static void End(const Child& child);
  /// Ends all children of this process that the table has not started, and what these have started; within a second.
  void EndOrphans();
  std::vector<Child>::iterator Find(pid_t pid);

  std::mutex mutex_;
  std::list<std::thread> waiting_;      // one a process
  std::vector<std::thread::id> over_;   // those of them that only need to be joined
  std::vector<Child> alive_;
  bool closed_ = false;
};

}   // namespace troupe
