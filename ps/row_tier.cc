#include "ps/row_tier.h"

#include <cstring>
#include <map>
#include <utility>

namespace troupe {
namespace {

class MemoryTier final : public RowTier {
 public:
  explicit MemoryTier(size_t row_bytes) : row_bytes_(row_bytes) {}

  absl::Status Put(uint32_t range, std::span<const Key> keys, const std::byte* rows) override {
    for (const Key key : keys) {
      rows_[{range, key}].assign(rows, rows + row_bytes_);
      rows += row_bytes_;
    }
    return absl::OkStatus();
  }
  absl::Status Erase(uint32_t range, std::span<const Key> keys) override {
    for (const Key key : keys) rows_.erase({range, key});
    return absl::OkStatus();
  }
  absl::Status Clear(uint32_t range) override {
    rows_.erase(rows_.lower_bound({range, 0}), rows_.upper_bound({range, ~Key{0}}));
    return absl::OkStatus();
  }
  absl::Status Get(std::span<const TierKey> keys, std::byte* rows, bool* found) override {
    for (const TierKey& wanted : keys) {
      const auto row = rows_.find({wanted.range, wanted.key});
      *found = row != rows_.end();
      if (*found++) std::memcpy(rows, row->second.data(), row_bytes_);
      rows += row_bytes_;
    }
    return absl::OkStatus();
  }
  absl::Status Scan(uint32_t range, Key from, size_t n, std::vector<Key>* keys, std::vector<std::byte>* rows) override {
    keys->clear();
    rows->clear();
    for (auto row = rows_.lower_bound({range, from}); row != rows_.end() && row->first.first == range && keys->size() < n; ++row) {
      keys->push_back(row->first.second);
      rows->insert(rows->end(), row->second.begin(), row->second.end());
    }
    return absl::OkStatus();
  }
  size_t bytes() const override { return 0; }

 private:
  const size_t row_bytes_;
  std::map<std::pair<uint32_t, Key>, std::vector<std::byte>> rows_;   // by range and key
};

}   // namespace

TierFactory MemoryTiers() {
  return [](const TierRequest& request) -> absl::StatusOr<std::unique_ptr<RowTier>> { return std::make_unique<MemoryTier>(request.row_bytes); };
}

}   // namespace troupe
