#include "ps/internal/memory.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <map>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace troupe::internal {
namespace {

bool Holds(const std::byte* memory, size_t bytes, int value) {
  return std::all_of(memory, memory + bytes, [value](std::byte byte) { return byte == static_cast<std::byte>(value); });
}

BOOST_AUTO_TEST_SUITE(ArenaTest)

BOOST_AUTO_TEST_CASE(pieces_are_zero_aligned_and_apart) {
  Arena arena;
  std::mt19937 random(1);
  std::map<std::byte*, std::pair<size_t, int>> held;   // size, mark
  for (int step = 0; step < 2000; ++step) {
    if (held.size() < 60 && random() % 5 < 3) {
      const size_t bytes = 1 + random() % (random() % 10 == 0 ? 3 << 20 : 100'000);
      std::byte* memory = arena.Allocate(bytes);
      BOOST_REQUIRE(reinterpret_cast<size_t>(memory) % 64 == 0u);
      BOOST_REQUIRE(Holds(memory, bytes, 0));
      const int mark = 1 + step % 200;
      std::memset(memory, mark, bytes);
      BOOST_REQUIRE(held.emplace(memory, std::pair(bytes, mark)).second);
    } else if (!held.empty()) {
      const auto piece = std::next(held.begin(), static_cast<ptrdiff_t>(random() % held.size()));
      const auto [bytes, mark] = piece->second;
      BOOST_REQUIRE(Holds(piece->first, bytes, mark));   // nobody else wrote there
      arena.Free(piece->first, bytes);
      held.erase(piece);
    }
  }
}

BOOST_AUTO_TEST_CASE(pieces_that_double_use_again_what_they_leave) {
  const auto arena = std::make_shared<Arena>();
  std::vector<Memory> pieces(64);
  size_t bytes = 1024;
  for (; bytes <= 1 << 20; bytes *= 2)
    for (Memory& piece : pieces) piece = Memory(arena, bytes);
  const size_t used = pieces.size() * bytes / 2;
  BOOST_TEST(arena->bytes() < used * 3 / 2);
}

BOOST_AUTO_TEST_CASE(big_pieces_go_back_to_the_system) {
  const auto arena = std::make_shared<Arena>();
  {
    const Memory big(arena, 64 << 20);
    BOOST_TEST(arena->bytes() >= size_t{64} << 20);
  }
  BOOST_TEST(arena->bytes() < size_t{1} << 20);
}

BOOST_AUTO_TEST_CASE(a_small_table_takes_little) {
  const auto arena = std::make_shared<Arena>();
  const Memory small(arena, 500);
  BOOST_TEST(arena->bytes() <= size_t{64} << 10);
}

/// As a table whose ranges are copied on write while a fork is written, and let go when it is.
struct Ranges {
  Ranges(size_t count, size_t bytes) : arena(std::make_shared<Arena>(kRangesArena)), bytes(bytes), now(count), fork(count) {
    for (size_t i = 0; i < count; ++i) {
      now[i] = Memory(arena, bytes);
      Mark(i);
    }
  }
  void Mark(size_t i) {
    for (size_t at = 0; at < bytes; at += 1024) now[i].get()[at] = static_cast<std::byte>(i);
  }
  bool Holds(size_t i) const {
    for (size_t at = 0; at < bytes; at += 1024) {
      if (now[i].get()[at] != static_cast<std::byte>(i)) return false;
    }
    return true;
  }
  /// Copies each range with a chance of `share`.
  void Checkpoint(double share, std::mt19937& random) {
    for (size_t i = 0; i < now.size(); ++i) {
      if (std::uniform_real_distribution<double>()(random) < share) fork[i] = std::exchange(now[i], now[i].Copy());
    }
    for (Memory& range : fork) range = Memory();
    for (size_t i = 0; i < now.size(); ++i) BOOST_REQUIRE(Holds(i));
  }
  size_t used() const { return now.size() * bytes; }
  std::shared_ptr<Arena> arena;
  size_t bytes;
  std::vector<Memory> now, fork;
};

BOOST_AUTO_TEST_CASE(what_copies_leave_goes_back) {
  std::mt19937 random(3);
  Ranges ranges(96, (1 << 20) + 512);
  for (int checkpoint = 0; checkpoint < 10; ++checkpoint) ranges.Checkpoint(1, random);
  BOOST_TEST(ranges.arena->bytes() <= ranges.used() + (size_t{32} << 20));   // 16 MiB to spare, and what shares a page with what is in use
}

BOOST_AUTO_TEST_CASE(ranges_that_stay_hold_no_more_than_a_copy_of_all) {
  std::mt19937 random(4);
  Ranges ranges(63, (size_t{1} << 20) + 512);
  for (int checkpoint = 0; checkpoint < 20; ++checkpoint) ranges.Checkpoint(0.875, random);
  BOOST_TEST(ranges.arena->bytes() <= 2 * ranges.used() + (size_t{32} << 20));
}

BOOST_AUTO_TEST_CASE(an_arena_that_is_emptied_keeps_little) {
  for (const ArenaOptions& options : {ArenaOptions(), kRangesArena}) {
    const auto arena = std::make_shared<Arena>(options);
    std::vector<Memory> slabs;
    for (int i = 0; i < 2048; ++i) slabs.emplace_back(arena, size_t{64} << 10);
    BOOST_TEST(arena->bytes() >= size_t{128} << 20);
    std::shuffle(slabs.begin(), slabs.end(), std::mt19937(5));
    slabs.clear();
    BOOST_TEST(arena->bytes() <= options.spare_min + (size_t{4} << 20));
  }
}

BOOST_AUTO_TEST_CASE(what_is_spare_shrinks_with_what_is_in_use) {
  const auto arena = std::make_shared<Arena>();
  auto large = std::make_unique<Memory>(arena, size_t{256} << 20);
  std::vector<Memory> slabs;
  for (int i = 0; i < 1024; ++i) slabs.emplace_back(arena, size_t{64} << 10);
  slabs.clear();
  BOOST_TEST(arena->bytes() >= size_t{280} << 20);
  large.reset();
  BOOST_TEST(arena->bytes() <= size_t{6} << 20);
}

BOOST_AUTO_TEST_CASE(forks_end_on_other_threads) {
  const auto arena = std::make_shared<Arena>(kRangesArena);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&arena, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<Memory> held(8);
      for (int step = 0; step < 300; ++step) {
        Memory& piece = held[random() % held.size()];
        piece = Memory(arena, 1 + random() % (size_t{3} << 20));
        piece.get()[0] = std::byte{1};
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(arena->bytes() <= kRangesArena.spare_min + (size_t{4} << 20));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::internal
