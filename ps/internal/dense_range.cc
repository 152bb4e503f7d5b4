#include "ps/internal/dense_range.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

namespace troupe::internal {
namespace {

/// Whole cache lines, and not a multiple of a page: arrays that start at one place of a page make the processor take a load for a store of another array.
uint64_t Stride(uint64_t rows, uint32_t width) {
  const uint64_t floats = (rows * width + 15) / 16 * 16;
  return floats % 1024 < 64 || floats % 1024 > 960 ? floats + 128 : floats;
}

uint64_t Arrays(uint32_t width, uint32_t floats) {
  return floats / width + floats % width;
}

}   // namespace

uint64_t DenseRange::Bytes(uint64_t rows, uint32_t width, uint32_t floats) {
  return Arrays(width, floats) * Stride(rows, width) * sizeof(float);
}

DenseRange::DenseRange(std::shared_ptr<Arena> arena, uint64_t rows, uint32_t width, uint32_t floats, bool counted)
    : rows_(rows), width_(width), floats_(floats), counted_(counted), stride_(Stride(rows, width)) {
  if (bytes() > 0) memory_ = Memory(std::move(arena), bytes());
  arrays_ = reinterpret_cast<float*>(memory_.get());
}

DenseRange::DenseRange(const DenseRange& other)
    : rows_(other.rows_),
      width_(other.width_),
      floats_(other.floats_),
      counted_(other.counted_),
      stride_(other.stride_),
      memory_(other.memory_.Copy()),
      arrays_(reinterpret_cast<float*>(memory_.get())) {}

template <class Each>
void DenseRange::EachArray(const Each& each) const {
  const uint64_t arrays = (floats_ - counted_) / width_;
  for (uint64_t i = 0; i < arrays; ++i) each(arrays_ + i * stride_, width_);
}

void DenseRange::CopyRow(uint64_t row, float* out) const {
  EachArray([&](const float* array, uint32_t floats) { out = std::copy_n(array + row * floats, floats, out); });
  if (counted_) *out = Counts().At(row);
}

void DenseRange::CopyTo(std::byte* out) const {
  EachArray([&](const float* array, uint32_t floats) {
    std::memcpy(out, array, rows_ * floats * sizeof(float));
    out += rows_ * floats * sizeof(float);
  });
  if (!counted_) return;
  std::vector<float> counts(rows_);
  Counts().CopyTo(rows_, counts.data());
  std::memcpy(out, counts.data(), rows_ * sizeof(float));
}

bool DenseRange::AreCounts(const std::byte* in) const {
  in += rows_ * (floats_ - 1) * sizeof(float);
  for (uint64_t row = 0; counted_ && row < rows_; ++row, in += sizeof(float)) {
    float count;
    std::memcpy(&count, in, sizeof count);
    if (!std::isfinite(count) || std::signbit(count)) return false;
  }
  return true;
}

void DenseRange::CopyFrom(const std::byte* in) {
  EachArray([&](float* array, uint32_t floats) {
    std::memcpy(array, in, rows_ * floats * sizeof(float));
    in += rows_ * floats * sizeof(float);
  });
  if (!counted_) return;
  std::vector<float> counts(rows_);
  std::memcpy(counts.data(), in, rows_ * sizeof(float));
  Counts().CopyFrom(rows_, counts.data());
}

}   // namespace troupe::internal
