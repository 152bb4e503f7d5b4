// A cut: one vector clock at which every shard stands still for a moment, so that a view of all of them has each writer's round whole or not at all. What one
// shard holds back for it, and where all of them together are to stand. Pure; reader_actor.h makes cuts.
//
// cut:  Prepare to all shards (from here on each stops where it stands) -> Prepared: clocks -> their maximum, by writer -> Freeze to all shards (each goes on
// to exactly there, keeps its tables as a view, and goes on as before) -> Frozen.   Whatever fails in between: Release, or the hold ends by itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/messages.h"

namespace troupe {

/// Where all shards are to stand: each writer's newest round of which any shard has anything.
/// InvalidArgument: clocks that are cut, or of another number of writers than those of the first shard.
absl::StatusOr<std::vector<Round>> CutOf(std::span<const Prepared> shards);

/// The longest that pushes are held back for a cut, and that a view is kept.
inline constexpr std::chrono::seconds kHoldMax{10}, kLeaseMax{600};
/// InvalidArgument: `time`, which is called `what`, is not 1 ms .. max.
absl::Status CheckTime(const char* what, std::chrono::milliseconds time, std::chrono::milliseconds max);

/// What one shard holds back: for one cut at a time, and for none that is over.
class CutGate {
 public:
  /// No push beyond `clocks` passes any more. Again for the same cut: nothing changes. Unavailable: another cut holds, or this one is over.
  absl::Status Hold(uint64_t cut, std::vector<Round> clocks);
  /// Pushes up to `clocks` pass, no others. Unavailable: it does not hold (its time was over, or the shard was replaced). InvalidArgument: another number of
  /// writers, or before where the shard stands.
  absl::Status Aim(uint64_t cut, std::vector<Round> clocks);
  /// Everything passes. False: it does not hold.
  bool End(uint64_t cut);

  uint64_t cut() const { return cut_; }
  bool holds(uint64_t cut) const { return cut != 0 && cut_ == cut; }
  const std::vector<Round>& clocks() const { return clocks_; }
  bool Passes(uint32_t writer, Round round) const { return cut_ == 0 || round <= clocks_[writer]; }
  /// Under BSP, where rounds are applied for all writers at once.
  bool Passes(Round round) const;
  /// The shard that has applied `clocks` stands where it is to stand.
  bool Reached(const std::vector<Round>& clocks) const { return cut_ != 0 && aimed_ && clocks == clocks_; }

 private:
  uint64_t cut_ = 0;            // 0: none
  std::vector<Round> clocks_;   // by writer: what passes
  bool aimed_ = false;
  std::vector<uint64_t> over_;   // the last cuts that have ended: a message of theirs that is late holds nothing
  size_t next_over_ = 0;
};

}   // namespace troupe
