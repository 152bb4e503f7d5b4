// Memory that messages are received into. It is used again and again: a fresh megabyte costs the kernel 256 page faults, more than receiving it.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace troupe {

/// Thread-safe: the link thread takes buffers, whoever drops the last Block of a message gives its buffer back.
class ReceiveBuffers : public std::enable_shared_from_this<ReceiveBuffers> {
 public:
  static constexpr size_t kAlignment = 64;
  /// Free buffers kept for the next message: some chunks of kChunkBytes each way.
  static constexpr size_t kFreeBytesMax = 16 << 20;

  /// At least `size` bytes, 64-byte aligned, contents undefined. Freed, not kept, once this pool is gone.
  std::shared_ptr<std::byte> Take(size_t size);
  ~ReceiveBuffers();

 private:
  struct Buffer {
    std::byte* bytes;
    size_t size;
  };
  void GiveBack(Buffer buffer);

  std::mutex mutex_;
  std::vector<Buffer> free_;   // the last given back is the first taken: it is still in the processor's cache
  size_t free_bytes_ = 0;      // Invariant: the sum of free_'s sizes, at most kFreeBytesMax
};

}   // namespace troupe
