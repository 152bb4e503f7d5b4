// Rows of one kind and seed: row i is a pure function of (kind, seed, i), so any thread can make any of them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataflow/generated/text_buffer.h"
#include "dataflow/parquet_plugin.h"
#include "dataflow/row_block.h"

namespace troupe {

/// Thread-safe.
class GeneratedRows {
 public:
  virtual ~GeneratedRows() = default;
  /// Extensions that the kind can be written with; the first is the most natural.
  virtual std::vector<std::string> formats() const = 0;
  /// What stands before the first row.
  virtual void AppendHeader(const std::string& /*format*/, TextBuffer* /*out*/) const {}
  /// Appends rows [first, first + n) as text. Returns the entries written (of libsvm; else 0).
  virtual uint64_t AppendText(const std::string& format, uint64_t first, size_t n, TextBuffer* out) const = 0;
  /// The columns of a kind that is a table, "label" last where it has one; else none.
  virtual std::vector<ColumnSpec> columns() const { return {}; }
  /// A table's rows, row-major.
  virtual void FillTable(uint64_t /*first*/, size_t /*n*/, float* /*out*/) const {}
  /// Rows that are sparse, as a block with labels; `block->rows` of them. False: not that kind.
  virtual bool FillSparse(uint64_t /*first*/, RowBlock* /*block*/) const { return false; }
};

/// ctr, dense, clusters, ratings, text.
std::vector<std::string> GeneratedKinds();
/// `kind` is one of them.
std::unique_ptr<GeneratedRows> MakeGeneratedRows(const std::string& kind, uint64_t seed);

std::unique_ptr<GeneratedRows> MakeClickLog(uint64_t seed);
std::unique_ptr<GeneratedRows> MakeDenseRows(uint64_t seed);
std::unique_ptr<GeneratedRows> MakeClusterRows(uint64_t seed);
std::unique_ptr<GeneratedRows> MakeRatingRows(uint64_t seed);
std::unique_ptr<GeneratedRows> MakeTextRows(uint64_t seed);

}   // namespace troupe
