// A range as bytes and back: Table::Visit, Save and Load.
#include <algorithm>
#include <cstring>
#include <vector>

#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/internal/range_cursor.h"
#include "ps/internal/sole_owner.h"
#include "ps/internal/table_impl.h"

namespace troupe {
namespace {

using internal::DenseRange;
using internal::RowStore;

constexpr uint64_t kMagic = 0x34474e52'50525426;         // changes with the layout
constexpr uint64_t kMagicLimits = 0x35474e52'50525426;   // of a table with limits

/// Then, sparse: the keys, rising, and the rows; dense: the arrays of DenseRange::CopyTo. With limits: when each row was last touched (uint32), a Limited, and
/// where the table counts touches of other keys, those.
struct Header {
  uint64_t magic;
  uint32_t width, floats, range, ranges;
  uint64_t table_rows;   // 0: sparse
  uint64_t rows;         // of this range
  char rule[24];
};
static_assert(sizeof(Header) == 64);

struct Limited {
  uint64_t dropped, evicted;
};

Header HeaderOf(const TableSpec& spec, uint32_t floats, uint32_t range, uint32_t ranges, uint64_t rows) {
  Header header{.magic = spec.limits.any() ? kMagicLimits : kMagic,
                .width = spec.width,
                .floats = floats,
                .range = range,
                .ranges = ranges,
                .table_rows = spec.rows.value_or(0),
                .rows = rows,
                .rule = {}};
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
  for (RangeCursor cursor(*impl_, place); cursor.Next();) visit(cursor.key(), cursor.row());
}

Block Table::Save(uint32_t range) const {
  TROUPE_CHECK(Owns(range));
  const size_t row_bytes = impl_->floats * sizeof(float);
  const uint64_t count = rows(range);
  const internal::RangeLimits* limits = impl_->limits == nullptr ? nullptr : &impl_->limits->ranges[impl_->Place(range)];
  std::vector<std::byte> touches;
  if (limits != nullptr && limits->admission) limits->admission->AppendTo(&touches);
  const Header header = HeaderOf(impl_->spec, impl_->floats, range, impl_->partition.ranges(), count);
  BlockBuilder out(sizeof header + count * (row_bytes + (impl_->partition.dense() ? 0 : sizeof(Key))) +
                   (limits == nullptr ? 0 : count * sizeof(uint32_t) + sizeof(Limited) + touches.size()));
  std::memcpy(out.data(), &header, sizeof header);
  std::byte* keys = out.data() + sizeof header;
  if (impl_->partition.dense()) {
    impl_->dense[impl_->Place(range)]->CopyTo(keys);
    return std::move(out).Finish();
  }
  std::byte* row_at = keys + count * sizeof(Key);
  std::byte* time_at = row_at + count * row_bytes;
  std::byte* end = time_at;
  uint64_t left = count;   // where the tier has lost rows there are fewer
  for (RangeCursor cursor(*impl_, impl_->Place(range)); left > 0 && cursor.Next(); --left) {
    const Key key = cursor.key();
    std::memcpy(keys, &key, sizeof key);
    std::memcpy(row_at, cursor.row(), row_bytes);
    keys += sizeof key;
    row_at += row_bytes;
    if (limits == nullptr) continue;
    const uint32_t time = internal::MarkOf(cursor.row(), impl_->floats).time;
    std::memcpy(time_at, &time, sizeof time);
    time_at += sizeof time;
  }
  if (limits == nullptr) return std::move(out).Finish();
  end += count * sizeof(uint32_t);
  const Limited limited{limits->dropped, limits->evicted};
  std::memcpy(end, &limited, sizeof limited);
  if (!touches.empty()) std::memcpy(end + sizeof limited, touches.data(), touches.size());
  return std::move(out).Finish();
}

absl::Status Table::Load(uint32_t range, const Block& bytes) {
  TROUPE_RETURN_IF_ERROR(impl_->CheckRange(range));
  const auto refuse = [&](std::string_view what) { return impl_->Refuse(absl::StrCat("bytes of range ", range, ": ", Absl(what))); };
  Header header;
  if (bytes.size() < sizeof header) return refuse(absl::StrCat("cut, ", bytes.size(), " bytes, expected a header of ", sizeof header));
  std::memcpy(&header, bytes.data(), sizeof header);
  const Header expected = HeaderOf(impl_->spec, impl_->floats, range, impl_->partition.ranges(), header.rows);
  if (header.magic != expected.magic) return refuse("not a range of a table, or of another version");
  if (std::memcmp(&header, &expected, sizeof header) != 0) return refuse("of another table: width, rule, rows, range or number of ranges differ");
  const uint32_t floats = impl_->floats;
  const bool dense = impl_->partition.dense();
  const bool limited = impl_->limits != nullptr;
  const size_t row_bytes = floats * sizeof(float) + (dense ? 0 : sizeof(Key)) + (limited ? sizeof(uint32_t) : 0);
  const size_t payload = bytes.size() - sizeof header;
  if (limited ? payload / row_bytes < header.rows : payload / row_bytes != header.rows || payload % row_bytes != 0)
    return refuse(absl::StrCat(payload, " bytes behind the header, expected ", header.rows, " rows"));
  const std::byte* keys = bytes.data() + sizeof header;
  const uint32_t place = impl_->Place(range);
  if (dense) {
    if (header.rows != impl_->partition.RowsIn(range)) return refuse(absl::StrCat(header.rows, " rows, expected ", impl_->partition.RowsIn(range)));
    if (!impl_->dense[place]->AreCounts(keys)) return refuse("counts of pushes that are negative or no numbers");
    if (impl_->dense[place].use_count() > 1) impl_->dense[place] = impl_->NewDense(range);
    internal::AfterOthers(impl_->dense[place]);
    impl_->Touched(place);
    impl_->dense[place]->CopyFrom(keys);
    return absl::OkStatus();
  }
  const std::byte* times = keys + header.rows * (sizeof(Key) + floats * sizeof(float));
  internal::RangeLimits read;
  if (limited) {
    Limited counts;
    std::span<const std::byte> rest(times + header.rows * sizeof(uint32_t), bytes.data() + bytes.size());
    if (rest.size() < sizeof counts) return refuse("cut in what it says of limits");
    std::memcpy(&counts, rest.data(), sizeof counts);
    rest = rest.subspan(sizeof counts);
    read.dropped = counts.dropped;
    read.evicted = counts.evicted;
    if (impl_->spec.limits.admit_after > 1 && !read.admission.emplace(impl_->spec.limits.admit_after).Read(&rest)) return refuse("damaged counts of touches");
    if (!rest.empty()) return refuse(absl::StrCat(rest.size(), " bytes too many"));
  }
  RowStore rows = impl_->NewStore();
  std::vector<Key> all(header.rows);
  if (!all.empty()) std::memcpy(all.data(), keys, all.size() * sizeof(Key));
  rows.MakeRoom(all);
  Key previous = 0;
  for (uint64_t i = 0; i < header.rows; previous = all[i++]) {
    const Key key = all[i];
    if (i > 0 && key <= previous) return refuse(absl::StrCat("key ", key, " behind key ", previous, ", expected rising keys"));
    if (impl_->partition.RangeOf(key) != range) return refuse(absl::StrCat("key ", key, " is in range ", impl_->partition.RangeOf(key)));
    float* row = rows.Row(rows.FindOrMake(key));
    std::memcpy(row, keys + header.rows * sizeof(Key) + i * floats * sizeof(float), floats * sizeof(float));
    if (!limited) continue;
    uint32_t time;
    std::memcpy(&time, times + i * sizeof time, sizeof time);
    if (time > internal::RowMark::kTimeMax) return refuse(absl::StrCat("key ", key, " was last touched in round ", time));
    internal::MarkOf(row, floats).Touch(time);
  }
  if (impl_->tier() != nullptr) TROUPE_RETURN_IF_ERROR(impl_->tier()->Clear(range));
  impl_->sparse[place] = std::make_shared<RowStore>(std::move(rows));
  impl_->Touched(place);
  if (!limited) return absl::OkStatus();
  impl_->limits->ranges[place] = std::move(read);
  impl_->Settle(place);
  return absl::OkStatus();
}

}   // namespace troupe
