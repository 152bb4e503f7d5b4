// Which rows a table with limits has, and where they lie.
#include <algorithm>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>

#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/range_cursor.h"
#include "ps/internal/table_impl.h"

namespace troupe {
namespace {

using internal::KeyRun;
using internal::MarkOf;
using internal::RangeLimits;
using internal::RowMark;
using internal::RowStore;

constexpr uint64_t kRowsMin = 8;         // in memory, of a range
constexpr uint32_t kGroupsDoubled = 8;   // where memory is bounded, stores come near their bound

/// The first n, in no order, go to the front.
template <class T>
void ChooseFirst(std::vector<T>& candidates, size_t n) {
  if (n < candidates.size()) std::nth_element(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(n), candidates.end());
}

}   // namespace

/// What rows are compared by when some must go: those that come first.
struct Table::Impl::Candidate {
  uint32_t time;   // and whether it is passed over
  Key key;
  RowStore::Slot slot;   // kMissing: not in memory
  bool operator<(const Candidate& other) const { return std::tie(time, key) < std::tie(other.time, other.key); }
};

internal::RowStore Table::Impl::NewStore() const {
  if (limits == nullptr) return RowStore(arena, floats, partition.sparse_keys());
  if (spec.limits.memory_max == 0) return RowStore(arena, floats + 1, std::nullopt);
  return RowStore(arena, floats + 1, std::nullopt, std::min(RowStore::kSlabBytes, limits->range_bytes_max / 8), kGroupsDoubled);
}

RangeLimits Table::Impl::NewRangeLimits() const {
  RangeLimits range;
  if (spec.limits.admit_after > 1) range.admission.emplace(spec.limits.admit_after);
  return range;
}

absl::Status Table::Impl::MakeLimits(uint32_t held, const TierFactory& tiers) {
  limits = std::make_shared<internal::RowLimitsState>();
  for (uint32_t range = 0; range < partition.ranges(); ++range) limits->ranges.push_back(NewRangeLimits());
  const uint64_t memory_max = spec.limits.memory_max;
  if (spec.limits.rows_max > 0) limits->range_rows_max = spec.limits.rows_max / partition.ranges();
  if (memory_max == 0) return absl::OkStatus();
  if (tiers == nullptr) return Refuse(absl::StrCat("memory_max is ", memory_max, ", but there is no place for the rows beyond it"));
  limits->range_bytes_max = (memory_max - memory_max / 4) / std::max(1u, held);
  const RowStore store = NewStore();
  uint64_t low = 0, high = limits->range_bytes_max / sizeof(Key);   // BytesFor(low) fits, BytesFor(high) does not
  while (low + 1 < high) {
    const uint64_t middle = low + (high - low) / 2;
    (store.BytesFor(middle) <= limits->range_bytes_max ? low : high) = middle;
  }
  limits->rows_fit = low;
  if (low < kRowsMin) {
    return Refuse(absl::StrCat("memory_max is ", memory_max, ", expected more: it holds fewer than ", kRowsMin, " rows of ", row_bytes(), " bytes in each of ",
                               held, " ranges"));
  }
  TROUPE_TRY(limits->tier, tiers({.table = spec.name, .row_bytes = row_bytes(), .memory_max = memory_max / 4}));
  return absl::OkStatus();
}

absl::Status Table::Impl::Bring(std::span<const KeyRun> runs, bool pulled, std::vector<KeyPlace>* missing) const {
  missing->clear();
  internal::WalkRows<false>(
      runs, [](size_t, size_t, float*) {},
      [&](size_t run, size_t at, std::span<float* const> found) {
        for (size_t i = 0; i < found.size(); ++i) {
          if (found[i] == nullptr) missing->push_back({static_cast<uint32_t>(run), static_cast<uint32_t>(at + i)});
        }
      });
  if (tier() == nullptr) return absl::OkStatus();
  const auto place_of = [&](const KeyPlace& key) { return runs[key.run].place; };
  std::vector<TierKey> keys;
  for (const KeyPlace& key : *missing) {
    const uint32_t place = place_of(key);
    if (limits->ranges[place].spilled > 0) keys.push_back({place, runs[key.run].keys[key.at]});
  }
  if (keys.empty()) return absl::OkStatus();
  std::vector<std::byte> rows(keys.size() * row_bytes());
  const auto found = std::make_unique<bool[]>(keys.size());
  if (absl::Status status = tier()->Get(keys, rows.data(), found.get()); !status.ok()) {
    limits->lost.Update(status);
    return CheckUsable();
  }
  size_t asked = 0;
  std::erase_if(*missing, [&](const KeyPlace& key) {
    RangeLimits& range = limits->ranges[place_of(key)];
    const Key wanted = runs[key.run].keys[key.at];
    if (asked == keys.size() || keys[asked].key != wanted || keys[asked].range != place_of(key)) return false;
    const size_t i = asked++;
    if (!found[i]) return false;
    RowStore& store = *runs[key.run].store;
    store.MakeRoom(1);
    bool made;
    float* row = store.Row(store.FindOrMake(wanted, &made));
    if (!made) return true;   // asked for twice
    std::memcpy(row, rows.data() + i * row_bytes(), row_bytes());
    RowMark& mark = MarkOf(row, floats);
    mark.pulled = pulled;
    mark.copied = 1;
    mark.changed = 0;
    --range.spilled;
    return true;
  });
  return absl::OkStatus();
}

std::span<const RowsIn> Table::Impl::Admit(std::span<const RowsIn> gradients) {
  const bool counts = spec.limits.admit_after > 1;
  if (!counts && tier() == nullptr) return gradients;
  const std::vector<KeyRun> runs = Runs(gradients);
  std::vector<KeyPlace> fresh;
  if (!Bring(runs, false, &fresh).ok()) return {};   // the table is not usable any more, and says so
  if (!counts || fresh.empty()) return gradients;
  // Range by range: a run is one of them, all of its keys are counted before any is judged.
  std::vector<Key> keys;
  size_t dropped = 0;
  const auto judged = std::make_unique<bool[]>(fresh.size());
  for (size_t begin = 0, end; begin < fresh.size(); begin = end) {
    keys.clear();
    for (end = begin; end < fresh.size() && fresh[end].run == fresh[begin].run; ++end) keys.push_back(runs[fresh[end].run].keys[fresh[end].at]);
    RangeLimits& range = limits->ranges[runs[fresh[begin].run].place];
    range.admission->Touch(keys, judged.get() + begin);
    const auto refused = static_cast<size_t>(std::count(judged.get() + begin, judged.get() + end, false));
    range.dropped += refused;
    dropped += refused;
  }
  if (dropped == 0) return gradients;
  admitted.rows.assign(gradients.begin(), gradients.end());
  admitted.keys.clear();
  admitted.numbers.clear();
  for (size_t begin = 0, end; begin < fresh.size(); begin = end) {
    const uint32_t run = fresh[begin].run;
    std::vector<Key>& left = admitted.keys.emplace_back();
    std::vector<float>& numbers = admitted.numbers.emplace_back();
    size_t from = 0;   // what lies before has been copied or dropped
    const auto copy_until = [&](size_t to) {
      left.insert(left.end(), runs[run].keys + from, runs[run].keys + to);
      numbers.insert(numbers.end(), gradients[run].numbers + from * width, gradients[run].numbers + to * width);
    };
    for (end = begin; end < fresh.size() && fresh[end].run == run; ++end) {
      if (judged[end]) continue;
      copy_until(fresh[end].at);
      from = fresh[end].at + 1;
    }
    copy_until(runs[run].n);
    admitted.rows[run] = {RowSet::Of(gradients[run].rows.range, left), numbers.data()};
  }
  return admitted.rows;
}

void Table::Impl::Settle(std::span<const KeyRun> runs) const {
  for (const KeyRun& run : runs) Settle(run.place);
}

void Table::Impl::Settle(uint32_t place) const {
  if (sparse[place]->rows() + limits->ranges[place].spilled > limits->range_rows_max) EvictLeastRecent(place);
  if (sparse[place]->rows() > limits->rows_fit || sparse[place]->bytes() > limits->range_bytes_max) Spill(place, 0);
}

template <class Each>
void Table::Impl::EachMark(uint32_t place, const Each& each) const {
  const RowStore& store = *sparse[place];
  for (RowStore::Slot slot = store.Next(0); slot != RowStore::kMissing; slot = store.Next(slot + 1))
    each(store.KeyAt(place, slot), slot, MarkOf(store.Row(slot), floats));
  if (limits->ranges[place].spilled == 0) return;
  for (RangeCursor cursor(*this, place); cursor.Next();) {
    if (!cursor.in_memory()) each(cursor.key(), RowStore::kMissing, MarkOf(cursor.row(), floats));
  }
}

bool Table::Impl::Evict(uint32_t place, std::span<const Candidate> victims) const {
  if (victims.empty()) return true;
  RowStore& store = *sparse[place];
  RangeLimits& range = limits->ranges[place];
  std::vector<Key> copied;
  for (const Candidate& victim : victims) {
    if (victim.slot == RowStore::kMissing || MarkOf(store.Row(victim.slot), floats).copied != 0) copied.push_back(victim.key);
  }
  if (!copied.empty()) {
    if (absl::Status status = tier()->Erase(place, copied); !status.ok()) {   // they would come back: all stay, until the next time
      limits->full = std::move(status);
      return false;
    }
  }
  for (const Candidate& victim : victims) {
    victim.slot == RowStore::kMissing ? static_cast<void>(--range.spilled) : store.Erase(victim.slot);
  }
  range.evicted += victims.size();
  return true;
}

void Table::Impl::EvictLeastRecent(uint32_t place) const {
  std::vector<Candidate> candidates;
  EachMark(place, [&](Key key, RowStore::Slot slot, const RowMark& mark) { candidates.push_back({mark.time, key, slot}); });
  const uint64_t left = limits->range_rows_max - limits->range_rows_max / 8;
  const size_t n = candidates.size() - std::min<size_t>(left, candidates.size());
  ChooseFirst(candidates, n);
  Evict(place, {candidates.data(), n});
}

void Table::Impl::EvictOld(uint32_t place) const {
  RangeLimits& range = limits->ranges[place];
  const auto old = [&](uint32_t time) { return time + spec.limits.ttl < limits->now; };
  std::vector<Candidate> victims;
  uint32_t oldest = RowMark::kTimeMax;
  const auto look = [&](Key key, RowStore::Slot slot, const RowMark& mark) {
    if (old(mark.time)) {
      victims.push_back({mark.time, key, slot});
    } else if (slot == RowStore::kMissing) {
      oldest = std::min<uint32_t>(oldest, mark.time);
    }
  };
  if (range.spilled > 0 && old(range.oldest)) {
    EachMark(place, look);
    if (Evict(place, victims)) range.oldest = oldest;
  } else {
    const RowStore& store = *sparse[place];
    for (RowStore::Slot slot = store.Next(0); slot != RowStore::kMissing; slot = store.Next(slot + 1))
      look(store.KeyAt(place, slot), slot, MarkOf(store.Row(slot), floats));
    Evict(place, victims);
  }
}

void Table::Impl::Spill(uint32_t place, uint64_t room) const {
  RowStore& store = *sparse[place];
  RangeLimits& range = limits->ranges[place];
  const uint64_t fit = limits->rows_fit;
  if (store.rows() + room > fit) {
    const size_t n = std::min<uint64_t>(store.rows(), store.rows() + room - (fit - fit / 8));
    std::vector<Candidate> candidates;
    candidates.reserve(store.rows());
    for (RowStore::Slot slot = store.Next(0); slot != RowStore::kMissing; slot = store.Next(slot + 1)) {
      const RowMark& mark = MarkOf(store.Row(slot), floats);
      candidates.push_back({mark.time | uint32_t{mark.pulled} << 29, store.KeyAt(place, slot), slot});
    }
    ChooseFirst(candidates, n);
    for (size_t i = n; i < candidates.size(); ++i) MarkOf(store.Row(candidates[i].slot), floats).pulled = 0;
    std::vector<Key> keys;
    std::vector<std::byte> rows;
    const auto is_copied = [&](const Candidate& candidate) {
      const RowMark& mark = MarkOf(store.Row(candidate.slot), floats);
      return mark.copied != 0 && mark.changed == 0;
    };
    for (size_t i = 0; i < n; ++i) {
      if (is_copied(candidates[i])) continue;
      keys.push_back(candidates[i].key);
      const auto* row = reinterpret_cast<const std::byte*>(store.Row(candidates[i].slot));
      rows.insert(rows.end(), row, row + row_bytes());
    }
    if (!keys.empty()) limits->full = tier()->Put(place, keys, rows.data());
    const bool all = keys.empty() || limits->full.ok();
    for (size_t i = 0, left = n; i < (all ? n : candidates.size()) && left > 0; ++i) {
      if (!all && !is_copied(candidates[i])) continue;   // what the tier does not take stays here
      range.oldest = std::min<uint32_t>(range.oldest, MarkOf(store.Row(candidates[i].slot), floats).time);
      store.Erase(candidates[i].slot);
      ++range.spilled;
      --left;
    }
  }
  if (store.bytes() <= limits->range_bytes_max || store.rows() > fit) return;
  RowStore smaller = NewStore();
  smaller.MakeRoom(store.rows());
  for (RowStore::Slot slot = store.Next(0); slot != RowStore::kMissing; slot = store.Next(slot + 1)) {
    const Key key = store.KeyAt(place, slot);
    std::memcpy(smaller.Row(smaller.FindOrMake(key)), store.Row(slot), row_bytes());
  }
  store = std::move(smaller);
}

absl::Status Table::Impl::CheckRoom(std::span<const RowsIn> rows) const {
  if (tier() == nullptr || limits->full.ok()) return absl::OkStatus();
  for (const RowsIn& in : rows) {
    const uint32_t place = Place(in.rows.range);
    const RowStore& store = *sparse[place];
    uint64_t missing = 0;
    for (uint64_t i = 0; i < in.rows.n; ++i) missing += store.Find(in.rows.keys[i]) == RowStore::kMissing;
    if (missing == 0 || store.rows() + missing <= limits->rows_fit) continue;
    Spill(place, missing);
    if (limits->full.ok()) return absl::OkStatus();
    if (store.rows() + missing <= limits->rows_fit) continue;   // rows that lie on the disk too have made room
    return absl::ResourceExhaustedError(absl::StrCat("table '", spec.name, "': no new rows are taken, for range ", in.rows.range,
                                                     " has as many in memory as memory_max, ", spec.limits.memory_max,
                                                     ", allows, and they cannot go to the disk: ", limits->full.message()));
  }
  return absl::OkStatus();
}

absl::Status Table::Impl::CheckUsable() const {
  if (limits == nullptr || limits->lost.ok()) [[likely]]
    return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("table '", spec.name, "': rows on the disk cannot be read: ", limits->lost.message()));
}
absl::Status Table::usable() const {
  return impl_->CheckUsable();
}

void Table::SetRounds(uint64_t rounds, bool restored) {
  if (impl_->limits == nullptr) return;
  uint64_t& now = impl_->limits->now;
  const uint64_t ttl = impl_->spec.limits.ttl;
  if (restored || ttl == 0) {
    now = rounds;
    return;
  }
  const uint64_t period = std::max<uint64_t>(1, ttl / 4);   // ranges take turns
  while (now < rounds) {
    ++now;
    for (uint32_t place = 0; place < impl_->places(); ++place) {
      if (impl_->Here(place) && (now + place) % period == 0) impl_->EvictOld(place);
    }
  }
}

uint64_t Table::Impl::SumOfRanges(uint64_t RangeLimits::*what) const {
  uint64_t sum = 0;
  if (limits != nullptr) {
    for (const RangeLimits& range : limits->ranges) sum += range.*what;
  }
  return sum;
}
uint64_t Table::dropped() const {
  return impl_->SumOfRanges(&RangeLimits::dropped);
}
uint64_t Table::evicted() const {
  return impl_->SumOfRanges(&RangeLimits::evicted);
}
uint64_t Table::spilled() const {
  return impl_->SumOfRanges(&RangeLimits::spilled);
}

}   // namespace troupe
