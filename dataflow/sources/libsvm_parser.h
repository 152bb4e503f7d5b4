// libsvm text to rows: "LABEL INDEX:VALUE INDEX:VALUE ..." a line, and a comment behind # . A pure function over a buffer.
#pragma once

#include <optional>

#include "dataflow/internal/bad_text.h"
#include "dataflow/row_block.h"
#include "dataflow/source.h"

namespace troupe::internal {

struct LibsvmRules {
  LabelKind label_kind = LabelKind::kBinary;
  bool skip_bad_rows = false;
};

/// Parses the lines of [begin, end) into `block` (labels, offsets, indices, values, rows, bad_rows; labels stay empty for kNone).
///
/// begin, end  whole lines; the last one may lack its newline. *end is '\n' and kTextPadding bytes from there can be read. Less than 4 GiB.
/// Rows        blank lines and lines that only hold a comment are none. CRLF is accepted. A row may have no entries.
/// Indices     1-based, strictly rising. Values are finite. Labels as LabelKind says; for kNone any number, or none at all.
/// Returns     the first bad line, after which `block` is of no use; nullopt: none, or they were skipped.
std::optional<BadLine> ParseLibsvm(const char* begin, const char* end, const LibsvmRules& rules, RowBlock* block);

}   // namespace troupe::internal
