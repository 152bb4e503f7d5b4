#include "actors/process_table.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "actors/process_tree.h"

extern char** environ;

namespace troupe {
namespace {

/// This process' environment with `changes` in it, and the null at its end.
std::vector<char*> Environment(std::vector<std::string>& changes) {
  std::vector<char*> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view own(*entry);
    const std::string_view name = own.substr(0, own.find('=') + 1);
    const bool changed = std::any_of(changes.begin(), changes.end(), [name](const std::string& change) { return change.starts_with(name); });
    if (!changed) all.push_back(*entry);
  }
  for (std::string& change : changes) all.push_back(change.data());
  all.push_back(nullptr);
  return all;
}

}   // namespace

uint64_t StartOfProcess(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string line, field;
  if (!std::getline(file, line)) return 0;
  const size_t name_end = line.rfind(')');   // the name may hold blanks
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  fields >> field;
  if (field == "Z" || field == "X") return 0;   // only that nobody has waited for it
  for (int i = 4; i <= 22; ++i) fields >> field;
  uint64_t start = 0;
  return fields && absl::SimpleAtoi(field, &start) ? start : 0;
}

void EndWithParent(pid_t parent, std::function<void()> last) {
  std::thread([parent, last = std::move(last)] {
    while (getppid() == parent) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    if (last) last();
    _exit(1);
  }).detach();
}

void ProcessTable::KillAll() {
  std::list<std::thread> waiting;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    for (const Child& child : alive_) End(child);
    waiting.swap(waiting_);
  }
  for (std::thread& thread : waiting) thread.join();
}

absl::StatusOr<pid_t> ProcessTable::Start(Launch launch) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int fd : launch.inherit) posix_spawn_file_actions_adddup2(&actions, fd, fd);   // the same number: clears close-on-exec
  if (!launch.folder.empty()) posix_spawn_file_actions_addchdir_np(&actions, launch.folder.c_str());
  if (!launch.out.empty()) {
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, launch.out.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, launch.err.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | (launch.group ? POSIX_SPAWN_SETPGROUP : 0)));
  std::vector<char*> argv;
  for (std::string& argument : launch.arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<char*> environment = Environment(launch.environment);
  pid_t pid = 0;
  std::unique_lock lock(mutex_);
  std::list<std::thread> over;
  for (const std::thread::id id : std::exchange(over_, {})) {
    const auto it = std::find_if(waiting_.begin(), waiting_.end(), [id](const std::thread& thread) { return thread.get_id() == id; });
    if (it != waiting_.end()) over.splice(over.end(), waiting_, it);
  }
  const absl::Cleanup join = [&] {   // they have nothing left to do but `ended`, which may take this table's lock
    if (lock.owns_lock()) lock.unlock();
    for (std::thread& thread : over) thread.join();
  };
  const int error = closed_ ? ECANCELED : posix_spawn(&pid, launch.program.c_str(), &actions, &attributes, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return absl::UnavailableError(absl::StrCat("cannot start ", launch.program, ": ", strerror(error)));
  alive_.push_back({pid, launch.group, launch.end_signal});
  waiting_.emplace_back([this, pid, group = launch.group, end_signal = launch.end_signal, ended = std::move(launch.ended)] {
    int status = 0;
    siginfo_t info;
    while (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) continue;
    {
      std::lock_guard lock_alive(mutex_);   // the pid is ours until it is reaped: Kill cannot hit another process
      alive_.erase(Find(pid));
      if (group) kill(-pid, SIGKILL);   // whoever is left of it
      while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
    }
    if (WIFSIGNALED(status) && end_signal != SIGKILL) EndOrphans();
    ended(status);
    std::lock_guard lock_over(mutex_);
    over_.push_back(std::this_thread::get_id());
  });
  return pid;
}

std::vector<ProcessTable::Child>::iterator ProcessTable::Find(pid_t pid) {
  return std::find_if(alive_.begin(), alive_.end(), [pid](const Child& child) { return child.pid == pid; });
}

void ProcessTable::EndOrphans() {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  for (bool some = true; some && std::chrono::steady_clock::now() < end;) {
    some = false;
    {
      std::lock_guard lock(mutex_);   // nobody is started meanwhile whom the table does not know yet
      for (const pid_t child : ChildrenOf(getpid())) {
        if (Find(child) != alive_.end()) continue;
        some = true;
        for (const pid_t pid : DescendantsOf(child)) kill(pid, SIGKILL);
        kill(child, SIGKILL);
        waitpid(child, nullptr, WNOHANG);
      }
    }
    if (some) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

void ProcessTable::End(const Child& child) {
  if (child.end_signal == SIGKILL) {
    kill(child.group ? -child.pid : child.pid, SIGKILL);
  } else {
    kill(child.pid, child.end_signal);
    kill(child.pid, SIGCONT);   // one that is stopped would not hear it
  }
}

void ProcessTable::Kill(pid_t pid) {
  std::lock_guard lock(mutex_);
  const auto it = Find(pid);
  if (it != alive_.end()) End(*it);
}

void ProcessTable::Signal(pid_t pid, int signal) {
  std::lock_guard lock(mutex_);
  if (Find(pid) != alive_.end()) kill(pid, signal);
}

}   // namespace troupe
