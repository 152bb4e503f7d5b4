#include "ps/internal/range_cursor.h"

namespace troupe {
namespace {

constexpr size_t kChunkBytes = 256 << 10;   // of the tier's rows at a time

}   // namespace

Table::RangeCursor::RangeCursor(const Impl& impl, uint32_t place) : impl_(impl), place_(place), sorted_(impl.sparse[place]->Sorted(place)) {
  if (!impl.tier()) return;
  more_ = true;
  Advance();
}

void Table::RangeCursor::Advance() {
  const internal::RowStore& store = *impl_.sparse[place_];
  for (;; ++spilled_at_) {
    if (spilled_at_ == keys_.size()) {
      if (!more_ || (!keys_.empty() && keys_.back() == ~Key{0})) return;
      const Key from = keys_.empty() ? 0 : keys_.back() + 1;
      const size_t n = std::max<size_t>(1, kChunkBytes / impl_.row_bytes());
      spilled_at_ = 0;
      if (absl::Status status = impl_.tier()->Scan(place_, from, n, &keys_, &rows_); !status.ok()) {
        impl_.limits->lost.Update(status);
        keys_.clear();
      }
      more_ = keys_.size() == n;
      if (keys_.empty()) return;
    }
    if (store.Find(keys_[spilled_at_]) == internal::RowStore::kMissing) return;
  }
}

bool Table::RangeCursor::Next() {
  if (!in_memory_) {   // the row given last
    ++spilled_at_;
    Advance();
  }
  const bool spilled = spilled_at_ < keys_.size();
  if (at_ == sorted_.size() && !spilled) {
    in_memory_ = true;
    return false;
  }
  in_memory_ = !spilled || (at_ < sorted_.size() && sorted_[at_].first < keys_[spilled_at_]);
  if (in_memory_) {
    key_ = sorted_[at_].first;
    row_ = impl_.sparse[place_]->Row(sorted_[at_++].second);
  } else {
    key_ = keys_[spilled_at_];
    row_ = reinterpret_cast<float*>(rows_.data() + spilled_at_ * impl_.row_bytes());
  }
  return true;
}

}   // namespace troupe
