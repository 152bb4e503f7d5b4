// Makes an UpdateRule of a kernel: the formula of one element, written once. Both forms, dense arrays and sparse rows, run the same loop over it, and the files
// of rules are compiled without contraction (see CMakeLists.txt), so that they agree bit for bit whatever the compiler vectorises.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>

#include "ps/internal/finite.h"
#include "ps/internal/step_counts.h"
#include "ps/update_rule.h"

namespace troupe::internal {

/// Memory further ahead than the processor's own prefetching looks, which stops at each page.
inline constexpr size_t kFloatsAhead = 1024;
/// Whether that helps. AMD's processors (measured on Zen 4) have enough under way by themselves, and are held up by a tenth.
inline bool AsksAhead() {
#ifdef __x86_64__
  static const bool asks = [] {
    __builtin_cpu_init();
    return __builtin_cpu_is("amd") == 0;
  }();
  return asks;
#else
  return true;
#endif
}

/// What a kernel is:
///   static constexpr uint32_t kArrays;    floats an element keeps, 1, 2 or 3: its value first, then state
///   static constexpr bool kCountsSteps;   a row counts its pushes too, in a float behind them
///   float rate;                           the learning rate; a call gets it times its scale
///   template <bool kPenalised> void Step(float rate, float& value, [float& a, [float& b,]] float gradient) const;
///   with kCountsSteps, instead of Step:   CorrectionsAt(float step) for a row at its step-th push (from 1), With(corrections) -> an object with that Step and
///                                         rate, and AtStep(step), which is both
///   where no value is kept:               float Read(a, b, penalised) makes one, void Set(float value, float& a, float& b, penalised) takes one
template <class Kernel>
class ElementRule : public UpdateRule {
 public:
  static constexpr uint32_t kArrays = Kernel::kArrays;
  static constexpr bool kDerived = requires(const Kernel& kernel, float a) { kernel.Read(a, a, true); };

  ElementRule(Kernel kernel, const RuleNumbers& numbers)
      : kernel_(std::move(kernel)),
        decay_(static_cast<float>(numbers.weight_decay)),
        penalises_(numbers.l1 > 0 || numbers.l2 > 0 || numbers.weight_decay > 0),
        only_decays_(!kDerived && numbers.l1 == 0 && numbers.l2 == 0) {}

  uint32_t floats(uint32_t width) const override { return kArrays * width + (Kernel::kCountsSteps ? 1 : 0); }
  bool holds_values() const override { return !kDerived; }
  bool counts_pushes() const override { return Kernel::kCountsSteps; }

  void ApplyRows(std::span<float* const> rows, const float* gradient, uint32_t width, std::span<const bool> penalised, float scale) const override {
    ApplyRuns(rows, gradient, width, penalised, scale);
  }
  void ApplyDenseRows(std::span<const DenseRow> rows, const float* gradient, uint32_t width, std::span<const bool> penalised, float scale) const override {
    ApplyRuns(rows, gradient, width, penalised, scale);
  }

  void ApplyDense(const DenseRows& rows, const float* gradient, float scale) const override {
    const uint64_t end = rows.first + rows.n;
    const uint64_t middle = penalises_ ? std::clamp(rows.unpenalised, rows.first, end) : end;
    Dense<kNone>(rows, rows.first, middle, gradient, scale);
    const float* penalised = gradient + (middle - rows.first) * rows.width;
    only_decays_ ? Dense<kDecay>(rows, middle, end, penalised, scale) : Dense<kAll>(rows, middle, end, penalised, scale);
  }

