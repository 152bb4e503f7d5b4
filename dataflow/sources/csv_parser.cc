// As for libsvm there are two parsers of a line: a fast one for plain numbers, and a careful one for quotes, spaces and everything that is wrong.
#include "dataflow/sources/csv_parser.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/text.h"
#include "dataflow/internal/number.h"

namespace troupe::internal {
namespace {

struct Scratch {
  std::unique_ptr<float[]> dense;
  std::unique_ptr<float[]> labels;
  size_t capacity = 0;   // bytes of text it is enough for: a number and what ends it take two

  void Reserve(size_t bytes) {
    if (bytes <= capacity) return;
    dense = std::make_unique_for_overwrite<float[]>(bytes / 2 + 1);
    labels = std::make_unique_for_overwrite<float[]>(bytes / 2 + 1);
    capacity = bytes;
  }
};

bool IsBinary(float* label) {
  if (*label == -1.0f) *label = 0.0f;
  return *label == 0.0f || *label == 1.0f;
}

// A finite number with `delimiter` (or, at the end of a line, CRLF) behind it; null where that is not so.
inline const char* ParseField(const char* p, const char* end, char delimiter, float* value) {
  const auto ends = [delimiter](const char* at) { return *at == delimiter || (delimiter == '\n' && *at == '\r' && at[1] == '\n'); };
  while (*p == ' ') ++p;
  const char* after = ParseUsualFloat(p, value);
  if (after != nullptr && ends(after)) [[likely]]
    return after;
  after = ParseAnyFloat(p, end, value);
  return after != nullptr && ends(after) && std::isfinite(*value) ? after : nullptr;
}

// Passes over plain ASCII text; null where there are quotes or other characters.
inline const char* PassField(const char* p, char delimiter) {
  while (*p != ',' && *p != '\n' && *p != '"' && static_cast<signed char>(*p) >= 0) ++p;
  if (delimiter == '\n' && *p == '\n') return p;
  return *p == delimiter ? p : nullptr;
}

// A line of plain fields, as many as there are columns. Returns its newline, or null: look carefully.
inline const char* ParseUsualLine(const char* p, const char* end, const CsvRules& rules, float* row, float* label) {
  const size_t last = rules.columns.size() - 1;
  for (size_t c = 0; c <= last; ++c) {
    const CsvColumn& column = rules.columns[c];
    const char delimiter = c == last ? '\n' : ',';
    if (column.use == CsvColumn::Use::kFeature) {
      p = ParseField(p, end, delimiter, row + column.feature);
    } else if (column.use == CsvColumn::Use::kIgnored) {
      p = PassField(p, delimiter);
    } else {
      p = ParseField(p, end, delimiter, label);
      if (p != nullptr && rules.label_kind == LabelKind::kBinary && !IsBinary(label)) return nullptr;
    }
    if (p == nullptr) return nullptr;
    p += c < last;
  }
  return p + (*p == '\r');
}

std::string CheckLabel(const std::string& field, LabelKind kind, float* label) {
  const char* end = field.data() + field.size();
  const bool number = ParseAnyFloat(field.data(), end, label) == end;
  const char* expected = kind == LabelKind::kBinary ? "0 or 1" : number ? "a finite number" : "a number";
  const bool good = number && (kind == LabelKind::kBinary ? IsBinary(label) : std::isfinite(*label));
  return good ? "" : absl::StrCat("label is ", field.empty() ? "empty" : Quoted(field), ", expected ", expected);
}

std::string CheckFeature(const std::string& name, const std::string& field, float* value) {
  if (field.empty()) return absl::StrCat("column ", Quoted(name), " is empty, expected a number");
  const char* end = field.data() + field.size();
  if (ParseAnyFloat(field.data(), end, value) != end) return absl::StrCat("column ", Quoted(name), " is ", Quoted(field), ", expected a number");
  return std::isfinite(*value) ? "" : absl::StrCat("column ", Quoted(name), " is ", Quoted(field), ", expected a finite number");
}

// Any line without its newline that is not blank. Returns "" or what is wrong with it.
std::string ParseAnyLine(std::string_view line, const CsvRules& rules, std::vector<std::string>* fields, float* row, float* label) {
  std::string what = SplitCsvLine(line, fields);
  if (!what.empty()) return what;
  if (fields->size() != rules.columns.size()) {
    return absl::StrCat("has ", fields->size(), fields->size() == 1 ? " field" : " fields", ", expected ", rules.columns.size());
  }
  for (size_t c = 0; c < fields->size() && what.empty(); ++c) {
    const CsvColumn& column = rules.columns[c];
    if (column.use == CsvColumn::Use::kFeature) what = CheckFeature(column.name, (*fields)[c], row + column.feature);
    if (column.use == CsvColumn::Use::kLabel) what = CheckLabel((*fields)[c], rules.label_kind, label);
  }
  return what;
}

bool IsBlank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == line.npos;
}

std::string_view Trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  return first == text.npos ? std::string_view() : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Reads the quoted field at the start of `rest` and takes it off. Returns what is wrong with it, or "".
std::string TakeQuoted(std::string_view* rest, std::string* field) {
  size_t i = 1;
  for (;; ++i) {
    if (i == rest->size()) return "quote is left open";
    if ((*rest)[i] == '"') {
      if (i + 1 == rest->size() || (*rest)[i + 1] != '"') break;
      ++i;   // two quotes mean one
    }
    field->push_back((*rest)[i]);
  }
  rest->remove_prefix(i + 1);
  if (rest->empty() || rest->front() == ',') return "";
  return absl::StrCat(Quoted(rest->substr(0, rest->find(','))), " follows a closing quote, expected a comma");
}

}   // namespace

