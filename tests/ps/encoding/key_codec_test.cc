#include "ps/encoding/key_codec.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <set>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/encoding/bytes.h"
#include "ps/encoding/key_lists.h"

namespace troupe {
namespace {

std::vector<Key> RandomKeys(size_t n, Random& random) {
  const uint64_t space = random.Below(4) == 0 ? UINT64_MAX : uint64_t{n + 1} << random.Below(40);
  std::set<Key> keys;
  for (size_t i = 0; i < n; ++i) keys.insert(random.Below(space));
  if (random.Below(4) == 0) keys.insert({0, UINT64_MAX});
  return {keys.begin(), keys.end()};
}

BOOST_AUTO_TEST_SUITE(KeyCodecTest)

BOOST_AUTO_TEST_CASE(rising_keys_come_back_and_say_where_they_end) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    const std::vector<Key> keys = RandomKeys(random.Below(300), random);
    std::vector<std::byte> bytes(3);
    EncodeKeys(keys, bytes);
    const size_t end = bytes.size();
    bytes.resize(end + random.Below(20));
    std::vector<Key> back(keys.size());
    const auto used = DecodeKeys(std::span<const std::byte>(bytes).subspan(3), back);
    BOOST_REQUIRE_MESSAGE(used.ok(), used.status().ToString());
    BOOST_TEST(*used + 3 == end);
    BOOST_TEST(back == keys, "seed " << seed);
  }
}

BOOST_AUTO_TEST_CASE(near_keys_take_little_more_than_a_byte_each) {
  std::vector<Key> keys;
  for (Key key = 1'000'000; keys.size() < 400; key += 200) keys.push_back(key);
  std::vector<std::byte> bytes;
  EncodeKeys(keys, bytes);
  BOOST_TEST(bytes.size() == 100U + 400 + 3);
}

BOOST_AUTO_TEST_CASE(cut_bytes_and_keys_beyond_64_bits_are_refused) {
  Random random(7);
  const std::vector<Key> keys = RandomKeys(100, random);
  std::vector<std::byte> bytes;
  EncodeKeys(keys, bytes);
  std::vector<Key> back(keys.size());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));   // its own memory: a sanitizer sees its end
    BOOST_TEST(absl::IsInvalidArgument(DecodeKeys(cut, back).status()));
  }
  bytes.clear();
  EncodeKeys(std::vector<Key>{UINT64_MAX}, bytes);
  bytes.push_back({});
  bytes[0] = std::byte{3};
  back.resize(2);
  BOOST_TEST(Message(DecodeKeys(bytes, back).status()) == "keys do not fit in 64 bits");
}

BOOST_AUTO_TEST_CASE(garbage_is_refused_or_rises) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    Random random(seed);
    std::vector<std::byte> bytes(random.Below(60));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Next());
    std::vector<Key> keys(random.Below(bytes.size() + 1));
    const auto used = DecodeKeys(bytes, keys);
    if (!used.ok()) continue;
    BOOST_TEST(*used <= bytes.size());
    BOOST_TEST((std::adjacent_find(keys.begin(), keys.end(), std::greater_equal<>()) == keys.end()));
  }
}

BOOST_AUTO_TEST_CASE(sorting_sorts) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    std::vector<Key> keys = RandomKeys(random.Below(1000), random), shuffled = keys;
    random.Shuffle(std::span(shuffled));
    std::vector<uint32_t> order;
    OrderKeys(shuffled, order);
    BOOST_REQUIRE_EQUAL(order.size(), keys.size());
    for (size_t i = 0; i < keys.size(); ++i) BOOST_TEST(shuffled[order[i]] == keys[i]);
    SortKeys(shuffled);
    BOOST_TEST(shuffled == keys);
  }
}

BOOST_AUTO_TEST_CASE(numbers_of_any_length_come_back_and_cut_ones_do_not) {
  ByteWriter writer;
  std::vector<uint64_t> numbers;
  for (int bits = 0; bits <= 64; ++bits) numbers.push_back(bits == 64 ? UINT64_MAX : (uint64_t{1} << bits) - 1);
  for (const uint64_t number : numbers) {
    writer.Varint(number);
    writer.Signed(0 - number);
  }
  const std::vector<std::byte> bytes = writer.Take();
  ByteReader reader(bytes);
  for (const uint64_t number : numbers) {
    uint64_t plain = 1, negative = 1;
    BOOST_TEST((reader.Varint(&plain) && reader.Signed(&negative)));
    BOOST_TEST(plain == number);
    BOOST_TEST(negative == 0 - number);
  }
  uint64_t rest;
  BOOST_TEST(!reader.Varint(&rest));
  const std::vector<std::byte> endless(11, std::byte{0x80}), tall(10, std::byte{0x7f});
  std::vector<std::byte> beyond(9, std::byte{0xff});
  beyond.push_back(std::byte{2});
  BOOST_TEST(!ByteReader(endless).Varint(&rest));
  BOOST_TEST(!ByteReader(beyond).Varint(&rest));
}

BOOST_AUTO_TEST_CASE(lists_of_keys_are_kept_by_their_hash_until_others_are_more_recent) {
  KeyLists lists;
  const auto list = [](uint64_t first) { return Block::Adopt(std::vector<Key>{first, first + 1}); };
  for (uint64_t hash = 1; hash <= KeyLists::kListsMax; ++hash) lists.Keep(hash, list(hash), 16);
  BOOST_REQUIRE(lists.Find(1) != nullptr);
  BOOST_TEST(lists.Find(1)->As<Key>()[0] == 1U);
  lists.Keep(100, list(100), 16);
  BOOST_TEST(lists.Find(2) == nullptr);   // 1 had been asked for
  BOOST_TEST(lists.Find(1) != nullptr);
  BOOST_TEST(lists.Find(100) != nullptr);
  lists.Keep(200, list(200), KeyLists::kBytesMax / 4 + 1);   // too long
  BOOST_TEST(lists.Find(200) == nullptr);
  for (uint64_t hash = 300; hash < 304; ++hash) lists.Keep(hash, list(hash), KeyLists::kBytesMax / 4);
  BOOST_TEST(lists.Find(1) == nullptr);
  BOOST_TEST(lists.Find(300) != nullptr);
  lists.Clear();
  BOOST_TEST(lists.Find(303) == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
