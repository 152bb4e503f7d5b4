// Rooms: all or none, labels, memory, disk, accelerators, apart, what can never be; and beside a look at all nodes it finds the same one.
#include "actors/cluster/placement.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <optional>
#include <set>

#include "actors/random.h"

namespace troupe {
namespace {

using Labels = std::map<std::string, std::string>;
using Counts = std::map<std::string, uint32_t>;
using Words = std::vector<std::string>;

NodeCapacity Has(uint32_t cores, uint64_t memory = 1 << 30, const Labels& labels = {}, uint64_t disk = 0, const Counts& accelerators = {}) {
  return {.cores = cores, .memory = memory, .disk = disk, .labels = labels, .accelerators = accelerators};
}
/// Nodes 1, 2, ... of these.
Rooms MakeRooms(const std::vector<NodeCapacity>& capacities) {
  Rooms rooms;
  for (uint32_t i = 0; i < capacities.size(); ++i) rooms.Put(NodeId{i + 1}, capacities[i], true);
  return rooms;
}
struct Wish {
  ProcessId id;
  ProcessNeeds needs;
  std::vector<NodeId> refused = {};
};
Wish Wants(const std::string& name, uint32_t cores, uint64_t memory = 0, const Labels& labels = {}, const Words& apart = {}, JobId job = 1) {
  return {{job, name, 1}, {cores, memory, labels, apart}};
}
Wish WantsAll(const std::string& name, const ProcessNeeds& needs) {
  Wish wish = Wants(name, 0);
  wish.needs = needs;
  return wish;
}
absl::StatusOr<std::vector<NodeId>> Choose(Rooms& rooms, const std::vector<Wish>& wanted) {
  std::vector<PlacementWish> wishes;
  for (const Wish& wish : wanted) wishes.push_back({&wish.id, &wish.needs, &wish.refused});
  return rooms.Choose(wishes);
}
using Ids = std::vector<uint32_t>;
/// Chooses, and takes what was chosen.
Ids Place(Rooms& rooms, const std::vector<Wish>& wanted) {
  const auto nodes = Choose(rooms, wanted);
  BOOST_REQUIRE_MESSAGE(nodes.ok(), nodes.status().ToString());
  Ids numbers;
  for (size_t i = 0; i < wanted.size(); ++i) {
    rooms.Take((*nodes)[i], wanted[i].id.job, wanted[i].needs);
    numbers.push_back(static_cast<uint32_t>((*nodes)[i]));
  }
  return numbers;
}
std::string WhyNever(const Rooms& rooms, const Wish& wish) {
  return rooms.WhyNever({&wish.id, &wish.needs, &wish.refused});
}
void CheckFails(Rooms rooms, const std::vector<Wish>& wanted, const std::string& message) {
  std::map<uint32_t, Rooms::Used> before;
  for (uint32_t i = 1; i < 5; ++i) before[i] = rooms.UsedOf(NodeId{i});
  const auto nodes = Choose(rooms, wanted);
  BOOST_TEST(absl::IsResourceExhausted(nodes.status()), nodes.status().ToString());
  BOOST_TEST(nodes.status().message() == message);
  for (uint32_t i = 1; i < 5; ++i) BOOST_TEST((before[i] == rooms.UsedOf(NodeId{i})));
}

}   // namespace

BOOST_AUTO_TEST_SUITE(PlacementSuite)

BOOST_AUTO_TEST_CASE(nothing_wanted_needs_no_node) {
  Rooms rooms;
  BOOST_TEST(Place(rooms, {}).empty());
}

BOOST_AUTO_TEST_CASE(the_node_with_the_most_cores_left_then_the_fewest_processes_then_the_first) {
  Rooms rooms = MakeRooms({Has(4), Has(8), Has(8)});
  rooms.Take(NodeId{2}, 9, {});
  BOOST_TEST(Place(rooms, {Wants("a", 1)}) == (Ids{3}), boost::test_tools::per_element());
  BOOST_TEST(Place(rooms, {Wants("b", 1)}) == (Ids{2}), boost::test_tools::per_element());
  BOOST_TEST((rooms.UsedOf(NodeId{2}) == Rooms::Used{.cores = 1, .processes = 2}));
  BOOST_TEST(Place(rooms, {Wants("c", 0)}) == (Ids{3}), boost::test_tools::per_element());   // needs none, and still goes to the emptiest
}

BOOST_AUTO_TEST_CASE(the_biggest_are_placed_first_and_the_answer_is_in_the_order_of_the_question) {
  Rooms rooms = MakeRooms({Has(4), Has(3)});
  // In the order given, the two small ones would take the room of the big one.
  BOOST_TEST(Place(rooms, {Wants("a", 1), Wants("b", 2), Wants("c", 4)}) == (Ids{2, 2, 1}), boost::test_tools::per_element());
  BOOST_TEST((rooms.UsedOf(NodeId{1}).cores == 4 && rooms.UsedOf(NodeId{2}).cores == 3));
}

BOOST_AUTO_TEST_CASE(all_or_none_and_then_nothing_is_promised) {
  CheckFails(MakeRooms({Has(4), Has(4)}), {Wants("a", 3), Wants("b", 3), Wants("c", 3)},
             "c needs 3 cores, and no node has them free; 2 cores are free on 2 nodes");
  CheckFails({}, {Wants("a", 1)}, "a needs 1 core, and no node is up");
}

BOOST_AUTO_TEST_CASE(labels_must_be_there_with_their_values) {
  Rooms rooms = MakeRooms({Has(64), Has(2, 1 << 30, {{"zone", "a"}, {"disk", "ssd"}}), Has(2, 1 << 30, {{"zone", "b"}})});
  BOOST_TEST(Place(rooms, {Wants("a", 1, 0, {{"zone", "a"}}), Wants("b", 1, 0, {{"zone", "b"}}), Wants("c", 1, 0, {{"zone", "a"}, {"disk", "ssd"}})}) ==
                 (Ids{2, 3, 2}),
             boost::test_tools::per_element());
  CheckFails(rooms, {Wants("a", 1, 0, {{"zone", ""}})}, "a needs 1 core, label zone=, and no node has them free; 65 cores are free on 3 nodes");
}

BOOST_AUTO_TEST_CASE(memory_disk_and_accelerators_count_as_cores_do_and_numbers_near_the_limit_do_not_wrap) {
  Rooms rooms = MakeRooms({Has(8, 100), Has(2, 300)});
  BOOST_TEST(Place(rooms, {Wants("a", 1, 200), Wants("b", 1, 100)}) == (Ids{2, 1}), boost::test_tools::per_element());
  BOOST_TEST(!Choose(rooms, {Wants("c", 0, 101)}).ok());
  BOOST_TEST(Place(rooms, {Wants("c", 0, 100)}) == (Ids{2}), boost::test_tools::per_element());
  for (const uint32_t cores : {0U, 1U}) BOOST_TEST(!Choose(rooms, {Wants("d", cores, ~uint64_t{0})}).ok());
  BOOST_TEST(!Choose(rooms, {Wants("e", ~uint32_t{0})}).ok());

  Rooms others = MakeRooms({Has(8, 0, {}, 100, {{"gpu", 1}}), Has(2, 0, {}, 300, {{"gpu", 2}, {"tpu", 1}})});
  const auto disk = [](uint64_t bytes) { return WantsAll("disk", {.cores = 0, .disk = bytes}); };
  const auto with = [](const Counts& counts) { return WantsAll("with", {.cores = 0, .accelerators = counts}); };
  BOOST_TEST(Place(others, {disk(200)}) == (Ids{2}), boost::test_tools::per_element());
  BOOST_TEST(!Choose(others, {disk(101)}).ok());
  BOOST_TEST(!Choose(others, {disk(~uint64_t{0})}).ok());
  BOOST_TEST(Place(others, {with({{"gpu", 2}})}) == (Ids{2}), boost::test_tools::per_element());
  BOOST_TEST(Place(others, {with({{"gpu", 1}})}) == (Ids{1}), boost::test_tools::per_element());
  BOOST_TEST(!Choose(others, {with({{"gpu", 1}})}).ok());
  BOOST_TEST(!Choose(others, {with({{"gpu", ~uint32_t{0}}})}).ok());
  BOOST_TEST(Place(others, {with({{"tpu", 1}, {"gpu", 0}})}) == (Ids{2}), boost::test_tools::per_element());
  BOOST_TEST((others.UsedOf(NodeId{2}) == Rooms::Used{.disk = 200, .accelerators = {{"gpu", 2}, {"tpu", 1}}, .processes = 3}));
  others.Give(NodeId{2}, 1, {.cores = 0, .accelerators = {{"gpu", 2}}});
  BOOST_TEST(Place(others, {with({{"gpu", 2}})}) == (Ids{2}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(those_that_are_to_be_apart_are_as_far_as_there_are_nodes) {
  Rooms rooms = MakeRooms({Has(16), Has(4), Has(4)});
  std::vector<Wish> wanted;
  for (int i = 0; i < 5; ++i) wanted.push_back(Wants("shard " + std::to_string(i), 1, 0, {}, {"shards"}));
  auto counts = std::map<uint32_t, int>();
  for (const uint32_t node : Place(rooms, wanted)) ++counts[node];
  BOOST_TEST((counts == std::map<uint32_t, int>{{1, 2}, {2, 2}, {3, 1}}));   // not all on the biggest
  BOOST_TEST(Place(rooms, {Wants("shard 5", 1, 0, {}, {"shards"})}) == (Ids{3}), boost::test_tools::per_element());
  BOOST_TEST(Place(rooms, {Wants("shard 0", 1, 0, {}, {"shards"}, 2)}) == (Ids{1}), boost::test_tools::per_element());   // another job's
  BOOST_TEST(Place(rooms, {Wants("worker", 1, 0, {}, {"workers"})}) == (Ids{1}), boost::test_tools::per_element());
  rooms.Give(NodeId{3}, 1, wanted[0].needs);
  rooms.Give(NodeId{3}, 1, wanted[0].needs);
  BOOST_TEST(Place(rooms, {Wants("shard 6", 1, 0, {}, {"shards"})}) == (Ids{3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(the_first_word_of_apart_counts_before_the_second) {
  // Chains of three replicas for four shards, on four nodes: no two replicas of a shard on one node, and every node has three replicas.
  Rooms rooms = MakeRooms({Has(64), Has(8), Has(8), Has(8)});
  std::vector<Wish> wanted;
  for (int shard = 0; shard < 4; ++shard) {
    for (int replica = 0; replica < 3; ++replica) {
      wanted.push_back(Wants("shard " + std::to_string(shard) + " replica " + std::to_string(replica), 1, 0, {}, {"shard " + std::to_string(shard), "shards"}));
    }
  }
  const Ids nodes = Place(rooms, wanted);
  std::map<uint32_t, int> on_node;
  for (size_t shard = 0; shard < 4; ++shard) {
    BOOST_TEST(std::set<uint32_t>(nodes.begin() + static_cast<long>(3 * shard), nodes.begin() + static_cast<long>(3 * shard + 3)).size() == 3u);
    for (size_t replica = 0; replica < 3; ++replica) ++on_node[nodes[3 * shard + replica]];
  }
  BOOST_TEST((on_node == std::map<uint32_t, int>{{1, 3}, {2, 3}, {3, 3}, {4, 3}}));
  // Node 1 has replicas of shard "x" but nothing else; node 2 has none of it, and much of the role: the first word decides.
  Rooms two = MakeRooms({Has(8), Has(8)});
  two.Take(NodeId{1}, 1, Wants("", 0, 0, {}, {"x", "shards"}).needs);
  for (int i = 0; i < 5; ++i) two.Take(NodeId{2}, 1, Wants("", 1, 0, {}, {"y", "shards"}).needs);
  BOOST_TEST(Place(two, {Wants("r", 1, 0, {}, {"x", "shards"})}) == (Ids{2}), boost::test_tools::per_element());
  BOOST_TEST(Place(two, {Wants("r", 1, 0, {}, {"shards", "x"})}) == (Ids{1}), boost::test_tools::per_element());
  // It is no more than a wish: with one node left, both are there.
  Rooms one = MakeRooms({Has(8)});
  BOOST_TEST(Place(one, {Wants("r", 1, 0, {}, {"x"}), Wants("s", 1, 0, {}, {"x"})}) == (Ids{1, 1}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(who_is_better_off_on_a_node_that_comes) {
  Rooms rooms = MakeRooms({Has(4), Has(4)});
  const auto member = [](int shard, const std::string& name) { return Wants(name, 0, 0, {}, {"shard " + std::to_string(shard), "shard"}); };
  const Wish first = member(0, "shard 0"), second = member(0, "shard 0/2"), other = member(1, "shard 1"), last = member(1, "shard 1/2");
  BOOST_TEST(Place(rooms, {first, second, other, last}) == (Ids{1, 2, 1, 2}), boost::test_tools::per_element());
  const auto better = [&rooms](uint32_t from, const Wish& wish) {
    const auto node = rooms.BetterThan(NodeId{from}, {&wish.id, &wish.needs, &wish.refused});
    return node ? static_cast<uint32_t>(*node) : 0;
  };
  const auto move = [&rooms](uint32_t from, uint32_t to, const Wish& wish) {
    rooms.Give(NodeId{from}, 1, wish.needs);
    rooms.Take(NodeId{to}, 1, wish.needs);
  };
  BOOST_TEST(better(1, first) == 0u);   // the other one has its chain's second
  rooms.Put(NodeId{3}, Has(4), false);
  BOOST_TEST(better(1, first) == 0u);
  rooms.Put(NodeId{3}, Has(4), true);
  BOOST_TEST(better(1, first) == 3u);
  BOOST_TEST(rooms.CountApart(NodeId{1}, 1, "shard") == 2u);
  BOOST_TEST(rooms.CountApart(NodeId{1}, 2, "shard") == 0u);
  BOOST_TEST(rooms.CountApart(NodeId{9}, 1, "shard") == 0u);
  BOOST_TEST(rooms.FewestApart(1, "shard") == 0u);
  move(1, 3, first);
  BOOST_TEST(rooms.FewestApart(1, "shard") == 1u);
  BOOST_TEST(better(2, second) == 0u);   // two here, one there: no better
  move(2, 3, second);                    // both members of a chain on one node, say since there was no other
  BOOST_TEST(better(3, second) == 1u);   // then more of others do not keep it from leaving
  const Wish refused{second.id, second.needs, {NodeId{1}}};
  BOOST_TEST(better(3, refused) == 2u);
  BOOST_TEST(better(9, second) == 0u);
  BOOST_TEST(rooms.FewestApart(1, "shard") == 1u);
  BOOST_TEST(rooms.FewestApart(1, "shard", {NodeId{1}, NodeId{2}}) == 2u);
  BOOST_TEST(Rooms().FewestApart(1, "shard") > 1'000'000u);
}

BOOST_AUTO_TEST_CASE(rooms_that_are_overfull_closed_or_have_refused_take_nothing) {
  Rooms rooms = MakeRooms({Has(2)});
  rooms.Take(NodeId{1}, 1, Wants("", 5).needs);   // the node came back with fewer cores than it has given away
  CheckFails(rooms, {Wants("a", 1)}, "a needs 1 core, and no node has them free; 0 cores are free on 1 nodes");
  CheckFails(rooms, {Wants("a", 0)}, "a needs 0 cores, and no node has them free; 0 cores are free on 1 nodes");
  rooms.Give(NodeId{1}, 1, Wants("", 5).needs);
  rooms.Put(NodeId{2}, Has(8), false);
  BOOST_TEST(rooms.open() == 1u);
  Wish wish = Wants("a", 1);
  BOOST_TEST(Place(rooms, {wish}) == (Ids{1}), boost::test_tools::per_element());
  wish.refused = {NodeId{1}};
  CheckFails(rooms, {wish}, "a needs 1 core, and no node has them free; 1 cores are free on 1 nodes");
  BOOST_TEST(WhyNever(rooms, wish) == "a needs 1 core, and the nodes that have them cannot start it");
  rooms.Put(NodeId{2}, Has(8), true);
  BOOST_TEST(WhyNever(rooms, wish) == "");
  BOOST_TEST(Place(rooms, {wish}) == (Ids{2}), boost::test_tools::per_element());
  rooms.Remove(NodeId{2});
  rooms.Remove(NodeId{3});
  BOOST_TEST((rooms.UsedOf(NodeId{2}) == Rooms::Used{}));
  BOOST_TEST(rooms.open() == 1u);
}

BOOST_AUTO_TEST_CASE(what_no_node_could_ever_give_is_said) {
  const Rooms rooms = MakeRooms({Has(4, 8 << 20, {{"zone", "a"}, {"disk", "ssd"}}, 4 << 20, {{"gpu", 2}}), Has(8, 2 << 20, {{"zone", "b"}}, 1000)});
  const auto why = [&](const ProcessNeeds& needs) { return WhyNever(rooms, WantsAll("p", needs)); };
  BOOST_TEST(why({.cores = 8}) == "");
  BOOST_TEST(why({.cores = 9}) == "p needs 9 cores, and no node has so many cores: the most is 8");
  BOOST_TEST(why({.cores = 5, .labels = {{"zone", "a"}}}) == "p needs 5 cores, label zone=a, and no node with these labels has so many cores: the most is 4");
  BOOST_TEST(why({.cores = 1, .labels = {{"zone", "x"}}}) == "p needs 1 core, label zone=x, and no node has label zone=x");
  BOOST_TEST(why({.cores = 1, .labels = {{"disk", "ssd"}, {"zone", "b"}}}) ==
             "p needs 1 core, label disk=ssd, label zone=b, and no node has all of these labels");
  BOOST_TEST(why({.cores = 0, .memory = 9 << 20}) == "p needs 9 MB of memory, and no node has so much memory: the most is 8 MB");
  BOOST_TEST(why({.cores = 0, .disk = 5 << 20}) == "p needs 5 MB of disk, and no node has so much disk: the most is 4 MB");
  BOOST_TEST(why({.cores = 0, .accelerators = {{"gpu", 3}}}) == "p needs 3 gpu, and no node has so many of accelerator gpu: the most is 2");
  BOOST_TEST(why({.cores = 0, .accelerators = {{"tpu", 1}}}) == "p needs 1 tpu, and no node has accelerator tpu");
  BOOST_TEST(why({.cores = 8, .memory = 8 << 20}) == "p needs 8 cores, 8 MB of memory, and no node has all of them at once");
  BOOST_TEST(WhyNever({}, Wants("p", 1)) == "p needs 1 core, and no node is up");
  Rooms full = rooms;
  for (uint32_t i = 1; i < 3; ++i) full.Take(NodeId{i}, 7, {.cores = 8, .memory = 100 << 20});
  BOOST_TEST(WhyNever(full, Wants("p", 8)) == "");   // only now nobody has them
  const Wish a = Wants("a", 8), b = Wants("b", 5);
  const std::vector<PlacementWish> one{{&a.id, &a.needs}}, both{{&a.id, &a.needs}, {&b.id, &b.needs}};
  BOOST_TEST((full.ChooseEmpty(one).ok() && !full.ChooseEmpty(both).ok()));
}

BOOST_AUTO_TEST_CASE(versions_go_up_with_nodes_and_not_with_promises) {
  Rooms rooms = MakeRooms({Has(4)});
  uint64_t version = rooms.version();
  rooms.Put(NodeId{1}, Has(4), true);
  rooms.Take(NodeId{1}, 1, Wants("", 1).needs);
  Place(rooms, {Wants("a", 1)});
  BOOST_TEST(rooms.version() == version);
  for (const auto& change : std::vector<std::function<void()>>{[&] { rooms.Put(NodeId{1}, Has(5), true); }, [&] { rooms.Put(NodeId{1}, Has(5), false); },
                                                               [&] { rooms.Put(NodeId{2}, Has(5), true); }, [&] { rooms.Remove(NodeId{2}); }}) {
    change();
    BOOST_TEST(rooms.version() > version);
    version = rooms.version();
  }
}

/// What the header says, by a look at all rooms.
std::optional<uint32_t> PlainBest(const std::vector<NodeCapacity>& has, const std::vector<Rooms::Used>& used,
                                  const std::vector<std::map<std::string, int>>& words, const Wish& wish) {
  std::optional<uint32_t> best;
  std::vector<int64_t> best_cost;
  for (uint32_t i = 0; i < has.size(); ++i) {
    const ProcessNeeds& needs = wish.needs;
    bool fits = used[i].cores + needs.cores <= has[i].cores && used[i].memory + needs.memory <= has[i].memory && used[i].disk + needs.disk <= has[i].disk;
    for (const auto& [kind, count] : needs.accelerators) {
      const uint64_t there = has[i].accelerators.contains(kind) ? has[i].accelerators.at(kind) : 0;
      const uint64_t taken = used[i].accelerators.contains(kind) ? used[i].accelerators.at(kind) : 0;
      fits = fits && taken + count <= there;
    }
    for (const auto& [name, value] : needs.labels) fits = fits && has[i].labels.contains(name) && has[i].labels.at(name) == value;
    if (!fits || std::count(wish.refused.begin(), wish.refused.end(), NodeId{i + 1}) > 0) continue;
    std::vector<int64_t> cost;
    for (const std::string& word : needs.apart) cost.push_back(words[i].contains(word) ? words[i].at(word) : 0);
    cost.push_back(static_cast<int64_t>(used[i].cores) - static_cast<int64_t>(has[i].cores));
    cost.push_back(used[i].processes);
    if (best && best_cost <= cost) continue;
    best = i + 1;
    best_cost = cost;
  }
  return best;
}

BOOST_AUTO_TEST_CASE(random_wishes_go_where_a_look_at_all_nodes_would_send_them) {
  Random random(8);
  size_t placed = 0, refused = 0;
  for (int round = 0; round < 500; ++round) {
    std::vector<NodeCapacity> has;
    for (uint64_t i = 1 + random.Below(6); i > 0; --i) {
      has.push_back(Has(static_cast<uint32_t>(random.Below(9)), random.Below(900), random.Below(2) == 0 ? Labels{{"l", "x"}} : Labels{}, random.Below(900),
                        random.Below(2) == 0 ? Counts{{"gpu", static_cast<uint32_t>(random.Below(4))}} : Counts{}));
    }
    Rooms rooms = MakeRooms(has);
    std::vector<Rooms::Used> used(has.size());
    std::vector<std::map<std::string, int>> words(has.size());
    for (uint64_t i = random.Below(12); i > 0; --i) {
      Wish wish = Wants("p", static_cast<uint32_t>(random.Below(4)), random.Below(200), random.Below(4) == 0 ? Labels{{"l", "x"}} : Labels{});
      wish.needs.disk = random.Below(200);
      if (random.Below(4) == 0) wish.needs.accelerators["gpu"] = static_cast<uint32_t>(random.Below(3));
      for (const char* word : {"a", "b"}) {
        if (random.Below(2) == 0) wish.needs.apart.push_back(word);
      }
      if (random.Below(4) == 0) wish.refused.push_back(NodeId{1 + static_cast<uint32_t>(random.Below(has.size()))});
      const auto expected = PlainBest(has, used, words, wish);
      const auto nodes = Choose(rooms, {wish});
      BOOST_TEST_REQUIRE(nodes.ok() == expected.has_value());
      ++(nodes.ok() ? placed : refused);
      if (!nodes.ok()) continue;
      BOOST_TEST_REQUIRE(static_cast<uint32_t>(nodes->front()) == *expected);
      rooms.Take(nodes->front(), 1, wish.needs);
      Rooms::Used& there = used[*expected - 1];
      there.cores += wish.needs.cores;
      there.memory += wish.needs.memory;
      there.disk += wish.needs.disk;
      ++there.processes;
      for (const auto& [kind, count] : wish.needs.accelerators) {
        if (count > 0) there.accelerators[kind] += count;
      }
      for (const std::string& word : wish.needs.apart) ++words[*expected - 1][word];
      BOOST_TEST((rooms.UsedOf(nodes->front()) == there));
    }
  }
  BOOST_TEST((placed > 500 && refused > 100), placed << " placed, " << refused << " refused");
}

BOOST_AUTO_TEST_CASE(a_gang_is_placed_as_its_members_one_by_one_or_not_at_all) {
  Random random(9);
  size_t placed = 0, refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<NodeCapacity> has;
    for (uint64_t i = 1 + random.Below(4); i > 0; --i) has.push_back(Has(static_cast<uint32_t>(random.Below(9)), random.Below(900)));
    Rooms rooms = MakeRooms(has), by_one = rooms;
    std::vector<Wish> gang;
    for (uint64_t i = random.Below(7); i > 0; --i) {
      gang.push_back(
          Wants("p" + std::to_string(i), static_cast<uint32_t>(random.Below(4)), random.Below(200), {}, random.Below(2) == 0 ? Words{"w"} : Words{}));
    }
    const auto nodes = Choose(rooms, gang);
    for (uint32_t i = 1; i <= has.size(); ++i) BOOST_TEST((rooms.UsedOf(NodeId{i}) == Rooms::Used{}));
    std::vector<size_t> order(gang.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::tuple(gang[a].needs.cores, gang[a].needs.memory) > std::tuple(gang[b].needs.cores, gang[b].needs.memory);
    });
    bool all = true;
    for (const size_t i : order) {
      const auto one = Choose(by_one, {gang[i]});
      all = all && one.ok();
      if (!all) break;
      if (nodes.ok()) BOOST_TEST(((*nodes)[i] == one->front()));
      by_one.Take(one->front(), 1, gang[i].needs);
    }
    BOOST_TEST(nodes.ok() == all);
    ++(all ? placed : refused);
  }
  BOOST_TEST((placed > 50 && refused > 50), placed << " placed, " << refused << " refused");
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
