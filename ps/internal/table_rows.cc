// Rows as functions see them: a range at a time, by rising key, as doubles.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "actors/check.h"
#include "ps/internal/range_cursor.h"
#include "ps/internal/table_impl.h"

namespace troupe {
namespace {

/// Of a block: its numbers stay near the processor from one step to the next.
constexpr size_t kBlockFloats = 2048;

size_t BlockRows(uint32_t width) {
  return std::max<size_t>(1, kBlockFloats / width);
}

void Widen(const float* __restrict from, size_t n, double* __restrict to) {
  for (size_t i = 0; i < n; ++i) to[i] = from[i];
}

/// What a new value is stored as: the old one where it is no finite float.
float Stored(double before, double after, uint64_t* refused) {
  const auto stored = static_cast<float>(after);
  if (std::isfinite(stored)) return stored;
  ++*refused;
  return static_cast<float>(before);
}

}   // namespace

/// A range's rows in blocks: reads them, and sets what has become of them.
class Table::RowBlocks {
 public:
  RowBlocks(const Impl& impl, uint32_t range) : impl_(impl), range_(range), base_(impl.partition.FirstRow(range)), per_block_(BlockRows(impl.width)) {
    values_.resize(per_block_ * impl.width);
    floats_.resize(per_block_ * impl.width);
    row_.resize(impl.floats);
    if (impl.partition.dense()) {
      rows_ = impl.partition.RowsIn(range);
      return;
    }
    if (impl_.tier() == nullptr) {
      sorted_ = Store().Sorted(range);
      rows_ = sorted_.size();
    } else {
      cursor_ = std::make_unique<RangeCursor>(impl, impl.Place(range));
      spilled_.resize(per_block_ * impl.row_bytes() / sizeof(float));
    }
    keys_.resize(per_block_);
    pointers_.resize(per_block_);
    flags_ = std::make_unique<bool[]>(per_block_);
  }

  /// The next rows; none at the end.
  TableRows Next() {
    if (cursor_ != nullptr) return NextWithTier();
    at_ += n_;
    n_ = std::min<size_t>(per_block_, rows_ - at_);
    if (n_ == 0) return {};
    if (impl_.partition.dense()) {
      ReadDense();
      return {.n = n_, .keys = nullptr, .first = base_ + at_, .width = impl_.width, .values = values_.data()};
    }
    for (size_t i = 0; i < n_; ++i) {
      keys_[i] = sorted_[at_ + i].first;
      pointers_[i] = Store().Row(sorted_[at_ + i].second);
    }
    ReadSparse();
    return {.n = n_, .keys = keys_.data(), .first = 0, .width = impl_.width, .values = values_.data()};
  }

  /// Sets rows [begin, end) of the block to these values.
  void Set(size_t begin, size_t end, const float* values) {
    if (impl_.partition.dense()) {
      impl_.rule->SetDense(Dense().View(at_ + begin, end - begin, impl_.Unpenalised(range_)), values);
      return;
    }
    for (size_t i = begin; i < end; ++i, values += impl_.width) {
      impl_.rule->Set(pointers_[i], impl_.width, keys_[i] >= impl_.spec.penalised_from, values);
      if (impl_.limits == nullptr) continue;
      internal::MarkOf(pointers_[i], impl_.floats).changed = 1;
      if (cursor_ != nullptr && pointers_[i] == Spilled(i)) changed_.push_back(i);
    }
  }
  /// After the last block: rows that were set and that the tier did not take come into memory.
  void Finish() {
    WriteChanged();
    const size_t row_bytes = impl_.row_bytes();
    for (size_t i = 0; i < unwritten_keys_.size(); ++i) {
      Store().MakeRoom(1);
      float* row = Store().Row(Store().FindOrMake(unwritten_keys_[i]));
      std::memcpy(row, unwritten_.data() + i * row_bytes, row_bytes);
      internal::MarkOf(row, impl_.floats).copied = 1;
      --impl_.limits->ranges[impl_.Place(range_)].spilled;
    }
  }

 private:
  TableRows NextWithTier() {
    WriteChanged();
    const size_t row_bytes = impl_.row_bytes();
    for (n_ = 0; n_ < per_block_ && cursor_->Next(); ++n_) {
      keys_[n_] = cursor_->key();
      pointers_[n_] = cursor_->row();
      if (cursor_->in_memory()) continue;
      pointers_[n_] = Spilled(n_);
      std::memcpy(pointers_[n_], cursor_->row(), row_bytes);
    }
    if (n_ == 0) return {};
    ReadSparse();
    return {.n = n_, .keys = keys_.data(), .first = 0, .width = impl_.width, .values = values_.data()};
  }
  float* Spilled(size_t i) { return spilled_.data() + i * (impl_.row_bytes() / sizeof(float)); }
  void WriteChanged() {
    if (changed_.empty()) return;
    std::vector<Key> keys;
    std::vector<std::byte> rows;
    for (const size_t i : changed_) {
      keys.push_back(keys_[i]);
      const auto* row = reinterpret_cast<const std::byte*>(Spilled(i));
      rows.insert(rows.end(), row, row + impl_.row_bytes());
    }
    changed_.clear();
    if (absl::Status status = impl_.tier()->Put(range_, keys, rows.data()); !status.ok()) {
      impl_.limits->full = std::move(status);
      unwritten_keys_.insert(unwritten_keys_.end(), keys.begin(), keys.end());
      unwritten_.insert(unwritten_.end(), rows.begin(), rows.end());
    }
  }
  internal::RowStore& Store() const { return *impl_.sparse[impl_.Place(range_)]; }
  const internal::DenseRange& Dense() const { return *impl_.dense[impl_.Place(range_)]; }

