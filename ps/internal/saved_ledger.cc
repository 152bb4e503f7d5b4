#include "ps/internal/saved_ledger.h"

#include <cstring>

#include "absl/status/status.h"

namespace troupe::internal {
namespace {

struct Header {
  uint32_t writers, slots, shard, shards;
  uint64_t nonzeros, rounds_over, late_nonzeros;
};

}   // namespace

Block SavedLedger::Encode() const {
  const Header header{writers, slots, shard, shards, nonzeros, rounds_over, late_nonzeros};
  std::vector<std::byte> bytes;
  const auto add = [&bytes](const void* from, size_t size) {
    bytes.insert(bytes.end(), static_cast<const std::byte*>(from), static_cast<const std::byte*>(from) + size);
  };
  add(&header, sizeof header);
  add(clocks.data(), clocks.size() * sizeof(Round));
  add(sequences.data(), sequences.size() * sizeof(Sequence));
  return Block::Adopt(std::move(bytes));
}

absl::StatusOr<SavedLedger> SavedLedger::Decode(const Block& bytes) {
  const auto refuse = [] { return absl::InvalidArgumentError("snapshot holds no ledger"); };
  Header header;
  if (bytes.size() < sizeof header) return refuse();
  std::memcpy(&header, bytes.data(), sizeof header);
  const uint64_t clocks = header.writers, sequences = uint64_t{header.writers} * header.slots;   // each below 2^64 / sizeof
  const size_t left = bytes.size() - sizeof header;
  if (header.writers == 0 || left % sizeof(Round) != 0 || left / sizeof(Round) < clocks || left / sizeof(Round) - clocks != sequences) return refuse();
  SavedLedger ledger{.writers = header.writers,
                     .slots = header.slots,
                     .shard = header.shard,
                     .shards = header.shards,
                     .nonzeros = header.nonzeros,
                     .rounds_over = header.rounds_over,
                     .late_nonzeros = header.late_nonzeros,
                     .clocks = std::vector<Round>(clocks),
                     .sequences = std::vector<Sequence>(sequences)};
  std::memcpy(ledger.clocks.data(), bytes.data() + sizeof header, clocks * sizeof(Round));
  if (sequences > 0) std::memcpy(ledger.sequences.data(), bytes.data() + sizeof header + clocks * sizeof(Round), sequences * sizeof(Sequence));
  return ledger;
}

}   // namespace troupe::internal
