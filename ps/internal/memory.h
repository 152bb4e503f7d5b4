// Memory of tables: zeroed, at cache line boundaries, touched when it is made, so that no page fault meets a push, and in huge pages, so that rows met at
// random miss fewer page translations.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

namespace troupe::internal {

/// How an arena deals with the system. `own_from`: a piece of so many bytes is a mapping of its own and goes back when it is freed. `mapping_max`: others are
/// cut from mappings that double up to this. `spare_min`: of what is freed so much stays for those who come next, or an eighth of what is in use.
struct ArenaOptions {
  size_t own_from = size_t{1} << 20;
  size_t mapping_max = size_t{2} << 20;
  size_t spare_min = size_t{2} << 20;
};
/// Of ranges that never grow and are copied on write again and again: all share huge pages.
inline constexpr ArenaOptions kRangesArena{.own_from = size_t{16} << 20, .mapping_max = size_t{32} << 20, .spare_min = size_t{16} << 20};

/// Pieces for the ranges of one table, cut from huge pages, the lowest address first; those that are given back are joined and used again. Huge pages of which
/// nothing is in use go back to the system, the highest first, but for the spare ones. Thread-safe: forks end on other threads.
class Arena {
 public:
  explicit Arena(const ArenaOptions& options = {}) : options_(options) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  /// Zeros, or, where they are not asked for, anything; at the start of a cache line. bytes > 0.
  std::byte* Allocate(size_t bytes, bool zeros = true);
  /// `bytes` as they were asked for.
  void Free(std::byte* memory, size_t bytes);
  /// Held from the system, used or not.
  size_t bytes() const {
    std::lock_guard lock(mutex_);
    return bytes_;
  }

 private:
  using Pieces = std::map<std::byte*, size_t>;
  std::byte* Cut(size_t bytes);
  void Map(size_t bytes);
  bool Unmap(std::byte* begin, std::byte* end);
  void Join(std::byte* memory, size_t bytes);
  Pieces::iterator Drop(Pieces::iterator piece);
  void Add(std::byte* memory, size_t bytes);
  void ReturnUnused();

  const ArenaOptions options_;
  mutable std::mutex mutex_;
  Pieces mappings_;              // of pieces that are not mappings of their own
  Pieces free_;                  // no two touch
  std::set<std::byte*> whole_;   // those of free_ with a whole huge page in them
  size_t free_bytes_ = 0;
  size_t bytes_ = 0;
};

/// A piece of an arena with its owner.
class Memory {
 public:
  Memory() = default;
  Memory(std::shared_ptr<Arena> arena, size_t bytes) : arena_(std::move(arena)), memory_(arena_->Allocate(bytes)), bytes_(bytes) {}
  Memory(Memory&& other) noexcept : arena_(std::move(other.arena_)), memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(arena_, other.arena_);
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Memory() {
    if (memory_ != nullptr) arena_->Free(memory_, bytes_);
  }
  std::byte* get() const { return memory_; }
  /// Another piece of the same arena with the same bytes.
  Memory Copy() const;

 private:
  std::shared_ptr<Arena> arena_;
  std::byte* memory_ = nullptr;
  size_t bytes_ = 0;
};

}   // namespace troupe::internal
