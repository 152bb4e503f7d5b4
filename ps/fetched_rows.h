// What a TableSet has at its own end of one table: copies of rows, which of them are wanted soon, and which are on their way. Says what a pull must still ask
// for, so that it sees the set's own pushes whatever copies there are. Pure: times are given, requests are made by others.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "ps/hot_keys.h"
#include "ps/replicas.h"
#include "ps/types.h"

namespace troupe {

/// Not thread-safe.
///
/// A fetch is one request for rows, from Begin to End. It begins before the request is handed over; a change is told when it has been handed over. So a fetch
/// that begins after a change has it, and what was on its way when the change came is not kept.
class FetchedRows {
 public:
  using Time = std::chrono::nanoseconds;   ///< since any fixed point
  using Fetch = uint64_t;                  ///< numbered from 1

  /// width: floats a row. bytes_max: of copies. A copy serves for `staleness` from when its fetch began.
  FetchedRows(uint32_t width, size_t bytes_max, Time staleness);

  /// Positions in the keys that were asked for.
  struct Missing {
    std::vector<uint32_t> ask;    ///< rows that nobody has asked for
    std::vector<uint32_t> wait;   ///< rows that a fetch brings
    std::vector<Fetch> fetches;   ///< these: wait until Over is true of each, then Read again
  };
  /// A pull of distinct keys, as it begins: rows that have a copy go into values (keys.size() x width). Counts the keys, and as one pull that was intended.
  Missing Pull(std::span<const Key> keys, Time now, float* values);
  /// The copies of keys[i] for i in `positions`, into their rows of `values`; the positions that have none.
  std::vector<uint32_t> Read(std::span<const Key> keys, std::span<const uint32_t> positions, Time now, float* values);

  /// These distinct rows will be pulled soon: those of them that must be fetched now. Each counts as wanted until as many pulls have asked for it as it was
  /// intended for, or for `staleness`. ResourceExhausted: with what is wanted already they are more than there is room for (rows_max); nothing has changed.
  absl::Status Intend(std::span<const Key> keys, Time now, std::vector<Key>& fetch);

  /// A request of `keys` leaves; those of them that are hot or wanted will be kept.
  Fetch Begin(std::span<const Key> keys, Time now);
  /// Its answer: keeps a row unless it has changed, or been fetched anew, since Begin.
  void Put(Fetch fetch, Key key, const float* row);
  /// It is over, with all rows put or none.
  void End(Fetch fetch, std::span<const Key> keys);
  bool Over(Fetch fetch) const { return !began_.contains(fetch); }

  /// The rows are no longer as any copy or fetch has them. Those to be fetched anew at once: wanted ones, and hot ones of which there was a copy.
  std::vector<Key> Change(std::span<const Key> keys, Time now);
  /// All rows of the table: the wanted ones.
  std::vector<Key> ChangeAll(Time now);

  size_t rows() const { return copies_.rows(); }
  size_t rows_max() const { return copies_.rows_max(); }

 private:
  static constexpr Time kNotWanted = Time::min();
  struct Waited {               // a key that is wanted, or on its way
    Fetch fetch = 0;            // the latest that brings it; 0: none
    uint32_t pulls = 0;         // that it is intended for
    Time wanted = kNotWanted;   // until then; kNotWanted where there are none
  };
  uint64_t Oldest(Time now) const { return static_cast<uint64_t>(std::max(now - staleness_, Time(0)).count()); }
  bool Wanted(const Waited& waited, Time now) const { return waited.wanted >= now; }

  const Time staleness_;
  HotKeys hot_;
  Replicas copies_;   // stamps: when their fetch began
  const uint32_t width_;
  absl::flat_hash_map<Key, Waited> waited_;
  absl::flat_hash_map<Fetch, Time> began_;   // under way
  Fetch last_ = 0;
};

}   // namespace troupe
