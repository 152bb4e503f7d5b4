// A range as bytes and back: Table::Visit, Save and Load.
#include <algorithm>
#include <cstring>
#include <vector>

#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/table_impl.h"

namespace troupe {
namespace {

using internal::DenseRange;
using internal::RowStore;

constexpr uint64_t kMagic = 0x32474e52'50525426;   // changes with the layout

/// Then, sparse: the keys, rising, and the rows; dense: the arrays of DenseRange::CopyTo.
struct Header {
  uint64_t magic;
  uint32_t width, floats, range, ranges;
  uint64_t table_rows;   // 0: sparse
  uint64_t rows;         // of this range
  char rule[24];
};
static_assert(sizeof(Header) == 64);

Header HeaderOf(const TableSpec& spec, uint32_t floats, uint32_t range, uint32_t ranges, uint64_t rows) {
  Header header{
      .magic = kMagic, .width = spec.width, .floats = floats, .range = range, .ranges = ranges, .table_rows = spec.rows.value_or(0), .rows = rows, .rule = {}};
  spec.rule.copy(header.rule, sizeof header.rule);
  return header;
}

}   // namespace

void Table::Visit(uint32_t range, const std::function<void(Key, const float* row)>& visit) const {
  const uint32_t place = impl_->Place(range);
  if (impl_->partition.dense()) {
    const DenseRange& rows = *impl_->dense.at(place);
    std::vector<float> row(impl_->floats);
    for (uint64_t i = 0; i < rows.rows(); ++i) {
      rows.CopyRow(i, row.data());
      visit(impl_->partition.FirstRow(range) + i, row.data());
    }
    return;
  }
  const RowStore& rows = *impl_->sparse.at(place);
  for (const auto& [key, slot] : rows.Sorted()) visit(key, rows.Row(slot));
}

Block Table::Save(uint32_t range) const {
  TROUPE_CHECK(Owns(range));
  const size_t row_bytes = impl_->floats * sizeof(float);
  const uint64_t count = impl_->partition.dense() ? impl_->partition.RowsIn(range) : impl_->sparse[impl_->Place(range)]->rows();
  const Header header = HeaderOf(impl_->spec, impl_->floats, range, impl_->partition.ranges(), count);
  BlockBuilder out(sizeof header + count * (row_bytes + (impl_->partition.dense() ? 0 : sizeof(Key))));
  std::memcpy(out.data(), &header, sizeof header);
  std::byte* keys = out.data() + sizeof header;
  if (impl_->partition.dense()) {
    impl_->dense[impl_->Place(range)]->CopyTo(keys);
    return std::move(out).Finish();
  }
  std::byte* row_at = keys + count * sizeof(Key);
  Visit(range, [&](Key key, const float* row) {
    std::memcpy(keys, &key, sizeof key);
    std::memcpy(row_at, row, row_bytes);
    keys += sizeof key;
    row_at += row_bytes;
  });
  return std::move(out).Finish();
}

absl::Status Table::Load(uint32_t range, const Block& bytes) {
  TROUPE_RETURN_IF_ERROR(impl_->CheckRange(range));
  const auto refuse = [&](std::string_view what) { return impl_->Refuse(absl::StrCat("bytes of range ", range, ": ", Absl(what))); };
  Header header;
  if (bytes.size() < sizeof header) return refuse(absl::StrCat("cut, ", bytes.size(), " bytes, expected a header of ", sizeof header));
  std::memcpy(&header, bytes.data(), sizeof header);
  const Header expected = HeaderOf(impl_->spec, impl_->floats, range, impl_->partition.ranges(), header.rows);
  if (header.magic != kMagic) return refuse("not a range of a table, or of another version");
  if (std::memcmp(&header, &expected, sizeof header) != 0) return refuse("of another table: width, rule, rows, range or number of ranges differ");
  const uint32_t floats = impl_->floats;
  const bool dense = impl_->partition.dense();
  const size_t row_bytes = floats * sizeof(float) + (dense ? 0 : sizeof(Key));
  const size_t payload = bytes.size() - sizeof header;
  if (payload / row_bytes != header.rows || payload % row_bytes != 0)
    return refuse(absl::StrCat(payload, " bytes behind the header, expected ", header.rows, " rows"));
  const std::byte* keys = bytes.data() + sizeof header;
  const uint32_t place = impl_->Place(range);
  if (dense) {
    if (header.rows != impl_->partition.RowsIn(range)) return refuse(absl::StrCat(header.rows, " rows, expected ", impl_->partition.RowsIn(range)));
    if (impl_->dense[place].use_count() > 1) impl_->dense[place] = impl_->NewDense(range);
    impl_->dense[place]->CopyFrom(keys);
    return absl::OkStatus();
  }
  RowStore rows(impl_->arena, floats);
  rows.MakeRoom(header.rows);
  Key key, previous = 0;
  for (uint64_t i = 0; i < header.rows; ++i, previous = key) {
    std::memcpy(&key, keys + i * sizeof key, sizeof key);
    if (i > 0 && key <= previous) return refuse(absl::StrCat("key ", key, " behind key ", previous, ", expected rising keys"));
    if (impl_->partition.RangeOf(key) != range) return refuse(absl::StrCat("key ", key, " is in range ", impl_->partition.RangeOf(key)));
    std::memcpy(rows.Row(rows.FindOrMake(key, HashKey(key))), keys + header.rows * sizeof key + i * floats * sizeof(float), floats * sizeof(float));
  }
  impl_->sparse[place] = std::make_shared<RowStore>(std::move(rows));
  return absl::OkStatus();
}

}   // namespace troupe
