// Server-side functions: what a shard computes about its rows, or makes of them, where they lie, so that only arguments and answers travel. One file a function
// under ps/functions/, registered by name. A reading function maps one range at a time and merges what it found; a changing one says what a row becomes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/function_call.h"
#include "ps/table.h"

namespace troupe {

/// One range of the tables of a call, as it is between two pushes.
class RangeReader {
 public:
  RangeReader(std::span<const Table* const> tables, uint32_t range) : tables_(tables), range_(range) {}

  uint32_t range() const { return range_; }
  /// How many rows the range of the call's `table`-th table has.
  uint64_t rows(size_t table = 0) const { return tables_[table]->rows(range_); }
  /// All rows that the range of the call's `table`-th table has, by rising key, some at a time.
  void Each(const std::function<void(const TableRows&)>& visit, size_t table = 0) const { tables_[table]->EachRow(range_, visit); }
  /// values: keys.size() x width of that table. Keys distinct and of this range; a row that does not exist reads as its initial values.
  void Read(std::span<const Key> keys, double* values, size_t table = 0) const { tables_[table]->Read(range_, keys, values); }
  /// The first two tables share this range: their rows are the same.
  bool Shared() const { return tables_[0]->Shares(*tables_[1], range_); }

 private:
  std::span<const Table* const> tables_;
  uint32_t range_;
};

/// Computes something about rows and changes none. Const and without a memory of its own: its calls may come in any order.
class ReadingFunction {
 public:
  virtual ~ReadingFunction() = default;
  /// The part of one range, which may be empty.
  virtual FunctionValue Map(const RangeReader& rows) const = 0;
  /// Can Map or Merge have made this part? It comes from another process. InvalidArgument says what is wrong with it.
  virtual absl::Status CheckPart(const FunctionValue& part) const = 0;
  /// The part of both; all ranges of `low` are below those of `high`. Ranges are merged two by two in one order, however many shards there are, so that sums of
  /// doubles come out the same bit for bit.
  virtual FunctionValue Merge(FunctionValue low, FunctionValue high) const = 0;
  /// What the caller gets, of the part of all ranges.
  virtual FunctionValue Finish(FunctionValue whole) const { return whole; }
};

/// Gives rows new values. Each writer's change is applied exactly once, as its pushes are. A function overrides one of the two.
class ChangingFunction {
 public:
  virtual ~ChangingFunction() = default;
  /// `tables`: those of the call, as far as this shard has them. By default the rows of the first, block by block.
  virtual void ChangeTables(std::span<Table* const> tables) const;
  /// What these rows become: `values`, rows.n x width, hold what they are. A pure function of keys and values: rows come in blocks of any size. An element
  /// whose new value is no finite float stays as it was, and is counted in Table::non_finite().
  virtual void Change(const TableRows& rows, double* values) const;
};

/// Takes a call's arguments one by one. What is wrong is kept, the first of it is the call's error; a function can read on as if it had not been.
class ArgumentReader {
 public:
  /// Both must outlive it.
  ArgumentReader(const FunctionCall& call, std::span<const TableSpec> tables) : call_(call), tables_(tables) {}

  size_t tables() const { return call_.tables.size(); }
  /// Of the call's i-th table.
  const TableSpec& table(size_t i = 0) const { return tables_[call_.tables[i]]; }
  /// low .. high, both allowed. `otherwise`: where it is not given; nullopt: it must be.
  double Number(const std::string& name, std::optional<double> otherwise, double low, double high);
  /// The same for a whole number.
  uint64_t Whole(const std::string& name, std::optional<uint64_t> otherwise, uint64_t low, uint64_t high);
  /// One of `choices`. Where it is not given: the first, or, if it `must` be, an error.
  std::string Word(const std::string& name, const std::vector<std::string>& choices, bool must = false);
  /// "columns" of the first table, rising; all of them where they are not given.
  std::vector<uint32_t> Columns();
  /// The rows given with the call.
  std::span<const Key> keys();
  std::span<const float> values() const { return call_.values; }
  void Refuse(const std::string& what);
  /// Refuses anything but two tables, not twice the same, with rows of the same kind (CheckSameRows).
  void TwoTables();
  /// Nothing has been refused so far.
  bool ok() const { return status_.ok(); }
  /// The first error, an argument that nobody has asked for among them.
  absl::Status Finish();

 private:
  bool Given(const std::string& name);

  const FunctionCall& call_;
  std::span<const TableSpec> tables_;
  std::set<std::string> numbers_, words_;   // asked for
  bool rows_ = false;
  absl::Status status_;
};

struct FunctionEntry {
  std::string name;
  uint32_t tables_max = 1;
  /// One of the two. Called with a call whose tables exist; what they Refuse is the call's error.
  std::function<std::unique_ptr<ReadingFunction>(ArgumentReader&)> read = nullptr;
  std::function<std::unique_ptr<ChangingFunction>(ArgumentReader&)> change = nullptr;
};

/// A function's file holds one: `const RegisterFunction registration({...});`. The layer is linked whole, so that no second edit is needed.
struct RegisterFunction {
  explicit RegisterFunction(FunctionEntry entry);
};

/// A function with its arguments: one of the two.
struct Function {
  std::unique_ptr<ReadingFunction> read;
  std::unique_ptr<ChangingFunction> change;
};

/// What `call` names, with its arguments checked. `tables`: all of the job.
/// Errors InvalidArgument: unknown function (with the nearest one), table, argument or column, number out of range, tables of other shapes.
absl::StatusOr<Function> MakeFunction(const FunctionCall& call, std::span<const TableSpec> tables);
std::vector<std::string> FunctionNames();

}   // namespace troupe
