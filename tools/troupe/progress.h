// One line on a terminal that is rewritten while a model is trained; nothing at all where stderr is no terminal.
#pragma once

#include <chrono>
#include <string>

#include "algorithms/run/trainer.h"

namespace troupe {

class Progress {
 public:
  Progress();
  /// Wipes the line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Some times a second something is shown; more calls cost next to nothing. One call at a time.
  void Show(const TrainProgress& progress);

 private:
  using Clock = std::chrono::steady_clock;
  const bool on_;
  const Clock::time_point start_;
  Clock::time_point shown_;
  bool dirty_ = false;   // there is a line to wipe
};

/// "epoch 3/20  step  41 %  1,234,567 rows/s  loss 0.3251  1 restart  12 s left", at most `width` characters.
std::string ProgressLine(const TrainProgress& progress, double seconds, size_t width);

}   // namespace troupe
