#include "ps/encoding/key_lists.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

namespace troupe {

uint64_t HashOf(const Block& keys) {
  const uint64_t hash = XXH3_64bits(keys.data(), keys.size());
  return hash != 0 ? hash : 1;
}

void KeyLists::Keep(uint64_t hash, Block keys, size_t bytes) {
  if (bytes > kBytesMax / 4 || Find(hash) != nullptr) return;
  lists_.push_front({hash, std::move(keys), bytes});
  bytes_ += bytes;
  while (lists_.size() > kListsMax || bytes_ > kBytesMax) {
    bytes_ -= lists_.back().bytes;
    lists_.pop_back();
  }
}

const Block* KeyLists::Find(uint64_t hash) {
  const auto found = std::find_if(lists_.begin(), lists_.end(), [hash](const List& list) { return list.hash == hash; });
  if (found == lists_.end()) return nullptr;
  lists_.splice(lists_.begin(), lists_, found);
  return &lists_.front().keys;
}

}   // namespace troupe
