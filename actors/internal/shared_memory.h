// Memory of big blocks that other processes of this host can map: what a block holds is written once, and read where it lies, by whoever is sent a reference
// to it. A process has one such pool, as it has one heap.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"

namespace troupe {

/// A segment is a sealed memfd: a page of counters, then units of 16 KiB. A block is a run of units; the counter of its first unit says how many references to
/// it other processes hold.
struct SharedLayout {
  static constexpr size_t kUnit = 16 << 10;
  static constexpr size_t kUnits = 2048;   // of a segment, the first holds the counters
  static constexpr size_t kSegmentBytes = kUnits * kUnit;
  static_assert(kUnits * sizeof(std::atomic<uint32_t>) <= kUnit);
};

/// Where bytes of this process's pool lie.
struct SharedPlace {
  uint32_t segment = 0;   ///< number in the pool
  uint32_t counter = 0;   ///< of the block, in its segment
  uint64_t offset = 0;    ///< in the segment
};

/// Thread-safe.
class SharedMemory {
 public:
  /// Blocks smaller than this are not worth a reference.
  static constexpr size_t kBlockBytesMin = 64 << 10;
  static constexpr size_t kBlockBytesMax = 24 << 20;
  /// Held from the system at most; beyond it blocks are private memory.
  static constexpr size_t kBytesMax = 512 << 20;
  /// Empty segments that keep their memory for what comes next.
  static constexpr int kWarmEmptyMax = 4;

  SharedMemory();
  ~SharedMemory();
  /// This process's.
  static SharedMemory& OfProcess();

  /// While somebody uses the pool, big blocks are made in it.
  void Use();
  void Disuse();
  bool in_use() const { return users_.load(std::memory_order_relaxed) > 0; }

  /// Contents undefined. Null: too small, too big, the pool is full, nobody uses it, or the system has no memfd.
  std::shared_ptr<std::byte> Allocate(size_t bytes);

  /// Counts a reference for another process to the block that holds these bytes. nullopt: they are not of this pool.
  std::optional<SharedPlace> Lend(const void* bytes);
  /// The reference was not sent.
  void TakeBack(const SharedPlace& place);
  /// A duplicate of a lent segment's descriptor, to be sent with the first reference to it. -1: the process has no more descriptors.
  int Descriptor(uint32_t segment) const;
  /// A peer that held references is gone, or cannot be asked any more: memory that is still lent is never used again by this process. The system takes it back
  /// when the last process that maps it has ended or let it go.
  void ForgetLent();

  size_t bytes() const;   ///< held from the system

 private:
  struct Segment;
  struct Run {   // a block whose owner is gone while others still read it
    Segment* segment;
    size_t unit;
  };

  Segment* NewSegment();
  Segment* Numbered(uint32_t number) const;
  void Release(Segment* segment, size_t unit);
  void Free(Segment* segment, size_t unit);
  void CollectReturned();
  void DropEmpty(Segment* segment);

  std::atomic<int> users_{0};
  mutable std::mutex mutex_;
  std::map<const std::byte*, std::unique_ptr<Segment>> segments_;   // by address
  std::vector<Run> lingering_;
  uint32_t last_number_ = 0;
  bool unavailable_ = false;   // the system has no memfd
};

/// Another process's segment in this one's address space; its data is read only.
class MappedSegment : public std::enable_shared_from_this<MappedSegment> {
 public:
  /// Takes `fd`. InvalidArgument: no sealed memfd of the right size.
  static absl::StatusOr<std::shared_ptr<MappedSegment>> Map(int fd);
  ~MappedSegment();

  /// What keeps [offset, offset + size) from being used for something else; destroyed, it returns the reference. InvalidArgument: outside.
  absl::StatusOr<std::shared_ptr<const void>> Borrow(uint64_t offset, uint64_t size, uint32_t counter);
  const std::byte* data(uint64_t offset) const { return base_ + offset; }

 private:
  explicit MappedSegment(std::byte* base) : base_(base) {}
  std::byte* base_;
};

}   // namespace troupe
