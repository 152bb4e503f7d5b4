// Memory of blocks: one allocation holds the reference count and the bytes, which start at the next multiple of 64. Big ones come from the pool that other
// processes can map, while a network uses it.
#include "actors/block.h"

#include "actors/internal/shared_memory.h"

namespace troupe {

BlockBuilder::BlockBuilder(size_t size) : size_(size) {
  if (size == 0) return;
  if (size >= SharedMemory::kBlockBytesMin && (data_ = SharedMemory::OfProcess().Allocate(size)) != nullptr) return;
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
