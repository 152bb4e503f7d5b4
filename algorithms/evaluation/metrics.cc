// Metrics as sums, and the one that is not a sum: AUC by radix sort.
#include "algorithms/evaluation/metrics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace troupe {
namespace {

constexpr int kBinShift = 10;   // a bin holds 2^10 neighbouring floats: 13 of the 23 bits of the mantissa remain
constexpr size_t kBins = size_t{1} << (32 - kBinShift);

/// Floats as unsigned integers of the same order; -0 as 0.
uint32_t Ordered(float score) {
  const auto bits = std::bit_cast<uint32_t>(score == 0 ? 0.0f : score);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/// Three passes of 11 bits, least significant first.
void RadixSort(std::vector<uint32_t>& values) {
  std::vector<uint32_t> other(values.size());
  for (const int shift : {0, 11, 22}) {
    std::array<size_t, 2049> start{};
    for (const uint32_t value : values) ++start[(value >> shift & 2047) + 1];
    for (size_t i = 1; i < start.size(); ++i) start[i] += start[i - 1];
    for (const uint32_t value : values) other[start[value >> shift & 2047]++] = value;
    values.swap(other);
  }
}

/// Pairs (1, 0) in which the first scores higher, and half of the equal ones, times two. 128 bits: 2^64 pairs are 4 billion rows of each class.
unsigned __int128 PairsOfSorted(const std::vector<uint32_t>& zeros, const std::vector<uint32_t>& ones) {
  unsigned __int128 pairs = 0;
  size_t below = 0, upto = 0;   // zeros that are < and <= the score
  for (const uint32_t score : ones) {
    while (below < zeros.size() && zeros[below] < score) ++below;
    upto = std::max(upto, below);
    while (upto < zeros.size() && zeros[upto] == score) ++upto;
    pairs += below + upto;
  }
  return pairs;
}

}   // namespace

void AreaUnderCurve::Add(std::span<const float> scores, std::span<const float> labels) {
  for (size_t i = 0; i < scores.size(); ++i) scores_[labels[i] != 0].push_back(Ordered(scores[i]));
  SpillIfLong();
}

void AreaUnderCurve::Merge(const AreaUnderCurve& other) {
  for (size_t c = 0; c < 2; ++c) {
    scores_[c].insert(scores_[c].end(), other.scores_[c].begin(), other.scores_[c].end());
    if (other.histogram_[c].empty()) continue;
    for (std::vector<uint64_t>& bins : histogram_) bins.resize(kBins);
    for (size_t i = 0; i < kBins; ++i) histogram_[c][i] += other.histogram_[c][i];
  }
  SpillIfLong();
}

void AreaUnderCurve::SpillIfLong() {
  if (histogram_[0].empty() && scores_[0].size() + scores_[1].size() <= exact_rows_max_) return;
  for (size_t c = 0; c < 2; ++c) {
    histogram_[c].resize(kBins);
    for (const uint32_t score : scores_[c]) ++histogram_[c][score >> kBinShift];
    scores_[c] = {};
  }
}

double AreaUnderCurve::Result() const {
  unsigned __int128 pairs = 0;
  uint64_t zeros = scores_[0].size(), ones = scores_[1].size();
  if (histogram_[0].empty()) {
    std::vector<uint32_t> sorted[2] = {scores_[0], scores_[1]};
    for (std::vector<uint32_t>& scores : sorted) RadixSort(scores);
    pairs = PairsOfSorted(sorted[0], sorted[1]);
  } else {
    for (size_t i = 0; i < kBins; ++i) {
      pairs += static_cast<unsigned __int128>(histogram_[1][i]) * (2 * zeros + histogram_[0][i]);
      zeros += histogram_[0][i];
      ones += histogram_[1][i];
    }
  }
  if (zeros == 0 || ones == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(pairs) / 2 / static_cast<double>(zeros) / static_cast<double>(ones);
}

void Metrics::Add(std::span<const float> predictions, std::span<const float> labels, double loss) {
  if (task_ == Task::kBinary)
    AddBinary(predictions, labels);
  else if (task_ == Task::kRegression)
    AddRegression(predictions, labels);
  else
    loss_ += loss;
  rows_ += predictions.size();
}

void Metrics::AddBinary(std::span<const float> probabilities, std::span<const float> labels) {
  double product = 1;   // one logarithm for 16 rows: 1e-15^16 is still a normal double
  for (size_t i = 0; i < probabilities.size(); ++i) {
    const double p = std::clamp(static_cast<double>(probabilities[i]), 1e-15, 1 - 1e-15);
    product *= labels[i] != 0 ? p : 1 - p;
    correct_ += (probabilities[i] > 0.5f) == (labels[i] != 0);
    if (i % 16 == 15) loss_ -= std::log(std::exchange(product, 1));
  }
  loss_ -= std::log(product);
  curve_.Add(probabilities, labels);
}

void Metrics::AddRegression(std::span<const float> values, std::span<const float> labels) {
  for (size_t i = 0; i < values.size(); ++i) {
    const double label = static_cast<double>(labels[i]), error = static_cast<double>(values[i]) - label;
    loss_ += error * error;
    const double from_mean = label - mean_;   // Welford, "Note on a method for calculating corrected sums of squares", Technometrics 4, 1962
    mean_ += from_mean / static_cast<double>(rows_ + i + 1);
    spread_ += from_mean * (label - mean_);
  }
}

void Metrics::Merge(const Metrics& other) {
  if (other.rows_ == 0) return;
  const double mine = static_cast<double>(rows_), theirs = static_cast<double>(other.rows_), between = other.mean_ - mean_;
  mean_ += between * theirs / (mine + theirs);
  spread_ += other.spread_ + between * between * mine * theirs / (mine + theirs);
  rows_ += other.rows_;
  loss_ += other.loss_;
  correct_ += other.correct_;
  curve_.Merge(other.curve_);
}

std::vector<std::pair<std::string, double>> Metrics::Result() const {
  std::vector<std::pair<std::string, double>> result;
  const double rows = static_cast<double>(rows_);
  if (rows_ == 0) return result;
  if (task_ == Task::kClustering) return {{"inertia", loss_}};
  if (task_ == Task::kRegression) {
    const double unexplained = spread_ > 0 ? loss_ / spread_ : loss_ > 0 ? 1.0 : 0.0;   // equal labels: 1 if they are met, else 0
    return {{"rmse", std::sqrt(loss_ / rows)}, {"r2", 1 - unexplained}};
  }
  if (const double area = curve_.Result(); !std::isnan(area)) result.emplace_back("auc", area);
  result.emplace_back("logloss", loss_ / rows);
  result.emplace_back("accuracy", static_cast<double>(correct_) / rows);
  return result;
}

}   // namespace troupe
