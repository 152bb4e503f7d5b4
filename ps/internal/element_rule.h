// Makes an UpdateRule of a kernel: the formula of one element, written once. Both forms, dense arrays and sparse rows, run the same loop over it, and the files
// of rules are compiled without contraction (see cmake/TroupeLayer.cmake), so that they agree bit for bit whatever the compiler vectorises.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>

#include "ps/internal/finite.h"
#include "ps/update_rule.h"

namespace troupe::internal {

/// What a kernel is:
///   static constexpr uint32_t kSlots;     state floats an element: 0, 1 or 2
///   static constexpr bool kCountsSteps;   a row counts its pushes too, in a float behind the slots
///   template <bool kPenalised> void Step(float& value, [float& slot0, [float& slot1,]] float gradient) const;
///   with kCountsSteps, instead of Step:   AtStep(float step) -> an object with that Step, for rows at their step-th push (from 1)
template <class Kernel>
class ElementRule : public UpdateRule {
 public:
  static constexpr uint32_t kSlots = Kernel::kSlots;

  ElementRule(Kernel kernel, const RuleNumbers& numbers) : kernel_(std::move(kernel)), penalises_(numbers.l1 > 0 || numbers.l2 > 0) {}

  uint32_t state(uint32_t width) const override { return kSlots * width + (Kernel::kCountsSteps ? 1 : 0); }

  void ApplyRows(std::span<float* const> rows, const float* gradient, uint32_t width, std::span<const bool> penalised) const override {
    if (!penalises_) {
      width == 1 ? Rows<false>(rows, gradient, 1) : Rows<false>(rows, gradient, width);
    } else if (penalised.empty()) {
      width == 1 ? Rows<true>(rows, gradient, 1) : Rows<true>(rows, gradient, width);
    } else {
      for (size_t i = 0; i < rows.size(); ++i) {
        penalised[i] ? Rows<true>(rows.subspan(i, 1), gradient + i * width, width) : Rows<false>(rows.subspan(i, 1), gradient + i * width, width);
      }
    }
  }

  void ApplyDense(const DenseRows& rows, const float* gradient) const override {
    const uint64_t end = rows.first + rows.n;
    const uint64_t middle = penalises_ ? std::clamp(rows.unpenalised, rows.first, end) : end;
    Dense<false>(rows, rows.first, middle, gradient);
    Dense<true>(rows, middle, end, gradient + (middle - rows.first) * rows.width);
  }

 private:
  /// The one loop. The arrays do not overlap; those of slots that the kernel lacks are not read.
  template <bool kPenalised, class Step>
  [[gnu::always_inline]] static inline void Elements(const Step step, float* __restrict value, float* __restrict slot0, float* __restrict slot1,
                                                     const float* __restrict gradient, size_t n) {
    for (size_t i = 0; i < n; ++i) {
      if constexpr (kSlots == 0) step.template Step<kPenalised>(value[i], gradient[i]);
      if constexpr (kSlots == 1) step.template Step<kPenalised>(value[i], slot0[i], gradient[i]);
      if constexpr (kSlots == 2) step.template Step<kPenalised>(value[i], slot0[i], slot1[i], gradient[i]);
    }
  }

  /// The same over long arrays: values and state are brought near well ahead. (The check for finite gradients has just brought those.)
  template <bool kPenalised, class Step>
  static void Stream(const Step step, float* value, float* slot0, float* slot1, const float* gradient, size_t n) {
    constexpr size_t kBlock = 4 * kFloatsALine;
    size_t i = 0;
    for (; i + kFloatsAhead + kBlock <= n; i += kBlock) {
      for (size_t j = i + kFloatsAhead; j < i + kFloatsAhead + kBlock; j += kFloatsALine) {
        __builtin_prefetch(value + j, 1);
        if constexpr (kSlots > 0) __builtin_prefetch(slot0 + j, 1);
        if constexpr (kSlots > 1) __builtin_prefetch(slot1 + j, 1);
      }
      Elements<kPenalised>(step, value + i, slot0 + i, slot1 + i, gradient + i, kBlock);
    }
    Elements<kPenalised>(step, value + i, slot0 + i, slot1 + i, gradient + i, n - i);
  }

  template <bool kPenalised>
  [[gnu::always_inline]] void Rows(std::span<float* const> rows, const float* gradient, uint32_t width) const {
    for (size_t i = 0; i < rows.size(); ++i, gradient += width) {
      float* row = rows[i];
      if constexpr (Kernel::kCountsSteps) {
        float& step = row[(1 + kSlots) * width];
        step += 1;
        Elements<kPenalised>(kernel_.AtStep(step), row, row + width, row + 2 * width, gradient, width);
      } else {
        Elements<kPenalised>(kernel_, row, row + width, row + 2 * width, gradient, width);
      }
    }
  }

  template <bool kPenalised>
  void Dense(const DenseRows& rows, uint64_t begin, uint64_t end, const float* gradient) const {
    if (begin == end) return;
    if constexpr (Kernel::kCountsSteps) {
      CountedDense<kPenalised>(rows, begin, end, gradient);
    } else {
      const uint64_t at = begin * rows.width;
      Stream<kPenalised>(kernel_, rows.values + at, rows.state + at, rows.state + rows.stride + at, gradient, (end - begin) * rows.width);
    }
  }

  /// Runs of rows that are at the same step share its factors: in a table that is pushed as a whole, each run is a whole piece.
  template <bool kPenalised>
  void CountedDense(const DenseRows& rows, uint64_t begin, uint64_t end, const float* gradient) const {
    const uint64_t piece = std::max<uint64_t>(1, 512 / rows.width);
    float* steps = rows.state + kSlots * rows.stride;
    for (uint64_t row = begin, next; row < end; row = next) {
      next = std::min(row + piece, end);
      bool same = true;
      for (uint64_t i = row; i < next; ++i) same &= steps[i] == steps[row];
      if (!same) next = row + 1;
      for (uint64_t i = row; i < next; ++i) steps[i] += 1;
      const uint64_t at = row * rows.width;
      Stream<kPenalised>(kernel_.AtStep(steps[row]), rows.values + at, rows.state + at, rows.state + rows.stride + at, gradient + (row - begin) * rows.width,
                         (next - row) * rows.width);
    }
  }

  const Kernel kernel_;
  const bool penalises_;
};

/// The proximal step of the l1 penalty: `value` moves towards 0 by `distance` and stops there, exactly.
/// Source: Duchi, Singer, "Efficient Online and Batch Learning using Forward Backward Splitting", JMLR 2009, sec. 5.1.
inline float SoftThreshold(float value, float distance) {
  const float magnitude = std::fabs(value) - distance;
  return std::copysign(magnitude > 0 ? magnitude : 0.0f, value) + 0.0f;   // + 0: no negative zero
}

}   // namespace troupe::internal
