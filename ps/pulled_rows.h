// What each writer was given last, until it pushes what it made of it: how much a table has changed since, and the rows as they were. For steps that make up
// for the delay between the two. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "ps/messages.h"
#include "ps/table.h"

namespace troupe {

/// Of one shard and all its writers.
class PulledRows {
 public:
  PulledRows() = default;
  PulledRows(const std::vector<TableSpec>& tables, uint32_t writers);

  /// Some table makes up for delays: whatever follows is wanted.
  bool any() const { return any_; }
  /// The answer to a pull leaves. `values`: as the writer reads them.
  void Given(const Pull& pull, const Block& values);
  /// A push has changed this table.
  void Changed(uint32_t table) { ++changes_[table]; }
  /// Changes of the table since the writer was given the rows that its push of `round` is made from; 0 where that is not known.
  uint64_t ChangesSince(uint32_t writer, Round round, uint32_t table) const;
  /// gradient += strength * gradient^2 * (row now - row as it was given), element by element; a row that was not given stays.
  /// `rows`: of one range of `table`, n x width gradients; `now`: the rows' values.
  /// Source: Zheng, Meng, Wang et al., "Asynchronous Stochastic Gradient Descent with Delay Compensation", ICML 2017.
  void Compensate(uint32_t writer, Round round, const Table& table, uint32_t number, const RowsIn& rows, const float* now, float* gradient) const;
  /// Rounds of the writer up to here are pushed.
  void Forget(uint32_t writer, Round round);
  /// The shard holds another state.
  void Clear();

 private:
  struct Answer {   // one message of a pull
    Block parts, keys, values;
  };
  struct Batch {   // of one writer
    Round round;
    std::vector<uint64_t> changes;   // by table, when the first of them left
    std::vector<Answer> answers;
  };
  const Batch* Find(uint32_t writer, Round round) const;

  bool any_ = false, rows_wanted_ = false;
  std::vector<uint32_t> widths_;             // by table
  std::vector<uint64_t> changes_;            // by table
  std::vector<std::deque<Batch>> writers_;   // rising rounds: pulled and not pushed
};

}   // namespace troupe
