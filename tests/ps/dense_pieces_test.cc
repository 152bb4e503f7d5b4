#include "ps/internal/dense_pieces.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace troupe::internal {
namespace {

constexpr uint64_t kPiece = (1 << 20) + 512, kPieces = 128;

std::vector<std::byte*> TakeAll(DensePieces& pieces) {
  std::vector<std::byte*> taken;
  for (uint64_t i = 0; i < kPieces; ++i) {
    taken.push_back(pieces.Take(kPiece, false));
    std::memset(taken.back(), static_cast<int>(i), kPiece);
  }
  return taken;
}

/// Each is copied, then given back, as a table is whose fork is written range by range. Returns the copies.
std::vector<std::byte*> CopyAll(DensePieces& pieces, const std::vector<std::byte*>& taken, const std::vector<uint64_t>& but = {}) {
  std::vector<std::byte*> copies(kPieces);
  for (uint64_t i = 0; i < kPieces; ++i) {
    copies[i] = taken[i];
    if (std::ranges::find(but, i) != but.end()) continue;
    copies[i] = pieces.Take(kPiece, false);
    std::memcpy(copies[i], taken[i], kPiece);
  }
  for (uint64_t i = 0; i < kPieces; ++i) {
    if (copies[i] != taken[i]) pieces.Give(taken[i], kPiece);
  }
  for (uint64_t i = 0; i < kPieces; ++i) {
    BOOST_REQUIRE(std::all_of(copies[i], copies[i] + kPiece, [i](std::byte byte) { return byte == static_cast<std::byte>(i); }));
  }
  return copies;
}

BOOST_AUTO_TEST_SUITE(DensePiecesTest)

BOOST_AUTO_TEST_CASE(copies_share_blocks) {
  DensePieces pieces(std::make_shared<Arena>(), kPieces * kPiece, true);
  const std::vector<std::byte*> taken = TakeAll(pieces);
  BOOST_TEST(pieces.sizes().blocks == 1u);
  CopyAll(pieces, taken);
  BOOST_TEST(pieces.sizes().blocks <= 6u);   // not one a piece
}

BOOST_AUTO_TEST_CASE(what_copies_leave_goes_back) {
  DensePieces pieces(std::make_shared<Arena>(), kPieces * kPiece, true);
  std::vector<std::byte*> taken = TakeAll(pieces);
  for (int checkpoint = 0; checkpoint < 20; ++checkpoint) {
    taken = CopyAll(pieces, taken);
    const DensePieces::Sizes sizes = pieces.sizes();
    BOOST_TEST(sizes.taken == kPieces * kPiece);
    BOOST_TEST(sizes.kept <= std::max<uint64_t>(16 << 20, sizes.taken / 8));
    BOOST_TEST(sizes.vacant <= sizes.taken * 3 / 2);
    BOOST_TEST(sizes.blocks <= 12u);
  }
}

BOOST_AUTO_TEST_CASE(one_piece_that_stays_in_each_block_does_not_hold_ever_more_places) {
  DensePieces pieces(std::make_shared<Arena>(), kPieces * kPiece, true);
  std::vector<std::byte*> taken = TakeAll(pieces);
  std::mt19937 random(1);
  for (int checkpoint = 0; checkpoint < 40; ++checkpoint) {
    std::vector<uint64_t> but;
    for (int i = 0; i < 16; ++i) but.push_back(random() % kPieces);
    taken = CopyAll(pieces, taken, but);
    const DensePieces::Sizes sizes = pieces.sizes();
    BOOST_TEST(sizes.vacant <= 3 * sizes.taken);
    BOOST_TEST(sizes.blocks <= 20u);
  }
}

BOOST_AUTO_TEST_CASE(zeros_are_zeros_wherever_they_lie) {
  DensePieces pieces(std::make_shared<Arena>(), 4 * kPiece, true);
  std::vector<std::byte*> held;
  std::mt19937 random(2);
  for (int step = 0; step < 500; ++step) {
    if (held.size() < 40 && random() % 2 == 0) {
      held.push_back(pieces.Take(kPiece, true));
      BOOST_REQUIRE(std::all_of(held.back(), held.back() + kPiece, [](std::byte byte) { return byte == std::byte{0}; }));
      std::memset(held.back(), 7, kPiece);
    } else if (!held.empty()) {
      const size_t i = random() % held.size();
      BOOST_REQUIRE(std::all_of(held[i], held[i] + kPiece, [](std::byte byte) { return byte == std::byte{7}; }));
      pieces.Give(held[i], kPiece);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
  for (std::byte* memory : held) pieces.Give(memory, kPiece);
  BOOST_TEST(pieces.sizes().taken == 0u);
}

BOOST_AUTO_TEST_CASE(pieces_larger_than_a_block_have_one_each) {
  DensePieces pieces(std::make_shared<Arena>(), 80 << 20, false);
  constexpr uint64_t kLarge = 40 << 20;
  std::byte* first = pieces.Take(kLarge, true);
  std::byte* second = pieces.Take(kLarge, true);
  BOOST_TEST(pieces.sizes().blocks == 2u);
  pieces.Give(first, kLarge);
  BOOST_TEST(pieces.sizes().blocks == 1u);
  pieces.Give(second, kLarge);
  BOOST_TEST(pieces.sizes().taken == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::internal
