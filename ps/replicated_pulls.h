// Which rows of a writer's pulls its worker's copies may answer: those that are fresh enough for the consistency of their table, of keys that come often. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "ps/consistency.h"
#include "ps/hot_keys.h"
#include "ps/replicas.h"
#include "ps/router.h"

namespace troupe {

struct ReplicaOptions {
  /// Of all copies of one worker, shared equally among the tables that have them; 0: no copies. What counts the keys takes 256 KiB a table besides.
  uint64_t bytes_max = 0;
  /// What an answer by a copy may miss, in rounds, where the consistency has no such bound (asp, delay); under ssp:K at most K.
  uint32_t staleness = 8;
  bool operator==(const ReplicaOptions&) const = default;
};

/// Has a table of the job a consistency that lets rows be old, and does a shard not need to know which ones a writer has (delay_compensation, staleness_scale)?
/// InvalidArgument says what is wrong. OK where there are to be no copies.
absl::Status CheckReplicas(const ReplicaOptions& options, const std::vector<TableSpec>& tables, const Consistencies& consistencies);

/// The bound, of a table with `staleness` s: a pull of round r is answered by a copy only if every writer's rounds up to r - 1 - s, in its own phase, were in
/// the row when it was read (Pulled::clock). That is what SSP promises of every row that a shard gives (Consistency::Needs), wherever the copy's pull came
/// from, and as in SSP a writer's own last s pushes may be missing too. Copies of the phases before never serve: all of these is in what a pull must see.
/// Source: Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server", NIPS 2013 (client caches with clocks).
class ReplicatedPulls {
 public:
  /// CheckReplicas(options, ...) is OK.
  ReplicatedPulls(std::shared_ptr<const Router> router, const Consistencies& consistencies, const ReplicaOptions& options);

  struct Answer {
    /// By order of the pull: all rows, those of copies filled in (what Gather leaves alone); empty where there are none.
    std::vector<std::vector<float>> values;
    /// What is to be asked; null: nothing.
    std::shared_ptr<const RoutedPull> rest;
    std::vector<uint8_t> hot;         // by row of the rest, as it is answered: will there be a copy?
    uint64_t copied = 0, asked = 0;   // rows
  };
  /// What copies answer of `pull`, which is a Router::Pull, before the batch of `round`. Counts its keys.
  Answer Take(const std::shared_ptr<const RoutedPull>& pull, Round round);
  /// The shards' answers to its rest: keeps the rows that are hot. clocks: Pulled::clock by shard. InvalidArgument as Router::ForEachRow.
  absl::Status Keep(const Answer& asked, std::span<const Block> values, std::span<const Round> clocks);
  /// The writers go back: what is known of rounds no longer holds.
  void Forget();

 private:
  struct OfTable {
    Consistency bound;   // ssp: Needs says which stamps serve
    HotKeys hot;
    Replicas copies;
  };
  std::shared_ptr<const Router> router_;
  std::vector<std::optional<OfTable>> tables_;   // nullopt: no copies, its pushes count by rounds
};

}   // namespace troupe
