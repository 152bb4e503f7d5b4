#include "actors/cgroup.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "actors/status.h"
#include "actors/storage/scratch_folder.h"
#include "actors/text.h"

namespace troupe {
namespace {

std::string Own(const std::string& own, const std::string& mounts) {
  const absl::StatusOr<CgroupPlace> place = OwnCgroup(own, mounts);
  return place.ok() ? std::to_string(place->version) + " " + place->folder : std::string(Message(place.status()));
}

/// A folder that looks like a group; its files are plain files.
struct Pretended {
  ScratchFolder scratch = *ScratchFolder::Make();
  const std::string folder = scratch.path();
  void Write(const std::string& name, const std::string& text) const { std::ofstream(folder + "/" + name) << text; }
};
std::string Text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

constexpr char kNone[] = "no file system for control groups with memory is mounted that shows this process";

BOOST_AUTO_TEST_SUITE(CgroupSuite)

BOOST_AUTO_TEST_CASE(the_own_group_is_found_in_both_versions_and_through_mounts_of_a_part) {
  const std::string second = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
  BOOST_TEST(Own("0::/user.slice/a.scope\n", second) == "2 /sys/fs/cgroup/user.slice/a.scope");
  BOOST_TEST(Own("0::/\n", second) == "2 /sys/fs/cgroup");
  const std::string first =
      "36 35 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n37 35 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n";
  const std::string unified = "38 35 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
  BOOST_TEST(Own("5:cpu,cpuacct:/c\n4:memory:/a/b\n0::/x\n", unified + first) == "1 /sys/fs/cgroup/memory/a/b");   // memory is where version 1 has it
  // A container that sees its part alone.
  const std::string part = "37 35 0:31 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
  BOOST_TEST(Own("4:memory:/docker/1/job\n", part) == "1 /sys/fs/cgroup/memory/job");
  BOOST_TEST(Own("4:memory:/docker/1\n", part) == "1 /sys/fs/cgroup/memory");
  BOOST_TEST(Own("4:memory:/docker/12\n", part) == kNone);
}

BOOST_AUTO_TEST_CASE(where_there_is_no_group_it_is_said) {
  BOOST_TEST(Own("", "") == kNone);
  BOOST_TEST(Own("0::/a\n", "21 1 8:1 / / rw - ext4 /dev/sda rw\nnonsense\n") == kNone);
  BOOST_TEST(Own("4:memory:/a\n0::/a\n", "38 35 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n") == kNone);   // version 2 has no memory there
}

BOOST_AUTO_TEST_CASE(a_group_of_version_2_has_a_limit_no_swap_and_one_fate) {
  const Pretended parent;
  const absl::StatusOr<Cgroup> group = Cgroup::Make({parent.folder, 2}, 512 << 20);
  BOOST_TEST_REQUIRE(group.ok(), group.status().ToString());
  BOOST_TEST(Text(group->folder() + "/memory.max") == "536870912");
  BOOST_TEST(Text(group->folder() + "/memory.swap.max") == "0");
  BOOST_TEST(Text(group->folder() + "/memory.oom.group") == "1");
  BOOST_TEST(group->OomKills() == 0u);
  std::ofstream(group->folder() + "/memory.events") << "low 0\nhigh 0\nmax 17\noom 3\noom_kill 2\noom_group_kill 1\n";
  BOOST_TEST(group->OomKills() == 2u);
  std::ofstream(group->folder() + "/cgroup.kill") << "";
  group->Kill();
  BOOST_TEST(Text(group->folder() + "/cgroup.kill") == "1");
  BOOST_TEST(!group->Enter());   // there is no such file
  BOOST_TEST(!group->Remove().ok());
}

BOOST_AUTO_TEST_CASE(a_group_of_version_1_limits_memory_and_swap_together) {
  const Pretended parent;
  const absl::StatusOr<Cgroup> group = Cgroup::Make({parent.folder, 1}, 4096);
  BOOST_TEST_REQUIRE(group.ok(), group.status().ToString());
  BOOST_TEST(Text(group->folder() + "/memory.limit_in_bytes") == "4096");
  BOOST_TEST(Text(group->folder() + "/memory.memsw.limit_in_bytes") == "4096");
  std::ofstream(group->folder() + "/memory.oom_control") << "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n";
  BOOST_TEST(group->OomKills() == 1u);
  std::ofstream(group->folder() + "/cgroup.procs") << "";
  BOOST_TEST(group->Enter());
  BOOST_TEST(Text(group->folder() + "/cgroup.procs") == "0");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_made_is_said_with_its_path) {
  const absl::StatusOr<Cgroup> none = Cgroup::Make({"/no/such/folder", 2}, 4096);
  BOOST_TEST((absl::IsUnavailable(none.status()) && Message(none.status()).starts_with("/no/such/folder/troupe.")), none.status().ToString());
  BOOST_TEST(Message(none.status()).ends_with(": No such file or directory"));
  BOOST_TEST(absl::IsUnavailable(PrepareCgroups("/no/such/folder").status()));
  const Pretended cpu;
  cpu.Write("cgroup.controllers", "cpu io\n");
  BOOST_TEST(Message(PrepareCgroups(cpu.folder).status()) == cpu.folder + ": memory is not among its controllers");
  // A group of version 2 that holds other processes can share nothing out: this one goes back where it was.
  const Pretended full;
  full.Write("cgroup.controllers", "cpu memory\n");
  std::filesystem::create_directory(full.folder + "/cgroup.subtree_control");   // cannot be written
  const absl::StatusOr<CgroupPlace> place = PrepareCgroups(full.folder);
  BOOST_TEST(Message(place.status()) == full.folder + "/cgroup.subtree_control: Is a directory");
  BOOST_TEST(Text(full.folder + "/cgroup.procs") == std::to_string(getpid()));
}

BOOST_AUTO_TEST_CASE(groups_of_makers_that_are_gone_are_removed_and_no_others) {
  const Pretended parent;
  for (const char* name : {"troupe.1.1", "troupe.999999999.5", "troupe.x", "others"}) std::filesystem::create_directory(parent.folder + "/" + name);
  const absl::StatusOr<Cgroup> mine = Cgroup::Make({parent.folder, 2}, 4096);
  BOOST_TEST_REQUIRE(mine.ok());
  RemoveCgroupsLeftIn({parent.folder, 2});
  BOOST_TEST(!std::filesystem::exists(parent.folder + "/troupe.1.1"));   // process 1 began at another time
  BOOST_TEST(!std::filesystem::exists(parent.folder + "/troupe.999999999.5"));
  BOOST_TEST(std::filesystem::exists(parent.folder + "/others"));
  BOOST_TEST(std::filesystem::exists(mine->folder()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
