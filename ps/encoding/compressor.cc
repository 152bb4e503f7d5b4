#include "ps/encoding/compressor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ps/encoding/filter.h"
#include "ps/encoding/value_codec.h"
#include "ps/internal/finite.h"

namespace troupe {
namespace {

using Filter = Encoding::Filter;

/// Beyond it all that is kept is let go: a bound on memory.
constexpr size_t kKeptFloatsMax = size_t{1} << 28;

const GivenRows* Given(const TablePush& push, std::span<const GivenRows> given) {
  const auto found = std::find_if(given.begin(), given.end(), [&](const GivenRows& rows) {
    return rows.table == push.table && rows.values.size() == push.values.size() &&
           std::equal(rows.keys.begin(), rows.keys.end(), push.keys.begin(), push.keys.end());
  });
  return found == given.end() ? nullptr : &*found;
}

/// The filter's choice. Without the given rows nothing is known of weights, so all travel.
std::vector<uint32_t> KeptRows(const TableSpec& spec, const TablePush& push, const GivenRows* given, Random& random) {
  const FilteredRows rows{push.values, spec.width};
  const double number = spec.encoding.filter_number;
  switch (spec.encoding.filter) {
    case Filter::kTopK:
      return KeepTop(rows, number);
    case Filter::kRandomK:
      return KeepRandom(rows, number, random);
    case Filter::kThreshold:
      return KeepWhere(rows, [number](size_t, float magnitude) { return double{magnitude} >= number; });
    case Filter::kKkt:
      if (given == nullptr) break;
      // A weight of 0 is optimal as long as |gradient| <= l1.
      return KeepWhere(rows, [&](size_t i, float magnitude) {
        const FilteredRows weights{given->values, spec.width};
        return push.keys[i] < spec.penalised_from || weights.Magnitude(i) != 0 || double{magnitude} > spec.l1 - number;
      });
    case Filter::kNone:
      break;
  }
  std::vector<uint32_t> all(rows.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

/// Rows that are not kept go to the filtered ones.
void Compact(const std::vector<uint32_t>& kept, uint32_t width, TablePush& push) {
  size_t to = 0;
  for (uint32_t from = 0; from < push.keys.size(); ++from) {
    if (to == kept.size() || kept[to] != from) {
      push.filtered.push_back(push.keys[from]);
      if (!push.nonzeros.empty()) push.filtered_nonzeros.push_back(push.nonzeros[from]);
      continue;
    }
    push.keys[to] = push.keys[from];
    std::copy_n(push.values.begin() + static_cast<std::ptrdiff_t>(size_t{from} * width), width, push.values.begin() + static_cast<std::ptrdiff_t>(to * width));
    if (!push.nonzeros.empty()) push.nonzeros[to] = push.nonzeros[from];
    ++to;
  }
  push.keys.resize(to);
  push.values.resize(to * width);
  if (!push.nonzeros.empty()) push.nonzeros.resize(to);
}

}   // namespace

Compressor::Compressor(const std::vector<TableSpec>& tables, uint64_t seed, uint32_t writer) {
  for (uint32_t table = 0; table < tables.size(); ++table) {
    tables_.push_back({tables[table], Random(seed).Fork(writer).Fork(table), {}, {}});
    tables_.back().places.Start(0);
  }
}

void Compressor::Compress(std::span<TablePush> pushes, std::span<const GivenRows> given) {
  for (TablePush& push : pushes) {
    Of& of = tables_[push.table];
    if (of.spec.encoding.pushes_exact() || push.keys.empty() || !internal::AllFinite(push.values.data(), push.values.size())) continue;
    CompressOne(of, push, given);
  }
}

void Compressor::CompressOne(Of& of, TablePush& push, std::span<const GivenRows> given) {
  const Encoding& encoding = of.spec.encoding;
  const uint32_t width = of.spec.width;
  const GivenRows* rows = encoding.filter == Filter::kKkt ? Given(push, given) : nullptr;
  std::vector<uint32_t> places;
  if (encoding.feedback) {
    if (of.kept.size() > kKeptFloatsMax) {
      of.kept.clear();
      of.places.Start(0);
    }
    places.resize(push.keys.size());
    of.places.Columns(std::span<const Key>(push.keys), places.data());
    of.kept.resize(of.places.keys().size() * width);
    for (size_t i = 0; i < places.size(); ++i) {
      for (uint32_t j = 0; j < width; ++j) push.values[i * width + j] += of.kept[size_t{places[i]} * width + j];
    }
  }
  const size_t before = push.keys.size();
  const std::vector<uint32_t> kept = KeptRows(of.spec, push, rows, of.random);
  // A row that is filtered keeps all of itself; by KKT it keeps what it had: its gradient is at rest, not late.
  if (encoding.feedback && encoding.filter != Filter::kKkt) {
    for (size_t i = 0; i < before; ++i) std::copy_n(push.values.begin() + static_cast<std::ptrdiff_t>(i * width), width, &of.kept[size_t{places[i]} * width]);
  }
  if (kept.size() < before) Compact(kept, width, push);
  if (encoding.filter == Filter::kRandomK && !encoding.feedback) {
    const float scale = static_cast<float>(before) / static_cast<float>(kept.size());
    for (float& value : push.values) value *= scale;
  }
  std::vector<float> exact;
  if (encoding.feedback) exact = push.values;
  push.code = encoding.values;
  push.scale = ScaleOf(push.code, push.values);
  Quantise(push.code, push.scale, push.values);
  for (size_t i = 0; encoding.feedback && i < kept.size(); ++i) {
    for (uint32_t j = 0; j < width; ++j) of.kept[size_t{places[kept[i]]} * width + j] = exact[i * width + j] - push.values[i * width + j];
  }
}

std::span<const float> Compressor::Kept(uint32_t table, Key key) const {
  const Of& of = tables_[table];
  const std::vector<Key>& keys = of.places.keys();
  const auto found = std::find(keys.begin(), keys.end(), key);   // for tests: the way that pushes go would number the key
  if (found == keys.end() || of.kept.empty()) return {};
  return std::span(of.kept).subspan(static_cast<size_t>(found - keys.begin()) * of.spec.width, of.spec.width);
}

}   // namespace troupe
