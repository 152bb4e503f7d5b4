// Memory of blocks: one allocation holds the reference count and the bytes, which start at the next multiple of 64. Big ones come from the pool that other
// processes can map, while a network uses it; else those of a message's size come from what their thread has let go before.
#include "actors/block.h"

#include <array>

#include "actors/internal/shared_memory.h"

namespace troupe {
namespace {

/// Memory of blocks that this thread was the last to hold, for the next ones that it makes: memory that is fresh from the system takes longer to come than a
/// message's rows take to be copied. A thread keeps kPieces of at most kBytesMax.
class SpareMemory {
 public:
  static constexpr size_t kBytesMin = 64 << 10, kBytesMax = 1 << 20, kUnit = 64 << 10;

  ~SpareMemory() {
    for (const Piece& piece : pieces_) Free(piece.memory);
    ended_ = true;
  }
  /// At the start of a cache line, contents undefined. kBytesMin <= bytes <= kBytesMax.
  static std::shared_ptr<std::byte> Allocate(size_t bytes) {
    Piece found{nullptr, (bytes + kUnit - 1) / kUnit * kUnit};
    if (!ended_) found = mine_.Take(found.bytes);
    if (found.memory == nullptr) found.memory = static_cast<std::byte*>(::operator new (found.bytes, std::align_val_t{Block::kAlignment}));
    return {found.memory, [bytes_kept = found.bytes](std::byte* memory) {
              if (ended_ || !mine_.Keep({memory, bytes_kept})) Free(memory);
            }};
  }

 private:
  static constexpr size_t kPieces = 4;
  struct Piece {
    std::byte* memory = nullptr;
    size_t bytes = 0;
  };
  static void Free(std::byte* memory) { ::operator delete (memory, std::align_val_t{Block::kAlignment}); }
  /// At most twice as large as it must be; none: of `bytes` bytes without memory.
  Piece Take(size_t bytes) {
    for (Piece& piece : pieces_) {
      if (piece.memory != nullptr && piece.bytes >= bytes && piece.bytes <= 2 * bytes) return std::exchange(piece, {});
    }
    return {nullptr, bytes};
  }
  bool Keep(const Piece& piece) {
    if (kOff) return false;
    for (Piece& place : pieces_) {
      if (place.memory != nullptr) continue;
      place = piece;
      return true;
    }
    Free(std::exchange(pieces_[next_++ % kPieces], piece).memory);
    return true;
  }

#ifdef __SANITIZE_ADDRESS__
  static constexpr bool kOff = true;   // it is to see who reads what was let go
#else
  static constexpr bool kOff = false;
#endif
  static thread_local SpareMemory mine_;
  static thread_local bool ended_;   // the thread ends, and what it still holds is freed
  std::array<Piece, kPieces> pieces_;
  size_t next_ = 0;
};

thread_local SpareMemory SpareMemory::mine_;
thread_local bool SpareMemory::ended_ = false;

}   // namespace

BlockBuilder::BlockBuilder(size_t size) : size_(size) {
  if (size == 0) return;
  if (size >= SharedMemory::kBlockBytesMin && (data_ = SharedMemory::OfProcess().Allocate(size)) != nullptr) return;
  if (size >= SpareMemory::kBytesMin && size <= SpareMemory::kBytesMax) {
    data_ = SpareMemory::Allocate(size);
    return;
  }
  auto memory = std::make_shared_for_overwrite<std::byte[]>(size + Block::kAlignment - 1);
  const size_t past = reinterpret_cast<uintptr_t>(memory.get()) % Block::kAlignment;
  std::byte* start = memory.get() + (past == 0 ? 0 : Block::kAlignment - past);
  data_ = std::shared_ptr<std::byte>(std::move(memory), start);
}

Block BlockBuilder::Finish() && {
  const std::byte* start = data_.get();
  return Block::View(start, std::exchange(size_, 0), std::move(data_));
}

Block Block::Copy(const void* bytes, size_t size) {
  BlockBuilder builder(size);
  if (size != 0) std::memcpy(builder.data(), bytes, size);
  return std::move(builder).Finish();
}

}   // namespace troupe
