// First come, first kept, until the limit is reached.
#include "dataflow/block_cache.h"

namespace troupe {

std::shared_ptr<const RowBlock> BlockCache::Find(uint64_t piece) const {
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(piece);
  return found == blocks_.end() ? nullptr : found->second;
}

void BlockCache::Keep(const std::shared_ptr<const RowBlock>& block) {
  const size_t more = block->bytes();
  const std::lock_guard lock(mutex_);
  if (bytes_ + more > bytes_max_ || !blocks_.emplace(block->piece, block).second) return;
  bytes_ += more;
}

size_t BlockCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}   // namespace troupe
