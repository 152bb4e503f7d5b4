// A small stack of free buffers.
#include "actors/internal/receive_buffers.h"

#include <new>
#include <utility>

namespace troupe {
namespace {
constexpr size_t kGranularity = 64 << 10;
constexpr std::align_val_t kAlign{ReceiveBuffers::kAlignment};
}   // namespace

std::shared_ptr<std::byte> ReceiveBuffers::Take(size_t size) {
  Buffer buffer{nullptr, (size + kGranularity - 1) / kGranularity * kGranularity};
  {
    std::lock_guard lock(mutex_);
    for (size_t i = free_.size(); i-- > 0;) {
      if (free_[i].size != buffer.size) continue;
      buffer = free_[i];
      free_.erase(free_.begin() + static_cast<std::ptrdiff_t>(i));
      free_bytes_ -= buffer.size;
      break;
    }
  }
  if (buffer.bytes == nullptr) buffer.bytes = static_cast<std::byte*>(::operator new(buffer.size, kAlign));
  return {buffer.bytes, [pool = weak_from_this(), size = buffer.size](std::byte* bytes) {
            if (auto alive = pool.lock()) {
              alive->GiveBack({bytes, size});
            } else {
              ::operator delete(bytes, kAlign);
            }
          }};
}

void ReceiveBuffers::GiveBack(Buffer buffer) {
  std::lock_guard lock(mutex_);
  free_.push_back(buffer);
  free_bytes_ += buffer.size;
  while (free_bytes_ > kFreeBytesMax) {   // the oldest go, so that sizes no longer asked for do not stay
    ::operator delete(free_.front().bytes, kAlign);
    free_bytes_ -= free_.front().size;
    free_.erase(free_.begin());
  }
}

ReceiveBuffers::~ReceiveBuffers() {
  for (const Buffer& buffer : free_) ::operator delete(buffer.bytes, kAlign);
}

}   // namespace troupe
