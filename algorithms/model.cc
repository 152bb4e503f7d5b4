// Models from parts: verify, decode, arrange for quick look-ups.
#include "algorithms/model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "absl/strings/str_split.h"
#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"
#include "algorithms/registry.h"
#include "ps/snapshot.h"

namespace troupe {
namespace {

/// Keys are small if an array over all of them is: up to 16 MiB, or 8 places a row.
bool AreSmall(Key largest, size_t rows) {
  return largest < std::max<uint64_t>(uint64_t{1} << 22, 8 * uint64_t{rows});
}

std::string PathIn(const std::string& folder, std::string_view name) {
  return folder.ends_with('/') ? absl::StrCat(folder, Absl(name)) : absl::StrCat(folder, "/", Absl(name));
}

std::string_view TextOf(const Block& block) {
  return {reinterpret_cast<const char*>(block.data()), block.size()};
}

/// Exact: whole numbers as such (a count of 100000 is not 1e+05), floats as floats, else doubles.
void AppendValue(double value, std::string& out) {
  if (value == std::floor(value) && std::abs(value) < 0x1p53)
    absl::StrAppend(&out, static_cast<int64_t>(value));
  else if (const auto narrow = static_cast<float>(value); static_cast<double>(narrow) == value)
    absl::StrAppend(&out, Exact(narrow));
  else
    absl::StrAppend(&out, Exact(value));
}

}   // namespace

absl::StatusOr<Model::TableRows> Model::Arrange(const std::vector<ExportedRows>& ranges, uint32_t width) {
  TableRows table{.width = width, .keys = {}, .values = {}, .wide = {}, .row_of = {}, .row_of_large = {}, .direct = {}};
  size_t rows = 0;
  Key largest = 0;
  bool wide = false;
  for (const ExportedRows& range : ranges) {
    if (range.width != width) return absl::InvalidArgumentError(absl::StrCat("rows of width ", range.width, ", expected ", width));
    rows += range.keys.size();
    if (!range.keys.empty()) largest = std::max(largest, range.keys.back());
    wide |= range.wide;
  }
  if (rows >= std::numeric_limits<uint32_t>::max()) return absl::OutOfRangeError(absl::StrCat(rows, " rows, expected fewer than 2^32"));
  const auto twice = [](Key key) { return absl::InvalidArgumentError(absl::StrCat("key ", key, " is there twice")); };
  std::vector<Key>& keys = table.keys;
  keys.reserve(rows);
  const bool small = AreSmall(largest, rows);
  if (small) {
    table.row_of.resize(rows == 0 ? 0 : largest + 1);
    for (const ExportedRows& range : ranges) {
      for (const Key key : range.keys)
        if (table.row_of[key]++ != 0) return twice(key);
    }
    for (Key key = 0; key < table.row_of.size(); ++key) {
      if (table.row_of[key] == 0) continue;
      keys.push_back(key);
      table.row_of[key] = static_cast<uint32_t>(keys.size());
    }
  } else {
    for (const ExportedRows& range : ranges) keys.insert(keys.end(), range.keys.begin(), range.keys.end());
    std::sort(keys.begin(), keys.end());
    table.row_of_large.reserve(rows);
    for (size_t i = 0; i < rows; ++i)
      if (!table.row_of_large.emplace(keys[i], static_cast<uint32_t>(i + 1)).second) return twice(keys[i]);
  }
  table.values.resize(rows * width);
  if (wide) table.wide.resize(rows * width);
  if (small && width == 1 && rows > 0) table.direct.resize(largest + 1);
  for (const ExportedRows& range : ranges) {
    for (size_t i = 0; i < range.keys.size(); ++i) {
      const Key key = range.keys[i];
      const size_t row = (small ? table.row_of[key] : table.row_of_large.find(key)->second) - size_t{1};
      for (uint32_t c = 0; c < width; ++c) {
        const double value = range.Value(i, c);
        table.values[row * width + c] = static_cast<float>(value);
        if (wide) table.wide[row * width + c] = value;
      }
      if (!table.direct.empty()) table.direct[key] = table.values[row];
    }
  }
  return table;
}

absl::StatusOr<std::unique_ptr<const Model>> Model::Make(Manifest manifest, std::vector<std::vector<ExportedRows>> rows) {
  TROUPE_CHECK(rows.size() == manifest.tables.size());
  auto model = std::unique_ptr<Model>(new Model());
  TROUPE_TRY(model->algorithm_, MakeAlgorithm(manifest.algorithm));
  TROUPE_TRY(const Params params, Params::Parse(model->algorithm_->params(), manifest.params));
  TROUPE_TRY(const Blueprint blueprint, model->algorithm_->Declare(params, DataShape::Of(manifest.schema)));
  bool same = blueprint.tables.size() == manifest.tables.size();
  for (size_t t = 0; same && t < rows.size(); ++t)
    same = blueprint.tables[t].name == manifest.tables[t].name && blueprint.tables[t].width == manifest.tables[t].width;
  if (!same) return absl::InvalidArgumentError(absl::StrCat("the tables are not those of ", manifest.algorithm));
  for (size_t t = 0; t < rows.size(); ++t) {
    auto table = Arrange(rows[t], manifest.tables[t].width);
    if (!table.ok()) return WithContext(table.status(), "table " + manifest.tables[t].name);
    manifest.tables[t].rows = table->keys.size();
    model->tables_.push_back(std::move(*table));
    rows[t].clear();
  }
  model->manifest_ = std::move(manifest);
  TROUPE_TRY(model->predictor_, model->algorithm_->MakePredictor(*model));
  return model;
}

void Model::Lookup(uint32_t table, std::span<const Key> keys, float* out) const {
  const TableRows& rows = tables_[table];
  for (const Key key : keys) {
    uint32_t row = 0;
    if (key < rows.row_of.size())
      row = rows.row_of[key];
    else if (const auto found = rows.row_of_large.find(key); found != rows.row_of_large.end())
      row = found->second;
    for (uint32_t c = 0; c < rows.width; ++c) *out++ = row == 0 ? 0.0f : rows.values[size_t{row - 1} * rows.width + c];
  }
}

RowsView Model::All(uint32_t table) const {
  return {tables_[table].keys, tables_[table].values, tables_[table].width};
}

double Model::Value(uint32_t table, size_t i, uint32_t column) const {
  const TableRows& rows = tables_[table];
  const size_t place = i * rows.width + column;
  return rows.wide.empty() ? static_cast<double>(rows.values[place]) : rows.wide[place];
}

absl::StatusOr<std::vector<Manifest::Part>> FindParts(Storage& storage, const std::string& folder) {
  TROUPE_TRY(const std::vector<std::string> names, storage.List(folder));
  std::vector<Manifest::Part> parts;
  for (const std::string& name : names) {
    if (!name.starts_with("part-")) continue;
    TROUPE_TRY(const Block bytes, storage.Read(PathIn(folder, name)));
    parts.push_back({name, bytes.size(), Checksum(bytes.data(), bytes.size())});
  }
  return parts;
}

absl::StatusOr<std::unique_ptr<const Model>> LoadParts(Storage& storage, const std::string& folder, Manifest manifest) {
  std::vector<std::vector<ExportedRows>> rows(manifest.tables.size());
  for (const Manifest::Part& part : manifest.parts) {
    const std::string path = PathIn(folder, part.name);
    TROUPE_TRY(const Block bytes, storage.Read(path));
    if (bytes.size() != part.bytes || Checksum(bytes.data(), bytes.size()) != part.checksum)
      return absl::DataLossError(absl::StrCat(path, ": checksum differs: cut or edited"));
    TROUPE_TRY(const std::vector<SnapshotSection> sections, ReadSnapshot(storage, path));
    for (const SnapshotSection& section : sections) {
      const std::vector<std::string> words = absl::StrSplit(section.name, '/');   // rows/TABLE/RANGE
      const auto table =
          std::find_if(manifest.tables.begin(), manifest.tables.end(), [&](const Manifest::Table& t) { return words.size() == 3 && words[1] == t.name; });
      if (words[0] != "rows" || table == manifest.tables.end())
        return absl::DataLossError(absl::StrCat(path, ": section '", section.name, "' belongs to no table of the model"));
      auto range = DecodeRows(section.bytes);
      if (!range.ok()) return WithContext(range.status(), path);
      rows[static_cast<size_t>(table - manifest.tables.begin())].push_back(std::move(*range));
    }
  }
  auto model = Model::Make(std::move(manifest), std::move(rows));
  if (!model.ok()) return WithContext(model.status(), PathIn(folder, "manifest.json"));
  return model;
}

absl::StatusOr<std::unique_ptr<const Model>> LoadModel(Storage& storage, const std::string& uri) {
  TROUPE_RETURN_IF_ERROR(storage.List(uri).status());   // the folder's own error: missing, or a file
  const std::string path = PathIn(uri, "manifest.json");
  const auto text = storage.Read(path);
  if (absl::IsNotFound(text.status())) return absl::NotFoundError(absl::StrCat(path, ": no such file: the folder is no model"));
  if (!text.ok()) return text.status();
  auto manifest = ParseManifest(TextOf(*text));
  if (!manifest.ok()) return WithContext(manifest.status(), path);
  const std::vector<Manifest::Table> tables = manifest->tables;
  TROUPE_TRY(auto model, LoadParts(storage, uri, *std::move(manifest)));
  if (model->manifest().tables != tables) return absl::DataLossError(absl::StrCat(path, ": rows differ from those of the parts"));
  return model;
}

std::string ShowModel(const Model& model, bool csv) {
  if (!csv) return ToJson(model.manifest());
  const std::vector<Manifest::Table>& tables = model.manifest().tables;
  std::string out = "table,key";
  uint32_t width = 1;
  for (const Manifest::Table& table : tables) width = std::max(width, table.width);
  for (uint32_t c = 0; c < width; ++c) absl::StrAppend(&out, ",value", c);
  out += "\n";
  std::vector<uint32_t> order(tables.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return tables[a].name < tables[b].name; });
  for (const uint32_t table : order) {
    const RowsView rows = model.All(table);
    for (size_t i = 0; i < rows.keys.size(); ++i) {
      absl::StrAppend(&out, tables[table].name, ",", rows.keys[i]);
      for (uint32_t c = 0; c < width; ++c) {
        out += ",";
        if (c < rows.width) AppendValue(model.Value(table, i, c), out);
      }
      out += "\n";
    }
  }
  return out;
}

}   // namespace troupe
