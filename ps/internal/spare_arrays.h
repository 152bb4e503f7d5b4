// Arrays of one length that are used again as soon as nobody refers to them: new memory would come from the system page by page.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ps/internal/sole_owner.h"

namespace troupe {

/// Not thread-safe; whoever was given an array may let it go on another thread.
class SpareArrays {
 public:
  explicit SpareArrays(uint64_t floats) : floats_(floats) {}

  /// An array that nobody else refers to, with any numbers in it.
  std::shared_ptr<std::vector<float>> Take() {
    for (const auto& array : arrays_) {
      if (array.use_count() != 1) continue;
      internal::AfterOthers(array);
      return array;
    }
    auto array = std::make_shared<std::vector<float>>(floats_);
    if (arrays_.size() < kMax) {
      arrays_.push_back(array);
    } else {
      arrays_[next_++ % kMax] = array;
    }
    return array;
  }

 private:
  static constexpr size_t kMax = 4;
  uint64_t floats_;
  std::vector<std::shared_ptr<std::vector<float>>> arrays_;
  size_t next_ = 0;   // whose place a new one takes where all are in use
};

}   // namespace troupe
