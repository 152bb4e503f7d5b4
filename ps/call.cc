#include "ps/call.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

size_t BytesOf(const FunctionValue& value) {
  return value.keys.size() * sizeof(Key) + value.numbers.size() * sizeof(double);
}

std::vector<TableSpec> SpecsOf(std::span<const Table> tables) {
  std::vector<TableSpec> specs;
  for (const Table& table : tables) specs.push_back(table.spec());
  return specs;
}

absl::Status CheckReads(const FunctionCall& call, const Function& function) {
  if (function.read != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("function '", call.function, "' changes rows: it travels with a push"));
}

struct PartOfShard {
  size_t shard;
  PartTree::Node node;
};

/// Every part of one shard's answer, checked.
absl::Status ReadParts(const Called& called, const ReadingFunction& function, size_t shard, std::vector<PartOfShard>& parts) {
  if (!called.parts.IsArrayOf<CalledPart>() || !called.keys.IsArrayOf<Key>() || !called.numbers.IsArrayOf<double>())
    return absl::InvalidArgumentError("arrays are cut or not aligned");
  std::span<const Key> keys = called.keys.As<Key>();
  std::span<const double> numbers = called.numbers.As<double>();
  for (const CalledPart& part : called.parts.As<CalledPart>()) {
    if (part.keys > keys.size() || part.numbers > numbers.size()) return absl::InvalidArgumentError("fewer keys or numbers than its parts say");
    FunctionValue value{{keys.begin(), keys.begin() + part.keys}, {numbers.begin(), numbers.begin() + part.numbers}};
    keys = keys.subspan(part.keys);
    numbers = numbers.subspan(part.numbers);
    TROUPE_RETURN_IF_ERROR(function.CheckPart(value));
    parts.push_back({shard, {part.first, part.size, std::move(value)}});
  }
  if (!keys.empty() || !numbers.empty()) return absl::InvalidArgumentError("more keys or numbers than its parts say");
  return absl::OkStatus();
}

}   // namespace

absl::Status PartTree::Add(Node node) {
  if (node.first != next_ || node.first >= ranges_)
    return absl::InvalidArgumentError(absl::StrCat("a part of range ", node.first, ", expected range ", next_, " of ", ranges_));
  if (!std::has_single_bit(node.size) || node.first % node.size != 0 || node.size > std::bit_ceil(ranges_))
    return absl::InvalidArgumentError(absl::StrCat("a part of ", node.size, " ranges from ", node.first, ", expected a power of two that divides it"));
  next_ = uint64_t{node.first} + node.size;
  // Upwards as far as the other half of the node above is here too, or does not exist.
  while (node.size < std::bit_ceil(ranges_)) {
    if (node.first % (2 * uint64_t{node.size}) == 0) {
      if (uint64_t{node.first} + node.size < ranges_) break;
    } else {
      if (nodes_.empty() || nodes_.back().size != node.size) break;
      node.first = nodes_.back().first;
      node.value = function_->Merge(std::move(nodes_.back().value), std::move(node.value));
      nodes_.pop_back();
    }
    node.size *= 2;
  }
  nodes_.push_back(std::move(node));
  return absl::OkStatus();
}

size_t PartTree::bytes() const {
  size_t bytes = 0;
  for (const Node& node : nodes_) bytes += BytesOf(node.value);
  return bytes;
}

absl::StatusOr<FunctionValue> PartTree::Whole() && {
  if (next_ < ranges_) return absl::InvalidArgumentError(absl::StrCat("the parts end before range ", next_, ", expected ", ranges_, " ranges"));
  TROUPE_CHECK(nodes_.size() == 1);
  return std::move(nodes_[0].value);
}

absl::StatusOr<RunningCall> RunningCall::Start(const FunctionCall& call, std::span<const Table> tables) {
  TROUPE_TRY(Function function, MakeFunction(call, SpecsOf(tables)));
  TROUPE_RETURN_IF_ERROR(CheckReads(call, function));
  RunningCall running;
  running.function_ = std::move(function.read);
  for (const uint32_t table : call.tables) running.tables_.push_back(&tables[table]);
  const Table& first = *running.tables_[0];
  running.end_ = first.partition().ranges();
  return running;
}

