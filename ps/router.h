// From rows by key to messages by shard and range, and back: what a client does once for each batch, off the actor, in the job that made the batch.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "ps/messages.h"
#include "ps/partition.h"
#include "ps/range_map.h"
#include "ps/table_spec.h"

namespace troupe {

/// Rows of one table that a batch changes; keys distinct. nonzeros: entries of the batch behind each row, or empty.
struct TablePush {
  uint32_t table = 0;
  std::vector<Key> keys;
  std::vector<float> values;   ///< keys.size() x width
  std::vector<uint32_t> nonzeros;
  ValueCode code = ValueCode::kFloat32;   ///< how the values travel: they are what it can hold, by this scale
  float scale = 1;
  /// Rows that do not travel, because a filter wants it so. Their ranges get their nonzeros all the same, in a part without rows if need be: a batch that is
  /// made again, perhaps with other rows kept, must be cut into the same messages and count for the same ledgers.
  std::vector<Key> filtered = {};
  std::vector<uint32_t> filtered_nonzeros = {};
};

/// One shard's share of a push, in chunks of at most kChunkBytes (a single range's part may be bigger). Sequence numbers are filled in by the client.
struct RoutedPush {
  struct Chunk {
    std::vector<PushPart> parts;
    Block keys, values;
    uint64_t keys_hash = 0;   // 0: not to be remembered
    Packing packing = {};
  };
  std::vector<std::vector<Chunk>> shards;                 // by shard; at least one chunk each, an empty one where the shard gets nothing
  Round after = 0;                                        // of all of its messages: Push::after
  std::shared_ptr<const FunctionCall> change = nullptr;   // of the last one to each shard: Push::change
  MapEpoch epoch = 0;                                     // the map by which it is dealt

  /// Nothing for anybody: what a change alone travels with.
  static RoutedPush Empty(size_t shards) {
    RoutedPush push;
    push.shards.resize(shards);
    for (auto& chunks : push.shards) chunks.emplace_back();
    return push;
  }
};

/// What a batch asks of each shard, and where each answered row belongs.
struct RoutedPull {
  struct Share {
    Block parts, keys;
    uint64_t rows = 0, floats = 0;
    uint64_t keys_hash = 0;
    Packing packing = {};
    /// Where the answer is longer than kChunkBytes it is asked for in several messages: each ends before these parts, keys and floats. Else empty.
    struct Piece {
      size_t parts_end, keys_end;
      uint64_t floats_end;
      Packing packing;
    };
    std::vector<Piece> pieces = {};
    size_t messages() const { return pieces.empty() ? 1 : pieces.size(); }
    /// Parts, keys and floats of one of the messages.
    std::span<const PullPart> PartsOf(size_t message) const;
    Block KeysOf(size_t message) const;
    uint64_t FloatsOf(size_t message) const;
    const Packing& PackingOf(size_t message) const { return pieces.empty() ? packing : pieces[message].packing; }
  };
  std::vector<Share> shards;
  uint64_t tables = 0;       // Pull::tables
  MapEpoch epoch = 0;        // the map by which it is dealt
  bool by_message = false;   // of whole ranges: answers are read one by one (Pull::in_pieces)
  /// By requested table: by shard order, the position in the asker's keys of each answered row. A whole dense table has no positions: its parts say.
  struct Order {
    uint32_t table;
    std::vector<uint32_t> position;
    std::vector<uint32_t> shard_begin;   // shards + 1: the run of `position` that each shard answers
    uint32_t rows = 0;                   // the asker's, where there are positions; of some of them others may know
  };
  std::vector<Order> orders;
};

class Router {
 public:
  Router(std::vector<TableSpec> tables, uint32_t shards);

  /// Of PlacesOf: with the place of tables that workers keep.
  uint32_t shards() const { return shards_; }
  const std::vector<TableSpec>& tables() const { return tables_; }
  /// (table, range) pairs are numbered as the shards' ledgers number them.
  uint32_t slots() const { return slots_; }
  uint32_t Slot(uint32_t table, uint32_t range) const { return first_slot_[table] + range; }

  /// The map by which rows are dealt from here on, also by those who share this router (any thread); it is of these tables and shards. An older one than it has
  /// changes nothing.
  void Follow(RangeMap map) const;
  MapEpoch epoch() const { return Now()->map.epoch(); }
  /// The map, for as long as the caller keeps it.
  std::shared_ptr<const RangeMap> map() const {
    const std::shared_ptr<const Placement> now = Now();
    return {now, &now->map};
  }
  /// What was dealt by another map, dealt by the present one. Messages keep their numbers and their order by table and range.
  RoutedPush Again(const RoutedPush& push) const;
  /// For the client: it has no orders, so its answers are read by Restore.
  RoutedPull Again(const RoutedPull& pull) const;
  /// The answers to Again(asked), `sent`, as answers to `asked`. InvalidArgument as Gather.
  absl::StatusOr<std::vector<Block>> Restore(const RoutedPull& asked, const RoutedPull& sent, std::span<const Block> values) const;

