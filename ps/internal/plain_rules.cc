#include "ps/internal/plain_rules.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <vector>

#include "actors/check.h"

namespace troupe::internal {
namespace {

constexpr size_t kLine = 16;   // floats
constexpr float kBeta1 = 0.9f, kBeta2 = 0.999f, kEpsilon = 1e-8f;

constexpr uint32_t kTabulated = 4096;

PlainCorrections CorrectionsAt(double t) {
  return {static_cast<float>(1 / (1 - std::pow(0.9, t))), static_cast<float>(1 / std::sqrt(1 - std::pow(0.999, t)))};
}

}   // namespace

PlainDense::PlainDense(std::string_view rule, size_t n, uint32_t width) : n_(n), width_(width) {
  const size_t stride = (n + kLine - 1) / kLine * kLine;
  const size_t apart = 1024 - stride % 1024 + 5 * kLine;   // of a page's 1024 floats
  memory_ = Memory(std::make_shared<Arena>(), 3 * (stride + apart) * sizeof(float));
  a_ = reinterpret_cast<float*>(memory_.get());
  b_ = a_ + stride + apart;
  c_ = b_ + stride + apart;
  const std::map<std::string_view, void (PlainDense::*)(const float*)> loops{
      {"add", &PlainDense::Add},         {"sgd", &PlainDense::Sgd},   {"momentum", &PlainDense::Momentum}, {"nesterov", &PlainDense::Nesterov},
      {"adagrad", &PlainDense::AdaGrad}, {"adam", &PlainDense::Adam}, {"rmsprop", &PlainDense::RmsProp},   {"adamw", &PlainDense::AdamW},
      {"ftrl", &PlainDense::Ftrl},       {"lamb", &PlainDense::Lamb}};
  push_ = loops.at(rule);
}

void PlainDense::Add(const float* gradient) {   // exact too, by Dekker's sum
  float* __restrict w = a_;
  float* __restrict error = b_;
  const float* __restrict g = gradient;
  for (size_t i = 0; i < n_; ++i) {
    const float sum = w[i] + g[i], part = sum - w[i];
    const float lost = (w[i] - (sum - part)) + (g[i] - part) + error[i];
    w[i] = sum + lost;
    error[i] = lost - (w[i] - sum);
  }
}

void PlainDense::Sgd(const float* gradient) {
  float* __restrict w = a_;
  const float* __restrict g = gradient;
  for (size_t i = 0; i < n_; ++i) w[i] -= 0.1f * g[i];
}

void PlainDense::Momentum(const float* gradient) {
  float* __restrict w = a_;
  float* __restrict v = b_;
  const float* __restrict g = gradient;
  for (size_t i = 0; i < n_; ++i) {
    v[i] = 0.9f * v[i] + g[i];
    w[i] -= 0.1f * v[i];
  }
}

void PlainDense::Nesterov(const float* gradient) {
  float* __restrict w = a_;
  float* __restrict v = b_;
  const float* __restrict g = gradient;
  for (size_t i = 0; i < n_; ++i) {
    v[i] = 0.9f * v[i] + g[i];
    w[i] -= 0.1f * (g[i] + 0.9f * v[i]);
  }
}

void PlainDense::AdaGrad(const float* gradient) {
  float* __restrict w = a_;
  float* __restrict s = b_;
  const float* __restrict g = gradient;
  for (size_t i = 0; i < n_; ++i) {
    s[i] += g[i] * g[i];
    w[i] -= 0.1f * g[i] / (std::sqrt(s[i]) + kEpsilon);
  }
}

void PlainDense::RmsProp(const float* gradient) {
  float* __restrict w = a_;
  float* __restrict s = b_;
  const float* __restrict g = gradient;
  for (size_t i = 0; i < n_; ++i) {
    s[i] = 0.9f * s[i] + (1 - 0.9f) * (g[i] * g[i]);
    w[i] -= 0.01f * g[i] / (std::sqrt(s[i]) + kEpsilon);
  }
}

void PlainDense::Adam(const float* gradient) {
  float* __restrict w = a_;
  float* __restrict m = b_;
  float* __restrict v = c_;
  const float* __restrict g = gradient;
  const PlainCorrections at = CorrectionsAt(++steps_);
  const float rate = 0.001f * at.mean, root = at.root;
  for (size_t i = 0; i < n_; ++i) {
    m[i] = kBeta1 * m[i] + (1 - kBeta1) * g[i];
    v[i] = kBeta2 * v[i] + (1 - kBeta2) * (g[i] * g[i]);
    w[i] -= rate * m[i] / (root * std::sqrt(v[i]) + kEpsilon);
  }
}

void PlainDense::AdamW(const float* gradient) {
  float* __restrict w = a_;
  float* __restrict m = b_;
  float* __restrict v = c_;
  const float* __restrict g = gradient;
  const PlainCorrections at = CorrectionsAt(++steps_);
  const float rate = 0.001f * at.mean, root = at.root, kept = 1 - 0.001f * 0.01f;
  for (size_t i = 0; i < n_; ++i) {
    m[i] = kBeta1 * m[i] + (1 - kBeta1) * g[i];
    v[i] = kBeta2 * v[i] + (1 - kBeta2) * (g[i] * g[i]);
    w[i] = kept * w[i] - rate * m[i] / (root * std::sqrt(v[i]) + kEpsilon);
  }
}

void PlainDense::Ftrl(const float* gradient) {   // alpha 0.1, beta 1; the value follows from z and n
  float* __restrict z = a_;
  float* __restrict n = b_;
  const float* __restrict g = gradient;
  for (size_t i = 0; i < n_; ++i) {
    const float sum = n[i] + g[i] * g[i], before = std::sqrt(n[i]);
    const float w = -z[i] / ((1 + before) * 10.0f);
    z[i] += g[i] - (std::sqrt(sum) - before) * 10.0f * w;
    n[i] = sum;
  }
}

void PlainDense::Lamb(const float* gradient) {
  using Lanes [[gnu::vector_size(32)]] = float;
  const PlainCorrections at = CorrectionsAt(++steps_);
  std::vector<float> direction(width_);
  float* __restrict r = direction.data();
  for (size_t row = 0; row < n_; row += width_) {
    float* __restrict w = a_ + row;
    float* __restrict m = b_ + row;
    float* __restrict v = c_ + row;
    const float* __restrict g = gradient + row;
    for (uint32_t i = 0; i < width_; ++i) {
      m[i] = kBeta1 * m[i] + (1 - kBeta1) * g[i];
      v[i] = kBeta2 * v[i] + (1 - kBeta2) * (g[i] * g[i]);
      r[i] = at.mean * m[i] / (at.root * std::sqrt(v[i]) + kEpsilon) + 0.01f * w[i];
    }
    Lanes values{}, directions{};   // the compiler alone must not reorder sums
    float value = 0, size = 0;
    uint32_t i = 0;
    for (; i + 8 <= width_; i += 8) {
      Lanes x, y;
      std::memcpy(&x, w + i, sizeof x);
      std::memcpy(&y, r + i, sizeof y);
      values += x * x;
      directions += y * y;
    }
    for (; i < width_; ++i) {
      value += w[i] * w[i];
      size += r[i] * r[i];
    }
    for (int lane = 0; lane < 8; ++lane) {
      value += values[lane];
      size += directions[lane];
    }
    const float rate = 0.001f * (value > 0 && size > 0 ? std::sqrt(value / size) : 1.0f);
    for (uint32_t j = 0; j < width_; ++j) w[j] -= rate * r[j];
  }
}

namespace {

/// One row: `width` floats of each array, then what counts pushes.
struct SgdRow {
  static constexpr uint32_t kArrays = 1, kCounts = 0;
  static void Push(float* __restrict row, const float* __restrict g, uint32_t width, const PlainCorrections*) {
    for (uint32_t i = 0; i < width; ++i) row[i] -= 0.1f * g[i];
  }
};
struct AdaGradRow {
  static constexpr uint32_t kArrays = 2, kCounts = 0;
  static void Push(float* row, const float* __restrict g, uint32_t width, const PlainCorrections*) {
    float* __restrict w = row;
    float* __restrict s = row + width;
    for (uint32_t i = 0; i < width; ++i) {
      s[i] += g[i] * g[i];
      w[i] -= 0.1f * g[i] / (std::sqrt(s[i]) + kEpsilon);
    }
  }
};
struct AdamRow {
  static constexpr uint32_t kArrays = 3, kCounts = 1;
  static void Push(float* row, const float* __restrict g, uint32_t width, const PlainCorrections* corrections) {
    float* __restrict w = row;
    float* __restrict m = row + width;
    float* __restrict v = row + 2 * width;
    const PlainCorrections at = corrections[static_cast<size_t>(std::min(row[3 * width] += 1, kTabulated - 1.0f))];
    const float rate = 0.001f * at.mean, root = at.root;
    for (uint32_t i = 0; i < width; ++i) {
      m[i] = kBeta1 * m[i] + (1 - kBeta1) * g[i];
      v[i] = kBeta2 * v[i] + (1 - kBeta2) * (g[i] * g[i]);
      w[i] -= rate * m[i] / (root * std::sqrt(v[i]) + kEpsilon);
    }
  }
};
struct FtrlRow {
  static constexpr uint32_t kArrays = 2, kCounts = 0;
  static void Push(float* row, const float* __restrict g, uint32_t width, const PlainCorrections*) {
    float* __restrict z = row;
    float* __restrict n = row + width;
    for (uint32_t i = 0; i < width; ++i) {
      const float sum = n[i] + g[i] * g[i], before = std::sqrt(n[i]);
      const float w = -z[i] / ((1 + before) * 10.0f);
      z[i] += g[i] - (std::sqrt(sum) - before) * 10.0f * w;
      n[i] = sum;
    }
  }
};

}   // namespace

template <uint32_t kWidth>
constexpr size_t kRowsAhead = kWidth == 1 ? 32 : 4;

template <class Rule, uint32_t kWidth>
void PlainRows::PushBy(std::span<const Key> keys, const float* gradient) {
  constexpr uint32_t kFloats = Rule::kArrays * kWidth + Rule::kCounts;
  for (size_t i = 0; i < keys.size(); ++i, gradient += kWidth) {
    if (i + kRowsAhead<kWidth> < keys.size()) {
      const float* next = rows_ + keys[i + kRowsAhead<kWidth>] * kFloats;
      for (uint32_t j = 0; j < kFloats; j += kLine) __builtin_prefetch(next + j, 1);
    }
    Rule::Push(rows_ + keys[i] * kFloats, gradient, kWidth, corrections_.data());
  }
}

template <class Rule, uint32_t kWidth>
void PlainRows::PushInStepsBy(std::span<const Key> keys, const float* gradient) {
  constexpr uint32_t kFloats = Rule::kArrays * kWidth + Rule::kCounts;
  gathered_.resize(std::max(gathered_.size(), keys.size() * kFloats));
  float* const gathered = gathered_.data();
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i + kRowsAhead<kWidth> < keys.size()) {
      const float* next = rows_ + keys[i + kRowsAhead<kWidth>] * kFloats;
      for (uint32_t j = 0; j < kFloats; j += kLine) __builtin_prefetch(next + j, 1);
    }
    std::memcpy(gathered + i * kFloats, rows_ + keys[i] * kFloats, kFloats * sizeof(float));
  }
  if constexpr (kFloats == 1) {
    Rule::Push(gathered, gradient, static_cast<uint32_t>(keys.size()), corrections_.data());   // one array of numbers
  } else {
    for (size_t i = 0; i < keys.size(); ++i) Rule::Push(gathered + i * kFloats, gradient + i * kWidth, kWidth, corrections_.data());
  }
  for (size_t i = 0; i < keys.size(); ++i) std::memcpy(rows_ + keys[i] * kFloats, gathered + i * kFloats, kFloats * sizeof(float));
}

