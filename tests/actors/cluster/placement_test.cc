// PlaceAll: all or none, labels, memory, apart; and beside a plain search, what it finds holds.
#include "actors/cluster/placement.h"

#include <boost/test/unit_test.hpp>

#include "actors/random.h"

namespace troupe {
namespace {

using Labels = std::map<std::string, std::string>;

Room MakeRoom(uint32_t node, uint32_t cores, uint64_t memory = 1 << 30, const Labels& labels = {}) {
  return {.node = NodeId{node}, .capacity = {.cores = cores, .memory = memory, .disk = 0, .labels = labels}};
}
ProcessOrder Wants(const std::string& name, uint32_t cores, uint64_t memory = 0, const Labels& labels = {}, const std::string& apart = "", JobId job = 1) {
  return {.id = {job, name, 1}, .needs = {cores, memory, labels, apart}, .program = "p", .arguments = {}, .environment = {}, .folder = ""};
}
bool Same(const std::vector<Room>& a, const std::vector<Room>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Room& x, const Room& y) {
    return x.node == y.node && x.cores_used == y.cores_used && x.memory_used == y.memory_used && x.processes == y.processes && x.apart == y.apart;
  });
}
std::vector<uint32_t> Numbers(const absl::StatusOr<std::vector<NodeId>>& nodes) {
  BOOST_REQUIRE_MESSAGE(nodes.ok(), nodes.status().ToString());
  std::vector<uint32_t> numbers;
  for (const NodeId node : *nodes) numbers.push_back(static_cast<uint32_t>(node));
  return numbers;
}
void CheckFails(const std::vector<ProcessOrder>& wanted, std::vector<Room> rooms, const std::string& message) {
  const std::vector<Room> before = rooms;
  const auto nodes = PlaceAll(wanted, rooms);
  BOOST_TEST(absl::IsResourceExhausted(nodes.status()), nodes.status().ToString());
  BOOST_TEST(nodes.status().message() == message);
  BOOST_TEST(Same(rooms, before));
}
using Ids = std::vector<uint32_t>;

}   // namespace

BOOST_AUTO_TEST_SUITE(PlacementSuite)

BOOST_AUTO_TEST_CASE(nothing_wanted_needs_no_node) {
  std::vector<Room> rooms;
  BOOST_TEST(Numbers(PlaceAll({}, rooms)).empty());
}

BOOST_AUTO_TEST_CASE(the_node_with_the_most_cores_left_then_the_fewest_processes_then_the_first) {
  std::vector<Room> rooms{MakeRoom(1, 4), MakeRoom(2, 8), MakeRoom(3, 8)};
  rooms[1].processes = 1;
  BOOST_TEST(Numbers(PlaceAll(std::vector{Wants("a", 1)}, rooms)) == (Ids{3}), boost::test_tools::per_element());
  BOOST_TEST(Numbers(PlaceAll(std::vector{Wants("b", 1)}, rooms)) == (Ids{2}), boost::test_tools::per_element());
  BOOST_TEST((rooms[1].cores_used == 1 && rooms[1].processes == 2 && rooms[2].cores_used == 1));
  BOOST_TEST(Numbers(PlaceAll(std::vector{Wants("c", 0)}, rooms)) == (Ids{3}),
             boost::test_tools::per_element());   // needs none, and still goes to the emptiest
}

BOOST_AUTO_TEST_CASE(the_biggest_are_placed_first_and_the_answer_is_in_the_order_of_the_question) {
  std::vector<Room> rooms{MakeRoom(1, 4), MakeRoom(2, 3)};
  // In the order given, the two small ones would take the room of the big one.
  BOOST_TEST(Numbers(PlaceAll(std::vector{Wants("a", 1), Wants("b", 2), Wants("c", 4)}, rooms)) == (Ids{2, 2, 1}), boost::test_tools::per_element());
  BOOST_TEST((rooms[0].cores_used == 4 && rooms[1].cores_used == 3));
}

BOOST_AUTO_TEST_CASE(all_or_none_and_then_nothing_is_reserved) {
  CheckFails({Wants("a", 3), Wants("b", 3), Wants("c", 3)}, {MakeRoom(1, 4), MakeRoom(2, 4)},
             "c needs 3 cores, and no node has them; 2 cores are free on 2 nodes");
  CheckFails({Wants("a", 1)}, {}, "a needs 1 cores, and no node is up");
  CheckFails({Wants("a", 5, 3 << 20, {{"gpu", "yes"}})}, {MakeRoom(1, 4)}, "a needs 5 cores and 3 MB, gpu=yes, and none of the 1 nodes has these labels");
}

BOOST_AUTO_TEST_CASE(labels_must_be_there_with_their_values) {
  std::vector<Room> rooms{MakeRoom(1, 64), MakeRoom(2, 2, 1 << 30, {{"zone", "a"}, {"disk", "ssd"}}), MakeRoom(3, 2, 1 << 30, {{"zone", "b"}})};
  BOOST_TEST(
      Numbers(PlaceAll(std::vector{Wants("a", 1, 0, {{"zone", "a"}}), Wants("b", 1, 0, {{"zone", "b"}}), Wants("c", 1, 0, {{"zone", "a"}, {"disk", "ssd"}})},
                       rooms)) == (Ids{2, 3, 2}),
      boost::test_tools::per_element());
  CheckFails({Wants("a", 1, 0, {{"zone", ""}})}, rooms, "a needs 1 cores, zone=, and none of the 3 nodes has these labels");
  CheckFails({Wants("a", 1, 0, {{"zone", "b"}, {"disk", "ssd"}})}, rooms, "a needs 1 cores, disk=ssd, zone=b, and none of the 3 nodes has these labels");
}

