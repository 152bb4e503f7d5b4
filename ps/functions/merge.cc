// Function merge: what a branch has learnt comes back into its table. Tables: {the table, the branch}.
//   by       mean (both, weighed), replace (the table becomes the branch: values and state, as fork does)
//   weight   mean: of the branch, 0 .. 1; 0.5
// The mean is of values; the table's state stays as it is, as does the branch. A row that one of the two lacks counts as its initial values. Ranges that no one
// has written to since the fork cost nothing.
#include <algorithm>
#include <iterator>
#include <vector>

#include "actors/check.h"
#include "ps/function.h"

namespace troupe {
namespace {

std::vector<Key> KeysOf(const Table& table, uint32_t range) {
  std::vector<Key> keys;
  table.EachRow(range, [&](const TableRows& rows) {
    for (size_t i = 0; i < rows.n; ++i) keys.push_back(rows.key(i));
  });
  return keys;
}

class Mean final : public ChangingFunction {
 public:
  explicit Mean(double weight) : weight_(weight) {}
  void ChangeTables(std::span<Table* const> tables) const override {
    for (uint32_t range = 0; range < tables[0]->partition().ranges(); ++range) {
      if (tables[0]->Owns(range) && !tables[0]->Shares(*tables[1], range)) Merge(*tables[0], *tables[1], range);
    }
  }

 private:
  void Merge(Table& into, const Table& branch, uint32_t range) const {
    if (!into.partition().dense()) MakeMissing(into, branch, range);
    const size_t width = into.spec().width;
    std::vector<Key> keys;
    std::vector<double> its;
    into.Change(range, [&](const TableRows& rows, double* values) {
      keys.resize(rows.n);
      for (size_t i = 0; i < rows.n; ++i) keys[i] = rows.key(i);
      its.resize(rows.n * width);
      branch.Read(range, keys, its.data());
      for (size_t i = 0; i < its.size(); ++i) values[i] += weight_ * (its[i] - values[i]);
    });
  }
  /// The rows that only the branch has, as they are before.
  static void MakeMissing(Table& into, const Table& branch, uint32_t range) {
    const std::vector<Key> mine = KeysOf(into, range), its = KeysOf(branch, range);
    std::vector<Key> missing;
    std::set_difference(its.begin(), its.end(), mine.begin(), mine.end(), std::back_inserter(missing));
    if (missing.empty()) return;
    std::vector<float> values(missing.size() * into.spec().width);
    TROUPE_CHECK(into.Pull(range, missing, values.data()).ok() && into.Assign(range, missing, values.data()).ok());
  }

  const double weight_;
};

class Replace final : public ChangingFunction {
 public:
  void ChangeTables(std::span<Table* const> tables) const override { TROUPE_CHECK(tables[0]->Become(*tables[1]).ok()); }   // TwoTables has looked
};

const RegisterFunction registration({.name = "merge", .tables_max = 2, .change = [](ArgumentReader& arguments) -> std::unique_ptr<ChangingFunction> {
                                       arguments.TwoTables();
                                       const bool mean = arguments.Word("by", {"mean", "replace"}) == "mean";
                                       if (!mean) return std::make_unique<Replace>();
                                       return std::make_unique<Mean>(arguments.Number("weight", 0.5, 0, 1));
                                     }});

}   // namespace
}   // namespace troupe
