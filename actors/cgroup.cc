#include "actors/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "actors/process_table.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr char kPrefix[] = "troupe.", kLeaf[] = ".daemon";
constexpr uint64_t kTryBytes = 64 << 20;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

/// Files of the kernel take what is written in one piece.
absl::Status WriteFile(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const bool good = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) ::close(fd);
  return good ? absl::OkStatus() : absl::UnavailableError(absl::StrCat(path, ": ", std::strerror(error)));
}

bool HasWord(absl::string_view text, absl::string_view word) {
  for (const absl::string_view each : absl::StrSplit(text, absl::ByAnyChar(" ,\n"))) {
    if (each == word) return true;
  }
  return false;
}

/// A path of the kernel's, as seen through a mount of `root` at `point`.
std::optional<std::string> Through(absl::string_view path, absl::string_view root, absl::string_view point) {
  if (root == "/") return absl::StrCat(point, path == "/" ? "" : path);
  if (path == root) return std::string(point);
  const std::string below = absl::StrCat(root, "/");
  if (path.substr(0, below.size()) != below) return std::nullopt;
  return absl::StrCat(point, path.substr(root.size()));
}

/// "troupe.PID.START"
std::string NameOfMaker() {
  return absl::StrCat(kPrefix, ::getpid(), ".", StartOfProcess(::getpid()));
}
bool MakerLives(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '.');
  pid_t pid = 0;
  uint64_t start = 0;
  return parts.size() >= 3 && absl::SimpleAtoi(parts[1], &pid) && absl::SimpleAtoi(parts[2], &start) && start != 0 && StartOfProcess(pid) == start;
}

/// Version 2: groups below `folder` are given memory to share out, which they are only where `folder` itself holds no process.
absl::Status GiveMemory(const std::string& folder) {
  if (!HasWord(ReadAll(folder + "/cgroup.controllers"), "memory")) return absl::UnavailableError(absl::StrCat(folder, ": memory is not among its controllers"));
  const std::string control = folder + "/cgroup.subtree_control";
  if (HasWord(ReadAll(control), "memory")) return absl::OkStatus();
  if (WriteFile(control, "+memory").ok()) return absl::OkStatus();
  const std::string leaf = absl::StrCat(folder, "/", NameOfMaker(), kLeaf), me = absl::StrCat(::getpid());
  if (::mkdir(leaf.c_str(), 0700) != 0) return absl::UnavailableError(absl::StrCat(leaf, ": ", std::strerror(errno)));
  absl::Status status = WriteFile(leaf + "/cgroup.procs", me);
  if (status.ok()) status = WriteFile(control, "+memory");   // EBUSY: others are in it
  if (status.ok()) return status;
  WriteFile(folder + "/cgroup.procs", me).IgnoreError();
  ::rmdir(leaf.c_str());
  return status;
}

}   // namespace

absl::StatusOr<CgroupPlace> OwnCgroup(std::string_view own, std::string_view mounts) {
  std::optional<std::string> first, second;   // paths within version 1's memory controller, and within version 2
  for (const absl::string_view line : absl::StrSplit(Absl(own), '\n')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));   // "4:memory:/a", "0::/a"
    if (parts.size() != 3) continue;
    if (HasWord(parts[1], "memory")) first = std::string(parts[2]);
    if (parts[0] == "0" && parts[1].empty()) second = std::string(parts[2]);
  }
  std::optional<CgroupPlace> unified;
  for (const absl::string_view line : absl::StrSplit(Absl(mounts), '\n')) {
    // "36 35 0:30 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory": root and mount point; behind the dash type, source and options
    const std::vector<absl::string_view> halves = absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    if (halves.size() != 2) continue;
    const std::vector<absl::string_view> before = absl::StrSplit(halves[0], ' '), behind = absl::StrSplit(halves[1], ' ');
    if (before.size() < 5 || behind.size() < 3) continue;
    if (behind[0] == "cgroup" && HasWord(behind[2], "memory") && first) {
      if (auto folder = Through(*first, before[3], before[4])) return CgroupPlace{*std::move(folder), 1};
    }
    if (behind[0] == "cgroup2" && second && !unified) {
      if (auto folder = Through(*second, before[3], before[4])) unified = CgroupPlace{*std::move(folder), 2};
    }
  }
  if (unified && !first) return *std::move(unified);   // where version 1 has memory, version 2 has not
  return absl::UnavailableError("no file system for control groups with memory is mounted that shows this process");
}

