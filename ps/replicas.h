// Copies of rows of one table at the end that reads them, in bounded memory. Each has a stamp, a point that only its owner knows the meaning of (a clock, a
// time): a copy serves whoever wants one of that point or later. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ps/types.h"

namespace troupe {

/// Where there is no room, the copy goes that was found or put longest ago. Not thread-safe.
class Replicas {
 public:
  /// width: floats a row. bytes_max: of copies with what belongs to them (RowBytes each); memory is taken as they come.
  Replicas(uint32_t width, size_t bytes_max);

  /// The row of `key` (width floats), where there is a copy with a stamp of at least `oldest`; else nullptr. Valid until the next Put. O(1).
  const float* Find(Key key, uint64_t oldest);
  /// Keeps a copy of `row`, in place of an older one; a copy with a later stamp stays. O(width).
  void Put(Key key, uint64_t stamp, const float* row);
  /// There is none any more.
  void Drop(Key key);
  void Clear();

  size_t rows() const { return rows_; }
  size_t bytes() const { return rows_ * RowBytes(); }
  size_t rows_max() const { return rows_max_; }
  size_t RowBytes() const { return width_ * sizeof(float) + sizeof(Entry) + 2 * sizeof(uint32_t); }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Entry {
    Key key;
    uint64_t stamp;
    uint32_t newer, older;   // by use; of free ones `older` is the next free one
  };
  /// Where `key` is in slots_, or the free slot where it would be.
  size_t SlotOf(Key key) const;
  uint32_t NewEntry(Key key);
  void Remove(size_t slot);
  void Unlink(uint32_t entry);
  void LinkNewest(uint32_t entry);
  void Grow();

  uint32_t width_;
  size_t rows_max_;
  size_t rows_ = 0;
  std::vector<uint32_t> slots_;   // entry, or kNone: linear probing. Invariant: at most half of them are taken
  std::vector<Entry> entries_;
  std::vector<float> values_;   // by entry
  uint32_t newest_ = kNone, oldest_ = kNone, free_ = kNone;
};

}   // namespace troupe
