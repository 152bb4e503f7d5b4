// The update rules as an expert writes them for one array of numbers: what a table has beside them (ranges, keys, checks, counts a row, any options) is not
// there. The limits of `troupe bench ps`; compiled with the flags of ps/rules/.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "ps/internal/memory.h"
#include "ps/types.h"

namespace troupe::internal {

/// Adam's: 1 / (1 - b1^t) and 1 / sqrt(1 - b2^t).
struct PlainCorrections {
  float mean, root;
};

/// Rules with the options that they have by default, without penalties.
/// Dense: n elements as up to three arrays in huge pages, none of which begins at another's place of a page.
class PlainDense {
 public:
  /// `width`: of a row, for lamb's norms; n is a multiple of it.
  PlainDense(std::string_view rule, size_t n, uint32_t width);
  /// One push of the whole array.
  void Push(const float* gradient) { (this->*push_)(gradient); }
  /// Element i as the rule keeps it first: its value (ftrl: z).
  float at(size_t i) const { return a_[i]; }

 private:
  void Add(const float* gradient);
  void Sgd(const float* gradient);
  void Momentum(const float* gradient);
  void Nesterov(const float* gradient);
  void AdaGrad(const float* gradient);
  void RmsProp(const float* gradient);
  void Adam(const float* gradient);
  void AdamW(const float* gradient);
  void Ftrl(const float* gradient);
  void Lamb(const float* gradient);

  size_t n_;
  uint32_t width_;
  Memory memory_;
  float *a_, *b_, *c_;
  float steps_ = 0;
  void (PlainDense::*push_)(const float*) = nullptr;
};

/// Sparse: rows of one flat array, a row's floats beside each other as in a table; keys are row numbers. Rows are brought near some keys ahead.
class PlainRows {
 public:
  /// rule: sgd, adagrad, adam or ftrl. width: 1 or 64.
  PlainRows(std::string_view rule, size_t rows, uint32_t width);
  /// gradient: keys.size() x width. Each row is read, stepped and written at once: the least that can be done.
  void Push(std::span<const Key> keys, const float* gradient) { (this->*push_)(keys, gradient); }
  /// The same as array libraries do it: rows are gathered, what was gathered is stepped, and scattered again.
  void PushInSteps(std::span<const Key> keys, const float* gradient) { (this->*push_in_steps_)(keys, gradient); }
  /// Copies the first `width` floats of the rows.
  void Pull(std::span<const Key> keys, float* out) const;
  uint32_t floats() const { return floats_; }
  const float* row(Key key) const { return rows_ + key * floats_; }

 private:
  template <class Rule, uint32_t kWidth>
  void PushBy(std::span<const Key> keys, const float* gradient);
  template <class Rule, uint32_t kWidth>
  void PushInStepsBy(std::span<const Key> keys, const float* gradient);
  template <class Rule, uint32_t kWidth>
  void Choose();
  template <class Rule>
  void Choose();

  Memory memory_;
  std::vector<PlainCorrections> corrections_;   // by t
  float* rows_ = nullptr;
  std::vector<float> gathered_;
  uint32_t width_, floats_ = 0;
  void (PlainRows::*push_)(std::span<const Key>, const float*) = nullptr;
  void (PlainRows::*push_in_steps_)(std::span<const Key>, const float*) = nullptr;
};

}   // namespace troupe::internal
