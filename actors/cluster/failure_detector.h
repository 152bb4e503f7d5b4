// How sure one may be that a node is dead, from when its messages came. Pure.
// N. Hayashibara, X. Defago, R. Yared, T. Katayama, "The phi accrual failure detector", SRDS 2004; the tail of the normal distribution by the logistic
// approximation 1 / (1 + e^(-y (1.5976 + 0.070566 y^2))) (S. R. Bowling et al., 2009).
#pragma once

#include <cstddef>
#include <deque>

#include "actors/clock.h"

namespace troupe {

class FailureDetector {
 public:
  struct Options {
    size_t samples = 100;                                             ///< intervals that are remembered
    Clock::Duration first = std::chrono::milliseconds(500);           ///< the interval that is assumed before any was seen
    Clock::Duration deviation_min = std::chrono::milliseconds(100);   ///< so that a regular node is not suspected for one late message
    Clock::Duration pause = std::chrono::milliseconds(250);           ///< added to the mean: what a busy machine may take once
  };
  FailureDetector() : FailureDetector(Options()) {}
  explicit FailureDetector(Options options);

  /// `next`: when the next message is to be expected, at the earliest; the mean of the intervals counts where it is longer.
  void Heard(Clock::Time now, Clock::Duration next = Clock::Duration(0));
  /// Whoever listens was away for so long: that silence says nothing.
  void Excuse(Clock::Duration away) { last_ += away; }
  /// -log10 of the chance that a node which has been silent since Heard still lives. 0 before anything was heard. Never falls while nothing is heard.
  double Phi(Clock::Time now) const;
  /// No detector of these options says `phi` (1 or more) after a shorter silence.
  static Clock::Duration SilenceMin(const Options& options, double phi);

 private:
  Options options_;
  bool heard_ = false;
  Clock::Time last_{};
  double next_ = 0;                // seconds
  std::deque<double> intervals_;   // seconds
  double sum_ = 0, squares_ = 0;
};

}   // namespace troupe
