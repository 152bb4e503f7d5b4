// The format "csv": headers say which column is what, pieces of text below them are parsed to dense blocks.
#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/status.h"
#include "actors/text.h"
#include "dataflow/format.h"
#include "dataflow/internal/text_pieces.h"
#include "dataflow/sources/csv_parser.h"

namespace troupe {
namespace {

using internal::CsvColumn;
using internal::CsvRules;
using internal::OpenTextFile;
using internal::PieceText;
using internal::Quoted;
using internal::TextFile;
using internal::TextPieces;

class CsvSource final : public Source {
 public:
  /// rules: one for each file.
  CsvSource(TextPieces pieces, std::vector<CsvRules> rules, Schema schema) : pieces_(std::move(pieces)), rules_(std::move(rules)), schema_(std::move(schema)) {}
  const Schema& schema() const override { return schema_; }
  uint64_t pieces() const override { return pieces_.count(); }
  uint64_t piece_bytes(uint64_t i) const override { return pieces_.bytes(i); }
  std::vector<int> spool_fds() const override { return pieces_.spool_fds(); }

  absl::StatusOr<std::shared_ptr<const RowBlock>> Read(uint64_t i) const override {
    TROUPE_TRY(const PieceText text, pieces_.Read(i));
    auto block = std::make_shared<RowBlock>();
    block->piece = i;
    if (const auto bad = internal::ParseCsv(text.begin, text.end, rules_[pieces_.FileOf(i)], block.get())) return internal::BadLineError(text, *bad);
    return block;
  }

 private:
  const TextPieces pieces_;
  const std::vector<CsvRules> rules_;
  const Schema schema_;
};

absl::Status Bad(const std::string& path, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", Absl(what)));
}

// Column names of line 1; rows start behind it.
absl::StatusOr<std::vector<std::string>> ReadHeader(TextFile* file) {
  constexpr uint64_t kHeaderMax = 16 << 20;
  TROUPE_TRY(const uint64_t newline, internal::FindNewline(*file, file->rows_begin));
  if (newline - file->rows_begin > kHeaderMax) return Bad(file->path + ":1", "header is longer than 16 MiB");
  std::string line(newline - file->rows_begin, '\0');
  TROUPE_TRY(const OpenTextFile text, OpenTextFile::Open(*file));
  TROUPE_RETURN_IF_ERROR(text.Read(file->rows_begin, line.size(), line.data()));
  file->rows_begin = std::min(newline + 1, file->size);
  TROUPE_TRY(const bool has_rows, internal::HasRows(*file, 0));
  if (!has_rows) return Bad(file->path, "no rows");
  std::vector<std::string> names;
  const std::string what = internal::ParseCsvHeader(line, &names);
  if (!what.empty()) return Bad(file->path + ":1", what);
  return names;
}

// Column that holds the label, or "" where none is wanted.
std::string LabelName(const SourceOptions& options) {
  if (!options.label.empty()) return options.label;
  if (options.label_kind == LabelKind::kNone) return "";
  return options.expected && !options.expected->label.empty() ? options.expected->label : "label";
}

bool Holds(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string Listed(const std::vector<std::string>& names) {
  constexpr size_t kNamesMax = 20;
  std::vector<std::string> some(names.begin(), names.begin() + static_cast<ptrdiff_t>(std::min(names.size(), kNamesMax)));
  return absl::StrCat(absl::StrJoin(some, ", "), names.size() > kNamesMax ? ", ..." : "");
}

// What each column of one file is. `origin` is who needs the features, for messages.
absl::StatusOr<std::vector<CsvColumn>> Assign(const std::string& path, const std::vector<std::string>& names, const Schema& schema, bool read_label,
                                              std::string_view origin) {
  if (!schema.label.empty() && !Holds(names, schema.label)) {
    return Bad(path, absl::StrCat("no column ", Quoted(schema.label), ", expected one of: ", Listed(names)));
  }
  std::unordered_map<std::string_view, uint32_t> feature_of;
  for (const std::string& name : schema.columns) feature_of.emplace(name, static_cast<uint32_t>(feature_of.size()));
  std::vector<CsvColumn> columns;
  for (const std::string& name : names) {
    CsvColumn& column = columns.emplace_back(CsvColumn{.name = name});
    if (name == schema.label) {
      column.use = read_label ? CsvColumn::Use::kLabel : CsvColumn::Use::kIgnored;
    } else if (const auto found = feature_of.find(name); found != feature_of.end()) {
      column.use = CsvColumn::Use::kFeature;
      column.feature = found->second;
    }
  }
  for (const std::string& name : schema.columns) {
    if (!Holds(names, name)) return Bad(path, absl::StrCat("no column ", Quoted(name), ", which ", Absl(origin)));
  }
  return columns;
}

absl::StatusOr<std::shared_ptr<const Source>> Open(const SourceOptions& options, std::vector<std::string> paths) {
  TROUPE_TRY(std::vector<TextFile> files, internal::OpenTextFiles(paths, options.spool_fds));
  Schema schema{.format = "csv", .label = LabelName(options), .columns = {}};
  std::vector<CsvRules> rules;
  uint64_t bytes = 0;
  for (TextFile& file : files) {
    TROUPE_TRY(const std::vector<std::string> names, ReadHeader(&file));
    if (rules.empty()) {
      schema.columns = options.expected ? options.expected->columns : names;
      std::erase(schema.columns, schema.label);
      if (schema.columns.empty()) return Bad(file.path, absl::StrCat("no columns besides ", Quoted(schema.label), ", expected features"));
    }
    const std::string origin = options.expected ? "the model needs" : absl::StrCat(files[0].path, " has");
    TROUPE_TRY(auto columns, Assign(file.path, names, schema, options.label_kind != LabelKind::kNone, origin));
    if (!options.expected) {
      for (const std::string& name : names) {
        if (name != schema.label && !Holds(schema.columns, name)) return Bad(file.path, absl::StrCat("column ", Quoted(name), " is not in ", files[0].path));
      }
    }
    rules.push_back({std::move(columns), static_cast<uint32_t>(schema.columns.size()), options.label_kind, options.skip_bad_rows});
    bytes += file.size;
  }
  const uint64_t piece_size = internal::PieceSize(bytes, options.splits);
  return std::make_shared<CsvSource>(TextPieces(std::move(files), piece_size), std::move(rules), std::move(schema));
}

const bool registered = RegisterFormat({.name = "csv", .extensions = {".csv"}, .place = 2, .open = Open});

}   // namespace
}   // namespace troupe
