#include "ps/chain_log.h"

#include <utility>

namespace troupe {

std::optional<ChainLog::Begun> ChainLog::Begin(uint64_t epoch, uint64_t through) {
  if (kept()) return std::nullopt;
  epoch_ = epoch;
  failed_ = absl::OkStatus();
  return BeginAgain(through);
}

ChainLog::Begun ChainLog::BeginAgain(uint64_t through) {
  begins_ = true;
  begun_ = failed_since_ = false;
  return {epoch_, through, shard_};
}

bool ChainLog::OnBegun(const Begun& begun, const absl::Status& status) {
  if (begun.epoch != epoch_ || begun.shard != shard_) return false;
  begins_ = false;
  if (!status.ok()) return true;
  open_.erase(open_.begin(), open_.upper_bound(begun.through));
  begun_ = true;
  if (!failed_since_) failed_ = absl::OkStatus();
  return true;
}

void ChainLog::Fail(const absl::Status& why) {
  failed_ = why;
  failed_since_ = true;
}

bool ChainLog::End() {
  failed_ = absl::OkStatus();
  begins_ = false;
  return std::exchange(epoch_, 0) != 0;
}

void ChainLog::OnOtherShard() {
  ++shard_;
  epoch_ = 0;
  begins_ = false;
  open_.clear();
}

void ChainLog::Tell(uint64_t change) {
  if (on_) open_.insert(open_.end(), change);
}

void ChainLog::OnTold(uint64_t change, uint64_t of) {
  if (on_ && of == shard_) open_.erase(change);
}

uint64_t ChainLog::Through(uint64_t last, uint64_t acknowledged) const {
  if (!on_) return last;
  if (!begun_) return acknowledged;
  return open_.empty() ? last : *open_.begin() - 1;
}

}   // namespace troupe
