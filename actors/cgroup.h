// Control groups of the kernel that limit memory, versions 1 and 2: below which folder a process may make them, and one of them. A group's name says which
// process has made it, so that whoever comes later knows which have been left behind.
//
// Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace troupe {

/// A folder of the kernel's file system for control groups, as a path. Version 2 where it holds cgroup.controllers.
struct CgroupPlace {
  std::string folder;
  int version = 1;
};

/// The group that a process is in, as far as it has to do with memory. own: /proc/self/cgroup; mounts: /proc/self/mountinfo. Unavailable: there is none, or it
/// cannot be seen from here.
absl::StatusOr<CgroupPlace> OwnCgroup(std::string_view own, std::string_view mounts);

/// Below which groups can be made from now on: `folder`, or, where that is empty, the group that this process is in. They have been tried out, and those of
/// makers that are gone are removed, with all processes in them. In version 2 this process moves into a leaf of its own, since a group that limits others may
/// hold no process. Unavailable: why not, in words.
absl::StatusOr<CgroupPlace> PrepareCgroups(const std::string& folder);

/// Groups whose makers are gone: their processes are killed, and they are removed as soon as these have ended.
void RemoveCgroupsLeftIn(const CgroupPlace& place);

/// One group with a limit on memory, and no swap beyond it. Not thread-safe. Whoever has made it removes it (Remove).
class Cgroup {
 public:
  /// A group of this process in `place`. memory_max: bytes, above 0. Unavailable: "FILE: reason".
  static absl::StatusOr<Cgroup> Make(const CgroupPlace& place, uint64_t memory_max);

  /// Moves the calling process in. Allocates nothing: for the time between fork and exec. False: errno says why.
  bool Enter() const;
  /// How many of its processes the kernel has killed for want of memory.
  uint64_t OomKills() const;
  /// Kills everybody in it. Who is born meanwhile may be missed in version 1.
  void Kill() const;
  /// Unavailable: somebody is still in it.
  absl::Status Remove() const;
  const std::string& folder() const { return folder_; }

 private:
  Cgroup(std::string folder, int version) : folder_(std::move(folder)), procs_(folder_ + "/cgroup.procs"), version_(version) {}
  friend void RemoveCgroupsLeftIn(const CgroupPlace& place);

  std::string folder_, procs_;
  int version_;
};

}   // namespace troupe