  void ReadDense() {
    const UpdateRule& rule = *impl_.rule;
    if (rule.wide()) {
      for (size_t i = 0; i < n_; ++i) {
        Dense().CopyRow(at_ + i, row_.data());
        Exactly(row_.data(), base_ + at_ + i, i);
      }
      return;
    }
    const DenseRows view = Dense().View(at_, n_, impl_.Unpenalised(range_));
    if (rule.holds_values()) {
      Widen(view.arrays + view.first * view.width, n_ * impl_.width, values_.data());
    } else {
      rule.ReadDense(view, floats_.data());
      Widen(floats_.data(), n_ * impl_.width, values_.data());
    }
  }
  void ReadSparse() {
    const UpdateRule& rule = *impl_.rule;
    if (rule.wide()) {
      for (size_t i = 0; i < n_; ++i) Exactly(pointers_[i], keys_[i], i);
      return;
    }
    rule.ReadRows({pointers_.data(), n_}, impl_.width, impl_.Penalised(keys_.data(), n_, {flags_.get(), n_}), nullptr, floats_.data());
    Widen(floats_.data(), n_ * impl_.width, values_.data());
  }
  void Exactly(const float* row, Key key, size_t i) {
    for (uint32_t j = 0; j < impl_.width; ++j) values_[i * impl_.width + j] = impl_.rule->Value(row, impl_.width, j, key >= impl_.spec.penalised_from);
  }

  const Impl& impl_;
  const uint32_t range_;
  const Key base_;   // dense: first row
  const size_t per_block_;
  size_t rows_ = 0, at_ = 0, n_ = 0;
  std::vector<double> values_;
  std::vector<float> floats_, row_;
  std::vector<std::pair<Key, internal::RowStore::Slot>> sorted_;   // sparse
  std::vector<Key> keys_;
  std::vector<float*> pointers_;
  std::unique_ptr<bool[]> flags_;
  // With a tier:
  std::unique_ptr<RangeCursor> cursor_;
  std::vector<float> spilled_;    // rows of the block that are not in memory, each at its number
  std::vector<size_t> changed_;   // which of them were set
  std::vector<Key> unwritten_keys_;
  std::vector<std::byte> unwritten_;
};

void Table::EachRow(uint32_t range, const std::function<void(const TableRows&)>& visit) const {
  RowBlocks blocks(*impl_, range);
  for (TableRows block = blocks.Next(); block.n > 0; block = blocks.Next()) visit(block);
}

void Table::Read(uint32_t range, std::span<const Key> keys, double* values) const {
  const uint32_t width = impl_->width;
  std::vector<float> floats(keys.size() * width);
  const absl::Status pulled = Pull(range, keys, floats.data());
  TROUPE_CHECK(pulled.ok() || !usable().ok());
  Widen(floats.data(), floats.size(), values);
  if (!impl_->rule->wide() || !pulled.ok()) return;
  const RowSet set = RowSet::Of(range, keys);
  const RowsIn in{set, nullptr};
  const std::vector<internal::KeyRun> runs = impl_->partition.dense() ? std::vector<internal::KeyRun>() : impl_->Runs(std::span<const RowsIn>(&in, 1));
  std::vector<Impl::KeyPlace> without_row;
  if (impl_->tier() != nullptr && !impl_->Bring(runs, true, &without_row).ok()) return;
  std::vector<float> row(impl_->floats);
  for (size_t i = 0; i < keys.size(); ++i) {
    const float* at = row.data();
    if (impl_->partition.dense()) {
      impl_->dense[impl_->Place(range)]->CopyRow(keys[i] - impl_->partition.FirstRow(range), row.data());
    } else {
      const internal::RowStore& store = *impl_->sparse[impl_->Place(range)];
      const internal::RowStore::Slot slot = store.Find(keys[i]);
      if (slot == internal::RowStore::kMissing) continue;
      at = store.Row(slot);
    }
    for (uint32_t j = 0; j < width; ++j) values[i * width + j] = impl_->rule->Value(at, width, j, Penalises(keys[i]));
  }
  if (impl_->tier() != nullptr) impl_->Settle(runs);
}

void Table::Change(uint32_t range, const std::function<void(const TableRows&, double* values)>& change) {
  const size_t width = impl_->width;
  const uint32_t place = impl_->Place(range);
  impl_->partition.dense() ? impl_->Own(impl_->dense, place) : impl_->Own(impl_->sparse, place);
  RowBlocks blocks(*impl_, range);
  std::vector<double> after;
  std::vector<float> stored;
  for (TableRows block = blocks.Next(); block.n > 0; block = blocks.Next()) {
    after.assign(block.values, block.values + block.n * width);
    change(block, after.data());
    const auto same = [&](size_t i) { return std::equal(block.values + i * width, block.values + (i + 1) * width, after.data() + i * width); };
    for (size_t begin = 0, end; begin < block.n; begin = end) {   // runs of rows that change
      end = begin + 1;
      if (same(begin)) continue;
      while (end < block.n && !same(end)) ++end;
      stored.clear();
      for (size_t i = begin * width; i < end * width; ++i) stored.push_back(Stored(block.values[i], after[i], &impl_->non_finite));
      blocks.Set(begin, end, stored.data());
    }
  }
  blocks.Finish();
}

}   // namespace troupe
