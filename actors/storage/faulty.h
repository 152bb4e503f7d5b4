// A storage that fails when told to, for tests and simulations: around any other one, it leaves behind what a full disk leaves, which is nothing.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/storage/storage.h"

namespace troupe {

/// Reads pass through. Changes (Write, Rename, MakeFolder; a disk that is full still removes) are counted and may fail with
/// ResourceExhausted "PATH: no space left on device", and then do not reach the storage below.
class FaultyStorage final : public Storage {
 public:
  static constexpr uint64_t kNever = UINT64_MAX;

  /// Does not own `below`.
  explicit FaultyStorage(Storage* below) : below_(below) {}

  /// From now on `bytes` more bytes can be written; a Write that needs more fails and takes none of them.
  void FullAfter(uint64_t bytes) {
    std::lock_guard lock(mutex_);
    bytes_left_ = bytes;
  }
  /// The n-th change from now fails, 1 being the next; later ones work again.
  void FailChange(uint64_t n) {
    std::lock_guard lock(mutex_);
    fail_at_ = n == kNever ? kNever : changes_ + n;
  }
  /// Room again.
  void Heal() {
    FullAfter(kNever);
    FailChange(kNever);
  }
  /// Changes asked for so far, failed ones included: run once without faults, then fail each in turn.
  uint64_t changes() const {
    std::lock_guard lock(mutex_);
    return changes_;
  }

  absl::StatusOr<Block> Read(const std::string& uri) override { return below_->Read(uri); }
  absl::StatusOr<std::vector<std::string>> List(const std::string& uri) override { return below_->List(uri); }
  absl::StatusOr<bool> Exists(const std::string& uri) override { return below_->Exists(uri); }
  absl::Status Remove(const std::string& uri) override { return below_->Remove(uri); }

  absl::Status Write(const std::string& uri, const std::vector<Block>& pieces, bool durable) override {
    uint64_t size = 0;
    for (const Block& piece : pieces) size += piece.size();
    absl::Status status = Admit(uri, size);
    return status.ok() ? below_->Write(uri, pieces, durable) : status;
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    absl::Status status = Admit(to, 0);
    return status.ok() ? below_->Rename(from, to) : status;
  }
  absl::Status MakeFolder(const std::string& uri) override {
    absl::Status status = Admit(uri, 0);
    return status.ok() ? below_->MakeFolder(uri) : status;
  }

 private:
  absl::Status Admit(const std::string& uri, uint64_t size) {
    std::lock_guard lock(mutex_);
    if (++changes_ == fail_at_ || size > bytes_left_) return absl::ResourceExhaustedError(absl::StrCat(uri, ": no space left on device"));
    if (bytes_left_ != kNever) bytes_left_ -= size;
    return absl::OkStatus();
  }

  Storage* below_;
  mutable std::mutex mutex_;
  uint64_t changes_ = 0;
  uint64_t fail_at_ = kNever;
  uint64_t bytes_left_ = kNever;
};

}   // namespace troupe
