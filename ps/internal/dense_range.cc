#include "ps/internal/dense_range.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

namespace troupe::internal {
namespace {

constexpr uint64_t kPage = 4096;
/// Of pieces that were left, at least so much stays in memory; of large tables an eighth.
constexpr uint64_t kKeptMin = 16 << 20;

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

DensePieces::DensePieces(std::shared_ptr<Arena> arena, uint64_t bytes) : arena_(std::move(arena)), block_bytes_(bytes) {
  if (bytes > 0) block_ = Memory(arena_, bytes);
}

std::byte* DensePieces::Take(uint64_t bytes, bool zeros) {
  {
    std::lock_guard lock(mutex_);
    if (cut_ + bytes <= block_bytes_) return block_.get() + std::exchange(cut_, cut_ + bytes);
  }
  std::byte* memory = Again(bytes);
  if (memory == nullptr) return arena_->Allocate(bytes, zeros);
  if (zeros) std::memset(memory, 0, bytes);
  return memory;
}

/// A piece that was given back; null: there is none.
std::byte* DensePieces::Again(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  const auto take = [&](std::vector<Piece>& pieces) -> std::byte* {
    const auto found = std::find_if(pieces.rbegin(), pieces.rend(), [bytes](const Piece& piece) { return piece.bytes == bytes; });
    if (found == pieces.rend()) return nullptr;
    std::byte* const memory = found->memory;
    pieces.erase(std::next(found).base());
    return memory;
  };
  std::byte* memory = take(kept_);
  if (memory != nullptr) kept_bytes_ -= bytes;
  if (memory == nullptr) memory = take(vacant_);
  return memory;
}

void DensePieces::Give(std::byte* memory, uint64_t bytes) {
  std::lock_guard lock(mutex_);
  if (kept_bytes_ + bytes <= std::max(kKeptMin, block_bytes_ / 8)) {
    kept_bytes_ += bytes;
    kept_.push_back({memory, bytes});
  } else if (InBlock(memory)) {   // only its pages can go
    const auto address = reinterpret_cast<uintptr_t>(memory);
    const uintptr_t begin = (address + kPage - 1) / kPage * kPage, end = (address + bytes) / kPage * kPage;
    if (begin < end) madvise(memory + (begin - address), end - begin, MADV_DONTNEED);
    vacant_.push_back({memory, bytes});
  } else {
    arena_->Free(memory, bytes);
  }
}

DenseRange::DenseRange(std::shared_ptr<DensePieces> pieces, uint64_t rows, uint32_t width, uint32_t floats, bool counted)
    : pieces_(std::move(pieces)), rows_(rows), width_(width), floats_(floats), counted_(counted), stride_(Stride(rows, width)) {
  arrays_ = reinterpret_cast<float*>(bytes() > 0 ? pieces_->Take(bytes(), true) : nullptr);
}

DenseRange::DenseRange(const DenseRange& other)
    : pieces_(other.pieces_),
      rows_(other.rows_),
      width_(other.width_),
      floats_(other.floats_),
      counted_(other.counted_),
      stride_(other.stride_),
      arrays_(nullptr) {
  if (bytes() == 0) return;
  arrays_ = reinterpret_cast<float*>(pieces_->Take(bytes(), false));
  std::memcpy(arrays_, other.arrays_, bytes());
}

DenseRange::~DenseRange() {
  if (arrays_ != nullptr) pieces_->Give(reinterpret_cast<std::byte*>(arrays_), bytes());
}

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