std::string SplitCsvLine(std::string_view line, std::vector<std::string>* fields) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (const size_t bad = FindInvalidUtf8(line); bad != line.npos) {
    return absl::StrCat("byte 0x", absl::AsciiStrToUpper(absl::StrCat(absl::Hex(static_cast<unsigned char>(line[bad]), absl::kZeroPad2))), " is not UTF-8");
  }
  fields->clear();
  for (bool more = true; more;) {
    std::string& field = fields->emplace_back();
    if (line.starts_with('"')) {
      const std::string what = TakeQuoted(&line, &field);
      if (!what.empty()) return what;
    } else {
      field = Trimmed(line.substr(0, line.find(',')));
      line.remove_prefix(std::min(line.find(','), line.size()));
    }
    more = !line.empty();
    if (more) line.remove_prefix(1);
  }
  return "";
}

std::string ParseCsvHeader(std::string_view line, std::vector<std::string>* names) {
  if (IsBlank(line)) return "header is empty, expected column names";
  std::string what = SplitCsvLine(line, names);
  for (size_t i = 0; i < names->size() && what.empty(); ++i) {
    const std::string& name = (*names)[i];
    if (name.empty()) what = absl::StrCat("column ", i + 1, " has no name");
    if (std::find(names->begin(), names->begin() + static_cast<ptrdiff_t>(i), name) != names->begin() + static_cast<ptrdiff_t>(i)) {
      what = absl::StrCat("column ", Quoted(name), " stands twice");
    }
  }
  return what;
}

std::optional<BadLine> ParseCsv(const char* begin, const char* end, const CsvRules& rules, RowBlock* block) {
  constexpr size_t kKeptMax = size_t{1} << 20;
  TROUPE_CHECK(rules.features > 0 && static_cast<uint64_t>(end - begin) < UINT32_MAX);
  static thread_local Scratch scratch;
  scratch.Reserve(static_cast<size_t>(end - begin) + 2 * rules.columns.size());
  float* row = scratch.dense.get();
  float* label = scratch.labels.get();
  std::vector<std::string> fields;
  for (const char* p = begin; p < end;) {
    const char* newline = ParseUsualLine(p, end, rules, row, label);
    if (newline == nullptr) [[unlikely]] {
      newline = static_cast<const char*>(std::memchr(p, '\n', static_cast<size_t>(end - p) + 1));
      const std::string_view line(p, static_cast<size_t>(newline - p));
      const bool blank = IsBlank(line);
      std::string what = blank ? "" : ParseAnyLine(line, rules, &fields, row, label);
      if (!what.empty() && !rules.skip_bad_rows) return BadLine{static_cast<size_t>(p - begin), std::move(what)};
      block->bad_rows += !what.empty();
      if (blank || !what.empty()) {
        p = newline + 1;
        continue;
      }
    }
    row += rules.features;
    ++label;
    p = newline + 1;
  }
  block->rows = static_cast<uint64_t>(label - scratch.labels.get());
  block->columns = rules.features;
  block->dense.assign(scratch.dense.get(), row);
  const auto is_label = [](const CsvColumn& column) { return column.use == CsvColumn::Use::kLabel; };
  if (std::any_of(rules.columns.begin(), rules.columns.end(), is_label)) block->labels.assign(scratch.labels.get(), label);
  if (scratch.capacity > kKeptMax) scratch = {};
  return std::nullopt;
}

}   // namespace troupe::internal
