// Reads of tables while they train, from any job code: rows as they are at one cut through all shards and tables (cut.h), so that each round of each writer is
// in them whole or not at all. Readers that allow some staleness share a cut, so that a hundred of them cost the shards a few cuts a second.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "actors/system.h"
#include "caf/typed_actor.hpp"
#include "ps/messages.h"
#include "ps/table_spec.h"

namespace troupe {

/// Rows of several tables at one cut.
struct Read {
  struct Rows {
    uint32_t table = 0;
    Block keys;   ///< Key[], distinct
  };
  std::vector<Rows> rows;
  /// The cut may be so much older than the request; 0: it begins after it.
  std::chrono::milliseconds max_staleness{1'000};
};
/// reply to Read. Errors InvalidArgument: no such table or row, a key twice. Unavailable: no cut could be made within `wait_max`, a shard of the view was
/// replaced or does not answer, or too many reads wait; nothing is held anywhere then, and the reader may ask again.
struct ReadRows {
  std::vector<Block> values;   ///< by Read::rows: float[], keys x width, in the order of the keys
  std::vector<Round> clocks;   ///< of the cut, by writer: exactly the rounds up to here are in the rows
  uint64_t cut = 0;            ///< equal for reads that have seen the same state
};

using ReaderActor = caf::typed_actor<caf::replies_to<Read>::with<ReadRows>>;

struct ReaderOptions {
  /// Between the beginnings of two cuts; at most that long a read waits for the next one to begin.
  std::chrono::milliseconds cut_interval{100};
  /// What each of a cut's two steps may take: so long pushes wait at most, twice, where a writer has fallen between its pushes to two shards.
  std::chrono::milliseconds step_max{400};
  /// A view is used for so long, and then given back.
  std::chrono::milliseconds keep_max{2'000};
  /// And ends so much later in any case, with reads under way: more than a read takes.
  std::chrono::milliseconds read_max{10'000};
  /// A read that has waited longer fails with the next cut that cannot be made.
  std::chrono::milliseconds wait_max{2'000};
  size_t reads_max = 10'000;
};

/// Several may read at once, each makes cuts of its own; the shards make one at a time. `shards`, `tables`: all of the job.
ReaderActor SpawnReader(System& system, std::vector<ShardActor> shards, std::vector<TableSpec> tables, const ReaderOptions& options = {});

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Read)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ReadRows)
