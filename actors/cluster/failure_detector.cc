#include "actors/cluster/failure_detector.h"

#include <algorithm>
#include <cmath>

namespace troupe {
namespace {

double Seconds(Clock::Duration time) {
  return std::chrono::duration<double>(time).count();
}

/// -log10 of the normal tail beyond y deviations. P(later) = e / (1 + e) with e = exp(-y (1.5976 + 0.070566 y^2)); its logarithm, so that it does not run out
/// of digits.
double PhiOf(double y) {
  const double exponent = -y * (1.5976 + 0.070566 * y * y);
  const double log_later = exponent > 30 ? 0 : exponent - std::log1p(std::exp(exponent));
  return std::max(0.0, -log_later / std::log(10.0));
}

}   // namespace

FailureDetector::FailureDetector(Options options) : options_(options) {
  const double first = Seconds(options_.first);
  for (const double interval : {first * 0.75, first * 1.25}) {   // a guess, with its deviation, that real intervals soon outweigh
    intervals_.push_back(interval);
    sum_ += interval;
    squares_ += interval * interval;
  }
}

void FailureDetector::Heard(Clock::Time now, Clock::Duration next) {
  next_ = Seconds(next);
  if (heard_) {
    const double interval = std::max(0.0, Seconds(now - last_));
    intervals_.push_back(interval);
    sum_ += interval;
    squares_ += interval * interval;
    if (intervals_.size() > options_.samples) {
      sum_ -= intervals_.front();
      squares_ -= intervals_.front() * intervals_.front();
      intervals_.pop_front();
    }
  }
  heard_ = true;
  last_ = std::max(last_, now);
}

double FailureDetector::Phi(Clock::Time now) const {
  if (!heard_) return 0;
  const double n = static_cast<double>(intervals_.size());
  const double mean = sum_ / n;
  const double deviation = std::max(Seconds(options_.deviation_min), std::sqrt(std::max(0.0, squares_ / n - mean * mean)));
  return PhiOf((Seconds(now - last_) - std::max(mean, next_) - Seconds(options_.pause)) / deviation);
}

Clock::Duration FailureDetector::SilenceMin(const Options& options, double phi) {
  double low = 0, high = 100;   // deviations; the mean of intervals is at least 0, their deviation at least deviation_min
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    (PhiOf(middle) < phi ? low : high) = middle;
  }
  return options.pause + std::chrono::duration_cast<Clock::Duration>(options.deviation_min * low);
}

}   // namespace troupe
