#include "actors/internal/connection_rate.h"

#include <boost/test/unit_test.hpp>

namespace troupe {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
constexpr ConnectionRate::Time kStart{seconds(1'000'000)};

uint64_t Source(const std::string& place) {
  return SourceOf(AddressOf(ParsePlace(place).value()).value().value());
}
int Admitted(ConnectionRate& rate, uint64_t source, ConnectionRate::Time now, int asked) {
  int admitted = 0;
  for (int i = 0; i < asked; ++i) admitted += rate.Admit(source, now);
  return admitted;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(ConnectionRateSuite)

BOOST_AUTO_TEST_CASE(a_burst_and_then_so_many_a_second) {
  ConnectionRate rate;
  BOOST_TEST(Admitted(rate, 7, kStart, 10'000) == ConnectionRate::kBurst);
  BOOST_TEST(Admitted(rate, 7, kStart + seconds(1), 10'000) == ConnectionRate::kPerSecond);
  BOOST_TEST(Admitted(rate, 7, kStart + seconds(1) + milliseconds(500), 10'000) == ConnectionRate::kPerSecond / 2);
  BOOST_TEST(Admitted(rate, 7, kStart + seconds(3600), 10'000) == ConnectionRate::kBurst);
}

BOOST_AUTO_TEST_CASE(one_source_does_not_use_up_what_is_anothers) {
  ConnectionRate rate;
  Admitted(rate, 7, kStart, 10'000);
  BOOST_TEST(Admitted(rate, 8, kStart, 10'000) == ConnectionRate::kBurst);
}

BOOST_AUTO_TEST_CASE(members_do_not_count) {
  ConnectionRate rate;
  for (int i = 0; i < 10'000; ++i) {
    BOOST_TEST_REQUIRE(rate.Admit(7, kStart));
    rate.GiveBack(7);
  }
  BOOST_TEST(Admitted(rate, 7, kStart, 10'000) == ConnectionRate::kBurst);
  rate.GiveBack(99);   // of one that is not kept any more
  BOOST_TEST(rate.sources() == 1u);
}

BOOST_AUTO_TEST_CASE(the_sources_kept_are_bounded) {
  ConnectionRate rate;
  for (uint64_t source = 0; source < 100'000; ++source) BOOST_TEST_REQUIRE(rate.Admit(source, kStart));
  BOOST_TEST(rate.sources() == ConnectionRate::kSourcesMax);
  BOOST_TEST(rate.Admit(200'000, kStart + seconds(2)));   // those of 2 s ago are full again, and forgotten
  BOOST_TEST(rate.sources() == 1u);
}

BOOST_AUTO_TEST_CASE(a_source_is_an_ipv4_address_or_half_an_ipv6_one) {
  BOOST_TEST(Source("tcp:192.0.2.1:1") == Source("tcp:192.0.2.1:2"));
  BOOST_TEST(Source("tcp:192.0.2.1:1") != Source("tcp:192.0.2.2:1"));
  BOOST_TEST(Source("tcp:[::ffff:192.0.2.1]:1") == Source("tcp:192.0.2.1:1"));
  BOOST_TEST(Source("tcp:[2001:db8:1:2::1]:1") == Source("tcp:[2001:db8:1:2:ffff::9]:1"));
  BOOST_TEST(Source("tcp:[2001:db8:1:2::1]:1") != Source("tcp:[2001:db8:1:3::1]:1"));
  BOOST_TEST(Source("unix:/a") == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
