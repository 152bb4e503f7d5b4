// A tier that fails when told to, around another one: what a full disk and one that cannot be read do.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "ps/row_tier.h"

namespace troupe::testing {

/// What the tiers of a factory below do from now on, and what has been asked of them.
struct TierFaults {
  uint64_t rows_left = UINT64_MAX;   // that can be put
  bool unreadable = false;
  uint64_t puts = 0, rows_put = 0, gets = 0;
};

class FaultyTier final : public RowTier {
 public:
  FaultyTier(std::unique_ptr<RowTier> below, std::shared_ptr<TierFaults> faults) : below_(std::move(below)), faults_(std::move(faults)) {}

  absl::Status Put(uint32_t range, std::span<const Key> keys, const std::byte* rows) override {
    if (keys.size() > faults_->rows_left) return absl::ResourceExhaustedError("tier: no space left on device");
    if (faults_->rows_left != UINT64_MAX) faults_->rows_left -= keys.size();
    ++faults_->puts;
    faults_->rows_put += keys.size();
    return below_->Put(range, keys, rows);
  }
  absl::Status Erase(uint32_t range, std::span<const Key> keys) override {
    if (faults_->rows_left == 0) return absl::ResourceExhaustedError("tier: no space left on device");
    return below_->Erase(range, keys);
  }
  absl::Status Clear(uint32_t range) override { return below_->Clear(range); }
  absl::Status Get(std::span<const TierKey> keys, std::byte* rows, bool* found) override {
    ++faults_->gets;
    if (faults_->unreadable) return absl::DataLossError("tier: input/output error");
    return below_->Get(keys, rows, found);
  }
  absl::Status Scan(uint32_t range, Key from, size_t n, std::vector<Key>* keys, std::vector<std::byte>* rows) override {
    if (faults_->unreadable) return absl::DataLossError("tier: input/output error");
    return below_->Scan(range, from, n, keys, rows);
  }
  size_t bytes() const override { return below_->bytes(); }

 private:
  std::unique_ptr<RowTier> below_;
  std::shared_ptr<TierFaults> faults_;
};

inline TierFactory FaultyTiers(std::shared_ptr<TierFaults> faults) {
  return [faults](const TierRequest& request) -> absl::StatusOr<std::unique_ptr<RowTier>> {
    auto below = MemoryTiers()(request);
    if (!below.ok()) return below.status();
    return std::make_unique<FaultyTier>(std::move(*below), faults);
  };
}

}   // namespace troupe::testing
