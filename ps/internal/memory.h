// Memory of tables: zeroed, at cache line boundaries, touched when it is made, so that no page fault meets a push, and in huge pages, so that rows met at
// random miss fewer page translations.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace troupe::internal {

/// Pieces for the ranges of one table, cut from huge pages; those that are given back are joined and used again. Thread-safe: forks end on other threads.
class Arena {
 public:
  Arena() = default;
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
  Pieces::iterator Insert(std::byte* memory, size_t bytes);
  void ReturnUnused(Pieces::iterator piece);

  mutable std::mutex mutex_;
  Pieces mappings_;   // of pieces that are not mappings of their own
  Pieces free_;       // no two touch
  size_t free_bytes_ = 0;
  size_t bytes_ = 0;
};

/// A piece of an arena with its owner.
class Memory {
 public:
  Memory() = default;
  Memory(std::shared_ptr<Arena> arena, size_t bytes, bool zeros = true) : arena_(std::move(arena)), memory_(arena_->Allocate(bytes, zeros)), bytes_(bytes) {}
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
