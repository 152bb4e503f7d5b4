// Rule lamb: m and v as adam, r = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon) + decay * w;  w -= rate * (|w| / |r|) * r, where the norms are those of a
// row: a row is a layer (1 for their ratio where one of them is 0). State: m and v an element, and a row's own count t of its pushes.
// Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", ICLR 2020, Algorithm 2.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "ps/internal/adam_kernel.h"
#include "ps/internal/step_counts.h"
#include "ps/update_rule.h"

namespace troupe {
namespace {

class Lamb final : public UpdateRule {
 public:
  explicit Lamb(const RuleNumbers& n) : adam_(n), decay_(static_cast<float>(n.options[4])) {}

  uint32_t floats(uint32_t width) const override { return 3 * width + 1; }
  bool counts_pushes() const override { return true; }

  void ApplyRows(std::span<float* const> rows, const float* gradient, uint32_t width, std::span<const bool> penalised, float scale) const override {
    for (size_t i = 0; i < rows.size(); ++i, gradient += width) {
      float* row = rows[i];
      const float step = row[3 * width] += 1;
      ApplyRow(adam_.AtStep(step), row, width, gradient, width, scale, penalised.empty() || penalised[i]);
    }
  }
  void ApplyDenseRows(std::span<const DenseRow> rows, const float* gradient, uint32_t width, std::span<const bool> penalised, float scale) const override {
    const size_t ahead = DenseRow::Ahead(width, 3);
    for (size_t i = 0; i < rows.size(); ++i, gradient += width) {
      if (i + ahead < rows.size()) rows[i + ahead].Prefetch(width, 3);
      ApplyRow(adam_.AtStep(rows[i].count), rows[i].values, rows[i].stride, gradient, width, scale, penalised.empty() || penalised[i]);
    }
  }
  void ApplyDense(const DenseRows& rows, const float* gradient, float scale) const override {
    internal::StepCounts(rows.arrays + 3 * rows.stride).Add(rows.first, rows.n, [&](uint64_t first, uint64_t n, float step) {
      const internal::AdamStep at = adam_.AtStep(step);
      for (uint64_t row = first; row < first + n; ++row, gradient += rows.width) {
        ApplyRow(at, rows.arrays + row * rows.width, rows.stride, gradient, rows.width, scale, row >= rows.unpenalised);
      }
    });
  }

 private:
  static constexpr uint32_t kKept = 1024;   // r of so many elements is kept from one pass over a row to the next
  static constexpr uint32_t kLanes = 8;

  /// `row`: its values; m and v follow, each `stride` floats behind.
  void ApplyRow(const internal::AdamStep& at, float* row, uint64_t stride, const float* gradient, uint32_t width, float scale, bool penalised) const {
    const float decay = penalised ? decay_ : 0;
    std::array<float, kKept> kept;
    Squares values, directions;
    for (uint32_t i = 0; i < width; i += kKept) {
      const uint32_t n = std::min(kKept, width - i);
      Push(at, row + i, stride, gradient + i, decay, n, kept.data());
      values.Add(row + i, n);
      directions.Add(kept.data(), n);
    }
    const float rate = at.rate * scale * Ratio(values.Sum(), directions.Sum());
    for (uint32_t i = 0; i < width; i += kKept) {
      const uint32_t n = std::min(kKept, width - i);
      if (width > kKept) Directions(at, row + i, stride, decay, n, kept.data());
      float* __restrict value = row + i;
      const float* __restrict r = kept.data();
      for (uint32_t j = 0; j < n; ++j) value[j] -= rate * r[j];
    }
  }
  /// m and v of n elements, and their r.
  static void Push(const internal::AdamStep at, float* row, uint64_t stride, const float* __restrict gradient, float decay, uint32_t n, float* __restrict r) {
    const float* __restrict value = row;
    float* __restrict mean = row + stride;
    float* __restrict square = row + 2 * stride;
    for (uint32_t i = 0; i < n; ++i) {
      mean[i] = at.beta1 * mean[i] + (1 - at.beta1) * gradient[i];
      square[i] = at.beta2 * square[i] + (1 - at.beta2) * (gradient[i] * gradient[i]);
      r[i] = at.mean_scale * mean[i] / (at.root * std::sqrt(square[i]) + at.epsilon) + decay * value[i];
    }
  }
  static void Directions(const internal::AdamStep at, const float* value, uint64_t stride, float decay, uint32_t n, float* __restrict r) {
    const float* mean = value + stride;
    const float* square = mean + stride;
    for (uint32_t i = 0; i < n; ++i) r[i] = at.mean_scale * mean[i] / (at.root * std::sqrt(square[i]) + at.epsilon) + decay * value[i];
  }

  /// A sum of squares in eight parts, an order that fits a vector.
  struct Squares {
    using Lanes [[gnu::vector_size(kLanes * sizeof(float))]] = float;
    Lanes parts{};
    /// All but the last call: n is a multiple of kLanes.
    void Add(const float* numbers, uint32_t n) {
      uint32_t i = 0;
      for (; i + kLanes <= n; i += kLanes) {
        Lanes x;
        std::memcpy(&x, numbers + i, sizeof x);
        parts += x * x;
      }
      for (uint32_t lane = 0; i < n; ++i, ++lane) parts[lane] += numbers[i] * numbers[i];
    }
    float Sum() const { return ((parts[0] + parts[4]) + (parts[1] + parts[5])) + ((parts[2] + parts[6]) + (parts[3] + parts[7])); }
  };
  static float Ratio(float values, float directions) { return values > 0 && directions > 0 ? std::sqrt(values) / std::sqrt(directions) : 1.0f; }

  const internal::Adam adam_;
  const float decay_;
};

std::vector<RuleOption> Options() {
  std::vector<RuleOption> options = internal::AdamOptions();
  options.push_back({"decay", 0.01, 0, 1});
  return options;
}

const RegisterRule registration({.name = "lamb", .options = Options(), .penalties = false, .make = [](const RuleNumbers& n) -> std::unique_ptr<UpdateRule> {
                                   return std::make_unique<Lamb>(n);
                                 }});

}   // namespace
}   // namespace troupe
