// FailureDetector: phi beside the normal tail as the C library computes it; it never falls in silence; nodes that are regular, jittery, late, slow.
#include "actors/cluster/failure_detector.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <deque>

#include "actors/random.h"

namespace troupe {
namespace {

using namespace std::chrono_literals;

Clock::Time At(double seconds) {
  return Clock::Time(1000h + std::chrono::duration_cast<Clock::Duration>(std::chrono::duration<double>(seconds)));
}

/// What the header says, from all intervals anew: the two that are assumed and those that were seen, of these the last `samples`.
double PlainPhi(std::deque<double> seen, double silent, const FailureDetector::Options& options = {}) {
  const double first = std::chrono::duration<double>(options.first).count();
  std::deque<double> all{first * 0.75, first * 1.25};
  all.insert(all.end(), seen.begin(), seen.end());
  while (all.size() > options.samples) all.pop_front();
  double mean = 0, variance = 0;
  for (const double interval : all) mean += interval / static_cast<double>(all.size());
  for (const double interval : all) variance += (interval - mean) * (interval - mean) / static_cast<double>(all.size());
  const double deviation = std::max(std::chrono::duration<double>(options.deviation_min).count(), std::sqrt(variance));
  const double y = (silent - mean - std::chrono::duration<double>(options.pause).count()) / deviation;
  return -std::log10(0.5 * std::erfc(y / std::sqrt(2.0)));
}

}   // namespace

BOOST_AUTO_TEST_SUITE(FailureDetectorSuite)

BOOST_AUTO_TEST_CASE(phi_is_the_normal_tail_of_the_intervals_that_were_seen) {
  Random random(3);
  for (const auto& [mean, jitter] : {std::pair(0.25, 0.0), {0.25, 0.05}, {0.5, 0.3}, {2.0, 1.0}}) {
    for (const int n : {0, 1, 5, 97, 98, 99, 500}) {
      BOOST_TEST_CONTEXT("every " << mean << " s +- " << jitter << ", " << n << " intervals") {
        FailureDetector detector;
        std::deque<double> seen;
        double now = 0;
        detector.Heard(At(now));
        for (int i = 0; i < n; ++i) {
          const double interval = std::chrono::duration<double>(At(now + mean + jitter * (2 * random.Uniform() - 1)) - At(now)).count();
          now += interval;
          seen.push_back(interval);
          detector.Heard(At(now));
        }
        for (const double silent : {0.0, 0.3, 0.6, 0.9, 1.2, 2.0, 3.0, 5.0}) {
          const double expected = PlainPhi(seen, silent), phi = detector.Phi(At(now + silent));
          if (expected > 4) {   // the approximation of the tail is good where decisions are made; beyond it only says how sure one is
            BOOST_TEST((phi > 3.9 && phi > 0.9 * std::min(expected, 20.0)), phi << ", expected " << expected);
          } else {
            BOOST_TEST(std::abs(phi - expected) < 0.02 + 0.1 * expected, "silent for " << silent << " s: " << phi << ", expected " << expected);
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(nobody_is_suspected_before_it_was_heard) {
  FailureDetector detector;
  for (const double seconds : {0.0, 1.0, 1e6}) BOOST_TEST(detector.Phi(At(seconds)) == 0.0);
  detector.Heard(At(0));
  BOOST_TEST(detector.Phi(At(0)) < 0.1);
  BOOST_TEST(detector.Phi(At(0.5)) < 1);
  BOOST_TEST(detector.Phi(At(10)) > 10);
}

BOOST_AUTO_TEST_CASE(phi_never_falls_in_silence_and_stays_a_number) {
  Random random(4);
  for (int node = 0; node < 50; ++node) {
    FailureDetector detector;
    double now = 0;
    for (int i = 0; i < 150; ++i) {
      detector.Heard(At(now));
      now += random.Uniform() * (node % 5 == 0 ? 0.01 : node % 5);
    }
    double before = 0;
    for (double silent = 0; silent < 1e7; silent = silent * 1.05 + 0.01) {
      const double phi = detector.Phi(At(now + silent));
      BOOST_TEST_REQUIRE(std::isfinite(phi));
      BOOST_TEST_REQUIRE(phi >= before);
      before = phi;
    }
    BOOST_TEST(before > 100);
  }
}

BOOST_AUTO_TEST_CASE(a_jittery_node_gets_more_time_than_a_regular_one) {
  FailureDetector regular, jittery;
  double now = 0;
  for (int i = 0; i < 100; ++i) {
    regular.Heard(At(i * 0.3));
    jittery.Heard(At(now));
    now += i % 2 == 0 ? 0.05 : 0.55;
  }
  BOOST_TEST(regular.Phi(At(99 * 0.3 + 1.1)) > 3);
  BOOST_TEST(jittery.Phi(At(now - 0.55 + 1.1)) < 3);
}

BOOST_AUTO_TEST_CASE(one_long_silence_is_forgotten_after_as_many_messages_as_are_remembered) {
  FailureDetector once, never;
  double now = 0;
  once.Heard(At(now));
  now += 1000;
  once.Heard(At(now));
  BOOST_TEST(once.Phi(At(now + 60)) < 3);   // such a node may be silent for a minute
  for (int i = 0; i < 200; ++i) once.Heard(At(now += 0.25));
  for (int i = 0; i < 202; ++i) never.Heard(At(now - (201 - i) * 0.25));
  for (const double silent : {0.4, 0.8, 1.2}) BOOST_TEST(std::abs(once.Phi(At(now + silent)) - never.Phi(At(now + silent))) < 1e-6);
}

BOOST_AUTO_TEST_CASE(a_clock_that_goes_back_a_little_does_no_harm) {
  FailureDetector detector;
  detector.Heard(At(1));
  detector.Heard(At(0.5));
  detector.Heard(At(1.25));
  BOOST_TEST(detector.Phi(At(0)) < 0.1);
  BOOST_TEST(std::abs(detector.Phi(At(2.25)) - PlainPhi({0, 0.25}, 1)) < 0.1 * PlainPhi({0, 0.25}, 1) + 0.02);
}

BOOST_AUTO_TEST_CASE(no_silence_shorter_than_the_least_says_anything) {
  const FailureDetector::Options options;
  for (const double phi : {1.0, 3.0, 10.0, 30.0}) {
    const auto least = FailureDetector::SilenceMin(options, phi);
    Random random(4);
    for (const double mean : {0.0, 0.001, 0.25, 1.0}) {
      for (const double jitter : {0.0, 0.2, 1.0}) {
        FailureDetector detector;
        double now = 0;
        for (int i = 0; i < 300; ++i) detector.Heard(At(now += mean + jitter * random.Uniform()));
        BOOST_TEST(detector.Phi(At(now) + least - 1ms) < phi, phi << " of " << mean << " +- " << jitter);
      }
    }
    FailureDetector eager(options);   // the most regular and frequent node: no margin is wasted
    for (int i = 0; i < 300; ++i) eager.Heard(At(0));
    BOOST_TEST(eager.Phi(At(0) + least + 1ms) >= phi);
  }
}

BOOST_AUTO_TEST_CASE(who_is_told_to_wait_longer_is_not_suspected_for_it) {
  FailureDetector told, plain;
  double now = 0;
  for (int i = 0; i < 100; ++i) {
    now += 0.25;
    told.Heard(At(now), i == 99 ? 1000ms : 250ms);
    plain.Heard(At(now));
  }
  BOOST_TEST(plain.Phi(At(now + 1.1)) > 3);
  BOOST_TEST(told.Phi(At(now + 1.1)) < 1);
  BOOST_TEST(told.Phi(At(now + 2.0)) > 10);
  now += 1;
  told.Heard(At(now), 250ms);   // and no longer than that once
  plain.Heard(At(now), 10ms);
  BOOST_TEST(told.Phi(At(now + 1.0)) == plain.Phi(At(now + 1.0)));   // the mean is longer
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
