// Which pushes of which writer have arrived at a shard, been applied, and are stable: what makes a push count once however often it is sent. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "ps/types.h"

namespace troupe {

/// Of one shard. Writers are 0 .. writers - 1; slots are (table, range) pairs numbered by the shard.
class Ledger {
 public:
  Ledger(uint32_t writers, uint32_t slots)
      : writers_(writers), clock_(writers, kFirstRound), stable_(writers, kFirstRound), sequence_(size_t{writers} * slots, 0) {}

  uint32_t writers() const { return writers_; }
  uint32_t slots() const { return writers_ == 0 ? 0 : static_cast<uint32_t>(sequence_.size() / writers_); }
  /// All rounds of the writer up to here have arrived.
  Round clock(uint32_t writer) const { return clock_[writer]; }
  Round min_clock() const { return *std::min_element(clock_.begin(), clock_.end()); }
  Round stable(uint32_t writer) const { return stable_[writer]; }
  /// The writer's last push to this slot, 0: none.
  Sequence sequence(uint32_t slot, uint32_t writer) const { return sequence_[size_t{slot} * writers_ + writer]; }

  void Advance(uint32_t writer, Round round) { clock_[writer] = std::max(clock_[writer], round); }
  void SetSequence(uint32_t slot, uint32_t writer, Sequence sequence) { sequence_[size_t{slot} * writers_ + writer] = sequence; }
  /// What a snapshot that has become durable covers. Invariant: stable <= clock.
  void SetStable(uint32_t writer, Round round) { stable_[writer] = std::max(stable_[writer], std::min(round, clock_[writer])); }

  const std::vector<Round>& clocks() const { return clock_; }
  const std::vector<Sequence>& sequences() const { return sequence_; }
  void Restore(std::vector<Round> clocks, std::vector<Sequence> sequences) {
    clock_ = clocks;
    stable_ = std::move(clocks);
    sequence_ = std::move(sequences);
  }

 private:
  uint32_t writers_;
  std::vector<Round> clock_, stable_;   // by writer
  std::vector<Sequence> sequence_;      // by slot, writer
};

}   // namespace troupe