  /// `pulled`: what the same batch has pulled, or null: a push of the same keys goes the same way, without looking for it again.
  RoutedPush Push(std::vector<TablePush> pushes, const RoutedPull* pulled = nullptr) const;
  /// A whole dense table: values is rows x width. Nothing is copied: the messages refer to `values`.
  RoutedPush PushDense(uint32_t table, const Block& values) const;
  struct TablePull {
    uint32_t table;
    std::span<const Key> keys;   // distinct
  };
  RoutedPull Pull(std::span<const TablePull> pulls) const;
  RoutedPull PullDense(uint32_t table) const;
  /// What is left of a Pull: without the rows that are known from elsewhere. known[i][j]: is what orders[i].position[j] stands for? Gather leaves those alone.
  RoutedPull Rest(const RoutedPull& pull, std::span<const std::vector<uint8_t>> known) const;
  /// Calls use(i, j, key) for every row that a Pull asks for, as they are answered: it is orders[i].position[j] of the asker's keys.
  template <class Use>
  static void ForEachKey(const RoutedPull& pull, Use&& use) {
    for (size_t shard = 0; shard < pull.shards.size(); ++shard) {
      const Key* key = pull.shards[shard].keys.As<Key>().data();
      for (size_t i = 0; i < pull.orders.size(); ++i) {
        for (uint32_t j = pull.orders[i].shard_begin[shard]; j < pull.orders[i].shard_begin[shard + 1]; ++j) use(i, j, *key++);
      }
    }
  }
  /// `values`: what the shards answered, shard by shard, message by message. out[i]: the rows of the i-th requested table in the asker's order; those that are
  /// not asked for stay as they are. InvalidArgument: an answer of another size.
  absl::Status Gather(const RoutedPull& pull, std::span<const Block> values, std::vector<std::vector<float>>& out) const;
  /// Calls use for each row that the shards answered to a Pull: its shard, i of orders[i], its key and values. InvalidArgument as Gather, before any call.
  using UseRow = std::function<void(uint32_t shard, size_t order, Key key, const float* row)>;
  absl::Status ForEachRow(const RoutedPull& pull, std::span<const Block> values, const UseRow& use) const;
  /// One answer to a PullDense of `table`, as one block or one a part, into all its rows. InvalidArgument: an answer of another size.
  absl::Status GatherPiece(const RoutedPull& pull, uint32_t table, size_t shard, size_t message, std::span<const Block> values, std::span<float> out) const;

 private:
  struct Grouped;
  /// Ranges in the order in which messages have them: shard by shard.
  struct Order {
    std::vector<uint32_t> range_at;   // by place in that order
    std::vector<uint32_t> place_of;   // by range; empty: the same number
    std::vector<uint32_t> shard_of;   // by range
  };
  struct Placement {
    RangeMap map;
    std::vector<Order> orders;   // by table
  };
  std::shared_ptr<const Placement> Now() const { return placement_.load(std::memory_order_acquire); }
  static std::shared_ptr<const Placement> PlacementOf(RangeMap map);
  bool SameKeys(const TablePush& push, const RoutedPull& pulled) const;
  RoutedPush PushPulled(const TablePush& push, const RoutedPull& pulled) const;
  void Group(const Placement& placement, uint32_t table, std::span<const Key> keys, Grouped& grouped) const;
  RoutedPush Deal(const Placement& placement, std::vector<TablePush> pushes) const;
  RoutedPush DealDense(const Placement& placement, uint32_t table, const Block& values) const;
  /// For how many ranges the keys of this table are sorted; 0: they are not.
  uint32_t SortedRanges(uint32_t table) const;
  template <class Part>
  void FillPacking(std::span<const Part> parts, std::span<const TablePush> pushes, Packing& packing) const;
  template <class Part>
  uint64_t HashOfKeys(std::span<const Part> parts, const Block& keys) const;
  void Cut(RoutedPull::Share& share) const;
  void Close(RoutedPush::Chunk& chunk, std::span<const TablePush> pushes) const;
  std::vector<TableSpec> tables_;
  std::vector<Partition> partitions_;
  std::vector<uint32_t> first_slot_;
  uint32_t slots_ = 0;
  uint32_t shards_ = 1;
  mutable std::atomic<std::shared_ptr<const Placement>> placement_;   // it only grows newer
};

}   // namespace troupe
