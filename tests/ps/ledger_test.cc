// The ledger's few rules, and how a consistency is written and what it demands.
#include "ps/ledger.h"

#include <boost/test/unit_test.hpp>

#include "actors/text.h"
#include "ps/consistency.h"

namespace troupe {
namespace {

BOOST_AUTO_TEST_SUITE(LedgerSuite)

BOOST_AUTO_TEST_CASE(clocks_only_rise_and_stable_never_passes_them) {
  Ledger ledger(2, 3);
  BOOST_TEST(ledger.min_clock() == kFirstRound);
  ledger.Advance(0, MakeRound(1, 5));
  ledger.Advance(0, MakeRound(1, 3));
  BOOST_TEST(ledger.clock(0) == MakeRound(1, 5));
  BOOST_TEST(ledger.min_clock() == kFirstRound);
  ledger.SetStable(0, MakeRound(1, 9));
  BOOST_TEST(ledger.stable(0) == MakeRound(1, 5));
  ledger.SetStable(0, MakeRound(1, 2));
  BOOST_TEST(ledger.stable(0) == MakeRound(1, 5));
}

BOOST_AUTO_TEST_CASE(sequences_are_kept_by_slot_and_writer) {
  Ledger ledger(2, 3);
  BOOST_TEST(ledger.slots() == 3U);
  ledger.SetSequence(2, 1, 7);
  for (uint32_t slot = 0; slot < 3; ++slot) {
    for (uint32_t writer = 0; writer < 2; ++writer) BOOST_TEST(ledger.sequence(slot, writer) == (slot == 2 && writer == 1 ? 7U : 0U));
  }
}

BOOST_AUTO_TEST_CASE(what_is_restored_is_stable) {
  Ledger ledger(2, 1);
  ledger.Restore({MakeRound(1, 4), MakeRound(2, 0)}, {3, 9});
  BOOST_TEST(ledger.stable(0) == MakeRound(1, 4));
  BOOST_TEST(ledger.stable(1) == MakeRound(2, 0));
  BOOST_TEST(ledger.sequence(0, 1) == 9U);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(ConsistencySuite)

BOOST_AUTO_TEST_CASE(text_is_read_and_written) {
  for (const std::string text : {"bsp", "asp", "ssp:0", "ssp:3", "ssp:1000000", "backup:2", "delay:1", "delay:250"}) {
    const auto parsed = ParseConsistency(text);
    BOOST_REQUIRE_MESSAGE(parsed.ok(), text);
    BOOST_TEST(ToString(*parsed) == text);
  }
  for (const std::string text : {"", "BSP", "ssp", "ssp:", "ssp:x", "ssp:-1", "ssp:1.5", "ssp:1000001", "ssp:99999999999", "ssp:3 ", "ssp:+3", "asp:1", "bsp:1",
                                 "backup", "backup:", "backup:x", "delay:0", "delay:-5", "delay:1000001"}) {
    const auto parsed = ParseConsistency(text);
    BOOST_REQUIRE_MESSAGE(!parsed.ok(), text);
    BOOST_TEST(Message(parsed.status()) == "consistency is '" + text + "', expected bsp, backup:K, ssp:K, delay:MS, asp, ring or tree");
  }
}

BOOST_AUTO_TEST_CASE(a_round_needs_the_one_before_or_the_staleness_before_and_a_phase_all_of_the_last) {
  const Consistency bsp, ssp{.kind = Consistency::Kind::kSsp, .staleness = 2}, asp{.kind = Consistency::Kind::kAsp};
  BOOST_TEST(bsp.Needs(MakeRound(1, 1)) == MakeRound(1, 0));
  BOOST_TEST(bsp.Needs(MakeRound(1, 7)) == MakeRound(1, 6));
  BOOST_TEST(ssp.Needs(MakeRound(1, 7)) == MakeRound(1, 4));
  BOOST_TEST(ssp.Needs(MakeRound(3, 2)) == MakeRound(3, 0));
  BOOST_TEST(asp.Needs(MakeRound(3, 2)) == 0U);
  BOOST_TEST(!bsp.allows_prefetch());
  BOOST_TEST(ssp.allows_prefetch());
  BOOST_TEST(!(Consistency{.kind = Consistency::Kind::kSsp, .staleness = 0}).allows_prefetch());
  BOOST_TEST(asp.allows_prefetch());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
