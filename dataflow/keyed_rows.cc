#include "dataflow/keyed_rows.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"
#include "dataflow/internal/bad_text.h"
#include "dataflow/internal/text_file.h"
#include "dataflow/parquet_plugin.h"

namespace troupe {
namespace {

constexpr uint32_t kWidthMax = 65'536;
constexpr size_t kFlushBytes = 1 << 20;

std::string Header(uint32_t width) {
  std::string header = "key";
  for (uint32_t i = 0; i < width; ++i) absl::StrAppend(&header, ",v", i);
  return header;
}

absl::StatusOr<uint32_t> WidthOf(std::string_view header, const std::string& name) {
  const auto width = static_cast<uint64_t>(std::ranges::count(header, ','));
  if (width >= 1 && width <= kWidthMax && header == Header(static_cast<uint32_t>(width))) return static_cast<uint32_t>(width);
  return absl::InvalidArgumentError(
      absl::StrCat(name, ":1: header is ", internal::Quoted(header), ", expected key,v0,v1,... with 1 to ", kWidthMax, " values"));
}

std::string_view WithoutReturn(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

/// What is wrong with the line; empty: nothing, and its row is added.
std::string AddLine(std::string_view line, KeyedRows& rows) {
  const auto fields = static_cast<uint64_t>(std::ranges::count(line, ',')) + 1;
  if (fields != rows.width + uint64_t{1}) return absl::StrCat(fields, " fields, expected ", rows.width + 1);
  const size_t comma = line.find(',');
  uint64_t key = 0;
  const auto [key_end, key_error] = std::from_chars(line.data(), line.data() + comma, key);
  if (key_error != std::errc() || key_end != line.data() + comma)
    return absl::StrCat("key is ", internal::Quoted(line.substr(0, comma)), ", expected a whole number below 2^64");
  rows.keys.push_back(key);
  for (uint32_t i = 0; i < rows.width; ++i) {
    line.remove_prefix(line.find(',') + 1);
    const std::string_view field = line.substr(0, line.find(','));
    float value = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
    if (error != std::errc() || end != field.data() + field.size() || !std::isfinite(value))
      return absl::StrCat("v", i, " is ", internal::Quoted(field), ", expected a finite number");
    rows.values.push_back(value);
  }
  return "";
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  TROUPE_TRY(const std::vector<internal::TextFile> files, internal::OpenTextFiles({path}, {}));
  TROUPE_TRY(const internal::OpenTextFile open, internal::OpenTextFile::Open(files[0]));
  std::string text(files[0].size - files[0].rows_begin, '\0');
  TROUPE_RETURN_IF_ERROR(open.Read(files[0].rows_begin, text.size(), text.data()));
  return text;
}

absl::Status WrongExtension(const std::string& uri) {
  return absl::InvalidArgumentError(absl::StrCat(uri, ": expected a .csv (or .csv.gz, .csv.zst) or .parquet file"));
}

}   // namespace

std::pair<size_t, size_t> FindTwice(const std::vector<uint64_t>& keys) {
  std::vector<size_t> order(keys.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return keys[i]; });
  std::pair<size_t, size_t> first{keys.size(), keys.size()};
  for (size_t i = 1; i < order.size(); ++i) {
    if (keys[order[i]] == keys[order[i - 1]] && order[i] < first.first) first = {order[i], order[i - 1]};
  }
  return first;
}

absl::StatusOr<KeyedRows> ParseKeyedRows(std::string_view text, const std::string& name) {
  KeyedRows rows;
  std::vector<uint64_t> lines;   // by row; blank ones are none
  uint64_t number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = WithoutReturn(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (++number == 1) {
      TROUPE_TRY(rows.width, WidthOf(line, name));
      continue;
    }
    if (line.empty()) continue;
    if (const std::string what = AddLine(line, rows); !what.empty()) return absl::InvalidArgumentError(absl::StrCat(name, ":", number, ": ", what));
    lines.push_back(number);
  }
  if (number == 0) return absl::InvalidArgumentError(absl::StrCat(name, ": file is empty, expected the header key,v0,v1,..."));
  if (const auto [second, first] = FindTwice(rows.keys); second < rows.keys.size())
    return absl::InvalidArgumentError(
        absl::StrCat(name, ":", lines[second], ": key ", rows.keys[second], " is there twice, first in line ", lines[first], ", expected distinct keys"));
  return rows;
}

absl::StatusOr<KeyedRows> ReadKeyedRows(const std::string& uri) {
  TROUPE_TRY(const std::string path, LocalPath(uri));
  const FileExtension extension = ExtensionOf(path);
  if (extension.format == ".csv") {
    TROUPE_TRY(const std::string text, ReadText(path));
    return ParseKeyedRows(text, uri);
  }
  if (extension.format != ".parquet" || extension.compression != Compression::kNone) return WrongExtension(uri);
  TROUPE_TRY(KeyedRows rows, ReadKeyedParquet(path));
  if (const auto [second, first] = FindTwice(rows.keys); second < rows.keys.size())
    return absl::InvalidArgumentError(
        absl::StrCat(uri, ": row ", second + 1, ": key ", rows.keys[second], " is there twice, first in row ", first + 1, ", expected distinct keys"));
  return rows;
}

std::string KeyedRowsCsv(const KeyedRows& rows) {
  std::string text = Header(rows.width) + "\n";
  char number[32];
  for (size_t i = 0; i < rows.keys.size(); ++i) {
    text.append(number, std::to_chars(number, number + sizeof number, rows.keys[i]).ptr);
    for (size_t j = i * rows.width; j < (i + 1) * rows.width; ++j) {
      text += ',';
      text.append(number, std::to_chars(number, number + sizeof number, rows.values[j]).ptr);
    }
    text += '\n';
  }
  return text;
}

absl::Status WriteKeyedRows(const KeyedRows& rows, const std::string& uri) {
  const FileExtension extension = ExtensionOf(uri);
  const bool parquet = extension.format == ".parquet";
  if ((!parquet && extension.format != ".csv") || (parquet && extension.compression != Compression::kNone)) return WrongExtension(uri);
  TROUPE_TRY(const std::unique_ptr<OutputFile> file, OutputFile::Open(uri));
  if (parquet) {
    TROUPE_RETURN_IF_ERROR(WriteKeyedParquet(rows, file.get()));
    return file->Commit();
  }
  std::string_view text;
  const std::string csv = KeyedRowsCsv(rows);
  const std::string compressed = extension.compression == Compression::kNone ? "" : Compress(csv, extension.compression);
  text = extension.compression == Compression::kNone ? csv : compressed;
  for (; !text.empty(); text.remove_prefix(std::min(text.size(), kFlushBytes))) TROUPE_RETURN_IF_ERROR(file->Write(text.substr(0, kFlushBytes)));
  return file->Commit();
}

}   // namespace troupe
