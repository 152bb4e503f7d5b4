// Memory that other processes map: who may use which part of it when.
#include "actors/internal/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <set>

#include "actors/block.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr size_t kMiB = 1 << 20;

struct Fixture {
  SharedMemory memory;
  Fixture() { memory.Use(); }
  /// What another process would do with a reference.
  std::shared_ptr<MappedSegment> Map(const SharedPlace& place) {
    auto mapped = MappedSegment::Map(memory.Descriptor(place.segment));
    BOOST_REQUIRE(mapped.ok());
    return *mapped;
  }
};

int Sealed(off_t size, int seals) {
  const int fd = ::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  BOOST_REQUIRE_EQUAL(::ftruncate(fd, size), 0);
  if (seals != 0) BOOST_REQUIRE_EQUAL(::fcntl(fd, F_ADD_SEALS, seals), 0);
  return fd;
}

}   // namespace

BOOST_FIXTURE_TEST_SUITE(SharedMemorySuite, Fixture)

BOOST_AUTO_TEST_CASE(what_is_lent_is_read_where_it_lies) {
  auto bytes = memory.Allocate(kMiB);
  std::memset(bytes.get(), 7, kMiB);
  const auto place = memory.Lend(bytes.get() + 1000);
  BOOST_REQUIRE(place.has_value());
  const auto mapped = Map(*place);
  const auto owner = mapped->Borrow(place->offset, 5000, place->counter);
  BOOST_REQUIRE(owner.ok());
  for (size_t i = 0; i < 5000; ++i) BOOST_REQUIRE(mapped->data(place->offset)[i] == std::byte{7});
  bytes.get()[1000] = std::byte{8};
  BOOST_TEST((mapped->data(place->offset)[0] == std::byte{8}));
}

BOOST_AUTO_TEST_CASE(blocks_do_not_overlap_and_are_used_again) {
  std::vector<std::shared_ptr<std::byte>> blocks;
  std::set<std::byte*> starts;
  for (const size_t size : {kMiB, SharedMemory::kBlockBytesMin, 3 * kMiB + 1, kMiB - 1}) {
    blocks.push_back(memory.Allocate(size));
    BOOST_REQUIRE(blocks.back() != nullptr);
    BOOST_TEST(reinterpret_cast<uintptr_t>(blocks.back().get()) % 4096 == 0u);
    std::memset(blocks.back().get(), static_cast<int>(blocks.size()), size);
    starts.insert(blocks.back().get());
  }
  BOOST_TEST((blocks[0].get()[kMiB - 1] == std::byte{1}));
  BOOST_TEST((blocks[2].get()[3 * kMiB] == std::byte{3}));
  blocks.clear();
  BOOST_TEST(starts.contains(memory.Allocate(kMiB).get()));
  BOOST_TEST(memory.bytes() == SharedLayout::kSegmentBytes);
}

BOOST_AUTO_TEST_CASE(a_block_is_not_used_again_before_every_reference_is_returned) {
  auto bytes = memory.Allocate(kMiB);
  std::byte* const start = bytes.get();
  const auto place = memory.Lend(start), again = memory.Lend(start);
  const auto mapped = Map(*place);
  auto first = *mapped->Borrow(place->offset, kMiB, place->counter), second = *mapped->Borrow(again->offset, kMiB, again->counter);
  bytes.reset();
  BOOST_TEST(memory.Allocate(kMiB).get() != start);
  first.reset();
  BOOST_TEST(memory.Allocate(kMiB).get() != start);
  second.reset();
  BOOST_TEST(memory.Allocate(kMiB).get() == start);
}

BOOST_AUTO_TEST_CASE(a_reference_that_was_not_sent_is_taken_back) {
  auto bytes = memory.Allocate(kMiB);
  std::byte* const start = bytes.get();
  memory.TakeBack(*memory.Lend(start));
  bytes.reset();
  BOOST_TEST(memory.Allocate(kMiB).get() == start);
}