BOOST_AUTO_TEST_CASE(memory_counts_as_cores_do_and_numbers_near_the_limit_do_not_wrap) {
  std::vector<Room> rooms{MakeRoom(1, 8, 100), MakeRoom(2, 2, 300)};
  BOOST_TEST(Numbers(PlaceAll(std::vector{Wants("a", 1, 200), Wants("b", 1, 100)}, rooms)) == (Ids{2, 1}), boost::test_tools::per_element());
  BOOST_TEST(!PlaceAll(std::vector{Wants("c", 0, 101)}, rooms).ok());
  BOOST_TEST(Numbers(PlaceAll(std::vector{Wants("c", 0, 100)}, rooms)) == (Ids{2}), boost::test_tools::per_element());
  for (const uint32_t cores : {0U, 1U}) BOOST_TEST(!PlaceAll(std::vector{Wants("d", cores, ~uint64_t{0})}, rooms).ok());
  rooms[0].cores_used = 8;
  BOOST_TEST(!PlaceAll(std::vector{Wants("e", ~uint32_t{0})}, rooms).ok());
  rooms[0].memory_used = 1;
  rooms[0].capacity.memory = 100;
  BOOST_TEST(!PlaceAll(std::vector{Wants("f", 0, ~uint64_t{0})}, rooms).ok());
}

BOOST_AUTO_TEST_CASE(those_that_are_to_be_apart_are_as_far_as_there_are_nodes) {
  std::vector<Room> rooms{MakeRoom(1, 16), MakeRoom(2, 4), MakeRoom(3, 4)};
  std::vector<ProcessOrder> wanted;
  for (int i = 0; i < 5; ++i) wanted.push_back(Wants("shard " + std::to_string(i), 1, 0, {}, "shards"));
  auto counts = std::map<uint32_t, int>();
  for (const uint32_t node : Numbers(PlaceAll(wanted, rooms))) ++counts[node];
  BOOST_TEST((counts == std::map<uint32_t, int>{{1, 2}, {2, 2}, {3, 1}}));   // not all on the biggest
  BOOST_TEST(Numbers(PlaceAll(std::vector{Wants("shard 5", 1, 0, {}, "shards")}, rooms)) == (Ids{3}), boost::test_tools::per_element());
  BOOST_TEST(Numbers(PlaceAll(std::vector{Wants("shard 0", 1, 0, {}, "shards", 2)}, rooms)) == (Ids{1}), boost::test_tools::per_element());   // another job's
  BOOST_TEST(Numbers(PlaceAll(std::vector{Wants("worker", 1, 0, {}, "workers")}, rooms)) == (Ids{1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(rooms_that_are_overfull_take_nothing) {
  std::vector<Room> rooms{MakeRoom(1, 2)};
  rooms[0].cores_used = 5;   // the node came back with fewer cores than it has given away
  CheckFails({Wants("a", 1)}, rooms, "a needs 1 cores, and no node has them; 0 cores are free on 1 nodes");
  CheckFails({Wants("a", 0)}, rooms, "a needs 0 cores, and no node has them; 0 cores are free on 1 nodes");
}

BOOST_AUTO_TEST_CASE(random_wishes_keep_within_every_node_and_rooms_say_what_was_taken) {
  Random random(8);
  size_t placed = 0, refused = 0;
  for (int round = 0; round < 500; ++round) {
    std::vector<Room> rooms;
    for (uint32_t i = 0; i < 1 + random.Below(4); ++i) {
      rooms.push_back(MakeRoom(i + 1, static_cast<uint32_t>(random.Below(9)), random.Below(900), random.Below(2) == 0 ? Labels{{"l", "x"}} : Labels{}));
    }
    std::vector<ProcessOrder> wanted;
    for (uint64_t i = 0; i < random.Below(7); ++i) {
      wanted.push_back(Wants("p" + std::to_string(i), static_cast<uint32_t>(random.Below(4)), random.Below(200),
                             random.Below(4) == 0 ? Labels{{"l", "x"}} : Labels{}, random.Below(2) == 0 ? "apart" : ""));
    }
    std::vector<Room> after = rooms;
    const auto nodes = PlaceAll(wanted, after);
    if (!nodes.ok()) {
      ++refused;
      BOOST_TEST(Same(after, rooms));
      continue;
    }
    ++placed;
    BOOST_TEST_REQUIRE(nodes->size() == wanted.size());
    std::vector<Room> expected = rooms;
    for (size_t i = 0; i < wanted.size(); ++i) {
      Room& room = expected[static_cast<uint32_t>((*nodes)[i]) - 1];
      room.cores_used += wanted[i].needs.cores;
      room.memory_used += wanted[i].needs.memory;
      ++room.processes;
      for (const auto& label : wanted[i].needs.labels) BOOST_TEST(room.capacity.labels.contains(label.first));
    }
    for (size_t i = 0; i < rooms.size(); ++i) {
      BOOST_TEST(
          (expected[i].cores_used == after[i].cores_used && expected[i].memory_used == after[i].memory_used && expected[i].processes == after[i].processes));
      BOOST_TEST((after[i].cores_used <= after[i].capacity.cores && after[i].memory_used <= after[i].capacity.memory));
    }
  }
  BOOST_TEST((placed > 100 && refused > 100));
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
