// A server-side function at work: at one shard, range by range, and over the answers of all shards. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/function.h"
#include "ps/messages.h"

namespace troupe {

/// The numbers and keys that one shard may answer; more are refused. Below a frame's limit.
inline constexpr size_t kCalledBytesMax = 48 << 20;

/// The parts of ranges, merged as the leaves of one binary tree over all ranges of the table: whoever holds a whole subtree merges it. So every sum is taken in
/// the same order, however the ranges are spread, and a shard answers at most two parts
/// for each level of the tree and each run of ranges that it has.
class PartTree {
 public:
  PartTree(const ReadingFunction& function, uint32_t ranges, uint32_t first = 0) : function_(&function), ranges_(ranges), next_(first) {}

  struct Node {
    uint32_t first = 0;   ///< range
    uint32_t size = 1;    ///< ranges first .. first + size - 1, those that there are. A power of two that divides `first`
    FunctionValue value;
  };
  /// Parts come in the order of their ranges. InvalidArgument: not the part that follows.
  absl::Status Add(Node node);
  const std::vector<Node>& nodes() const { return nodes_; }
  /// The range whose part comes next.
  uint64_t next() const { return next_; }
  /// Keys and numbers of all parts held.
  size_t bytes() const;
  /// The one part of all ranges. InvalidArgument: some are missing.
  absl::StatusOr<FunctionValue> Whole() &&;

 private:
  const ReadingFunction* function_;
  uint32_t ranges_;
  uint64_t next_;   // range
  std::vector<Node> nodes_;
};

/// One call at one shard. In slices, so that whoever runs it can do other things between them; the tables must not change until it is done.
class RunningCall {
 public:
  /// Errors as MakeFunction, and InvalidArgument for a function that changes rows. `tables`: all of the shard; they stay where they are.
  static absl::StatusOr<RunningCall> Start(const FunctionCall& call, std::span<const Table> tables);
  /// The same about tables of its own.
  static absl::StatusOr<RunningCall> StartWith(const FunctionCall& call, std::vector<Table> tables);

  /// Maps ranges until about `floats` values have been seen, at least one range. True: all of this shard's are done. InvalidArgument: the answer is too long.
  absl::StatusOr<bool> Advance(uint64_t floats);
  Called Answer() const;

 private:
  RunningCall() = default;
  std::unique_ptr<ReadingFunction> function_;
  std::vector<Table> own_;             // what `tables_` may refer to
  std::vector<const Table*> tables_;   // of the call
  uint32_t range_ = 0, end_ = 0;
  std::vector<PartTree> trees_;   // one for each run of ranges that the shard has
};

/// What all shards together answer to `call`. `tables`: all of the job. Errors as MakeFunction, and InvalidArgument naming the shard whose answer is cut or not
/// what the function makes. Unavailable: answers by different maps of the ranges; ask again.
absl::StatusOr<FunctionValue> MergeCalled(const FunctionCall& call, std::span<const TableSpec> tables, std::span<const Called> shards);

/// A call over whole tables in one place: what the shards would answer together, bit for bit. A changing one answers nothing.
absl::StatusOr<FunctionValue> CallTables(const FunctionCall& call, std::span<Table> tables);
/// A change to the ranges that a shard has. `function`: made from `call`.
void ChangeTables(const FunctionCall& call, const ChangingFunction& function, std::span<Table> tables);

}   // namespace troupe