  void ReadRows(std::span<float* const> rows, uint32_t width, std::span<const bool> penalised, const float* missing, float* out) const override {
    if constexpr (kDerived) {
      for (size_t i = 0; i < rows.size(); ++i, out += width) {
        const bool with = penalises_ && (penalised.empty() || penalised[i]);
        for (uint32_t j = 0; j < width; ++j) {
          if (rows[i] == nullptr) out[j] = missing == nullptr ? 0 : missing[i * width + j];
          if (rows[i] != nullptr) out[j] = kernel_.Read(rows[i][j], rows[i][width + j], with);
        }
      }
    } else {
      UpdateRule::ReadRows(rows, width, penalised, missing, out);
    }
  }
  void ReadDense(const DenseRows& rows, float* out) const override {
    if constexpr (kDerived) {
      EachDense(rows, [&](const float& a, const float& b, bool with, uint64_t i) { out[i] = kernel_.Read(a, b, with); });
    } else {
      UpdateRule::ReadDense(rows, out);
    }
  }
  void Set(float* row, uint32_t width, bool penalised, const float* values) const override {
    if constexpr (kDerived) {
      for (uint32_t j = 0; j < width; ++j) kernel_.Set(values[j], row[j], row[width + j], penalises_ && penalised);
    } else {
      UpdateRule::Set(row, width, penalised, values);
    }
  }
  void SetDense(const DenseRows& rows, const float* values) const override {
    if constexpr (kDerived) {
      EachDense(rows, [&](float& a, float& b, bool with, uint64_t i) { kernel_.Set(values[i], a, b, with); });
    } else {
      UpdateRule::SetDense(rows, values);
    }
  }
  double Value(const float* row, uint32_t width, uint32_t i, bool penalised) const override {
    if constexpr (kDerived) return kernel_.Read(row[i], row[width + i], penalises_ && penalised);
    return UpdateRule::Value(row, width, i, penalised);
  }

 private:
  /// Which penalties a loop works with: most have none, and adamw none of those that take a second division.
  enum Penalties { kNone, kDecay, kAll };

  template <class Row>
  void ApplyRuns(std::span<const Row> rows, const float* gradient, uint32_t width, std::span<const bool> penalised, float scale) const {
    if (!penalises_ || penalised.empty()) {
      ApplyAlike(penalises_, rows, gradient, width, scale);
    } else {
      for (size_t i = 0, end; i < rows.size(); i = end) {   // mostly all alike
        for (end = i + 1; end < rows.size() && penalised[end] == penalised[i]; ++end) {
        }
        ApplyAlike(penalised[i], rows.subspan(i, end - i), gradient + i * width, width, scale);
      }
    }
  }
  template <class Row>
  void ApplyAlike(bool penalised, std::span<const Row> rows, const float* gradient, uint32_t width, float scale) const {
    if (!penalised) {
      RowsOfWidth<kNone>(rows, gradient, width, scale);
    } else {
      only_decays_ ? RowsOfWidth<kDecay>(rows, gradient, width, scale) : RowsOfWidth<kAll>(rows, gradient, width, scale);
    }
  }
  template <Penalties kPenalties, class Row>
  void RowsOfWidth(std::span<const Row> rows, const float* gradient, uint32_t width, float scale) const {
    width == 1 ? Rows<kPenalties>(rows, gradient, 1, scale) : Rows<kPenalties>(rows, gradient, width, scale);
  }

  /// each(first array's element, second's, penalised, i) for all elements of the rows.
  template <class Each>
  void EachDense(const DenseRows& rows, const Each& each) const {
    float* a = rows.arrays + rows.first * rows.width;
    float* b = a + rows.stride;
    const uint64_t end = rows.n * rows.width;
    const uint64_t middle = penalises_ ? (std::clamp(rows.unpenalised, rows.first, rows.first + rows.n) - rows.first) * rows.width : end;
    for (uint64_t i = 0; i < middle; ++i) each(a[i], b[i], false, i);
    for (uint64_t i = middle; i < end; ++i) each(a[i], b[i], true, i);
  }

  /// An element's arrays, each `stride` floats behind the one before.
  struct Arrays {
    float* first;
    uint64_t stride;
    Arrays operator+(uint64_t at) const { return {first + at, stride}; }
  };

  template <Penalties kPenalties, class Step>
  [[gnu::always_inline]] static inline void Elements(const Step step, float scale, float decay, Arrays arrays, const float* __restrict gradient, size_t n) {
    ElementsBy<kPenalties>([&](size_t) { return step; }, scale, decay, arrays, gradient, n);
  }
  /// The one loop; step_at(i): the step of element i. The arrays do not overlap; those that the kernel lacks are not read.
  template <Penalties kPenalties, class StepAt>
  [[gnu::always_inline]] static inline void ElementsBy(const StepAt& step_at, float scale, float decay, Arrays arrays, const float* __restrict gradient,
                                                       size_t n) {
    float* __restrict a = arrays.first;
    float* __restrict b = a + arrays.stride;
    float* __restrict c = b + arrays.stride;
    for (size_t i = 0; i < n; ++i) {
      const auto step = step_at(i);
      const float rate = step.rate * scale;
      const float shrink = rate * decay;
      if constexpr (kPenalties != kNone && !kDerived) a[i] -= shrink * a[i];
      if constexpr (kArrays == 1) step.template Step<kPenalties == kAll>(rate, a[i], gradient[i]);
      if constexpr (kArrays == 2) step.template Step<kPenalties == kAll>(rate, a[i], b[i], gradient[i]);
      if constexpr (kArrays == 3) step.template Step<kPenalties == kAll>(rate, a[i], b[i], c[i], gradient[i]);
    }
  }

