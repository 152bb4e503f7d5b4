#include "actors/process_guard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "actors/process_tree.h"

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kLook{100}, kIdle{1000}, kRemoveMax{1000};
constexpr int kParentGone = SIGUSR2;   // sent by the kernel when a thread of the parent ends, also when others live on
constexpr int kMemoryCode = 137, kCannotStartCode = 127;
constexpr char kForProgram[] = "TROUPE_GUARDED_";   // before the names of variables that are the program's alone
constexpr const char* kWords[] = {"exit", "signal", "memory", "cannot"};
constexpr size_t kFixed = 9;   // words of a guard's command line before those of the program

using Clock = std::chrono::steady_clock;

timespec Timespec(std::chrono::milliseconds time) {
  return {.tv_sec = time.count() / 1000, .tv_nsec = time.count() % 1000 * 1'000'000};
}

/// The one thread of a guard.
class Warden {
 public:
  Warden(GuardOptions options, pid_t daemon, int report) : options_(std::move(options)), daemon_(daemon), report_(report) {}

  int Run() {
    sigemptyset(&heard_);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE}) sigaddset(&heard_, signal);
    ::sigprocmask(SIG_BLOCK, &heard_, nullptr);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    ::prctl(PR_SET_PDEATHSIG, kParentGone);
    ::prctl(PR_SET_NAME, "troupe guard");
    ::fcntl(report_, F_SETFD, FD_CLOEXEC);
    NameVariables();
    if (::getppid() != daemon_) return kCannotStartCode;   // gone before it could be watched
    if (options_.memory_max > 0 && options_.cgroups) {
      if (absl::StatusOr<Cgroup> made = Cgroup::Make(*options_.cgroups, options_.memory_max); made.ok()) group_ = *std::move(made);
    }
    if (StartProgram()) Watch();
    return Finish();
  }

 private:
  static void NameVariables() {
    std::vector<std::string> entries;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      if (std::string_view(*entry).starts_with(kForProgram)) entries.emplace_back(*entry);
    }
    for (const std::string& entry : entries) {
      const size_t equals = entry.find('=');
      const std::string name = entry.substr(0, equals);
      ::unsetenv(name.c_str());
      ::setenv(name.substr(sizeof kForProgram - 1).c_str(), entry.substr(equals + 1).c_str(), 1);
    }
  }

  /// False: it cannot be started.
  bool StartProgram() {
    int failed[2];   // errno of a child that could not become the program
    if (::pipe2(failed, O_CLOEXEC) != 0) return CannotStart(errno);
    if (!options_.parent_variable.empty()) ::setenv(options_.parent_variable.c_str(), absl::StrCat(::getpid()).c_str(), 1);
    std::vector<char*> argv;
    for (std::string& argument : options_.arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const pid_t guard = ::getpid();
    program_ = ::fork();
    if (program_ == 0) {
      ::setsid();
      for (const int signal : {SIGPIPE, SIGXFSZ}) ::signal(signal, SIG_DFL);   // this program ignores them
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != guard) ::_exit(kCannotStartCode);
      if (!group_ || group_->Enter()) {
        ::sigprocmask(SIG_UNBLOCK, &heard_, nullptr);
        ::execv(options_.program.c_str(), argv.data());
      }
      const int error = errno;
      [[maybe_unused]] const ssize_t written = ::write(failed[1], &error, sizeof error);
      ::_exit(kCannotStartCode);
    }
    const int fork_error = errno;
    ::close(failed[1]);
    int error = 0;
    const bool bad = program_ > 0 && ::read(failed[0], &error, sizeof error) == static_cast<ssize_t>(sizeof error);
    ::close(failed[0]);
    if (program_ < 0) return CannotStart(fork_error);
    return !bad || CannotStart(error);
  }

  bool CannotStart(int error) {
    end_ = {GuardEnd::Kind::kCannotStart, 0, absl::StrCat("cannot start ", options_.program, ": ", std::strerror(error))};
    return false;
  }

  void Reap(pid_t pid, int status) {
    if (pid != program_) return;   // an orphan that it has left
    program_ = 0;
    if (end_.kind == GuardEnd::Kind::kCannotStart) return;
    if (WIFEXITED(status)) end_ = {GuardEnd::Kind::kExit, WEXITSTATUS(status)};
    if (WIFSIGNALED(status)) end_ = {GuardEnd::Kind::kSignal, WTERMSIG(status)};
  }
  void ReapAll() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) Reap(pid, status);
  }

  bool BeyondMemory() const {
    if (options_.memory_max == 0) return false;
    if (group_) return group_->OomKills() > 0;
    return ResidentBytes(DescendantsOf(::getpid()), options_.memory_max) > options_.memory_max;
  }

  /// Until the program has ended, or has to.
  void Watch() {
    std::optional<Clock::time_point> end_by;
    auto look = Clock::now();
    while (program_ != 0) {
      const auto now = Clock::now();
      if (end_by && now >= *end_by) return;
      if (options_.memory_max > 0 && now >= look) {
        beyond_ = BeyondMemory();
        if (beyond_) return;
        look = Clock::now() + kLook;
      }
      const timespec wait = Timespec(options_.memory_max > 0 || end_by ? kLook : kIdle);
      const int signal = ::sigtimedwait(&heard_, nullptr, &wait);
      if (::getppid() != daemon_ || signal == kGuardEnd) return;
      if (signal == kGuardStop && !end_by) {
        end_by = Clock::now() + options_.grace;
        if (options_.grace.count() > 0) ::kill(program_, SIGTERM);
      }
      ReapAll();
    }
  }

  int Finish() {
    if (group_) group_->Kill();
    const bool all_gone = EndDescendants(kGuardEndMax, [this](pid_t pid, int status) { Reap(pid, status); });
    if (group_) {
      beyond_ = beyond_ || group_->OomKills() > 0;
      const auto end = Clock::now() + kRemoveMax;
      while (!group_->Remove().ok() && all_gone && Clock::now() < end) {
        group_->Kill();
        ::usleep(1'000);
      }
    }
    if (beyond_) end_ = {GuardEnd::Kind::kMemory, 0};
    const std::string line = absl::StrCat(kWords[static_cast<size_t>(end_.kind)], " ", end_.value, " ", end_.text.substr(0, 1024), "\n");
    [[maybe_unused]] const ssize_t written = ::write(report_, line.data(), line.size());   // less than a pipe holds
    switch (end_.kind) {
      case GuardEnd::Kind::kExit:
        return end_.value;
      case GuardEnd::Kind::kSignal:
        return 128 + end_.value;
      case GuardEnd::Kind::kMemory:
        return kMemoryCode;
      case GuardEnd::Kind::kCannotStart:
        break;
    }
    return kCannotStartCode;
  }

  GuardOptions options_;
  const pid_t daemon_;
  const int report_;
  sigset_t heard_{};
  std::optional<Cgroup> group_;
  pid_t program_ = 0;
  bool beyond_ = false;
  GuardEnd end_{GuardEnd::Kind::kSignal, SIGKILL};   // of one that the kernel does not let go
};

}   // namespace

