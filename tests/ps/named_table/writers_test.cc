// Who is which writer of a named table: by hand, in virtual time.
#include "ps/named_table/writers.h"

#include <boost/test/unit_test.hpp>
#include <string>

namespace troupe {
namespace {

using std::chrono::milliseconds;

const TableWriters::Time kStart{std::chrono::hours(1)};
TableWriters::Time At(int ms) {
  return kStart + milliseconds(ms);
}
uint32_t Number(const absl::StatusOr<WriterId>& writer) {
  BOOST_REQUIRE_MESSAGE(writer.ok(), writer.status().ToString());
  return static_cast<uint32_t>(*writer);
}

}   // namespace

BOOST_AUTO_TEST_SUITE(TableWritersTest)

BOOST_AUTO_TEST_CASE(a_user_keeps_its_number_as_long_as_it_says_that_it_is_there) {
  TableWriters writers(2, milliseconds(100));
  BOOST_TEST(Number(writers.Open(7, At(0))) == 0u);
  BOOST_TEST(Number(writers.Open(9, At(0))) == 1u);
  const uint64_t version = writers.version();
  for (int ms = 90; ms < 1000; ms += 90) {
    BOOST_TEST(Number(writers.Open(7, At(ms))) == 0u);
    BOOST_TEST(Number(writers.Open(9, At(ms))) == 1u);
  }
  BOOST_TEST(writers.version() == version);   // nothing to be kept
  const auto third = writers.Open(8, At(1000));
  BOOST_TEST(absl::IsResourceExhausted(third.status()));
  BOOST_TEST(std::string(third.status().message()) == "the table has 2 users that may write, which is the most: wait for one to leave");
}

BOOST_AUTO_TEST_CASE(a_number_is_free_when_its_user_has_gone_and_it_is_settled) {
  TableWriters writers(2, milliseconds(100));
  BOOST_TEST(Number(writers.Open(7, At(0))) == 0u);
  BOOST_TEST(Number(writers.Open(9, At(50))) == 1u);
  BOOST_TEST(writers.Unsettled(At(99)).empty());
  BOOST_TEST((writers.Unsettled(At(100)) == std::vector{WriterId{0}}));
  BOOST_TEST(!writers.Open(7, At(100)).ok());   // it is its no more
  BOOST_TEST(!writers.Open(8, At(100)).ok());
  BOOST_TEST((writers.Unsettled(At(101)) == std::vector{WriterId{0}}));   // as long as it is not settled
  writers.Settled(WriterId{0});
  writers.Settled(WriterId{1});   // somebody has it
  BOOST_TEST(writers.Unsettled(At(101)).empty());
  BOOST_TEST(Number(writers.Open(8, At(101))) == 0u);
  BOOST_TEST(!writers.Open(7, At(120)).ok());
  writers.Close(9);
  writers.Close(9);                                                       // which it is not any more
  writers.Close(0);                                                       // nobody
  BOOST_TEST((writers.Unsettled(At(120)) == std::vector{WriterId{1}}));   // at once
  BOOST_TEST(!writers.Open(7, At(120)).ok());
  writers.Settled(WriterId{1});
  BOOST_TEST(Number(writers.Open(7, At(120))) == 1u);
}

BOOST_AUTO_TEST_CASE(a_late_user_that_nobody_has_missed_goes_on) {
  TableWriters writers(3, milliseconds(100));
  BOOST_TEST(Number(writers.Open(7, At(0))) == 0u);
  BOOST_TEST(Number(writers.Open(9, At(5000))) == 1u);
  BOOST_TEST(Number(writers.Open(7, At(5000))) == 0u);
  BOOST_TEST(writers.Unsettled(At(5099)).empty());
}

BOOST_AUTO_TEST_CASE(who_is_who_is_kept_as_text_and_holds_for_a_lease_after_it_is_read) {
  TableWriters writers(4, milliseconds(100));
  for (const uint64_t user : {7, 9, 11}) writers.Open(user, At(0)).IgnoreError();
  writers.Close(7);
  writers.Close(11);
  writers.Settled(WriterId{0});
  BOOST_TEST(writers.Text() == "0 9 18446744073709551615 0");
  TableWriters again(4, milliseconds(100));
  BOOST_TEST(again.Restore(writers.Text(), At(1000)).ok());
  BOOST_TEST((again.Unsettled(At(1000)) == std::vector{WriterId{2}}));
  BOOST_TEST(Number(again.Open(1, At(1000))) == 0u);
  BOOST_TEST(Number(again.Open(2, At(1000))) == 3u);
  BOOST_TEST(!again.Open(3, At(1099)).ok());
  BOOST_TEST(Number(again.Open(9, At(1099))) == 1u);
  TableWriters more(6, milliseconds(100));
  BOOST_TEST(more.Restore("5", At(0)).ok());
  BOOST_TEST(more.Text() == "5 0 0 0 0 0");
  BOOST_TEST(more.Restore("", At(0)).ok());
}

BOOST_AUTO_TEST_CASE(text_that_is_none_of_a_list_is_refused) {
  for (const char* text : {"1 x", "x", "1  2", "1,2", "-1", "1 18446744073709551616"}) {
    TableWriters writers(3, milliseconds(100));
    BOOST_TEST(absl::IsDataLoss(writers.Restore(text, At(0))), text);
    BOOST_TEST(writers.Text() == "0 0 0");
  }
  TableWriters writers(3, milliseconds(100));
  BOOST_TEST(std::string(writers.Restore("1 2 3 4", At(0)).message()) == "a list of 4 writers, expected at most 3");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
