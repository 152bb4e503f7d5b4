// Every message of a chain through its frame and back, and frames that are cut or garbage.
#include "ps/chain/wire.h"

#include <boost/test/unit_test.hpp>
#include <cstring>

#include "actors/random.h"

namespace troupe {
namespace {

bool Same(const Frame& a, const Frame& b) {
  bool same =
      a.type == b.type && a.bulk.size() == b.bulk.size() && a.head.size() == b.head.size() && std::memcmp(a.head.data(), b.head.data(), a.head.size()) == 0;
  for (size_t i = 0; same && i < a.bulk.size(); ++i) same = a.bulk[i].size() == b.bulk[i].size();
  return same;
}

template <class Message>
Message Again(const Message& message) {
  const Frame frame = Codec<Message>::Encode(message);
  BOOST_TEST(frame.bulk.size() <= kFrameBlocksMax);
  auto decoded = Codec<Message>::Decode(frame);
  BOOST_REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
  BOOST_TEST(Same(Codec<Message>::Encode(*decoded), frame));
  // Whatever has become of the bytes: an error or another message, never more.
  Random random(frame.head.size());
  for (int i = 0; i < 200; ++i) {
    std::vector<std::byte> bytes(frame.head.data(), frame.head.data() + random.Below(frame.head.size() + 1));
    if (!bytes.empty()) bytes[random.Below(bytes.size())] = static_cast<std::byte>(random.Below(256));
    (void)Codec<Message>::Decode({frame.type, Block::Adopt(std::move(bytes)), frame.bulk});
  }
  return std::move(*decoded);
}

ChainMember Process(uint32_t node) {
  return {NodeId{node}, Incarnation{node + 10}};
}
Push SomePush() {
  Push push;
  push.writer = WriterId{2};
  push.round = 5;
  push.previous = 4;
  push.parts = Block::Adopt(std::vector<PushPart>{{.table = 0, .range = 1, .sequence = 3, .previous = 2, .first = 0, .count = 1, .dense = 0, .nonzeros = 1}});
  push.keys = Block::Adopt(std::vector<Key>{9});
  push.values = Block::Adopt(std::vector<float>{0.5F});
  return push;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(ChainWireSuite)

BOOST_AUTO_TEST_CASE(messages_come_back_as_they_were) {
  ChainView view{.number = 7, .epoch = 6, .members = {Process(1), Process(2)}, .joining = Process(3)};
  BOOST_TEST((Again(Configure{view}).view == view));
  view.joining.reset();
  BOOST_TEST((Again(Configure{view}).view == view));
  BOOST_TEST(Again(Configured{true}).joined);
  const Forward push = Again(Forward{.epoch = 3, .number = 4, .change = SomePush()});
  BOOST_TEST(push.epoch == 3u);
  BOOST_TEST(push.number == 4u);
  BOOST_TEST_REQUIRE(std::holds_alternative<Push>(push.change));
  BOOST_TEST(std::get<Push>(push.change).round == 5u);
  Assign assign{.table = 3, .keys = Block::Adopt(std::vector<Key>{1}), .values = Block::Adopt(std::vector<float>{2})};
  const Forward assigned = Again(Forward{.epoch = 3, .number = 4, .change = assign});
  BOOST_TEST_REQUIRE(std::holds_alternative<Assign>(assigned.change));
  BOOST_TEST(std::get<Assign>(assigned.change).table == 3u);
  const Forward compared = Again(Forward{.epoch = 3, .number = 4, .change = CompareRange{.table = 1, .range = 2, .clocks = 3, .rows = UINT64_MAX}});
  BOOST_TEST_REQUIRE(std::holds_alternative<CompareRange>(compared.change));
  BOOST_TEST(std::get<CompareRange>(compared.change).rows == UINT64_MAX);
  const Freeze freeze{.cut = 5, .clocks = Block::Adopt(std::vector<Round>{1, 2}), .wait = std::chrono::milliseconds(3), .lease = std::chrono::milliseconds(4)};
  const Forward frozen = Again(Forward{.epoch = 3, .number = 4, .change = freeze});
  BOOST_REQUIRE(std::holds_alternative<Freeze>(frozen.change));
  BOOST_TEST(std::get<Freeze>(frozen.change).cut == 5u);
  BOOST_TEST(std::get<Freeze>(frozen.change).clocks.As<Round>()[1] == 2u);
  BOOST_TEST(std::get<Release>(Again(Forward{.epoch = 3, .number = 4, .change = Release{6}}).change).cut == 6u);
  BOOST_TEST(Again(Forwarded{9}).through == 9u);
  BOOST_TEST(Again(Align{.epoch = 2, .number = 8}).number == 8u);
  Again(Aligned{});
  const StatePart of{.view = 1, .attempt = 7, .part = 8, .more = true, .number = 2};
  const Adopt piece = Again(Adopt{.of = of, .piece = 3, .pieces = 4, .section = 5, .name = "ledger", .size = 6, .offset = 2, .bytes = Block::Copy("ab", 2)});
  BOOST_TEST((piece.of == of));
  BOOST_TEST(piece.name == "ledger");
  BOOST_TEST(piece.bytes.size() == 2u);
  Again(Adopted{});
  const SetRoutes routes = Again(SetRoutes{{{.shard = 1, .epoch = 2, .first = Process(1), .last = Process(2)}}});
  BOOST_TEST_REQUIRE(routes.routes.size() == 1u);
  BOOST_TEST((routes.routes[0] == ChainRoute{.shard = 1, .epoch = 2, .first = Process(1), .last = Process(2)}));
  Again(RoutesSet{});
}

BOOST_AUTO_TEST_CASE(what_changes_no_shard_is_refused) {
  Frame frame = Codec<Forward>::Encode(Forward{.epoch = 3, .number = 4, .change = SomePush()});
  BOOST_TEST(absl::IsInvalidArgument(Codec<Forward>::Decode({frame.type, frame.head, {}}).status()));
  frame.bulk.pop_back();
  BOOST_TEST(absl::IsInvalidArgument(Codec<Forward>::Decode(frame).status()));
  Frame adopt = Codec<Adopt>::Encode(Adopt{});
  adopt.bulk.clear();
  BOOST_TEST(absl::IsInvalidArgument(Codec<Adopt>::Decode(adopt).status()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
