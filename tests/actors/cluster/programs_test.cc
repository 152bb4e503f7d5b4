// Programs: bytes in parts, in order or not, twice, wrong, too many, and taken up again after a restart; disks that refuse.
#include "actors/cluster/programs.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "actors/random.h"
#include "actors/storage/scratch_folder.h"

namespace troupe {
namespace {

Block Bytes(size_t size, uint64_t seed = 1) {
  Random random(seed);
  BlockBuilder builder(size);
  for (size_t i = 0; i < size; ++i) builder.data()[i] = static_cast<std::byte>(random.Next());
  return std::move(builder).Finish();
}
bool Same(const Block& a, const Block& b) {
  return a.size() == b.size() && std::equal(a.data(), a.data() + a.size(), b.data());
}
Block Whole(const Programs& programs, const std::string& hash, size_t part) {
  std::string text;
  for (uint64_t size = 1; text.size() < size;) {
    const auto bytes = programs.Get(hash, text.size(), part, &size);
    BOOST_REQUIRE_MESSAGE(bytes.ok(), bytes.status().ToString());
    BOOST_REQUIRE(bytes->size() > 0 && bytes->size() <= part);
    text.append(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  }
  return Block::Copy(text.data(), text.size());
}

struct Fixture {
  ScratchFolder folder = *ScratchFolder::Make("");
  Programs programs{folder.path() + "/programs"};
  const Block bytes = Bytes(1000);
  const std::string hash = HashOfBytes(bytes);

  /// The bytes there are, from the answer.
  uint64_t Put(uint64_t offset, size_t size) {
    const auto have = programs.Put(hash, bytes.size(), offset, bytes.Slice(offset, size));
    BOOST_REQUIRE_MESSAGE(have.ok(), have.status().ToString());
    return *have;
  }
  void CheckWhole() {
    BOOST_TEST(programs.Has(hash));
    for (const size_t part : {1UL, 7UL, 999UL, 1000UL, 5000UL}) BOOST_TEST(Same(Whole(programs, hash, part), bytes));
    struct stat status {};
    BOOST_REQUIRE(::stat(programs.PathOf(hash).c_str(), &status) == 0);
    BOOST_TEST((status.st_mode & 0777U) == 0700U);
    BOOST_TEST(std::distance(std::filesystem::directory_iterator(folder.path() + "/programs"), {}) == 1);
  }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(ProgramsSuite, Fixture)

BOOST_AUTO_TEST_CASE(a_hash_is_that_of_the_bytes_wherever_they_are) {
  const std::string path = folder.path() + "/file";
  for (const size_t size : {0UL, 1UL, 240UL, 241UL, 3'000'001UL}) {   // longer than one read
    const Block some = Bytes(size);
    std::ofstream(path, std::ios::binary | std::ios::trunc).write(reinterpret_cast<const char*>(some.data()), static_cast<std::streamsize>(size));
    BOOST_TEST(HashOfProgram(path).value() == HashOfBytes(some));
  }
  BOOST_TEST(HashOfBytes(Block()) == "99aa06d3014798d86001c324468d497f");   // XXH3, 128 bits, of nothing, by its specification
  BOOST_TEST(HashOfBytes(bytes) != HashOfBytes(Bytes(1000, 2)));
  const auto missing = HashOfProgram(folder.path() + "/none");
  BOOST_TEST(absl::IsNotFound(missing.status()));
  BOOST_TEST(missing.status().message() == folder.path() + "/none: No such file or directory");
  BOOST_TEST(absl::IsInternal(HashOfProgram(folder.path()).status()));   // a folder
}

BOOST_AUTO_TEST_CASE(parts_in_order_make_a_program_that_can_be_run) {
  BOOST_TEST(!programs.Has(hash));
  BOOST_TEST(Put(0, 0) == 0u);   // how much is there?
  BOOST_TEST(Put(0, 400) == 400u);
  BOOST_TEST(!programs.Has(hash));
  uint64_t size = 0;
  BOOST_TEST(absl::IsNotFound(programs.Get(hash, 0, 10, &size).status()));
  BOOST_TEST(Put(400, 599) == 999u);
  BOOST_TEST(Put(999, 1) == 1000u);
  CheckWhole();
  BOOST_TEST(programs.Get(hash, 1000, 10, &size).value().size() == 0u);
  BOOST_TEST(programs.Get(hash, ~uint64_t{0}, 10, &size).value().size() == 0u);
  BOOST_TEST(size == 1000u);
}

BOOST_AUTO_TEST_CASE(parts_out_of_order_or_twice_change_nothing_and_are_answered_with_what_is_there) {
  BOOST_TEST(Put(500, 500) == 0u);
  BOOST_TEST(Put(0, 300) == 300u);
  BOOST_TEST(Put(0, 300) == 300u);
  BOOST_TEST(Put(200, 300) == 300u);   // overlaps
  BOOST_TEST(Put(301, 10) == 300u);
  BOOST_TEST(Put(300, 700) == 1000u);
  for (const uint64_t offset : {0UL, 300UL, 999UL}) BOOST_TEST(Put(offset, 1) == 1000u);
  CheckWhole();
}

BOOST_AUTO_TEST_CASE(bytes_of_another_hash_are_refused_and_it_begins_anew) {
  BOOST_TEST(Put(0, 500) == 500u);
  const Block wrong = Bytes(500, 7);
  const auto put = programs.Put(hash, 1000, 500, wrong);
  BOOST_TEST(absl::IsDataLoss(put.status()), put.status().ToString());
  BOOST_TEST(!programs.Has(hash));
  BOOST_TEST(Put(0, 1000) == 1000u);
  CheckWhole();
}

BOOST_AUTO_TEST_CASE(what_is_no_hash_or_no_size_is_refused) {
  for (const std::string& name : {std::string(), std::string("../../etc/passwd"), std::string(31, 'a'), std::string(33, 'a'), std::string(32, 'A'),
                                  std::string(32, '.'), std::string(30, 'a') + "/a"}) {
    BOOST_TEST(absl::IsInvalidArgument(programs.Put(name, 10, 0, Bytes(10)).status()), name);
    BOOST_TEST(!programs.Has(name));
    uint64_t size = 0;
    BOOST_TEST(absl::IsNotFound(programs.Get(name, 0, 10, &size).status()));
  }
  BOOST_TEST(programs.Put(hash, 0, 0, Block()).status().message() == "a program of 0 bytes, expected 1 to 1073741824");
  BOOST_TEST(absl::IsInvalidArgument(programs.Put(hash, Programs::kSizeMax + 1, 0, bytes).status()));
  BOOST_TEST(absl::IsInvalidArgument(programs.Put(hash, 999, 0, bytes).status()));   // more than it says
  BOOST_TEST(!std::filesystem::exists(programs.PathOf(hash)));
}

BOOST_AUTO_TEST_CASE(what_came_before_a_restart_is_not_sent_again) {
  Put(0, 700);
  programs = Programs(folder.path() + "/programs");
  BOOST_TEST(Put(0, 100) == 700u);
  BOOST_TEST(Put(700, 300) == 1000u);
  programs = Programs(folder.path() + "/programs");
  CheckWhole();
}

BOOST_AUTO_TEST_CASE(a_head_that_was_killed_before_the_last_step_does_not_take_what_is_there_for_done) {
  Put(0, 700);
  {   // all bytes, and then no name: the process was killed before it renamed the file
    std::ofstream part(programs.PathOf(hash) + ".part", std::ios::binary | std::ios::app);
    part.write(reinterpret_cast<const char*>(bytes.data()) + 700, 300);
  }
  uint64_t have = Put(0, 0);   // as a client does: go on where the answer says
  for (int i = 0; i < 3 && have < bytes.size(); ++i) have = Put(have, bytes.size() - have);
  BOOST_TEST(have == bytes.size());
  CheckWhole();
}

BOOST_AUTO_TEST_CASE(a_longer_file_that_somebody_left_is_no_obstacle) {
  BOOST_TEST(programs.Put(hash, 5000, 0, Bytes(3000, 9)).value() == 3000u);   // another's idea of this program
  uint64_t have = Put(0, 0);
  for (int i = 0; i < 3 && have < bytes.size(); ++i) have = Put(have, bytes.size() - have);
  CheckWhole();
}

BOOST_AUTO_TEST_CASE(a_disk_that_refuses_is_an_error_and_does_not_spoil_what_comes_later) {
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{600, before.rlim_max};
  Put(0, 300);
  BOOST_REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto put = programs.Put(hash, 1000, 300, bytes.Slice(300, 700));
  setrlimit(RLIMIT_FSIZE, &before);
  BOOST_TEST(absl::IsInternal(put.status()), put.status().ToString());
  BOOST_TEST(put.status().message() == programs.PathOf(hash) + ".part: File too large");
  BOOST_TEST(Put(0, 1) == 600u);   // as far as it went
  BOOST_TEST(Put(600, 400) == 1000u);
  CheckWhole();

  std::ofstream(folder.path() + "/file") << "x";
  Programs nowhere(folder.path() + "/file");   // no folder
  BOOST_TEST(absl::IsInternal(nowhere.Put(hash, 1000, 0, bytes).status()));
  BOOST_TEST(!nowhere.Has(hash));
}

BOOST_AUTO_TEST_CASE(programs_that_nobody_needs_are_removed_a_while_after_they_were_last_given) {
  using namespace std::chrono_literals;
  const std::string path = folder.path() + "/programs";
  RemovePrograms(path, {}, 0s);   // there is no such folder: nothing to do
  const Block other = Bytes(500, 2), third = Bytes(400, 3);
  for (const Block& program : {bytes, other}) BOOST_TEST(programs.Put(HashOfBytes(program), program.size(), 0, program).ok());
  BOOST_TEST(programs.Put(HashOfBytes(third), third.size(), 0, third.Slice(0, 10)).ok());   // in part
  std::ofstream(path + "/a file of somebody else") << "x";
  const auto files = [&] { return std::distance(std::filesystem::directory_iterator(path), {}); };
  RemovePrograms(path, {}, 1h);
  BOOST_TEST(files() == 4);
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    std::filesystem::last_write_time(entry.path(), std::filesystem::file_time_type::clock::now() - 2h);
  }
  BOOST_TEST(*programs.Put(HashOfBytes(other), other.size(), 0, other.Slice(0, 0)) == other.size());   // given again, as a client does that finds it there
  RemovePrograms(path, {hash}, 1h);
  BOOST_TEST((programs.Has(hash) && programs.Has(HashOfBytes(other)) && files() == 3));
  RemovePrograms(path, {}, 0s);
  BOOST_TEST(files() == 1);
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