template <class Rule, uint32_t kWidth>
void PlainRows::Choose() {
  floats_ = Rule::kArrays * kWidth + Rule::kCounts;
  push_ = &PlainRows::PushBy<Rule, kWidth>;
  push_in_steps_ = &PlainRows::PushInStepsBy<Rule, kWidth>;
}

template <class Rule>
void PlainRows::Choose() {
  TROUPE_CHECK(width_ == 1 || width_ == 64);
  width_ == 1 ? Choose<Rule, 1>() : Choose<Rule, 64>();
}

PlainRows::PlainRows(std::string_view rule, size_t rows, uint32_t width) : width_(width) {
  if (rule == "sgd") Choose<SgdRow>();
  if (rule == "adagrad") Choose<AdaGradRow>();
  if (rule == "adam") Choose<AdamRow>();
  if (rule == "ftrl") Choose<FtrlRow>();
  TROUPE_CHECK(floats_ > 0);
  for (uint32_t t = 0; t < kTabulated; ++t) corrections_.push_back(CorrectionsAt(t));
  memory_ = Memory(std::make_shared<Arena>(), rows * floats_ * sizeof(float));
  rows_ = reinterpret_cast<float*>(memory_.get());
}

void PlainRows::Pull(std::span<const Key> keys, float* out) const {
  const size_t ahead = width_ == 1 ? 32 : 4;
  for (size_t i = 0; i < keys.size(); ++i, out += width_) {
    if (i + ahead < keys.size()) {
      const float* next = row(keys[i + ahead]);
      for (uint32_t j = 0; j < width_; j += kLine) __builtin_prefetch(next + j);
    }
    std::memcpy(out, row(keys[i]), width_ * sizeof(float));
  }
}

}   // namespace troupe::internal
