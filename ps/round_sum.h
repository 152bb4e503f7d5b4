// What the writers of one BSP round push to one table: added up in the order in which it is given, then applied once, so that the model does not depend on the
// number of workers and shards. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ps/key_index.h"
#include "ps/table.h"

namespace troupe {

class RoundSum {
 public:
  /// A share of a push that Table::Check has found good. Its keys and numbers must stay until ApplyTo.
  void Add(const RowsIn& share) { shares_.push_back(share); }

  bool empty() const { return shares_.empty(); }

  /// Applies the sum of all shares, divided by `divisor`, to the rows that they name, each row once, and forgets them.
  void ApplyTo(Table& table, float divisor);

 private:
  /// Rows whose sums lie in sums_, to be applied with others of their kind.
  struct Summed {
    uint32_t range;
    uint64_t n;
    Key first;           // dense
    size_t keys, sums;   // where they begin
  };
  void SumKeys(std::span<const RowsIn> shares, uint32_t width);
  void SumRows(std::span<const RowsIn> shares, const Table& table);
  void Flush(Table& table, float divisor);

  std::vector<RowsIn> shares_;
  std::vector<Summed> summed_;
  std::vector<Key> keys_;
  std::vector<float> sums_;
  std::vector<RowsIn> applied_;
  // Kept from range to range.
  KeyIndex index_;
  std::vector<uint32_t> places_;
  std::vector<uint8_t> touched_;
};

}   // namespace troupe
