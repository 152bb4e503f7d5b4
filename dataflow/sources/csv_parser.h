// CSV text to dense rows (RFC 4180, but a quoted field ends on its line). Pure functions over a buffer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataflow/internal/bad_text.h"
#include "dataflow/row_block.h"
#include "dataflow/source.h"

namespace troupe::internal {

/// What happens to the fields of one column of a file.
struct CsvColumn {
  enum class Use : uint8_t { kFeature, kLabel, kIgnored };
  std::string name;
  Use use = Use::kIgnored;
  uint32_t feature = 0;   ///< column of the dense block it goes to
};

struct CsvRules {
  std::vector<CsvColumn> columns;   ///< in the order of the file
  uint32_t features = 0;            ///< columns whose use is kFeature; > 0
  LabelKind label_kind = LabelKind::kBinary;
  bool skip_bad_rows = false;
};

/// Fields of one line without its newline: unquoted, spaces around unquoted ones left out. Returns what is wrong with it, or "".
std::string SplitCsvLine(std::string_view line, std::vector<std::string>* fields);

/// As SplitCsvLine, and every name stands once and is not empty.
std::string ParseCsvHeader(std::string_view line, std::vector<std::string>* names);

/// Parses the lines of [begin, end) (no header among them) into `block` (labels, dense, columns, rows, bad_rows).
///
/// begin, end  whole lines; the last one may lack its newline. *end is '\n' and kTextPadding bytes from there can be read. Less than 4 GiB.
/// Rows        blank lines are none. CRLF is accepted. Features and labels are finite numbers, ignored fields any UTF-8 text.
/// Returns     the first bad line, after which `block` is of no use; nullopt: none, or they were skipped.
std::optional<BadLine> ParseCsv(const char* begin, const char* end, const CsvRules& rules, RowBlock* block);

}   // namespace troupe::internal
