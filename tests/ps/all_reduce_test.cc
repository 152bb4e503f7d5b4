// Groups of 1 to 9 members whose messages come in any order, early, late and twice, beside plain sums in the order that the topology says.
#include "ps/all_reduce.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "actors/random.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr KeptBy kTopologies[] = {KeptBy::kRing, KeptBy::kTree};

std::vector<float> Numbers(uint64_t seed, uint64_t floats) {
  Random random(seed);
  std::vector<float> numbers(floats);
  for (float& number : numbers) number = static_cast<float>(random.Normal());
  return numbers;
}

uint64_t SeedOf(uint64_t turn, uint32_t member) {
  return 1 + turn * 100 + member;
}

/// Members and the messages between them, delivered in an order that the seed says.
struct Group {
  struct Sent {
    uint32_t to;
    ReduceMessage message;
  };
  std::vector<AllReduce> members;
  std::vector<Sent> flying, delivered;
  Random random;
  std::vector<std::shared_ptr<std::vector<float>>> kept;
  std::vector<std::vector<std::vector<float>>> sums;   // by member, by turn
  std::vector<std::vector<ReduceCounts>> counts;

  Group(KeptBy topology, uint32_t n, uint64_t floats, uint64_t chunk, uint64_t seed) : random(seed), sums(n), counts(n) {
    for (uint32_t i = 0; i < n; ++i) {
      members.push_back(
          *AllReduce::Make({.topology = topology, .member = i, .members = n, .floats = floats, .chunk_floats_max = chunk, .chunk_floats_min = 4}));
    }
  }
  void Send(uint32_t from, std::vector<AllReduce::Outgoing> out) {
    for (AllReduce::Outgoing& one : out) {
      BOOST_REQUIRE_NE(one.to, from);
      BOOST_REQUIRE_EQUAL(one.message.from, from);
      flying.push_back({one.to, std::move(one.message)});
    }
  }
  /// Empty: zeros.
  void Contribute(uint32_t i, const std::vector<float>& values, ReduceCounts given = {1, 10}) {
    std::vector<AllReduce::Outgoing> out;
    BOOST_REQUIRE(members[i].Contribute(values.empty() ? nullptr : std::make_shared<const std::vector<float>>(values), given, out).ok());
    Send(i, std::move(out));
    TakeDone(i);
  }
  void Give(const Sent& sent) {
    std::vector<AllReduce::Outgoing> out;
    const absl::Status status = members[sent.to].Receive(sent.message, out);
    BOOST_REQUIRE_MESSAGE(status.ok(), status.message());
    Send(sent.to, std::move(out));
    TakeDone(sent.to);
  }
  void TakeDone(uint32_t i) {
    if (auto sum = members[i].Take()) {
      sums[i].push_back(*sum->values);
      if (random.Below(2) == 0) kept.push_back(sum->values);   // whoever keeps it keeps it unchanged
      counts[i].push_back(sum->counts);
    }
  }
  /// One of the messages under way, and now and then one that has come before, of this turn or of an old one.
  void Step() {
    const size_t at = random.Below(flying.size());
    const Sent sent = flying[at];
    flying.erase(flying.begin() + static_cast<std::ptrdiff_t>(at));
    Give(sent);
    delivered.push_back(sent);
    if (random.Below(3) == 0) Give(delivered[random.Below(delivered.size())]);
  }
};

/// The sum of a chunk's element in the order that the header promises.
float Expected(KeptBy topology, uint32_t n, uint32_t chunk, const std::function<float(uint32_t)>& of) {
  if (topology == KeptBy::kRing) {
    float sum = of(chunk % n);
    for (uint32_t i = 1; i < n; ++i) sum += of((chunk + i) % n);
    return sum;
  }
  const std::function<float(uint32_t)> subtree = [&](uint32_t i) {
    float sum = of(i);
    for (const uint32_t child : {2 * i + 1, 2 * i + 2})
      if (child < n) sum += subtree(child);
    return sum;
  };
  return subtree(0);
}

}   // namespace

BOOST_AUTO_TEST_SUITE(AllReduceTest)

