// The benchmark itself: that it measures what it says and leaves nothing behind. No figure is checked here.
#include "dataflow/bench.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "tests/dataflow/data_folder.h"

namespace troupe {

BOOST_AUTO_TEST_SUITE(BenchDataflowSuite)

BOOST_AUTO_TEST_CASE(rows_are_complete_and_nothing_stays_behind) {
  const testing::DataFolder folder;
  ::setenv("TMPDIR", folder.path().c_str(), 1);
  const auto rows = BenchDataflowRows(2000);
  ::unsetenv("TMPDIR");
  BOOST_REQUIRE_MESSAGE(rows.ok(), rows.status());
  BOOST_TEST(rows->size() == 4u);
  for (const BenchRow& row : *rows) {
    BOOST_TEST(row.value > 0);
    BOOST_TEST(std::fabs(row.ratio - row.value / row.limit) < 1e-9);
    BOOST_TEST(row.unit == "MB/s");
    BOOST_TEST(row.name.find("limit: ") != std::string::npos);
    BOOST_TEST_MESSAGE(row.name << ": " << row.value << " of " << row.limit << " MB/s, ratio " << row.ratio);
  }
  BOOST_TEST(std::filesystem::is_empty(folder.path()));
}

BOOST_AUTO_TEST_CASE(a_missing_folder_for_temporary_files_is_an_error) {
  ::setenv("TMPDIR", "/none", 1);
  const auto rows = BenchDataflowRows(2000);
  ::unsetenv("TMPDIR");
  BOOST_TEST(!rows.ok());
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
