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

uint64_t Arrays(uint32_t width, uint32_t state) {
  return 1 + state / width + state % width;
}

}   // namespace

uint64_t DenseRange::Bytes(uint64_t rows, uint32_t width, uint32_t state) {
  return Arrays(width, state) * Stride(rows, width) * sizeof(float);
}

DenseRange::DenseRange(std::byte* memory, uint64_t rows, uint32_t width, uint32_t state)
    : rows_(rows), width_(width), state_(state), stride_(Stride(rows, width)), values_(reinterpret_cast<float*>(memory)) {}

DenseRows DenseRange::View(uint64_t first, uint64_t n, uint64_t unpenalised) {
  return {.values = values_, .state = values_ + stride_, .stride = stride_, .width = width_, .first = first, .n = n, .unpenalised = unpenalised};
}

template <class Each>
void DenseRange::EachArray(const Each& each) const {
  const uint64_t wide = 1 + state_ / width_;
  for (uint64_t i = 0; i < Arrays(width_, state_); ++i) each(values_ + i * stride_, i < wide ? width_ : 1);
}

void DenseRange::ClearError(uint64_t row, uint32_t error_state) {
  for (uint32_t i = 0; i < error_state / width_; ++i) std::fill_n(values_ + (i + 1) * stride_ + row * width_, width_, 0.0f);
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