BOOST_AUTO_TEST_CASE(memory_that_a_lost_peer_may_still_read_is_never_used_again) {
  auto lent = memory.Allocate(kMiB), kept = memory.Allocate(kMiB);
  const auto place = memory.Lend(lent.get());
  const auto mapped = Map(*place);
  std::memset(lent.get(), 7, kMiB);
  std::byte* const start = lent.get();
  lent.reset();
  memory.ForgetLent();
  auto next = memory.Allocate(kMiB);
  BOOST_TEST(next.get() != start);
  BOOST_TEST(memory.bytes() == 2 * SharedLayout::kSegmentBytes);
  std::memset(next.get(), 8, kMiB);
  std::memset(kept.get(), 9, kMiB);
  BOOST_TEST((mapped->data(place->offset)[5] == std::byte{7}));
  kept.reset();   // the last one of the old segment
  BOOST_TEST(memory.bytes() == SharedLayout::kSegmentBytes);
  BOOST_TEST((mapped->data(place->offset)[5] == std::byte{7}));
}

BOOST_AUTO_TEST_CASE(nothing_is_shared_that_is_too_small_too_big_too_much_or_not_wanted) {
  BOOST_TEST(memory.Allocate(SharedMemory::kBlockBytesMin - 1).get() == nullptr);
  BOOST_TEST(memory.Allocate(SharedMemory::kBlockBytesMax + 1).get() == nullptr);
  std::vector<std::shared_ptr<std::byte>> blocks;
  while (auto block = memory.Allocate(SharedMemory::kBlockBytesMax)) blocks.push_back(block);
  BOOST_TEST(blocks.size() == SharedMemory::kBytesMax / SharedLayout::kSegmentBytes);
  BOOST_TEST(memory.bytes() == SharedMemory::kBytesMax);
  blocks.resize(1);
  BOOST_TEST(memory.bytes() == (1 + SharedMemory::kWarmEmptyMax) * SharedLayout::kSegmentBytes);   // of the others only the addresses are kept
  const size_t used_again = SharedMemory::kBytesMax / SharedLayout::kSegmentBytes - 1;
  while (auto block = memory.Allocate(SharedMemory::kBlockBytesMax)) blocks.push_back(block);
  BOOST_TEST(blocks.size() == 1 + used_again);
  for (const auto& block : blocks) {
    const auto place = memory.Lend(block.get());
    BOOST_REQUIRE(place.has_value());
    BOOST_TEST(place->segment <= SharedMemory::kBytesMax / SharedLayout::kSegmentBytes);   // no new ones: peers have these mapped
    memory.TakeBack(*place);
  }
  blocks.resize(1);
  memory.Disuse();
  BOOST_TEST(memory.Allocate(kMiB).get() == nullptr);
  BOOST_TEST(memory.bytes() == SharedLayout::kSegmentBytes);
  blocks.clear();
  BOOST_TEST(memory.bytes() == 0u);
}

BOOST_AUTO_TEST_CASE(other_memory_cannot_be_lent) {
  const std::vector<std::byte> other(kMiB);
  const auto bytes = memory.Allocate(kMiB);
  BOOST_TEST(!memory.Lend(other.data()).has_value());
  BOOST_TEST(memory.Descriptor(99) == -1);
}

BOOST_AUTO_TEST_CASE(what_is_no_segment_is_not_mapped_and_what_lies_outside_is_not_borrowed) {
  constexpr auto kSize = off_t{SharedLayout::kSegmentBytes};
  for (const int fd : {-1, ::open("/dev/null", O_RDWR | O_CLOEXEC), Sealed(kSize, 0), Sealed(kSize, F_SEAL_GROW), Sealed(kSize - 4096, F_SEAL_SHRINK)}) {
    BOOST_TEST(absl::IsInvalidArgument(MappedSegment::Map(fd).status()));
    BOOST_TEST(::fcntl(fd, F_GETFD) == -1);   // it was taken
  }
  const auto mapped = *MappedSegment::Map(Sealed(kSize, F_SEAL_SHRINK));
  constexpr uint64_t kEnd = SharedLayout::kSegmentBytes;
  BOOST_TEST(mapped->Borrow(kEnd - 1, 1, 1).ok());
  for (const auto& [offset, size, counter] : std::vector<std::tuple<uint64_t, uint64_t, uint32_t>>{{0, 1, 0},
                                                                                                   {kEnd, 1, 1},
                                                                                                   {kEnd - 1, 2, 1},
                                                                                                   {~uint64_t{0}, 2, 1},
                                                                                                   {SharedLayout::kUnit, ~uint64_t{0}, 1},
                                                                                                   {SharedLayout::kUnit, 1, 2},
                                                                                                   {kEnd - 1, 1, SharedLayout::kUnits}}) {
    BOOST_TEST(absl::IsInvalidArgument(mapped->Borrow(offset, size, counter).status()), offset << " " << size << " " << counter);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
