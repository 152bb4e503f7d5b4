// One at a time has it, and whoever waits gets it.
#include "actors/storage/file_lock.h"

#include <boost/test/unit_test.hpp>
#include <string>
#include <thread>

#include "actors/storage/scratch_folder.h"

namespace troupe {

BOOST_AUTO_TEST_SUITE(FileLockTest)

BOOST_AUTO_TEST_CASE(one_at_a_time_has_it) {
  const ScratchFolder folder = *ScratchFolder::Make();
  const std::string path = folder.path() + "/lock";
  auto first = FileLock::Take(path, std::chrono::milliseconds(0));
  BOOST_REQUIRE(first.ok());
  const auto second = FileLock::Take(path, std::chrono::milliseconds(20));
  BOOST_TEST(absl::IsFailedPrecondition(second.status()));
  BOOST_TEST(std::string(second.status().message()) == path + ": somebody has this lock");
  FileLock moved = *std::move(first);
  BOOST_TEST(!FileLock::Take(path, std::chrono::milliseconds(0)).ok());   // it is the same one
  std::thread ends([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    moved = FileLock();
  });
  BOOST_TEST(FileLock::Take(path, std::chrono::seconds(20)).ok());
  ends.join();
}

BOOST_AUTO_TEST_CASE(a_file_that_cannot_be_is_said) {
  const auto lock = FileLock::Take("/no/such/folder/lock", std::chrono::milliseconds(0));
  BOOST_TEST(absl::IsInternal(lock.status()));
  BOOST_TEST(std::string(lock.status().message()) == "/no/such/folder/lock: No such file or directory");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
