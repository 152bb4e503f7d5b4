// What a job's driver says of itself is read again by others.
#include "algorithms/run/job_about.h"

#include <boost/test/unit_test.hpp>

namespace troupe {

BOOST_AUTO_TEST_SUITE(JobAbout)

BOOST_AUTO_TEST_CASE(what_a_driver_says_of_its_tables_and_data_is_read_again) {
  const std::vector<TableSpec> tables = {{.name = "w", .width = 2, .rows = {}, .rule = "adam", .rule_options = {}},
                                         {.name = "a table", .width = 1, .rows = 9, .rule = "add", .rule_options = {}},
                                         {.name = "kept", .width = 1, .rows = 9, .rule = "add", .rule_options = {}, .kept_by = KeptBy::kRing}};
  const AboutJob about = {.tables = AboutTables(tables, 3, 2),
                          .data = "the clicks.svm",
                          .splits_all = 2,
                          .splits_done = 1,
                          .splits = {{.split = 0, .worker = 1, .done = true, .percent = 100, .batches = 7, .rows = 700}, {.split = 1, .worker = 0}}};
  BOOST_TEST((about.tables == std::vector<AboutTable>{{"w", 2, {}, 3, 2, "adam"}, {"a table", 1, 9, 3, 2, "add"}, {"kept", 1, 9, 0, 1, "add"}}));
  BOOST_TEST((ReadAbout(WriteAbout(about)) == about));
  BOOST_TEST((ReadAbout("") == AboutJob{}));
}

BOOST_AUTO_TEST_CASE(lines_that_are_none_are_left_out) {
  const AboutJob about = {.tables = {{"w", 1, {}, 1, 1, "add"}}, .data = "d", .splits_all = 5, .splits_done = 4, .splits = {{.split = 4, .worker = 2}}};
  const std::string nonsense =
      "nonsense\n\t\t\t\t\t\t\ntable\tx\t1\t1\t1\t1\ntable\t1\t-1\t1\t1\t1\tadd\ntable\t\t1\t1\t1\t1\tadd\nsplit\t0\t1\tdone\nsplit\t0\t1\tgone\t1\t1\t1\n"
      "split\t0\t-1\tdone\t1\t1\t1\ndata\ndata\tx\ndata\tx\t1\t2\ndata\tx\t1\t-1\n";
  BOOST_TEST((ReadAbout(nonsense + WriteAbout(about) + nonsense) == about));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
