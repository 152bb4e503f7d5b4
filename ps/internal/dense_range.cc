#include "ps/internal/dense_range.h"

#include <algorithm>
#include <cstring>

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

DenseRange::DenseRange(std::byte* memory, uint64_t rows, uint32_t width, uint32_t floats)
    : rows_(rows), width_(width), floats_(floats), stride_(Stride(rows, width)), arrays_(reinterpret_cast<float*>(memory)) {}

template <class Each>
void DenseRange::EachArray(const Each& each) const {
  const uint64_t wide = floats_ / width_;
  for (uint64_t i = 0; i < Arrays(width_, floats_); ++i) each(arrays_ + i * stride_, i < wide ? width_ : 1);
}

void DenseRange::CopyRow(uint64_t row, float* out) const {
  EachArray([&](const float* array, uint32_t floats) { out = std::copy_n(array + row * floats, floats, out); });
}

void DenseRange::CopyTo(std::byte* out) const {
  EachArray([&](const float* array, uint32_t floats) {
    std::memcpy(out, array, rows_ * floats * sizeof(float));
    out += rows_ * floats * sizeof(float);
  });
}

void DenseRange::CopyFrom(const std::byte* in) {
  EachArray([&](float* array, uint32_t floats) {
    std::memcpy(array, in, rows_ * floats * sizeof(float));
    in += rows_ * floats * sizeof(float);
  });
}

}   // namespace troupe::internal
