#include "actors/process_table.h"

#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

extern char** environ;

namespace troupe {

void ProcessTable::KillAll() {
  std::vector<std::thread> waiting;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    for (pid_t pid : alive_) kill(pid, SIGKILL);
    waiting.swap(waiting_);
  }
  for (std::thread& thread : waiting) thread.join();
}

absl::StatusOr<pid_t> ProcessTable::Start(Launch launch) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd : launch.inherit) posix_spawn_file_actions_adddup2(&actions, fd, fd);   // the same number: clears close-on-exec
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> argv;
  for (std::string& argument : launch.arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  std::lock_guard lock(mutex_);
  const int error = closed_ ? ECANCELED : posix_spawn(&pid, launch.program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return absl::UnavailableError(absl::StrCat("cannot start ", launch.program, ": ", strerror(error)));
  alive_.push_back(pid);
  waiting_.emplace_back([this, pid, ended = std::move(launch.ended)] {
    int status = 0;
    siginfo_t info;
    while (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) continue;
    {
      std::lock_guard lock_alive(mutex_);   // the pid is ours until it is reaped: Kill cannot hit another process
      std::erase(alive_, pid);
      while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    }
    ended(status);
  });
  return pid;
}

void ProcessTable::Kill(pid_t pid) {
  std::lock_guard lock(mutex_);
  if (std::find(alive_.begin(), alive_.end(), pid) != alive_.end()) kill(pid, SIGKILL);
}

}   // namespace troupe
