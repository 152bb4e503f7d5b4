// A shard's state cut into pieces, in any order, with pieces that come twice, are missing or do not fit.
#include "ps/chain/state_transfer.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>

#include "actors/random.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr StatePart kPart{.view = 3, .attempt = 2, .part = 1, .more = true, .number = 17};

Block Bytes(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  return Block::Adopt(std::move(bytes));
}
bool Same(const Block& a, const Block& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

ShardState SomeState() {
  ShardState state{.sections = {{"ledger", Bytes(100)}, {"table/w/0", Bytes(0)}, {"table/w/1", Bytes(1000)}, {"table/w/2", Bytes(64)}}, .waiting = {}};
  for (uint32_t i = 0; i < 2; ++i) {
    Push push;
    push.writer = WriterId{i};
    push.round = 5 + i;
    push.parts = Block::Adopt(std::vector<PushPart>{{.table = 0, .range = i, .sequence = 3, .previous = 2, .first = 0, .count = 1, .dense = 0, .nonzeros = 1}});
    push.keys = Block::Adopt(std::vector<Key>{9});
    push.values = Block::Adopt(std::vector<float>{0.5F});
    state.waiting.push_back(std::move(push));
  }
  return state;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(StateTransferSuite)

BOOST_AUTO_TEST_CASE(pieces_in_any_order_make_the_state) {
  Random random(1);
  const ShardState state = SomeState();
  for (const size_t piece_bytes : {7u, 64u, 4096u}) {
    std::vector<Adopt> pieces = CutState(state, kPart, piece_bytes);
    for (const Adopt& piece : pieces) BOOST_TEST(piece.bytes.size() <= piece_bytes);
    for (size_t i = pieces.size(); i > 1; --i) std::swap(pieces[i - 1], pieces[random.Below(i)]);
    StateAssembly assembly(pieces[0]);
    BOOST_TEST((assembly.of() == kPart));
    for (const Adopt& piece : pieces) {
      BOOST_TEST(!assembly.whole());
      BOOST_TEST(assembly.Take(piece).ok());
      if (!assembly.whole()) BOOST_TEST(assembly.Take(piece).ok());   // it comes twice
    }
    BOOST_TEST_REQUIRE(assembly.whole());
    const auto again = std::move(assembly).Finish();
    BOOST_TEST_REQUIRE(again.ok(), again.status().ToString());
    BOOST_TEST_REQUIRE(again->sections.size() == state.sections.size());
    for (size_t i = 0; i < state.sections.size(); ++i) {
      BOOST_TEST(again->sections[i].name == state.sections[i].name);
      BOOST_TEST(Same(again->sections[i].bytes, state.sections[i].bytes));
    }
    BOOST_TEST_REQUIRE(again->waiting.size() == 2u);
    for (size_t i = 0; i < 2; ++i) {
      BOOST_TEST(again->waiting[i].round == state.waiting[i].round);
      BOOST_TEST(Same(again->waiting[i].parts, state.waiting[i].parts));
      BOOST_TEST(Same(again->waiting[i].values, state.waiting[i].values));
    }
  }
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused_and_changes_nothing) {
  const std::vector<Adopt> pieces = CutState(SomeState(), kPart, 64);
  const auto refused = [&](const char* why, const std::function<void(Adopt&)>& spoil) {
    StateAssembly assembly(pieces[0]);
    BOOST_TEST(assembly.Take(pieces[0]).ok());
    Adopt piece = pieces[1];
    spoil(piece);
    const absl::Status status = assembly.Take(piece);
    BOOST_TEST(absl::IsInvalidArgument(status));
    BOOST_TEST(std::string(Message(status)).find(why) != std::string::npos, status.ToString());
    for (const Adopt& rest : pieces) BOOST_TEST(assembly.Take(rest).ok());
    BOOST_TEST(std::move(assembly).Finish().ok());
  };
  refused("another part", [](Adopt& piece) { ++piece.of.view; });
  refused("another part", [](Adopt& piece) { ++piece.of.attempt; });
  refused("another part", [](Adopt& piece) { ++piece.of.part; });
  refused("another part", [](Adopt& piece) { ++piece.of.number; });
  refused("another part", [](Adopt& piece) { ++piece.pieces; });
  refused("not that many", [](Adopt& piece) { piece.piece = piece.pieces; });
  refused("outside its section", [](Adopt& piece) { piece.offset = piece.size; });
  refused("outside its section", [](Adopt& piece) { piece.size = StateAssembly::kBytesMax + 1; });
  refused("called otherwise", [](Adopt& piece) { piece.name += "x"; });
  refused("called otherwise", [](Adopt& piece) { ++piece.size; });
}

BOOST_AUTO_TEST_CASE(a_state_that_lacks_bytes_is_refused) {
  std::vector<Adopt> pieces = CutState(SomeState(), kPart, 64);
  pieces[1].bytes = pieces[1].bytes.Slice(0, 1);
  StateAssembly assembly(pieces[0]);
  for (const Adopt& piece : pieces) BOOST_TEST(assembly.Take(piece).ok());
  BOOST_TEST(assembly.whole());
  BOOST_TEST(absl::IsInvalidArgument(std::move(assembly).Finish().status()));

  ShardState headless;
  headless.sections = {{"waiting/array", Bytes(8)}};
  const std::vector<Adopt> of_it = CutState(headless, kPart);
  StateAssembly other(of_it[0]);
  BOOST_TEST(other.Take(of_it[0]).ok());
  BOOST_TEST(absl::IsInvalidArgument(std::move(other).Finish().status()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
