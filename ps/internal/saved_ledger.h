// A shard's ledger in its snapshots: what is applied of whom, and what is counted beside it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/block.h"
#include "ps/types.h"

namespace troupe::internal {

inline constexpr char kLedgerSection[] = "ledger";

struct SavedLedger {
  uint32_t writers = 0, slots = 0, shard = 0, shards = 0;
  uint64_t nonzeros = 0, rounds_over = 0, late_nonzeros = 0;
  std::vector<Round> clocks;         ///< by writer
  std::vector<Sequence> sequences;   ///< by slot, writer; a slot is a (table, range), tables in order; 0 where the shard has not the range

  Block Encode() const;
  /// InvalidArgument: "snapshot holds no ledger": cut, too long, or of no writers.
  static absl::StatusOr<SavedLedger> Decode(const Block& bytes);
};

}   // namespace troupe::internal