absl::StatusOr<CgroupPlace> PrepareCgroups(const std::string& folder) {
  CgroupPlace place{folder, std::filesystem::exists(folder + "/cgroup.controllers") ? 2 : 1};
  if (folder.empty()) {
    TROUPE_TRY(place, OwnCgroup(ReadAll("/proc/self/cgroup"), ReadAll("/proc/self/mountinfo")));
  }
  if (folder.empty() && place.version == 2 && place.folder.ends_with(kLeaf)) place.folder = std::filesystem::path(place.folder).parent_path();
  if (place.version == 2) TROUPE_RETURN_IF_ERROR(GiveMemory(place.folder));
  RemoveCgroupsLeftIn(place);
  TROUPE_TRY(const Cgroup tried, Cgroup::Make(place, kTryBytes));
  TROUPE_RETURN_IF_ERROR(tried.Remove());
  return place;
}

void RemoveCgroupsLeftIn(const CgroupPlace& place) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(place.folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix) || MakerLives(name)) continue;
    const Cgroup left(entry.path().string(), place.version);
    if (!name.ends_with(kLeaf)) left.Kill();
    for (int tries = 0; tries < 50 && !left.Remove().ok() && !name.ends_with(kLeaf); ++tries) {
      left.Kill();
      ::usleep(2'000);
    }
  }
}

absl::StatusOr<Cgroup> Cgroup::Make(const CgroupPlace& place, uint64_t memory_max) {
  Cgroup group(absl::StrCat(place.folder, "/", NameOfMaker()), place.version);
  const std::string& folder = group.folder_;
  if (::mkdir(folder.c_str(), 0700) != 0) return absl::UnavailableError(absl::StrCat(folder, ": ", std::strerror(errno)));
  const std::string limit = absl::StrCat(memory_max);
  absl::Status status;
  if (place.version == 2) {
    status = WriteFile(folder + "/memory.max", limit);
    WriteFile(folder + "/memory.oom.group", "1").IgnoreError();   // kernels from 4.19 on; whoever watches it ends the others as well
    WriteFile(folder + "/memory.swap.max", "0").IgnoreError();    // not there: no swap is counted
  } else {
    status = WriteFile(folder + "/memory.limit_in_bytes", limit);
    WriteFile(folder + "/memory.memsw.limit_in_bytes", limit).IgnoreError();
    WriteFile(folder + "/memory.swappiness", "0").IgnoreError();
  }
  if (status.ok()) return group;
  group.Remove().IgnoreError();
  return status;
}

bool Cgroup::Enter() const {
  const int fd = ::open(procs_.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool good = ::write(fd, "0", 1) == 1;   // 0: the one that writes
  const int error = errno;
  ::close(fd);
  errno = error;
  return good;
}

uint64_t Cgroup::OomKills() const {
  std::ifstream file(folder_ + (version_ == 2 ? "/memory.events" : "/memory.oom_control"));
  std::string name;
  for (uint64_t value = 0; file >> name >> value;) {
    if (name == "oom_kill") return value;
  }
  return 0;
}

void Cgroup::Kill() const {
  if (version_ == 2 && ::access((folder_ + "/cgroup.kill").c_str(), W_OK) == 0 && WriteFile(folder_ + "/cgroup.kill", "1").ok()) return;
  std::ifstream file(procs_);
  for (pid_t pid = 0; file >> pid;) {
    if (pid > 0) ::kill(pid, SIGKILL);
  }
}

absl::Status Cgroup::Remove() const {
  if (::rmdir(folder_.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(folder_, ": ", std::strerror(errno)));
}

}   // namespace troupe
