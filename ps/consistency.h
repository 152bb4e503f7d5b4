// When a pull may be answered and a push applied: BSP, with or without the slowest writers, at shards or by all-reduce, SSP, bounded
// delay, ASP; for a job, and table by table.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "ps/table_spec.h"
#include "ps/types.h"

namespace troupe {

struct Consistency {
  enum class Kind : uint8_t {
    kBsp,     ///< bulk synchronous: a round is applied when the writers have ended it, in the writers' order (kept by workers: in an order that their number
              ///< fixes); pulls wait for it
    kSsp,     ///< stale synchronous: pushes are applied on arrival; a pull waits until no writer is more than `staleness` rounds behind
    kDelay,   ///< as ASP, but a pull waits while a writer that is behind has ended no round for longer than `delay`
    kAsp,     ///< asynchronous: nothing waits
  };
  Kind kind = Kind::kBsp;
  uint32_t staleness = 0;
  /// BSP: a round is applied without the slowest this many writers of it; what they push of it later comes too late and is dropped.
  /// Source: Chen, Pan, Monga, Bengio, Jozefowicz, "Revisiting Distributed Synchronous SGD", 2016 (backup workers).
  uint32_t backup = 0;
  std::chrono::milliseconds delay{0};
  /// kBsp without backup only: the rows are not at shards, every worker has them (ring, tree).
  KeptBy kept_by = KeptBy::kShards;

  /// Before its batch of `round` a writer needs every writer's clock to be at least this.
  Round Needs(Round round) const {
    if (kind == Kind::kAsp || kind == Kind::kDelay) return 0;
    const uint64_t back = 1 + (kind == Kind::kSsp ? staleness : 0);
    const uint64_t ordinal = OrdinalOf(round);
    return MakeRound(PhaseOf(round), ordinal > back ? ordinal - back : 0);   // {p, 0}: all of phase p - 1 is over
  }
  /// A writer may ask for its next batch's rows before it has pushed the current one.
  bool allows_prefetch() const { return kind == Kind::kAsp || kind == Kind::kDelay || (kind == Kind::kSsp && staleness > 0); }
  /// Rounds are applied as a whole.
  bool in_rounds() const { return kind == Kind::kBsp; }
  bool operator==(const Consistency&) const = default;
};

/// What holds for all tables of a job, and what holds for some of them instead. `backup` is the job's, for all tables in rounds.
struct Consistencies {
  Consistency all;
  std::map<std::string, Consistency, std::less<>> tables;

  Consistencies() = default;
  Consistencies(const Consistency& for_all) : all(for_all) {}   // NOLINT: one for all is the usual case
  const Consistency& Of(std::string_view table) const {
    const auto own = tables.find(table);
    return own == tables.end() ? all : own->second;
  }
  bool operator==(const Consistencies&) const = default;
};

/// Says in each table by whom it is kept.
void KeepTables(const Consistencies& consistencies, std::span<TableSpec> tables);

/// "bsp", "backup:K", "ssp:K" with K in [0, 1000000], "delay:MS" in [1, 1000000], "asp", "ring", "tree".
/// InvalidArgument: "consistency is 'X', expected bsp, backup:K, ssp:K, delay:MS, asp, ring or tree".
absl::StatusOr<Consistency> ParseConsistency(std::string_view text);
std::string ToString(const Consistency& consistency);
/// The job's, and then table=own as often as wanted: "bsp,weights=asp,bias=ssp:3". InvalidArgument as above, and for tables given twice or with a backup.
absl::StatusOr<Consistencies> ParseConsistencies(std::string_view text);
std::string ToString(const Consistencies& consistencies);

}   // namespace troupe