  /// The same over long arrays: one or two are brought near well ahead; of three the processor has enough to ask for. The check for finite gradients has just
  /// brought these. What lies behind them is mostly what is checked next: where a step takes longer than its reading, it is brought near meanwhile.
  template <Penalties kPenalties, class Step>
  static void Stream(const Step step, float scale, float decay, Arrays arrays, const float* gradient, size_t n) {
    if (!AsksAhead()) return Elements<kPenalties>(step, scale, decay, arrays, gradient, n);
    constexpr size_t kBlock = 4 * kFloatsALine;
    constexpr bool kBringsNext = kArrays > 1;
    const float* next = gradient + n;
    size_t i = 0;
    for (; i + kFloatsAhead + kBlock <= n; i += kBlock) {
      for (size_t j = i; j < i + kBlock; j += kFloatsALine) {
        for (uint32_t k = 0; kArrays < 3 && k < kArrays; ++k) __builtin_prefetch(arrays.first + k * arrays.stride + j + kFloatsAhead, 1);
        if (kBringsNext) __builtin_prefetch(next + j, 0, 2);
      }
      Elements<kPenalties>(step, scale, decay, arrays + i, gradient + i, kBlock);
    }
    if (kBringsNext && i > 0) {
      for (size_t j = i; j < n; j += kFloatsALine) __builtin_prefetch(next + j, 0, 2);
    }
    Elements<kPenalties>(step, scale, decay, arrays + i, gradient + i, n - i);
  }

  /// Scalar rows: they are gathered whole and sorted into arrays, so that the processor takes several at once. A row that is there twice, which callers should
  /// not give, is stepped twice, as everywhere else.
  template <Penalties kPenalties>
  void ScalarRows(std::span<float* const> rows, const float* gradient, float scale) const {
    constexpr size_t kBlock = 64, kFloats = kArrays + (Kernel::kCountsSteps ? 1 : 0);
    using Row = std::array<float, kFloats>;
    std::array<Row, kBlock> gathered;
    std::array<std::array<float, kBlock>, kFloats> arrays;
    for (size_t begin = 0, n; begin < rows.size(); begin += n, gradient += n) {
      n = std::min(kBlock, rows.size() - begin);
      float* const* const at = rows.data() + begin;
      for (size_t i = 0; i < n; ++i) std::memcpy(gathered[i].data(), at[i], sizeof(Row));
      if (!AreDistinct({at, n})) [[unlikely]] {
        for (size_t i = 0; i < n; ++i) at[i][0] = gathered[i][0];
        EachRow<kPenalties>({at, n}, gradient, 1, scale);
        continue;
      }
      for (size_t i = 0; i < n; ++i) {
        for (size_t k = 0; k < kFloats; ++k) arrays[k][i] = gathered[i][k];
      }
      if constexpr (Kernel::kCountsSteps) {
        std::array<typename Kernel::Corrections, kBlock> corrections;
        for (size_t i = 0; i < n; ++i) corrections[i] = kernel_.CorrectionsAt(arrays[kArrays][i] += 1);
        const auto first = kernel_.AtStep(1);
        ElementsBy<kPenalties>([&](size_t i) { return first.With(corrections[i]); }, scale, decay_, {arrays[0].data(), kBlock}, gradient, n);
      } else {
        Elements<kPenalties>(kernel_, scale, decay_, {arrays[0].data(), kBlock}, gradient, n);
      }
      for (size_t i = 0; i < n; ++i) {
        for (size_t k = 0; k < kFloats; ++k) gathered[i][k] = arrays[k][i];
      }
      for (size_t i = 0; i < n; ++i) std::memcpy(at[i], gathered[i].data(), sizeof(Row));
    }
  }

  /// Leaves each row's number in its first float.
  static bool AreDistinct(std::span<float* const> rows) {
    for (uint32_t i = 0; i < rows.size(); ++i) std::memcpy(rows[i], &i, sizeof i);
    uint32_t wrong = 0, number;
    for (uint32_t i = 0; i < rows.size(); ++i) {
      std::memcpy(&number, rows[i], sizeof number);
      wrong |= number ^ i;
    }
    return wrong == 0;
  }

