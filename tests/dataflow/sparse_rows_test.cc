#include "dataflow/sparse_rows.h"

#include <boost/test/unit_test.hpp>
#include <string>
#include <utility>
#include <vector>

namespace troupe {
namespace {

using Entries = std::vector<std::pair<Feature, float>>;

SparseRows Make(const std::vector<Entries>& rows) {
  SparseRows made;
  for (const Entries& row : rows) {
    for (const auto& [feature, value] : row) made.Add(feature, value);
    made.EndRow();
  }
  return made;
}

std::vector<Entries> Read(const SparseRows& rows) {
  std::vector<Entries> read;
  for (size_t r = 0; r < rows.rows(); ++r) {
    const SparseRow row = rows.row(r);
    Entries& entries = read.emplace_back();
    for (size_t j = 0; j < row.size(); ++j) entries.emplace_back(row.feature(j), row.value(j));
  }
  return read;
}

BOOST_AUTO_TEST_SUITE(SparseRowsSuite)

BOOST_AUTO_TEST_CASE(rows_come_back_as_they_were_added) {
  const std::vector<Entries> rows = {{{1, 0.5f}, {3, 1}, {9, -2}, {10, 1}, {11, 1}}, {}, {{2, 1}}, {{UINT32_MAX, 0}, {uint64_t{UINT32_MAX} + 1, 1}}, {{4, 2}}};
  BOOST_TEST((Read(Make(rows)) == rows));
  BOOST_TEST(Make(rows).entries() == 9u);
  BOOST_TEST(Make(rows).entries(0) == 5u);
  BOOST_TEST(Make(rows).entries(1) == 0u);
  BOOST_TEST(SparseRows().rows() == 0u);
}

BOOST_AUTO_TEST_CASE(ones_at_the_end_of_a_row_take_no_room) {
  const SparseRows rows = Make({{{1, 0.5f}, {2, 1}, {3, 0.25f}, {4, 1}, {5, 1}}, {{1, 1}}});
  BOOST_TEST(rows.row(0).values().size() == 3u);
  BOOST_TEST(rows.row(1).values().empty());
}

BOOST_AUTO_TEST_CASE(features_are_narrow_until_one_does_not_fit) {
  const auto bits = [](const SparseRows& rows) { return rows.row(0).Features([](auto features) { return 8 * sizeof(features[0]); }); };
  BOOST_TEST(bits(Make({{{1, 1}, {UINT32_MAX, 1}}})) == 32u);
  BOOST_TEST(bits(Make({{{1, 1}, {2, 1}}, {{uint64_t{1} << 32, 1}}})) == 64u);
}

BOOST_AUTO_TEST_CASE(whole_arrays_give_the_same_rows) {
  const std::vector<uint32_t> begins = {0, 2, 2, 3}, value_begins = {0, 1, 1, 1};
  const std::vector<float> values = {0.5f};
  for (const Feature last : {Feature{7}, Feature{1} << 40}) {
    const std::vector<Feature> features = {1, 6, last};
    BOOST_TEST((SparseRows(begins, features, value_begins, values) == Make({{{1, 0.5f}, {6, 1}}, {}, {{last, 1}}})));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
