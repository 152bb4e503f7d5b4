// Block: alignment, sharing and views.
#include "actors/block.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <thread>
#include <vector>

namespace troupe {
namespace {
bool Aligned(const Block& block) {
  return reinterpret_cast<uintptr_t>(block.data()) % Block::kAlignment == 0;
}
}   // namespace

BOOST_AUTO_TEST_SUITE(BlockSuite)

BOOST_AUTO_TEST_CASE(a_copy_is_aligned_and_independent) {
  for (size_t size = 1; size < 300; ++size) {
    std::vector<unsigned char> bytes(size, 7);
    const Block block = Block::Copy(bytes.data(), size);
    bytes.assign(size, 0);
    BOOST_TEST_REQUIRE((Aligned(block) && block.size() == size));
    for (const unsigned char byte : block.As<unsigned char>()) BOOST_TEST_REQUIRE(byte == 7);
  }
}

BOOST_AUTO_TEST_CASE(an_empty_block_is_an_empty_array_of_everything) {
  for (const Block& block : {Block(), Block::Copy(nullptr, 0), BlockBuilder(0).size() == 0 ? BlockBuilder(0).Finish() : Block()}) {
    BOOST_TEST(block.empty());
    BOOST_TEST(block.As<double>().empty());
  }
}

BOOST_AUTO_TEST_CASE(adopting_a_vector_copies_nothing) {
  std::vector<float> values{1, 2, 3};
  const float* data = values.data();
  const Block block = Block::Adopt(std::move(values));
  BOOST_TEST(block.As<float>().data() == data);
  BOOST_TEST(block.size() == 12u);
}

BOOST_AUTO_TEST_CASE(a_built_block_keeps_what_was_written) {
  BlockBuilder builder(1000 * sizeof(uint64_t));
  for (uint64_t i = 0; uint64_t & value : builder.As<uint64_t>()) value = i++;
  const Block block = std::move(builder).Finish();
  BOOST_TEST(Aligned(block));
  BOOST_TEST(block.As<uint64_t>()[999] == 999u);
}

BOOST_AUTO_TEST_CASE(memory_that_was_let_go_is_used_again_by_its_thread_only_when_nobody_has_it) {
  std::vector<Block> kept;
  for (int round = 0; round < 20; ++round) {
    for (const size_t size : {size_t{1}, size_t{64} << 10, (size_t{64} << 10) + 1, size_t{300'000}, size_t{1} << 20, (size_t{1} << 20) + 1}) {
      BlockBuilder builder(size);
      const auto tag = static_cast<unsigned char>(kept.size());
      std::memset(builder.data(), tag, size);
      kept.push_back(std::move(builder).Finish());
      BOOST_TEST_REQUIRE((Aligned(kept.back()) && kept.back().size() == size));
    }
    for (size_t i = 0; i < kept.size(); ++i) {   // nobody has written to what others hold
      const auto bytes = kept[i].As<unsigned char>();
      BOOST_TEST_REQUIRE(std::ranges::all_of(bytes, [&](unsigned char byte) { return byte == bytes[0]; }));
    }
    for (size_t i = 0; i < kept.size(); i += 2) kept[i] = Block();
  }
}

BOOST_AUTO_TEST_CASE(blocks_outlive_the_thread_that_made_them_and_end_on_others) {
  std::vector<Block> made;
  std::thread([&] {
    for (int i = 0; i < 10; ++i) made.push_back(Block::Copy(std::vector<unsigned char>(200'000, static_cast<unsigned char>(i)).data(), 200'000));
  }).join();
  for (size_t i = 0; i < made.size(); ++i) BOOST_TEST(made[i].As<unsigned char>()[199'999] == i);
  std::thread([&] { made.clear(); }).join();
  std::thread([] {
    thread_local Block last;   // ends with the thread, perhaps after what the thread has kept
    last = Block::Copy(std::vector<unsigned char>(200'000).data(), 200'000);
  }).join();
  BOOST_TEST(made.empty());
}

BOOST_AUTO_TEST_CASE(a_slice_keeps_the_bytes_alive) {
  Block slice;
  {
    const std::vector<uint32_t> values{1, 2, 3, 4};
    slice = Block::Copy(std::span<const uint32_t>(values)).Slice(4, 8);
  }
  BOOST_TEST(slice.As<uint32_t>()[0] == 2u);
  BOOST_TEST(slice.As<uint32_t>()[1] == 3u);
  BOOST_TEST(slice.Slice(8, 0).empty());
}

BOOST_AUTO_TEST_CASE(decoders_can_ask_before_they_view) {
  const std::vector<uint32_t> values{1, 2, 3};
  const Block block = Block::Copy(std::span<const uint32_t>(values));
  BOOST_TEST(block.IsArrayOf<uint32_t>());
  BOOST_TEST(!block.IsArrayOf<uint64_t>());               // 12 bytes
  BOOST_TEST(!block.Slice(1, 8).IsArrayOf<uint64_t>());   // not aligned
  BOOST_TEST(block.Slice(1, 8).IsArrayOf<unsigned char>());
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