  template <Penalties kPenalties>
  [[gnu::always_inline]] void Rows(std::span<float* const> rows, const float* gradient, uint32_t width, float scale) const {
    width == 1 && kArrays > 1 ? ScalarRows<kPenalties>(rows, gradient, scale) : EachRow<kPenalties>(rows, gradient, width, scale);
  }
  template <Penalties kPenalties>
  [[gnu::always_inline]] void EachRow(std::span<float* const> rows, const float* gradient, uint32_t width, float scale) const {
    for (size_t i = 0; i < rows.size(); ++i, gradient += width) {
      float* row = rows[i];
      if constexpr (Kernel::kCountsSteps) {
        float& step = row[kArrays * width];
        step += 1;
        Elements<kPenalties>(kernel_.AtStep(step), scale, decay_, {row, width}, gradient, width);
      } else {
        Elements<kPenalties>(kernel_, scale, decay_, {row, width}, gradient, width);
      }
    }
  }

  /// Rows that lie anywhere in dense ranges.
  template <Penalties kPenalties>
  [[gnu::always_inline]] void Rows(std::span<const DenseRow> rows, const float* gradient, uint32_t width, float scale) const {
    const size_t ahead = DenseRow::Ahead(width, kArrays);
    for (size_t i = 0; i < std::min(ahead, rows.size()); ++i) rows[i].Prefetch(width, kArrays);
    for (size_t i = 0; i < rows.size(); ++i, gradient += width) {
      if (i + ahead < rows.size()) rows[i + ahead].Prefetch(width, kArrays);
      const Arrays arrays{rows[i].values, rows[i].stride};
      if constexpr (Kernel::kCountsSteps) {
        Elements<kPenalties>(kernel_.AtStep(rows[i].count), scale, decay_, arrays, gradient, width);
      } else {
        Elements<kPenalties>(kernel_, scale, decay_, arrays, gradient, width);
      }
    }
  }

  template <Penalties kPenalties>
  void Dense(const DenseRows& rows, uint64_t begin, uint64_t end, const float* gradient, float scale) const {
    if (begin == end) return;
    if constexpr (Kernel::kCountsSteps) {
      CountedDense<kPenalties>(rows, begin, end, gradient, scale);
    } else {
      Stream<kPenalties>(kernel_, scale, decay_, Arrays{rows.arrays, rows.stride} + begin * rows.width, gradient, (end - begin) * rows.width);
    }
  }

  /// Runs of rows that are at the same step share its factors: in a table that is pushed as a whole, all of them.
  template <Penalties kPenalties>
  void CountedDense(const DenseRows& rows, uint64_t begin, uint64_t end, const float* gradient, float scale) const {
    StepCounts(rows.arrays + kArrays * rows.stride).Add(begin, end - begin, [&](uint64_t first, uint64_t n, float step) {
      Stream<kPenalties>(kernel_.AtStep(step), scale, decay_, Arrays{rows.arrays, rows.stride} + first * rows.width, gradient + (first - begin) * rows.width,
                         n * rows.width);
    });
  }

  const Kernel kernel_;
  const float decay_;
  const bool penalises_;
  const bool only_decays_;   // where it penalises
};

/// The proximal step of the l1 penalty: `value` moves towards 0 by `distance` and stops there, exactly.
/// Source: Duchi, Singer, "Efficient Online and Batch Learning using Forward Backward Splitting", JMLR 2009, sec. 5.1.
inline float SoftThreshold(float value, float distance) {
  const float magnitude = std::fabs(value) - distance;
  return std::copysign(magnitude > 0 ? magnitude : 0.0f, value) + 0.0f;   // + 0: no negative zero
}

/// What most rules take first.
inline RuleOption LearningRate() {
  return {"learning_rate", 0.1, 1e-12, 1e6};
}

/// The numbers of a kernel that has the fields rate, l1, l2 first.
template <class Kernel, class... Rest>
Kernel MakeKernel(const RuleNumbers& numbers, Rest... rest) {
  return Kernel{static_cast<float>(numbers.options[0]), static_cast<float>(numbers.l1), static_cast<float>(numbers.l2), static_cast<float>(rest)...};
}

}   // namespace troupe::internal
