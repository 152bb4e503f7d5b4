#include "ps/internal/memory.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <map>
#include <random>
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

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::internal