absl::StatusOr<std::shared_ptr<Guard>> Guard::Make(GuardOptions options) {
  std::shared_ptr<Guard> guard(new Guard(std::move(options)));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return absl::InternalError(absl::StrCat("no pipe for a guard: ", std::strerror(errno)));
  guard->read_ = ends[0];
  guard->write_ = ends[1];
  return guard;
}

Guard::~Guard() {
  if (read_ >= 0) ::close(read_);
  if (write_ >= 0) ::close(write_);
}

std::vector<std::string> Guard::CommandLine() const {
  const CgroupPlace none{"", 0};
  const CgroupPlace& place = options_.cgroups ? *options_.cgroups : none;
  std::vector<std::string> words = {"troupe",
                                    kGuardRole,
                                    absl::StrCat(::getpid(), ",", write_),
                                    absl::StrCat(options_.memory_max),
                                    absl::StrCat(place.version),
                                    place.folder,
                                    absl::StrCat(options_.grace.count()),
                                    options_.parent_variable,
                                    options_.program};
  words.insert(words.end(), options_.arguments.begin(), options_.arguments.end());
  return words;
}

std::vector<std::string> Guard::Environment() const {
  std::vector<std::string> all;
  for (const std::string& entry : options_.environment) all.push_back(kForProgram + entry);
  return all;
}

GuardEnd Guard::End(int wait_status) const {
  char buffer[2048];
  const ssize_t n = ::read(read_, buffer, sizeof buffer);
  const std::vector<std::string> words = absl::StrSplit(absl::string_view(buffer, n > 0 ? static_cast<size_t>(n) : 0), absl::MaxSplits(' ', 2));
  GuardEnd end;
  for (size_t kind = 0; kind < std::size(kWords); ++kind) {
    if (words.size() != 3 || words[0] != kWords[kind] || !absl::SimpleAtoi(words[1], &end.value)) continue;
    end.kind = static_cast<GuardEnd::Kind>(kind);
    end.text = words[2].substr(0, words[2].find('\n'));
    return end;
  }
  if (WIFSIGNALED(wait_status)) return {GuardEnd::Kind::kSignal, WTERMSIG(wait_status)};   // it was killed, and its program with it
  return {GuardEnd::Kind::kCannotStart, 0, "its guard has said nothing"};
}

int RunGuard(int argc, char** argv) {
  const std::vector<std::string> words(argv, argv + argc);
  if (words.size() <= kFixed) return kCannotStartCode;   // nobody types this
  GuardOptions options;
  std::pair<std::string, std::string> ends = absl::StrSplit(words[2], ',');
  pid_t daemon = 0;
  int report = -1, version = 0;
  int64_t grace = 0;
  const bool good = absl::SimpleAtoi(ends.first, &daemon) && absl::SimpleAtoi(ends.second, &report) && absl::SimpleAtoi(words[3], &options.memory_max) &&
                    absl::SimpleAtoi(words[4], &version) && absl::SimpleAtoi(words[6], &grace);
  if (!good) return kCannotStartCode;
  if (version != 0) options.cgroups = CgroupPlace{words[5], version};
  options.grace = std::chrono::milliseconds(grace);
  options.parent_variable = words[7];
  options.program = words[8];
  options.arguments.assign(words.begin() + kFixed, words.end());
  return Warden(std::move(options), daemon, report).Run();
}

}   // namespace troupe
