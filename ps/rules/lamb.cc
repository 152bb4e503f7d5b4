// Rule lamb: m and v as adam, r = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon) + decay * w;  w -= rate * (|w| / |r|) * r, where the norms are those of a
// row: a row is a layer (1 for their ratio where one of them is 0). State: m and v an element, and a row's own count t of its pushes.
// Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", ICLR 2020, Algorithm 2.
#include <array>
#include <cmath>

#include "ps/internal/adam_kernel.h"
#include "ps/update_rule.h"

namespace troupe {
namespace {

class Lamb final : public UpdateRule {
 public:
  explicit Lamb(const RuleNumbers& n)
      : rate_(static_cast<float>(n.options[0])),
        beta1_(n.options[1]),
        beta2_(n.options[2]),
        epsilon_(static_cast<float>(n.options[3])),
        decay_(static_cast<float>(n.options[4])) {}

  uint32_t floats(uint32_t width) const override { return 3 * width + 1; }

  void ApplyRows(std::span<float* const> rows, const float* gradient, uint32_t width, std::span<const bool> penalised, float scale) const override {
    for (size_t i = 0; i < rows.size(); ++i, gradient += width) {
      float* row = rows[i];
      ApplyRow({row, row + width, row + 2 * width, row + 3 * width}, gradient, width, scale, penalised.empty() || penalised[i]);
    }
  }
  void ApplyDense(const DenseRows& rows, const float* gradient, float scale) const override {
    for (uint64_t row = rows.first; row < rows.first + rows.n; ++row, gradient += rows.width) {
      float* value = rows.arrays + row * rows.width;
      ApplyRow({value, value + rows.stride, value + 2 * rows.stride, rows.arrays + 3 * rows.stride + row}, gradient, rows.width, scale,
               row >= rows.unpenalised);
    }
  }

 private:
  struct Row {
    float *value, *mean, *square, *step;
  };

  void ApplyRow(Row row, const float* gradient, uint32_t width, float scale, bool penalised) const {
    const double t = static_cast<double>(*row.step += 1);
    const auto mean_scale = static_cast<float>(1 / (1 - std::pow(beta1_, t)));
    const auto root = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2_, t)));
    const auto b1 = static_cast<float>(beta1_), b2 = static_cast<float>(beta2_);
    const float decay = penalised ? decay_ : 0;
    const auto direction = [&](uint32_t i) { return mean_scale * row.mean[i] / (root * std::sqrt(row.square[i]) + epsilon_) + decay * row.value[i]; };
    std::array<float, 8> values{}, directions{};   // sums side by side, an order that fits a vector
    for (uint32_t i = 0; i < width; ++i) {
      row.mean[i] = b1 * row.mean[i] + (1 - b1) * gradient[i];
      row.square[i] = b2 * row.square[i] + (1 - b2) * (gradient[i] * gradient[i]);
      const float r = direction(i);
      values[i % 8] += row.value[i] * row.value[i];
      directions[i % 8] += r * r;
    }
    const float ratio = Ratio(Sum(values), Sum(directions));
    const float rate = rate_ * scale * ratio;
    for (uint32_t i = 0; i < width; ++i) row.value[i] -= rate * direction(i);
  }
  static float Sum(const std::array<float, 8>& s) { return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7])); }
  static float Ratio(float values, float directions) { return values > 0 && directions > 0 ? std::sqrt(values) / std::sqrt(directions) : 1.0f; }

  const float rate_;
  const double beta1_, beta2_;
  const float epsilon_, decay_;
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
