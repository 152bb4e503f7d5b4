#include "ps/export.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "actors/check.h"
#include "actors/text.h"
#include "ps/update_rule.h"

namespace troupe {
namespace {

constexpr uint64_t kMagic = 0x31535752'50525426;   // changes with the layout

struct Header {
  uint64_t magic;
  uint64_t checksum;   // XXH3 64 of everything behind this field
  uint64_t rows;
  uint32_t width;
  uint32_t wide;
};
static_assert(sizeof(Header) == 32);

constexpr size_t kUnchecked = 16;   // magic and checksum

uint64_t Checksum(const std::byte* bytes, size_t size) {
  return XXH3_64bits(bytes + kUnchecked, size - kUnchecked);
}

absl::Status Bad(const char* what) {
  return absl::DataLossError(absl::StrCat("model part: ", what));
}

template <class T>
bool CopyFinite(const std::byte* from, size_t count, std::vector<T>* to) {
  to->resize(count);
  if (count > 0) std::memcpy(to->data(), from, count * sizeof(T));
  return std::all_of(to->begin(), to->end(), [](T value) { return std::isfinite(value); });
}

}   // namespace

ExportedRows RowsOf(const Table& table, uint32_t range) {
  const UpdateRule& rule = table.rule();
  ExportedRows rows;
  rows.width = table.spec().width;
  rows.wide = rule.wide();
  const bool keeps_zeros = table.partition().dense() || table.spec().init.kind != RowInit::Kind::kZero;
  std::vector<double> values(rows.width);
  table.Visit(range, [&](Key key, const float* row) {
    for (uint32_t i = 0; i < rows.width; ++i) values[i] = rule.Value(row, rows.width, i, table.Penalises(key));
    if (!keeps_zeros && std::all_of(values.begin(), values.end(), [](double value) { return value == 0; })) return;
    rows.keys.push_back(key);
    for (const double value : values) rows.wide ? rows.wide_values.push_back(value) : rows.values.push_back(static_cast<float>(value));
  });
  return rows;
}

Block EncodeRows(const ExportedRows& rows) {
  const size_t count = rows.keys.size() * rows.width;
  TROUPE_CHECK(rows.values.size() == (rows.wide ? 0 : count) && rows.wide_values.size() == (rows.wide ? count : 0));
  const size_t key_bytes = rows.keys.size() * sizeof(Key);
  const size_t value_bytes = count * (rows.wide ? sizeof(double) : sizeof(float));
  BlockBuilder out(sizeof(Header) + key_bytes + value_bytes);
  Header header{kMagic, 0, rows.keys.size(), rows.width, rows.wide};
  std::memcpy(out.data(), &header, sizeof header);
  if (key_bytes > 0) std::memcpy(out.data() + sizeof header, rows.keys.data(), key_bytes);
  const void* values = rows.wide ? static_cast<const void*>(rows.wide_values.data()) : rows.values.data();
  if (value_bytes > 0) std::memcpy(out.data() + sizeof header + key_bytes, values, value_bytes);
  header.checksum = Checksum(out.data(), out.size());
  std::memcpy(out.data(), &header, sizeof header);
  return std::move(out).Finish();
}

absl::StatusOr<ExportedRows> DecodeRows(const Block& bytes) {
  Header header;
  if (bytes.size() < sizeof header) return Bad("cut in its header");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kMagic) return Bad("not a part of a model, or of another version");
  if (header.width == 0 || header.width > 65536 || header.wide > 1) return Bad("width outside 1 .. 65536");
  const size_t value_size = header.wide ? sizeof(double) : sizeof(float);
  const size_t row_size = sizeof(Key) + header.width * value_size;
  const size_t payload = bytes.size() - sizeof header;
  if (payload / row_size != header.rows || payload % row_size != 0) return Bad("cut, or longer than its header says");
  if (Checksum(bytes.data(), bytes.size()) != header.checksum) return Bad("its bytes have changed since it was written (checksum differs)");

  ExportedRows rows;
  rows.width = header.width;
  rows.wide = header.wide == 1;
  rows.keys.resize(header.rows);
  const std::byte* keys = bytes.data() + sizeof header;
  if (header.rows > 0) std::memcpy(rows.keys.data(), keys, header.rows * sizeof(Key));
  if (std::adjacent_find(rows.keys.begin(), rows.keys.end(), std::greater_equal<>()) != rows.keys.end()) return Bad("keys do not rise");
  const std::byte* values = keys + header.rows * sizeof(Key);
  const bool finite =
      rows.wide ? CopyFinite(values, header.rows * header.width, &rows.wide_values) : CopyFinite(values, header.rows * header.width, &rows.values);
  if (!finite) return Bad("a value is not finite");
  return rows;
}

Block ExportRange(const Table& table, uint32_t range) {
  return EncodeRows(RowsOf(table, range));
}

}   // namespace troupe
