#include "ps/encoding/compressor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "ps/encoding/filter.h"
#include "ps/encoding/value_codec.h"
#include "ps/internal/finite.h"

namespace troupe {
namespace {

using Filter = Encoding::Filter;

using RandomWords = std::array<uint64_t, sizeof(Random) / sizeof(uint64_t)>;

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

bool Compressor::Keeps(std::span<const TableSpec> tables) {
  return std::ranges::any_of(tables, [](const TableSpec& spec) { return spec.encoding.feedback || spec.encoding.filter == Filter::kRandomK; });
}

// A table with state after the other: its random numbers, how many keys there are, the keys, how many floats, the floats (two in a word).
Block Compressor::State() const {
  std::vector<uint64_t> words;
  for (const Of& of : tables_) {
    if (!Keeps({&of.spec, 1})) continue;
    const auto random = std::bit_cast<RandomWords>(of.random);   // copying it copies its position
    words.insert(words.end(), random.begin(), random.end());
    words.push_back(of.places.keys().size());
    words.insert(words.end(), of.places.keys().begin(), of.places.keys().end());
    words.push_back(of.kept.size());
    const size_t at = words.size();
    words.resize(at + (of.kept.size() + 1) / 2);
    if (!of.kept.empty()) std::memcpy(&words[at], of.kept.data(), of.kept.size() * sizeof(float));
  }
  return words.empty() ? Block() : Block::Adopt(std::move(words));
}

absl::Status Compressor::GoOn(const Block& state) {
  const absl::Status refused = absl::InvalidArgumentError("what a writer has kept of its pushes is cut, or of other tables");
  if (!state.IsArrayOf<uint64_t>()) return refused;
  std::span<const uint64_t> words = state.As<uint64_t>();
  const auto take = [&](uint64_t count) {
    std::span<const uint64_t> taken = words.first(count);
    words = words.subspan(count);
    return taken;
  };
  std::vector<Of> tables = tables_;
  for (Of& of : tables) {
    if (!Keeps({&of.spec, 1})) continue;
    RandomWords random{};
    if (words.size() <= random.size()) return refused;
    std::ranges::copy(take(random.size()), random.begin());
    of.random = std::bit_cast<Random>(random);
    const uint64_t keys = take(1)[0];
    if (words.size() <= keys) return refused;
    of.places.Start(keys);
    for (const Key key : take(keys)) of.places.Column(key);
    const uint64_t floats = take(1)[0];
    if (floats != of.places.keys().size() * of.spec.width && floats != 0) return refused;
    if (words.size() < (floats + 1) / 2) return refused;
    of.kept.resize(floats);
    const std::span<const uint64_t> kept = take((floats + 1) / 2);
    if (floats > 0) std::memcpy(of.kept.data(), kept.data(), floats * sizeof(float));
  }
  if (!words.empty()) return refused;
  tables_ = std::move(tables);
  return absl::OkStatus();
}

std::span<const float> Compressor::Kept(uint32_t table, Key key) const {
  const Of& of = tables_[table];
  const std::vector<Key>& keys = of.places.keys();
  const auto found = std::find(keys.begin(), keys.end(), key);   // for tests: the way that pushes go would number the key
  if (found == keys.end() || of.kept.empty()) return {};
  return std::span(of.kept).subspan(static_cast<size_t>(found - keys.begin()) * of.spec.width, of.spec.width);
}

}   // namespace troupe
