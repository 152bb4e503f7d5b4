// Metrics: the text format to the byte, and updates from many threads.
#include "actors/metrics.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <thread>

namespace troupe {
BOOST_AUTO_TEST_SUITE(MetricsSuite)

BOOST_AUTO_TEST_CASE(the_text_is_prometheus_exposition_format) {
  Metrics metrics;
  metrics.GetCounter("pushes_total", "pushes applied", {{"table", "w"}, {"shard", "1"}}).Add(3);
  metrics.GetCounter("pushes_total", "pushes applied", {{"shard", "0"}, {"table", "w"}}).Add();
  metrics.GetGauge("held_bytes", "").Set(1.5);
  Histogram& seconds = metrics.GetHistogram("push_seconds", "push to acknowledgement", {0.1, 1}, {{"shard", "0"}});
  for (const double value : {0.05, 0.1, 0.5, 7.0}) seconds.Observe(value);
  BOOST_TEST(metrics.Text() ==
             "# TYPE held_bytes gauge\n"
             "held_bytes 1.5\n"
             "# HELP push_seconds push to acknowledgement\n"
             "# TYPE push_seconds histogram\n"
             "push_seconds_bucket{shard=\"0\",le=\"0.1\"} 2\n"
             "push_seconds_bucket{shard=\"0\",le=\"1\"} 3\n"
             "push_seconds_bucket{shard=\"0\",le=\"+Inf\"} 4\n"
             "push_seconds_sum{shard=\"0\"} 7.65\n"
             "push_seconds_count{shard=\"0\"} 4\n"
             "# HELP pushes_total pushes applied\n"
             "# TYPE pushes_total counter\n"
             "pushes_total{shard=\"0\",table=\"w\"} 1\n"
             "pushes_total{shard=\"1\",table=\"w\"} 3\n");
}

BOOST_AUTO_TEST_CASE(text_that_would_break_a_line_is_escaped) {
  Metrics metrics;
  metrics.GetGauge("g", "a \\ and\na \"line\"", {{"path", "C:\\x \"y\"\nz"}}).Set(-std::numeric_limits<double>::infinity());
  BOOST_TEST(metrics.Text() == "# HELP g a \\\\ and\\na \"line\"\n# TYPE g gauge\ng{path=\"C:\\\\x \\\"y\\\"\\nz\"} -Inf\n");
}

BOOST_AUTO_TEST_CASE(unusual_numbers_have_their_names_and_a_histogram_without_labels_its_braces) {
  Metrics metrics;
  metrics.GetGauge("nan", "").Set(std::nan(""));
  metrics.GetHistogram("empty", "", {}).Observe(std::numeric_limits<double>::infinity());
  BOOST_TEST(metrics.Text() ==
             "# TYPE empty histogram\nempty_bucket{le=\"+Inf\"} 1\nempty_sum +Inf\nempty_count 1\n"
             "# TYPE nan gauge\nnan NaN\n");
  metrics.GetHistogram("h", "", {1}).Observe(std::nan(""));
  BOOST_TEST(metrics.GetHistogram("h", "", {1}).counts()[1] == 1u);
}

BOOST_AUTO_TEST_CASE(the_same_name_and_labels_are_the_same_metric) {
  Metrics metrics;
  Counter& counter = metrics.GetCounter("c", "", {{"a", "1"}, {"b", "2"}});
  BOOST_TEST(&metrics.GetCounter("c", "other help", {{"b", "2"}, {"a", "1"}}) == &counter);
  BOOST_TEST(&metrics.GetCounter("c", "", {{"a", "1"}}) != &counter);
  Gauge& gauge = metrics.GetGauge("g", "");
  gauge.Set(2);
  gauge.Add(-0.5);
  BOOST_TEST(metrics.GetGauge("g", "").value() == 1.5);
}

BOOST_AUTO_TEST_CASE(no_update_is_lost_between_threads) {
  Metrics metrics;
  constexpr int kTimes = 20000;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&metrics] {
      Counter& counter = metrics.GetCounter("c", "");
      Gauge& gauge = metrics.GetGauge("g", "");
      Histogram& histogram = metrics.GetHistogram("h", "", {10, 20});
      for (int i = 0; i < kTimes; ++i) {
        counter.Add();
        gauge.Add(1);
        histogram.Observe(i % 30);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(metrics.GetCounter("c", "").value() == 4u * kTimes);
  BOOST_TEST(metrics.GetGauge("g", "").value() == 4.0 * kTimes);
  const auto counts = metrics.GetHistogram("h", "", {10, 20}).counts();
  BOOST_TEST(counts[0] + counts[1] + counts[2] == 4u * kTimes);
}

BOOST_AUTO_TEST_CASE(bounds_grow_by_their_factor) {
  const std::vector<double> expected{1, 4, 16};
  BOOST_TEST(ExponentialBounds(1, 4, 3) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