absl::StatusOr<RunningCall> RunningCall::StartWith(const FunctionCall& call, std::vector<Table> tables) {
  TROUPE_TRY(RunningCall running, Start(call, tables));
  running.own_ = std::move(tables);   // which moves no table
  return running;
}

absl::StatusOr<bool> RunningCall::Advance(uint64_t floats) {
  for (uint64_t seen = 0; range_ < end_ && seen < floats; ++range_) {
    if (!tables_[0]->Owns(range_)) continue;
    if (trees_.empty() || trees_.back().next() != range_) trees_.emplace_back(*function_, end_, range_);
    TROUPE_CHECK(trees_.back().Add({range_, 1, function_->Map(RangeReader(tables_, range_))}).ok());
    for (const Table* table : tables_) TROUPE_RETURN_IF_ERROR(table->usable());
    seen += tables_[0]->rows(range_) * tables_[0]->spec().width + 1;
    size_t bytes = 0;
    for (const PartTree& tree : trees_) bytes += tree.bytes();
    if (bytes > kCalledBytesMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("the answer of a shard takes more than ", HumanBytes(kCalledBytesMax), ", expected less: ask for less at once"));
    }
  }
  return range_ == end_;
}

Called RunningCall::Answer() const {
  std::vector<CalledPart> parts;
  std::vector<Key> keys;
  std::vector<double> numbers;
  for (const PartTree& tree : trees_) {
    for (const PartTree::Node& node : tree.nodes()) {
      parts.push_back({.first = node.first, .size = node.size, .keys = node.value.keys.size(), .numbers = node.value.numbers.size()});
      keys.insert(keys.end(), node.value.keys.begin(), node.value.keys.end());
      numbers.insert(numbers.end(), node.value.numbers.begin(), node.value.numbers.end());
    }
  }
  return {.parts = Block::Adopt(std::move(parts)), .keys = Block::Adopt(std::move(keys)), .numbers = Block::Adopt(std::move(numbers))};
}

absl::StatusOr<FunctionValue> MergeCalled(const FunctionCall& call, std::span<const TableSpec> tables, std::span<const Called> shards) {
  TROUPE_TRY(Function function, MakeFunction(call, tables));
  TROUPE_RETURN_IF_ERROR(CheckReads(call, function));
  PartTree tree(*function.read, RangeCount(tables[call.tables[0]]));
  const auto of_shard = [&](const absl::Status& status, size_t shard) {
    return WithContext(status, absl::StrCat("function '", call.function, "': answer of shard ", shard));
  };
  std::vector<PartOfShard> parts;
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    if (shards[shard].epoch != shards[0].epoch) {
      return absl::UnavailableError(absl::StrCat("function '", call.function, "': ranges have moved between the answers of shard 0 and of shard ", shard));
    }
    if (absl::Status status = ReadParts(shards[shard], *function.read, shard, parts); !status.ok()) return of_shard(status, shard);
  }
  std::ranges::stable_sort(parts, {}, [](const PartOfShard& part) { return part.node.first; });   // shards have ranges here and there
  for (PartOfShard& part : parts) {
    if (absl::Status status = tree.Add(std::move(part.node)); !status.ok()) return of_shard(status, part.shard);
  }
  absl::StatusOr<FunctionValue> whole = std::move(tree).Whole();
  if (!whole.ok()) return WithContext(whole.status(), absl::StrCat("function '", call.function, "'"));
  return function.read->Finish(std::move(*whole));
}

absl::StatusOr<FunctionValue> CallTables(const FunctionCall& call, std::span<Table> tables) {
  const std::vector<TableSpec> specs = SpecsOf(tables);
  TROUPE_TRY(Function function, MakeFunction(call, specs));
  if (function.change != nullptr) {
    ChangeTables(call, *function.change, tables);
    return FunctionValue();
  }
  TROUPE_TRY(RunningCall running, RunningCall::Start(call, tables));
  TROUPE_RETURN_IF_ERROR(running.Advance(UINT64_MAX).status());
  const Called whole = running.Answer();
  return MergeCalled(call, specs, {&whole, 1});
}

void ChangeTables(const FunctionCall& call, const ChangingFunction& function, std::span<Table> tables) {
  std::vector<Table*> of_call;
  for (const uint32_t table : call.tables) of_call.push_back(&tables[table]);
  function.ChangeTables(of_call);
}

}   // namespace troupe
