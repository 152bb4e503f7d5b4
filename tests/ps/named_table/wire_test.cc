// What users of a named table and its driver say to each other: there and back, and bytes that are none.
#include "ps/named_table/wire.h"

#include <boost/test/unit_test.hpp>
#include <cstring>

namespace troupe {
namespace {

template <class Message>
Message Again(const Message& message) {
  const auto again = Codec<Message>::Decode(Codec<Message>::Encode(message));
  BOOST_REQUIRE_MESSAGE(again.ok(), again.status().ToString());
  return *again;
}
template <class Message>
void RefusesAnythingElse(const Message& message) {
  Frame frame = Codec<Message>::Encode(message);
  BOOST_TEST(!Codec<Message>::Decode(Frame{.type = frame.type, .head = {}, .bulk = {}}).ok());
  for (size_t bytes = 0; bytes < frame.head.size(); bytes += 4) {
    Codec<Message>::Decode(Frame{.type = frame.type, .head = frame.head.Slice(0, bytes), .bulk = {}}).status().IgnoreError();   // whatever it is, it ends
  }
}

}   // namespace

BOOST_AUTO_TEST_SUITE(NamedTableWireTest)

BOOST_AUTO_TEST_CASE(every_message_travels_with_all_it_says) {
  BOOST_TEST(Again(OpenTable{~uint64_t{0}}).user == ~uint64_t{0});
  BOOST_TEST(Again(CloseTable{5}).user == 5u);
  Again(TableClosed{});
  Again(DropTable{});
  Again(TableDropping{});
  const TableOpened opened = Again(TableOpened{
      .writer = WriterId{63},
      .lease = std::chrono::milliseconds(60'000),
      .shard = Block::Copy("abcd", 4),
      .shards = {{NodeId{1}, ActorId{2}, {"tcp:a:1", "tcp:b:2"}}, {NodeId{0xffffffff}, ActorId{3}, {}}},
      .replication = 3,
      .routes = {{.shard = 7, .epoch = uint64_t{1} << 40, .first = {NodeId{1}, Incarnation{2}}, .last = {NodeId{3}, Incarnation{uint64_t{4} << 40}}}}});
  BOOST_TEST(opened.replication == 3u);
  BOOST_REQUIRE(opened.routes.size() == 1u);
  BOOST_TEST((opened.routes[0] ==
              ChainRoute{.shard = 7, .epoch = uint64_t{1} << 40, .first = {NodeId{1}, Incarnation{2}}, .last = {NodeId{3}, Incarnation{uint64_t{4} << 40}}}));
  BOOST_TEST((opened.writer == WriterId{63} && opened.lease.count() == 60'000));
  BOOST_TEST((opened.shard.size() == 4 && std::memcmp(opened.shard.data(), "abcd", 4) == 0));
  BOOST_REQUIRE(opened.shards.size() == 2u);
  BOOST_TEST((opened.shards[0].node == NodeId{1} && opened.shards[0].actor == ActorId{2}));
  BOOST_TEST(opened.shards[0].places == (std::vector<std::string>{"tcp:a:1", "tcp:b:2"}), boost::test_tools::per_element());
  BOOST_TEST((opened.shards[1].node == NodeId{0xffffffff} && opened.shards[1].places.empty()));
}

BOOST_AUTO_TEST_CASE(bytes_that_are_no_message_are_refused) {
  RefusesAnythingElse(OpenTable{1});
  RefusesAnythingElse(CloseTable{1});
  RefusesAnythingElse(TableClosed{});
  RefusesAnythingElse(DropTable{});
  RefusesAnythingElse(TableDropping{});
  RefusesAnythingElse(TableOpened{.shard = Block::Copy("abcd", 4),
                                  .shards = {{NodeId{1}, ActorId{2}, {"tcp:a:1"}}},
                                  .routes = {{.shard = 1, .epoch = 2, .first = {NodeId{1}, Incarnation{2}}, .last = {NodeId{3}, Incarnation{4}}}}});
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
