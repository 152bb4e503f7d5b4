// Sparse rows in compressed form: features as 32-bit numbers as long as all of them fit, values only up to a row's last one that is not 1. A click log, a few
// numbers and many one-hot features a row, takes less than half of what plain arrays of 64-bit numbers and floats take, in memory and in caches.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace troupe {

/// A feature's number. libsvm: the index as written (1-based). CSV and Parquet: 1 + the position among the feature columns. 0 is never a feature
/// (algorithms use it for the intercept).
using Feature = uint64_t;

/// One row of SparseRows: features strictly rising, and a value for each. A zero that stands in the file is kept.
class SparseRow {
 public:
  SparseRow(const uint32_t* narrow, const Feature* wide, uint32_t size, std::span<const float> values)
      : narrow_(narrow), wide_(wide), size_(size), values_(values) {}

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  Feature feature(size_t j) const { return narrow_ != nullptr ? narrow_[j] : wide_[j]; }
  float value(size_t j) const { return j < values_.size() ? values_[j] : 1.0f; }
  /// Those that are stored: of the first features. The others are 1.
  std::span<const float> values() const { return values_; }
  /// use(std::span<const uint32_t>) or use(std::span<const Feature>): the features, for loops that must be quick.
  template <class Use>
  [[gnu::always_inline]] decltype(auto) Features(Use&& use) const {
    if (narrow_ != nullptr) [[likely]]
      return use(std::span(narrow_, size_));
    return use(std::span(wide_, size_));
  }

 private:
  const uint32_t* narrow_;   // null: the features are in wide_
  const Feature* wide_;
  uint32_t size_;
  std::span<const float> values_;
};

class SparseRows {
 public:
  SparseRows() = default;
  /// Whole arrays. begins, value_begins: rows + 1 each, where a row's features and stored values begin.
  SparseRows(std::span<const uint32_t> begins, std::span<const Feature> features, std::span<const uint32_t> value_begins, std::span<const float> values)
      : begins_(begins.begin(), begins.end()), value_begins_(value_begins.begin(), value_begins.end()), values_(values.begin(), values.end()) {
    Feature all = 0;
    for (const Feature feature : features) all |= feature;
    if (all > UINT32_MAX) {
      wide_.assign(features.begin(), features.end());
      return;
    }
    narrow_.resize(features.size());
    for (size_t i = 0; i < features.size(); ++i) narrow_[i] = static_cast<uint32_t>(features[i]);
  }

  /// Row by row: Add for each entry by rising feature, then EndRow.
  void Add(Feature feature, float value);
  void EndRow();

  bool operator==(const SparseRows&) const = default;

  size_t rows() const { return begins_.size() - 1; }
  /// Of all rows.
  size_t entries() const { return begins_.back(); }
  SparseRow row(size_t r) const {
    const std::span<const float> values{values_.data() + value_begins_[r], value_begins_[r + 1] - value_begins_[r]};
    const uint32_t begin = begins_[r], size = begins_[r + 1] - begin;
    return wide_.empty() ? SparseRow(narrow_.data() + begin, nullptr, size, values) : SparseRow(nullptr, wide_.data() + begin, size, values);
  }
  size_t entries(size_t r) const { return begins_[r + 1] - begins_[r]; }
  size_t bytes() const {
    return (begins_.capacity() + value_begins_.capacity() + narrow_.capacity()) * sizeof(uint32_t) + wide_.capacity() * sizeof(Feature) +
           values_.capacity() * sizeof(float);
  }
  /// Asks for the place where row r's bounds stand; then, when they are there, for its entries.
  [[gnu::always_inline]] void PrefetchBounds(size_t r) const {
    __builtin_prefetch(begins_.data() + r);
    __builtin_prefetch(value_begins_.data() + r);
  }
  template <bool kValues>
  [[gnu::always_inline]] void PrefetchEntries(size_t r) const {
    if (wide_.empty()) {
      Fetch(narrow_.data() + begins_[r], narrow_.data() + begins_[r + 1]);
    } else {
      Fetch(wide_.data() + begins_[r], wide_.data() + begins_[r + 1]);
    }
    if constexpr (kValues) Fetch(values_.data() + value_begins_[r], values_.data() + value_begins_[r + 1]);
  }

 private:
  template <class T>
  [[gnu::always_inline]] static void Fetch(const T* from, const T* to) {
    constexpr size_t kLine = 64;
    if (from == to) return;
    for (; from < to; from += kLine / sizeof(T)) __builtin_prefetch(from);
    __builtin_prefetch(to - 1);
  }

  std::vector<uint32_t> begins_{0}, value_begins_{0};
  std::vector<uint32_t> narrow_;
  std::vector<Feature> wide_;   // of all rows, once one feature does not fit 32 bits; narrow_ is empty then
  std::vector<float> values_;
};

inline void SparseRows::Add(Feature feature, float value) {
  if (wide_.empty() && feature > UINT32_MAX) {
    wide_.assign(narrow_.begin(), narrow_.end());
    narrow_ = {};
    wide_.push_back(feature);
  } else if (wide_.empty()) {
    narrow_.push_back(static_cast<uint32_t>(feature));
  } else {
    wide_.push_back(feature);
  }
  if (value == 1) return;
  const size_t before = narrow_.size() + wide_.size() - 1 - begins_.back();   // entries of this row in front of it
  values_.resize(value_begins_.back() + before, 1.0f);
  values_.push_back(value);
}

inline void SparseRows::EndRow() {
  begins_.push_back(static_cast<uint32_t>(narrow_.size() + wide_.size()));
  value_begins_.push_back(static_cast<uint32_t>(values_.size()));
}

}   // namespace troupe
