#include "ps/internal/dense_pieces.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "actors/check.h"

namespace troupe::internal {
namespace {

constexpr uint64_t kPage = 4096;
/// Of pieces that were left, at least so much stays in memory; of large tables an eighth.
constexpr uint64_t kKeptMin = 16 << 20;
/// Blocks after the first one: some huge pages, so that few ranges that stay hold few places that are empty.
constexpr uint64_t kBlock = 32 << 20;

/// The memory of a place goes back to the system, the place stays.
void Vacate(std::byte* memory, uint64_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t begin = (address + kPage - 1) / kPage * kPage, end = (address + bytes) / kPage * kPage;
  if (begin < end) madvise(memory + (begin - address), end - begin, MADV_DONTNEED);
}

}   // namespace

DensePieces::DensePieces(std::shared_ptr<Arena> arena, uint64_t bytes, bool at_once)
    : arena_(std::move(arena)), kept_max_(std::max(kKeptMin, bytes / 8)), later_(std::min(bytes, kBlock)) {
  if (at_once && bytes > 0) MakeBlock(bytes);
}

void DensePieces::MakeBlock(uint64_t bytes) {
  Memory memory(arena_, bytes, false);
  const std::byte* const begin = memory.get();
  newest_ = &blocks_.emplace(begin, Block{.memory = std::move(memory), .bytes = bytes}).first->second;
}

std::map<const std::byte*, DensePieces::Block>::iterator DensePieces::BlockOf(const std::byte* memory) {
  return std::prev(blocks_.upper_bound(memory));
}

std::byte* DensePieces::Take(uint64_t bytes, bool zeros) {
  std::byte* memory;
  {
    std::lock_guard lock(mutex_);
    memory = Place(bytes);
    taken_bytes_ += bytes;
    BlockOf(memory)->second.taken += bytes;
  }
  if (zeros) std::memset(memory, 0, bytes);
  return memory;
}

std::byte* DensePieces::Place(uint64_t bytes) {
  const auto again = [bytes](std::vector<Piece>& pieces, uint64_t& sum) -> std::byte* {
    const auto found = std::find_if(pieces.rbegin(), pieces.rend(), [bytes](const Piece& piece) { return piece.bytes == bytes; });
    if (found == pieces.rend()) return nullptr;
    std::byte* const memory = found->memory;
    pieces.erase(std::next(found).base());
    sum -= bytes;
    return memory;
  };
  if (std::byte* const kept = again(kept_, kept_bytes_)) return kept;
  if (newest_ == nullptr || newest_->cut + bytes > newest_->bytes) {
    // An empty place shares its huge page no more: a new block is faster, as long as few places stay behind.
    if (vacant_bytes_ > taken_bytes_) {
      if (std::byte* const vacant = again(vacant_, vacant_bytes_)) return vacant;
    }
    MakeBlock(bytes * std::max<uint64_t>(1, later_ / bytes));
  }
  return newest_->memory.get() + std::exchange(newest_->cut, newest_->cut + bytes);
}

void DensePieces::Give(std::byte* memory, uint64_t bytes) {
  Block ended;   // its memory goes back when the lock is free again
  std::lock_guard lock(mutex_);
  taken_bytes_ -= bytes;
  const auto block = BlockOf(memory);
  block->second.taken -= bytes;
  if (kept_bytes_ + bytes <= kept_max_) {
    kept_.push_back({memory, bytes});
    kept_bytes_ += bytes;
  } else if (block->second.taken == 0 && &block->second != newest_) {
    const std::byte *const begin = block->first, *const end = begin + block->second.bytes;
    const auto drop = [begin, end](std::vector<Piece>& pieces, uint64_t& sum) {
      std::erase_if(pieces, [&](const Piece& piece) {
        const bool inside = piece.memory >= begin && piece.memory < end;
        if (inside) sum -= piece.bytes;
        return inside;
      });
    };
    drop(kept_, kept_bytes_);
    drop(vacant_, vacant_bytes_);
    ended = std::move(block->second);
    blocks_.erase(block);
  } else {
    Vacate(memory, bytes);
    vacant_.push_back({memory, bytes});
    vacant_bytes_ += bytes;
  }
}

DensePieces::Sizes DensePieces::sizes() const {
  std::lock_guard lock(mutex_);
  return {.blocks = blocks_.size(), .taken = taken_bytes_, .kept = kept_bytes_, .vacant = vacant_bytes_};
}

}   // namespace troupe::internal
