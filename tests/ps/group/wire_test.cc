// The messages of a group's members through their frames and back, and frames that are cut or garbage.
#include "ps/group/wire.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <vector>

#include "actors/random.h"
#include "actors/text.h"

namespace troupe {
namespace {

template <class Message>
Message There(const Message& message) {
  auto decoded = Codec<Message>::Decode(Codec<Message>::Encode(message));
  BOOST_REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
  return *std::move(decoded);
}

bool SameBytes(const Block& a, const Block& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

Block Floats(std::vector<float> floats) {
  return Block::Adopt(std::move(floats));
}

ReduceMessage Part() {
  return {.group = uint64_t{1} << 40, .table = 3, .from = 4, .turn = 5, .chunk = 6, .whole = true, .counts = {7, 8}, .values = Floats({1, -2, 0.5F})};
}
AssignCopy Rows() {
  return {.group = 9, .assign = {.table = 2, .keys = Block::Adopt(std::vector<uint64_t>{4, 5}), .values = Floats({1, 2})}};
}
Greeting Hello() {
  return {.member = 2, .incarnations = {1, 0, uint64_t{7} << 33}, .over = MakeRound(3, 4), .in_step = true};
}

/// Any damage is refused, or decoded as something.
template <class Message>
void Damage(const Message& message) {
  const Frame whole = Codec<Message>::Encode(message);
  Random random(1);
  for (size_t i = 0; i < whole.head.size() + 500; ++i) {
    Frame frame = whole;
    std::vector<std::byte> bytes(whole.head.data(), whole.head.data() + whole.head.size());
    if (i < bytes.size()) {
      bytes.resize(i);
    } else {
      for (int n = 0; n < 3; ++n) bytes[random.Below(bytes.size())] = static_cast<std::byte>(random.Next());
    }
    frame.head = Block::Adopt(std::move(bytes));
    const auto decoded = Codec<Message>::Decode(frame);
    if (!decoded.ok()) BOOST_TEST(absl::IsInvalidArgument(decoded.status()));
  }
}

template <class Message>
std::string WithBlocks(const Message& message, size_t blocks) {
  Frame frame = Codec<Message>::Encode(message);
  frame.bulk.resize(blocks);
  return std::string(troupe::Message(Codec<Message>::Decode(frame).status()));
}

BOOST_AUTO_TEST_SUITE(GroupWire)

BOOST_AUTO_TEST_CASE(messages_come_out_as_they_went_in) {
  const ReduceMessage part = There(Part());
  BOOST_TEST(part.group == uint64_t{1} << 40);
  BOOST_TEST(part.table == 3u);
  BOOST_TEST(part.from == 4u);
  BOOST_TEST(part.turn == 5u);
  BOOST_TEST(part.chunk == 6u);
  BOOST_TEST(part.whole);
  BOOST_TEST((part.counts == ReduceCounts{7, 8}));
  BOOST_TEST(SameBytes(part.values, Part().values));
  BOOST_TEST(There(ReduceMessage{}).values.empty());
  BOOST_TEST(There(ReduceTaken{true}).taken);
  BOOST_TEST(!There(ReduceTaken{false}).taken);
  const AssignCopy rows = There(Rows());
  BOOST_TEST(rows.group == 9u);
  BOOST_TEST(rows.assign.table == 2u);
  BOOST_TEST(SameBytes(rows.assign.keys, Rows().assign.keys));
  BOOST_TEST(SameBytes(rows.assign.values, Rows().assign.values));
  BOOST_TEST((There(Hello()) == Hello()));
  BOOST_TEST((There(Greeting{}) == Greeting{}));
  const FetchState fetch = There(FetchState{.group = 5, .at = uint64_t{6} << 40});
  BOOST_TEST(fetch.group == 5u);
  BOOST_TEST(fetch.at == uint64_t{6} << 40);
  const StatePiece piece = There(StatePiece{.over = 7, .total = 8, .bytes = Floats({3, 4})});
  BOOST_TEST(piece.over == 7u);
  BOOST_TEST(piece.total == 8u);
  BOOST_TEST(SameBytes(piece.bytes, Floats({3, 4})));
}

BOOST_AUTO_TEST_CASE(what_is_malformed_is_refused) {
  Damage(Part());
  Damage(ReduceTaken{});
  Damage(Rows());
  Damage(Hello());
  Damage(FetchState{.group = 5, .at = 6});
  Damage(StatePiece{.over = 7, .total = 8, .bytes = {}});
  BOOST_TEST(WithBlocks(Part(), 0) == "message has 0 arrays, expected 1");
  BOOST_TEST(WithBlocks(Rows(), 1) == "message has 1 arrays, expected 2");
  BOOST_TEST(WithBlocks(StatePiece{}, 2) == "message has 2 arrays, expected 1");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
