// What one writer's pushes lose on their way, table by table: rows that are filtered, numbers that are rounded; and where the table wants it, what is kept of
// that for the writer's next push of the same key. The same batches give the same pushes on every host. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "actors/block.h"
#include "actors/random.h"
#include "ps/key_index.h"
#include "ps/router.h"
#include "ps/table_spec.h"

namespace troupe {

/// The rows that a batch was given.
struct GivenRows {
  uint32_t table = 0;
  std::span<const Key> keys;
  std::span<const float> values;
};

/// One at a time: a push must have gone through before the next one comes. A writer that begins anew after a loss begins with a new compressor: what was kept
/// is lost, and is no part of the ledger. One that moves takes it along.
class Compressor {
 public:
  Compressor(const std::vector<TableSpec>& tables, uint64_t seed, uint32_t writer);

  /// Makes of each push what will travel, with its code and scale. Rows that do not travel are filtered ones.
  /// A push with numbers that are not finite stays as it is: the shard does with them what its table says.
  /// Cost O(rows * width) and a look-up a row where there is feedback; its memory is some 20 + 4 * width bytes for every key that this writer has pushed.
  void Compress(std::span<TablePush> pushes, std::span<const GivenRows> given);

  /// Do pushes of such tables depend on those before?
  static bool Keeps(std::span<const TableSpec> tables);
  /// All that later pushes depend on, for GoOn in a new compressor of the same tables; empty: they depend on nothing. Cost O(what is kept).
  Block State() const;
  /// InvalidArgument: it is no state of such tables; nothing has changed.
  absl::Status GoOn(const Block& state);

  /// What is kept of `key` for its next push: width numbers, or none.
  std::span<const float> Kept(uint32_t table, Key key) const;

 private:
  struct Of {   // one table
    TableSpec spec;
    Random random;
    KeyIndex places;           // of keys in `kept`
    std::vector<float> kept;   // by place, width each
  };
  static void CompressOne(Of& of, TablePush& push, std::span<const GivenRows> given);
  std::vector<Of> tables_;
};

}   // namespace troupe
