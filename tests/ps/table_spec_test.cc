// What a table may be, and how many ranges it has.
#include "ps/table_spec.h"

#include "ps/partition.h"

#include <boost/test/unit_test.hpp>

#include "actors/text.h"

namespace troupe {

BOOST_AUTO_TEST_SUITE(TableSpecTest)

BOOST_AUTO_TEST_CASE(a_default_table_is_valid) {
  BOOST_TEST(Validate(TableSpec{}).ok());
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_said_with_the_table) {
  const auto message = [](auto change) {
    TableSpec spec;
    spec.name = "w";
    change(spec);
    return std::string(Message(Validate(spec)));
  };
  BOOST_TEST(message([](TableSpec& s) { s.width = 0; }) == "table 'w': width is 0, expected 1 .. 65536");
  BOOST_TEST(message([](TableSpec& s) { s.width = 65537; }) == "table 'w': width is 65537, expected 1 .. 65536");
  BOOST_TEST(message([](TableSpec& s) { s.rows = 0; }) == "table 'w': rows is 0, expected 1 .. 1099511627776");
  BOOST_TEST(message([](TableSpec& s) { s.rows = UINT64_MAX; }).starts_with("table 'w': rows is 18446744073709551615"));
  BOOST_TEST(message([](TableSpec& s) { s.ranges = UINT32_MAX; }).starts_with("table 'w': ranges is 4294967295, expected at most"));
  BOOST_TEST(message([](TableSpec& s) { s.rule = "sdg"; }) == "table 'w': unknown rule 'sdg'; did you mean 'sgd'?");
  BOOST_TEST(message([](TableSpec& s) {
               s.l2 = -1;
               s.rule = "sgd";
             }) == "table 'w': l2 is -1, expected 0 .. 1e30");
  BOOST_TEST(message([](TableSpec& s) { s.delay_compensation = -1; }) == "table 'w': delay_compensation is -1, expected 0 .. 1e30");
  BOOST_TEST(message([](TableSpec& s) {
               s.rule = "add";
               s.delay_compensation = 0.1;
             }).starts_with("table 'w': delay_compensation is set, but what the rule add is given are no gradients"));
  BOOST_TEST(message([](TableSpec& s) { s.limits.admit_after = 0; }) == "table 'w': admit_after is 0, expected 1 .. 255");
  BOOST_TEST(message([](TableSpec& s) { s.limits.admit_after = 256; }) == "table 'w': admit_after is 256, expected 1 .. 255");
  BOOST_TEST(message([](TableSpec& s) { s.limits.ttl = UINT64_MAX; }) == "table 'w': ttl is 18446744073709551615, expected at most 268435456");
  BOOST_TEST(message([](TableSpec& s) { s.limits.rows_max = 63; }) == "table 'w': rows_max is 63, expected 0 or at least one a range, 64");
  BOOST_TEST(message([](TableSpec& s) { s.limits.memory_max = 1000; }) == "table 'w': memory_max is 1000, expected 0 or at least 1048576");
  BOOST_TEST(message([](TableSpec& s) {
               s.rows = 100;
               s.limits.memory_max = 1 << 20;
             }) == "table 'w': is dense, expected a sparse table for admit_after, ttl, rows_max and memory_max");
  BOOST_TEST(message([](TableSpec& s) { s.limits.ttl = 3; }) ==
             "table 'w': admit_after, ttl or rows_max is set, but sums of the rule add are exact: expected none of them");
  BOOST_TEST(message([](TableSpec& s) { s.limits.memory_max = 1 << 20; }).empty());
}

BOOST_AUTO_TEST_CASE(ranges_of_dense_tables_hold_at_most_a_mebibyte) {
  TableSpec spec;
  BOOST_TEST(RangeCount(spec) == 64u);
  spec.ranges = 7;
  BOOST_TEST(RangeCount(spec) == 7u);
  spec.ranges = 0;
  for (const uint32_t width : {1u, 3u, 1000u, 65536u}) {
    for (const uint64_t rows : {uint64_t{1}, uint64_t{100}, uint64_t{10'000'000}, uint64_t{123'456'789}}) {
      spec.width = width;
      spec.rows = rows;
      if (!Validate(spec).ok()) continue;
      const uint64_t ranges = RangeCount(spec);
      BOOST_TEST(ranges >= std::min<uint64_t>(rows, 50u));   // 100 rows: 50 ranges of two, for none may be empty
      BOOST_TEST(Partition(spec, 1).RowsIn(static_cast<uint32_t>(ranges - 1)) > 0u);
      BOOST_TEST(((rows + ranges - 1) / ranges) * width * 4 <= std::max<uint64_t>(1 << 20, width * 4));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
