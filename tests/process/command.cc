#include "tests/process/command.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

extern char** environ;

namespace troupe::testing {
namespace {

namespace fs = std::filesystem;

#ifdef __SANITIZE_ADDRESS__
constexpr bool kLooksForLeaks = true;
#else
constexpr bool kLooksForLeaks = false;
#endif

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::string CommandLine(pid_t pid) {
  std::string text = ReadText("/proc/" + std::to_string(pid) + "/cmdline");
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

/// The fourth word of /proc/PID/stat; 0: there is no such process.
pid_t ParentOf(pid_t pid) {
  const std::string stat = ReadText("/proc/" + std::to_string(pid) + "/stat");
  std::istringstream rest(stat.substr(std::min(stat.size(), stat.rfind(')') + 1)));
  std::string state;
  pid_t parent = 0;
  rest >> state >> parent;
  return parent;
}

/// The state letter of /proc/PID/stat; 0: there is no such process.
char State(pid_t pid) {
  const std::string stat = ReadText("/proc/" + std::to_string(pid) + "/stat");
  const size_t name_end = stat.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= stat.size() ? '\0' : stat[name_end + 2];
}

}   // namespace

Scratch::Scratch() {
  path_ = (fs::temp_directory_path() / "troupe_process_XXXXXX").string();
  BOOST_REQUIRE(mkdtemp(path_.data()) != nullptr);
  fs::create_directory(path_ + "/tmp");
  fs::create_directory(path_ + "/out");
}
Scratch::~Scratch() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string NewestCheckpoint(const std::string& folder) {
  std::string newest;   // of two numbers the longer one is the larger
  for (const std::string& name : Names(folder)) {
    if (name.starts_with("checkpoint.") && std::pair(name.size(), name) > std::pair(newest.size(), newest)) newest = name;
  }
  return newest;
}

std::vector<std::string> Names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}
void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  BOOST_REQUIRE(file.flush().good());
}

Command::Command(const Scratch& scratch, Options options) {
  static std::atomic<int> number = 0;
  const int n = ++number;
  out_ = scratch / ("out/" + std::to_string(n) + ".out");
  err_ = scratch / ("out/" + std::to_string(n) + ".err");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_addopen(&actions, 2, err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  std::vector<std::string> arguments{options.program}, environment;
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (!text.starts_with("TMPDIR=") && !text.starts_with("TROUPE_") && !text.starts_with("HOME=")) environment.push_back(text);   // nobody's own settings
  }
  environment.push_back("TMPDIR=" + scratch / "tmp");
  environment.insert(environment.end(), options.environment.begin(), options.environment.end());
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit during{std::min(options.file_bytes_max, before.rlim_max), before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &during);   // what is started inherits it
  const int error = posix_spawn(&pid_, options.program.c_str(), &actions, nullptr, Pointers(arguments).data(), Pointers(environment).data());
  setrlimit(RLIMIT_FSIZE, &before);
  posix_spawn_file_actions_destroy(&actions);
  BOOST_REQUIRE_MESSAGE(error == 0, "cannot start " << options.program);
}

Command::~Command() {
  if (waited_) return;
  const std::vector<pid_t> left = children();
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  for (const pid_t child : left) {
    if (!CommandLine(child).starts_with("troupe guard ")) kill(child, SIGKILL);
  }
  WaitUntilGone(left);   // guards end by themselves, with what they guard
}

bool Command::running() const {
  if (waited_) return false;
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

std::string Command::Printed() const {
  return ReadText(out_);
}
std::string Command::Errors() const {
  return ReadText(err_);
}

namespace {

std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> all;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const std::string& task : Names(tasks)) {
    std::istringstream list(ReadText(tasks + "/" + task + "/children"));
    for (pid_t child; list >> child;) all.push_back(child);
  }
  std::erase_if(all, IsLeakSearch);
  return all;
}

}   // namespace

std::vector<pid_t> Command::children() const {
  return ChildrenOf(pid_);
}

std::vector<pid_t> Command::descendants() const {
  std::vector<pid_t> all = children();
  for (size_t i = 0; i < all.size(); ++i) {
    const std::vector<pid_t> more = ChildrenOf(all[i]);
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

std::vector<pid_t> Command::children(const std::string& words) const {
  std::vector<pid_t> all = children();
  std::erase_if(all, [&](pid_t child) { return CommandLine(child).find(" " + words + " ") == std::string::npos; });
  return all;
}

bool Command::WaitForChildren(size_t n) const {
  while (running()) {
    if (children().size() >= n) return true;
    Sleep(0.001);
  }
  return false;
}

bool Command::WaitUntilHandles(int signal) const {
  while (running()) {
    const std::string status = ReadText("/proc/" + std::to_string(pid_) + "/status");
    const size_t at = status.find("SigCgt:");
    if (at != std::string::npos && (std::stoull(status.substr(at + 7), nullptr, 16) >> (signal - 1) & 1) != 0) return true;
    Sleep(0.001);
  }
  return false;
}

void Command::Signal(int signal) const {
  if (running()) kill(pid_, signal);
}

Ended Command::Wait(int limit_s) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(limit_s);
  while (running() && std::chrono::steady_clock::now() < end) Sleep(0.002);
  BOOST_REQUIRE_MESSAGE(!running(), "still running after " << limit_s << " s: " << CommandLine(pid_));
  int status = 0;
  rusage usage{};
  BOOST_REQUIRE(wait4(pid_, &status, 0, &usage) == pid_);
  waited_ = true;
  return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), .out = ReadText(out_), .err = ReadText(err_), .peak_kib = usage.ru_maxrss};
}

Ended Run(const Scratch& scratch, std::vector<std::string> arguments) {
  Command command(scratch, {.arguments = std::move(arguments), .environment = {}});
  return command.Wait();
}

bool IsLeakSearch(pid_t pid) {
  return kLooksForLeaks && CommandLine(pid) == CommandLine(ParentOf(pid));
}

bool WaitUntilGone(const std::vector<pid_t>& processes, int limit_s) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(limit_s);
  const auto alive = [](pid_t pid) {
    const char state = State(pid);
    return state != '\0' && state != 'Z';
  };
  while (std::any_of(processes.begin(), processes.end(), alive)) {
    if (std::chrono::steady_clock::now() > end) return false;
    Sleep(0.01);
  }
  return true;
}

void Sleep(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

double Number(const std::string& json, const std::string& name) {
  const size_t at = json.find("\"" + name + "\":");
  return at == std::string::npos ? -1 : strtod(json.c_str() + at + name.size() + 3, nullptr);
}

size_t Lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

const std::string& ClickLog() {
  static const Scratch scratch;
  static const std::string path = [] {
    const std::string log = scratch / "clicks.svm";
    const Ended made = Run(scratch, {"generate", "ctr", "--rows", "60000", "--seed", "1", "--out", log});
    BOOST_REQUIRE_MESSAGE(made.code == 0, made.err);
    return log;
  }();
  return path;
}

std::string ModelText(const Scratch& scratch, const std::string& model) {
  const Ended shown = Run(scratch, {"model", "show", model, "--csv"});
  BOOST_REQUIRE_MESSAGE(shown.code == 0, shown.err);
  BOOST_REQUIRE(Lines(shown.out) > 1);
  return shown.out;
}

}   // namespace troupe::testing
