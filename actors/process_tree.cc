#include "actors/process_tree.h"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace troupe {
namespace {

/// The entries of a folder that are numbers.
std::vector<pid_t> NumbersIn(const std::string& folder) {
  std::vector<pid_t> numbers;
  DIR* open = ::opendir(folder.c_str());
  if (open == nullptr) return numbers;
  while (const dirent* entry = ::readdir(open)) {
    pid_t number = 0;
    if (absl::SimpleAtoi(entry->d_name, &number)) numbers.push_back(number);
  }
  ::closedir(open);
  return numbers;
}

bool KernelListsChildren() {
  static const bool lists = ::access("/proc/thread-self/children", R_OK) == 0;
  return lists;
}

std::vector<pid_t> ListedChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  const std::string tasks = absl::StrCat("/proc/", parent, "/task");
  for (const pid_t task : NumbersIn(tasks)) {
    std::ifstream list(absl::StrCat(tasks, "/", task, "/children"));
    for (pid_t child = 0; list >> child;) children.push_back(child);
  }
  return children;
}

/// The fourth field of /proc/PID/stat; 0: it has ended.
pid_t ParentOf(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string line, state;
  if (!std::getline(file, line)) return 0;
  const size_t name_end = line.rfind(')');   // the name may hold blanks
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 1));
  pid_t parent = 0;
  return fields >> state >> parent ? parent : 0;
}

std::multimap<pid_t, pid_t> AllByParent() {
  std::multimap<pid_t, pid_t> all;
  for (const pid_t pid : NumbersIn("/proc")) all.emplace(ParentOf(pid), pid);
  return all;
}

/// The value of a line "NAME: 123 kB"; 0: there is none.
uint64_t BytesOf(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(name)) continue;
    uint64_t kib = 0;
    std::istringstream(line.substr(name.size())) >> kib;
    return kib << 10;
  }
  return 0;
}

}   // namespace

std::vector<pid_t> ChildrenOf(pid_t parent) {
  if (KernelListsChildren()) return ListedChildrenOf(parent);
  std::vector<pid_t> children;
  for (const pid_t pid : NumbersIn("/proc")) {
    if (ParentOf(pid) == parent) children.push_back(pid);
  }
  return children;
}

std::vector<pid_t> DescendantsOf(pid_t root) {
  std::vector<pid_t> found;
  const bool listed = KernelListsChildren();
  const std::multimap<pid_t, pid_t> all = listed ? std::multimap<pid_t, pid_t>() : AllByParent();
  for (size_t next = 0;; ++next) {
    const pid_t parent = next == 0 ? root : found[next - 1];
    if (listed) {
      for (const pid_t child : ListedChildrenOf(parent)) found.push_back(child);
    } else {
      for (auto [it, end] = all.equal_range(parent); it != end; ++it) found.push_back(it->second);
    }
    if (next == found.size()) return found;
  }
}

uint64_t ResidentBytes(const std::vector<pid_t>& processes, uint64_t enough) {
  uint64_t resident = 0, exact = 0;
  for (const pid_t pid : processes) resident += BytesOf(absl::StrCat("/proc/", pid, "/status"), "VmRSS:");
  if (resident <= enough) return resident;
  for (const pid_t pid : processes) exact += BytesOf(absl::StrCat("/proc/", pid, "/smaps_rollup"), "Pss:");
  return exact > 0 ? exact : resident;   // a kernel without that file
}

bool EndDescendants(std::chrono::milliseconds limit, absl::FunctionRef<void(pid_t pid, int status)> reaped) {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (std::chrono::microseconds pause{200};;) {
    for (const pid_t pid : DescendantsOf(::getpid())) ::kill(pid, SIGKILL);
    int status = 0;
    pid_t pid = 0;
    while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) reaped(pid, status);
    if (pid < 0) return true;   // no child, hence no descendant: orphans would be children
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min<std::chrono::microseconds>(pause * 2, std::chrono::milliseconds(20));
  }
}

}   // namespace troupe
