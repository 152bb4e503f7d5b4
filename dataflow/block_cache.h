// Parsed pieces kept between epochs, within a limit. Thread-safe. What does not fit is simply read again.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "dataflow/row_block.h"

namespace troupe {

class BlockCache {
 public:
  explicit BlockCache(size_t bytes_max) : bytes_max_(bytes_max) {}
  std::shared_ptr<const RowBlock> Find(uint64_t piece) const;
  /// Keeps `block` if it fits; what is held stays (an epoch visits every piece once, so that evicting one for another gains nothing).
  void Keep(const std::shared_ptr<const RowBlock>& block);
  size_t bytes() const;

 private:
  const size_t bytes_max_;
  mutable std::mutex mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<const RowBlock>> blocks_;
  size_t bytes_ = 0;
};

}   // namespace troupe