BOOST_AUTO_TEST_CASE(every_member_has_the_plain_sum_whatever_the_order_of_the_messages) {
  constexpr uint64_t kTurns = 4;
  for (const KeptBy topology : kTopologies) {
    for (uint32_t n = 1; n <= 9; ++n) {
      for (const uint64_t floats : {1, 7, 64, 1001}) {
        for (const uint64_t seed : {1, 2, 3}) {
          Group group(topology, n, floats, 50, seed);
          // Every member gives its numbers as soon as it may, at a random moment: members are then a turn apart.
          for (bool busy = true; busy;) {
            busy = false;
            for (uint32_t i = 0; i < n; ++i) {
              if (group.members[i].turn() == kTurns) continue;
              busy = true;
              if (!group.members[i].contributed() && group.random.Below(2) == 0)
                group.Contribute(i, Numbers(SeedOf(group.members[i].turn(), i), floats), {.writers = i, .nonzeros = 10 * i});
            }
            if (!group.flying.empty()) group.Step();
          }
          const uint32_t chunks = group.members[0].chunks();
          for (uint64_t turn = 0; turn < kTurns; ++turn) {
            std::vector<std::vector<float>> numbers;
            for (uint32_t i = 0; i < n; ++i) numbers.push_back(Numbers(SeedOf(turn, i), floats));
            for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
              for (uint64_t at = floats * chunk / chunks; at < floats * (chunk + 1) / chunks; ++at) {
                double plain = 0, size = 0;
                for (uint32_t i = 0; i < n; ++i) {
                  plain += double{numbers[i][at]};
                  size += std::abs(double{numbers[i][at]});
                }
                const float expected = Expected(topology, n, chunk, [&](uint32_t i) { return numbers[i][at]; });
                BOOST_REQUIRE_LE(std::abs(double{expected} - plain), 1e-6 * size);
                for (uint32_t i = 0; i < n; ++i) BOOST_REQUIRE_EQUAL(group.sums[i].at(turn)[at], expected);
              }
            }
            for (uint32_t i = 0; i < n; ++i) BOOST_TEST((group.counts[i].at(turn) == ReduceCounts{n * (n - 1) / 2, 10 * n * (n - 1) / 2}));
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(arrays_are_used_again_when_nobody_refers_to_them) {
  SpareArrays arrays(30);
  auto first = arrays.Take();
  BOOST_TEST(first->size() == 30u);
  const float* memory = first->data();
  BOOST_TEST(arrays.Take()->data() != memory);
  first = nullptr;
  first = arrays.Take();
  BOOST_TEST(first->data() == memory);
  const std::vector<std::shared_ptr<std::vector<float>>> many{arrays.Take(), arrays.Take(), arrays.Take(), arrays.Take(),
                                                              arrays.Take()};   // more than are remembered
  for (size_t i = 0; i < many.size(); ++i)
    for (size_t j = 0; j < i; ++j) BOOST_TEST(many[i]->data() != many[j]->data());
  for (const KeptBy topology : kTopologies) {   // turn after turn, some sums kept and some messages coming once more
    Group group(topology, 3, 30, 10, 1);
    for (int turn = 0; turn < 9; ++turn) {
      for (uint32_t i = 0; i < 3; ++i) group.Contribute(i, std::vector<float>(30, 1));
      while (!group.flying.empty()) group.Step();
    }
    const std::vector<float> threes(30, 3);
    for (const auto& sum : group.kept) BOOST_TEST(*sum == threes, boost::test_tools::per_element());
    for (uint32_t i = 0; i < 3; ++i)
      for (const std::vector<float>& sum : group.sums[i]) BOOST_TEST(sum == threes, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_turn_that_begins_anew_has_the_same_bits_and_nothing_twice) {
  for (const KeptBy topology : kTopologies) {
    for (uint32_t n = 1; n <= 6; ++n) {
      for (uint64_t seed = 1; seed <= 10; ++seed) {
        const auto numbers = [&](uint32_t i) { return Numbers(SeedOf(0, i), 101); };
        Group calm(topology, n, 101, 20, seed), disturbed(topology, n, 101, 20, seed);
        for (uint32_t i = 0; i < n; ++i) calm.Contribute(i, numbers(i));
        while (!calm.flying.empty()) calm.Step();
        for (uint32_t i = 0; i < n; ++i) disturbed.Contribute(i, numbers(i));
        for (uint64_t steps = disturbed.random.Below(2 * n * n); steps > 0 && !disturbed.flying.empty(); --steps) disturbed.Step();
        disturbed.flying.clear();   // of before: whoever hears of the new beginning takes none of them
        disturbed.delivered.clear();
        for (uint32_t i = 0; i < n; ++i) {
          disturbed.members[i].Restart();
          BOOST_TEST(disturbed.members[i].turn() == 0u);
          BOOST_TEST(!disturbed.members[i].contributed());
          BOOST_TEST(!disturbed.members[i].Take().has_value());
          disturbed.sums[i].clear();
          disturbed.counts[i].clear();
        }
        for (uint32_t i = 0; i < n; ++i) disturbed.Contribute(i, numbers(i));
        while (!disturbed.flying.empty()) disturbed.Step();
        for (uint32_t i = 0; i < n; ++i) {
          BOOST_TEST((disturbed.sums[i].at(0) == calm.sums[0].at(0)));
          BOOST_TEST((disturbed.counts[i].at(0) == ReduceCounts{n, uint64_t{10} * n}));
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(members_without_numbers_count_as_zeros_and_send_none) {
  for (const KeptBy topology : kTopologies) {
    for (uint32_t n = 1; n <= 6; ++n) {
      for (uint32_t with = 0; with < 1U << n; ++with) {
        Group group(topology, n, 40, 10, with + 1);
        for (uint32_t i = 0; i < n; ++i)
          group.Contribute(i, (with >> i & 1) != 0 ? std::vector<float>(40, static_cast<float>(1 << i)) : std::vector<float>(), {with >> i & 1, 0});
        while (!group.flying.empty()) {
          if (with == 0) BOOST_REQUIRE(group.flying[0].message.values.empty());
          group.Step();
        }
        for (uint32_t i = 0; i < n; ++i) {
          BOOST_TEST(group.sums[i].at(0) == std::vector<float>(40, static_cast<float>(with)), boost::test_tools::per_element());
          BOOST_TEST(group.counts[i].at(0).writers == static_cast<uint64_t>(__builtin_popcount(with)));
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_ring_sends_two_arrays_a_member_less_a_share_and_a_tree_waits_for_few_hops) {
  for (const uint32_t n : {2, 4, 8}) {
    Group ring(KeptBy::kRing, n, 4096, 1 << 20, 1);
    std::vector<uint64_t> sent(n);
    for (uint32_t i = 0; i < n; ++i) ring.Contribute(i, std::vector<float>(4096, 1));
    while (!ring.flying.empty()) {
      const Group::Sent next = ring.flying.front();
      ring.flying.erase(ring.flying.begin());
      sent[next.message.from] += next.message.values.size() / sizeof(float);
      ring.Give(next);
    }
    for (const uint64_t floats : sent) BOOST_TEST(floats == 2 * (n - 1) * 4096 / n);
    Group tree(KeptBy::kTree, n, 4096, 1 << 20, 1);
    BOOST_TEST(tree.members[0].chunks() == 1u);
  }
}

BOOST_AUTO_TEST_CASE(small_arrays_go_in_one_chunk) {
  const auto chunks = [](KeptBy topology, uint64_t floats) { return AllReduce::Make({.topology = topology, .members = 4, .floats = floats})->chunks(); };
  BOOST_TEST(chunks(KeptBy::kRing, 31) == 1u);
  BOOST_TEST(chunks(KeptBy::kRing, 4096) == 4u);
  BOOST_TEST(chunks(KeptBy::kRing, 10'000'000) == 40u);   // of 1 MiB at most, as many for each member
  BOOST_TEST(chunks(KeptBy::kTree, 31) == 1u);
  BOOST_TEST(chunks(KeptBy::kTree, 10'000'000) == 39u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_refused_and_changes_nothing) {
  const auto wrong = [](const AllReduceOptions& options) { return std::string(Message(AllReduce::Make(options).status())); };
  BOOST_TEST(wrong({.topology = KeptBy::kShards}) == "all-reduce: no topology, expected ring or tree");
  BOOST_TEST(wrong({.member = 2, .members = 2}) == "all-reduce: member is 2, expected below the number of members, 2");
  BOOST_TEST(wrong({.members = 0}) == "all-reduce: member is 0, expected below the number of members, 0");
  BOOST_TEST(wrong({.chunk_floats_max = 0}) == "all-reduce: chunk_floats_max is 0, expected at least 1");

  // Ring of three: chunk 0 starts at member 0; member 1 gets its part from member 0, and the whole from there too.
  Group group(KeptBy::kRing, 3, 12, 4, 1);
  std::vector<AllReduce::Outgoing> out;
  const std::vector<float> four{1, 2, 3, 4};
  ReduceMessage part{.from = 0, .turn = 0, .chunk = 0, .values = Block::Copy(std::span<const float>(four))};
  const auto refused = [&](ReduceMessage message) {
    const absl::Status status = group.members[1].Receive(message, out);
    BOOST_REQUIRE_EQUAL(status.code(), absl::StatusCode::kInvalidArgument);
    BOOST_TEST(out.empty());
    const std::string text(Message(status));
    return text.substr(text.rfind(": ") + 2);
  };
  const auto with = [&](auto change) {
    ReduceMessage message = part;
    change(message);
    return message;
  };
  BOOST_TEST(refused(with([](ReduceMessage& m) { m.chunk = 3; })) == "expected one of 3 chunks");
  BOOST_TEST(refused(with([](ReduceMessage& m) { m.from = 2; })) == "expected it from elsewhere");
  BOOST_TEST(refused(with([](ReduceMessage& m) { m.from = 7; })) == "expected it from elsewhere");
  BOOST_TEST(refused(with([](ReduceMessage& m) { m.chunk = 1; })) == "expected it from elsewhere");   // starts here
  BOOST_TEST(refused(with([](ReduceMessage& m) { m.values = m.values.Slice(0, 12); })) == "12 bytes, expected 4 floats");
  BOOST_TEST(refused(with([](ReduceMessage& m) { m.values = m.values.Slice(0, 15); })) == "15 bytes, expected 4 floats");
  BOOST_TEST(refused(with([](ReduceMessage& m) { m.turn = 2; })) == "expected one of turns 0 and 1");
  BOOST_TEST(refused(with([](ReduceMessage& m) { m.whole = true; })) == "this member's numbers are not in it");
  BOOST_TEST(refused(with([](ReduceMessage& m) {
               m.whole = true;
               m.turn = 1;
             })) == "this member's numbers are not in it");
  BOOST_TEST(refused(with([](ReduceMessage& m) {   // whole here
               m.whole = true;
               m.chunk = 2;
             })) == "expected it from elsewhere");
  BOOST_TEST(Message(group.members[1].Receive(with([](ReduceMessage& m) { m.chunk = 3; }), out)) ==
             "all-reduce: member 0 sends a part of chunk 3 of turn 0 to member 1: expected one of 3 chunks");
  BOOST_TEST(Message(group.members[0].Contribute(std::make_shared<const std::vector<float>>(11), {}, out)) == "all-reduce: 11 numbers, expected 12");
  BOOST_TEST(!group.members[0].contributed());

  // It all goes on as if nothing had been.
  for (uint32_t i = 0; i < 3; ++i) group.Contribute(i, std::vector<float>(12, 1));
  BOOST_TEST(Message(group.members[0].Contribute({}, {}, out)) == "all-reduce: member 0 gives numbers of turn 0 twice");
  while (!group.flying.empty()) group.Step();
  for (uint32_t i = 0; i < 3; ++i) BOOST_TEST(group.sums[i].at(0) == std::vector<float>(12, 3), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(it_says_whom_a_turn_waits_for) {
  Group ring(KeptBy::kRing, 3, 12, 4, 1);
  BOOST_TEST(ring.members[1].WaitsFor() == "");
  ring.Contribute(1, std::vector<float>(12, 1));
  BOOST_TEST(ring.members[1].WaitsFor() == "turn 0 for a part of chunk 0 of member 0");
  ring.Contribute(0, std::vector<float>(12, 1));
  ring.Contribute(2, std::vector<float>(12, 1));
  std::erase_if(ring.flying, [](const Group::Sent& sent) { return sent.message.from == 2; });   // it falls
  while (!ring.flying.empty()) {
    const Group::Sent next = ring.flying.front();
    ring.flying.erase(ring.flying.begin());
    if (next.message.from != 2) ring.Give(next);
  }
  BOOST_TEST(ring.members[0].WaitsFor() == "turn 0 for the whole of chunk 0 from member 2");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
