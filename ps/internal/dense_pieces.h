// Where the dense ranges of a table and of its forks lie. Ranges share huge pages, since rows of large tables that are met at random wait for page
// translations: those that the table begins with lie in one block, and those that copies on write need in blocks of many ranges, not in a mapping each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "ps/internal/memory.h"

namespace troupe::internal {

/// Thread-safe: forks end on other threads.
class DensePieces {
 public:
  /// Of a table whose ranges take `bytes`; `at_once`: it begins with all of them.
  DensePieces(std::shared_ptr<Arena> arena, uint64_t bytes, bool at_once);
  /// Anything, or zeros; at the start of a cache line. bytes > 0.
  std::byte* Take(uint64_t bytes, bool zeros);
  /// A piece is not needed any more. Some are kept as they are, the memory of the others goes back to the system, and the block of which all pieces have gone.
  void Give(std::byte* memory, uint64_t bytes);

  struct Sizes {
    size_t blocks = 0;
    uint64_t taken = 0, kept = 0, vacant = 0;   ///< bytes of pieces in use, of those kept with their memory, and of places without
  };
  Sizes sizes() const;

 private:
  struct Block {
    Memory memory;
    uint64_t bytes = 0, cut = 0;
    uint64_t taken = 0;   // bytes of its pieces that are in use
  };
  struct Piece {
    std::byte* memory;
    uint64_t bytes;
  };
  std::map<const std::byte*, Block>::iterator BlockOf(const std::byte* memory);
  std::byte* Place(uint64_t bytes);
  void MakeBlock(uint64_t bytes);

  const std::shared_ptr<Arena> arena_;
  const uint64_t kept_max_;                    // bytes
  const uint64_t later_;                       // bytes of blocks after the first one
  mutable std::mutex mutex_;                   // of what is below
  std::map<const std::byte*, Block> blocks_;   // by their first byte
  Block* newest_ = nullptr;                    // of which the next pieces are cut
  std::vector<Piece> kept_, vacant_;           // of those that were given back: with memory behind them, and places without
  uint64_t taken_bytes_ = 0, kept_bytes_ = 0, vacant_bytes_ = 0;
};

}   // namespace troupe::internal
