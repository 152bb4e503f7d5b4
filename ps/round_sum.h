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
  /// A share of a push that Table::Check has found good: rows by key (distinct), or rows [first, first + n). keys and gradient must stay until Apply.
  void Add(uint32_t range, std::span<const Key> keys, const float* gradient) { parts_.push_back({range, 0, keys.size(), keys.data(), gradient}); }
  void AddDense(uint32_t range, Key first, uint64_t n, const float* gradient) { parts_.push_back({range, first, n, nullptr, gradient}); }

  /// Applies the sum of all shares, divided by `divisor`, to the rows that they name, each row once, and forgets them.
  void ApplyTo(Table& table, float divisor);

 private:
  struct Part {
    uint32_t range;
    Key first;         // of a share without keys
    uint64_t n;        // rows
    const Key* keys;   // null: rows [first, first + n)
    const float* gradient;
  };
  void ApplyKeys(Table& table, std::span<const Part> parts, float divisor);
  void ApplyRows(Table& table, std::span<const Part> parts, float divisor);

  std::vector<Part> parts_;
  // Kept from round to round.
  KeyIndex index_;
  std::vector<uint32_t> places_;
  std::vector<float> sums_;
  std::vector<uint8_t> touched_;
};

}   // namespace troupe
