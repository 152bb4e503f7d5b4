#include "ps/router.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/network.h"
#include "actors/status.h"
#include "actors/stream_copy.h"
#include "ps/encoding/key_codec.h"
#include "ps/encoding/key_lists.h"

namespace troupe {
namespace {

absl::Status CheckNumbers(size_t shard, const Block& block, uint64_t floats) {
  if (block.IsArrayOf<float>() && block.As<float>().size() == floats) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("shard ", shard, " answered ", block.size(), " bytes, expected ", floats, " numbers"));
}

absl::Status CheckAnswer(const RoutedPull::Share& share, size_t shard, size_t message, const Block& block) {
  return CheckNumbers(shard, block, share.FloatsOf(message));
}

}   // namespace

/// Keys of one table sorted by range, shard by shard (stable): order[begin[i] .. begin[i + 1]) are the positions of the keys of range Order::range_at[i].
struct Router::Grouped {
  std::vector<uint32_t> begin, order;
};

Router::Router(std::vector<TableSpec> tables, uint32_t shards) : tables_(std::move(tables)), shards_(PlacesOf(tables_, shards)) {
  for (const TableSpec& spec : tables_) {
    partitions_.emplace_back(spec, shards);
    first_slot_.push_back(slots_);
    slots_ += partitions_.back().ranges();
  }
  placement_ = PlacementOf(RangeMap(tables_, shards));
}

std::shared_ptr<const Router::Placement> Router::PlacementOf(RangeMap map) {
  auto placement = std::make_shared<Placement>();
  for (uint32_t table = 0; table < map.tables(); ++table) {
    Order& order = placement->orders.emplace_back();
    for (uint32_t range = 0; range < map.ranges(table); ++range) {
      order.range_at.push_back(range);
      order.shard_of.push_back(map.ShardOf(table, range));
    }
    if (std::ranges::is_sorted(order.shard_of)) continue;
    std::ranges::stable_sort(order.range_at, {}, [&](uint32_t range) { return order.shard_of[range]; });
    order.place_of.resize(order.range_at.size());
    for (uint32_t place = 0; place < order.range_at.size(); ++place) order.place_of[order.range_at[place]] = place;
  }
  placement->map = std::move(map);
  return placement;
}

void Router::Follow(RangeMap map) const {
  const std::shared_ptr<const Placement> next = PlacementOf(std::move(map));
  std::shared_ptr<const Placement> now = Now();
  while (now->map.epoch() < next->map.epoch() && !placement_.compare_exchange_weak(now, next)) {
  }
}

uint32_t Router::SortedRanges(uint32_t table) const {
  return tables_[table].encoding.delta_keys && !tables_[table].rows ? partitions_[table].ranges() : 0;
}

/// Nothing where no table of the parts wants it. `pushes`: empty for a pull.
template <class Part>
void Router::FillPacking(std::span<const Part> parts, std::span<const TablePush> pushes, Packing& packing) const {
  if (std::all_of(parts.begin(), parts.end(), [this](const Part& part) { return tables_[part.table].encoding == Encoding(); })) return;
  for (size_t i = 0; i < parts.size(); ++i) {
    const uint32_t table = parts[i].table;
    if (i == 0 || table != parts[i - 1].table) {
      packing.ranges.push_back(SortedRanges(table));
      const auto push = std::find_if(pushes.begin(), pushes.end(), [table](const TablePush& p) { return p.table == table; });
      if (push != pushes.end()) packing.values.push_back({push->code, push->scale, 0});
    }
    if (!pushes.empty()) packing.values.back().floats += uint64_t{parts[i].count} * tables_[table].width;
  }
  const bool coded = std::any_of(packing.values.begin(), packing.values.end(), [](const ValueRun& run) { return run.code != ValueCode::kFloat32; });
  if (!coded) packing.values.clear();
}

template <class Part>
uint64_t Router::HashOfKeys(std::span<const Part> parts, const Block& keys) const {
  const bool wanted = std::any_of(parts.begin(), parts.end(), [this](const Part& part) { return tables_[part.table].encoding.key_cache; });
  return wanted && !keys.empty() ? HashOf(keys) : 0;
}

void Router::Close(RoutedPush::Chunk& chunk, std::span<const TablePush> pushes) const {
  const std::span<const PushPart> parts(chunk.parts);
  FillPacking(parts, pushes, chunk.packing);
  chunk.keys_hash = HashOfKeys(parts, chunk.keys);
}

void Router::Group(const Placement& placement, uint32_t table, std::span<const Key> keys, Grouped& grouped) const {
  const Partition& partition = partitions_[table];
  const std::vector<uint32_t>& place_of = placement.orders[table].place_of;
  static thread_local std::vector<uint32_t> range_of;
  range_of.resize(keys.size());
  grouped.begin.assign(partition.ranges() + 1, 0);
  for (size_t i = 0; i < keys.size(); ++i) {
    range_of[i] = partition.RangeOf(keys[i]);
    if (!place_of.empty()) range_of[i] = place_of[range_of[i]];
    ++grouped.begin[range_of[i] + 1];
  }
  for (uint32_t r = 0; r < partition.ranges(); ++r) grouped.begin[r + 1] += grouped.begin[r];
  grouped.order.resize(keys.size());
  static thread_local std::vector<uint32_t> next, sorted;
  next.assign(grouped.begin.begin(), grouped.begin.end() - 1);
  if (SortedRanges(table) != 0) {
    OrderKeys(keys, sorted);
    for (const uint32_t i : sorted) grouped.order[next[range_of[i]]++] = i;
    return;
  }
  for (size_t i = 0; i < keys.size(); ++i) grouped.order[next[range_of[i]]++] = static_cast<uint32_t>(i);
}

/// Does `pulled` ask for the keys of `push`, all of them and nothing else?
bool Router::SameKeys(const TablePush& push, const RoutedPull& pulled) const {
  if (pulled.orders.size() != 1 || pulled.orders[0].table != push.table || pulled.orders[0].position.size() != push.keys.size()) return false;
  if (partitions_[push.table].dense()) return false;
  const RoutedPull::Order& order = pulled.orders[0];
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    const std::span<const Key> keys = pulled.shards[shard].keys.As<Key>();
    const uint32_t* position = order.position.data() + order.shard_begin[shard];
    bool same = keys.size() == order.shard_begin[shard + 1] - order.shard_begin[shard];
    for (size_t i = 0; same && i < keys.size(); ++i) same = push.keys[position[i]] == keys[i];
    if (!same) return false;
  }
  return true;
}

RoutedPush Router::PushPulled(const TablePush& push, const RoutedPull& pulled) const {
  RoutedPush routed;
  routed.epoch = pulled.epoch;
  routed.shards.resize(shards_);
  const uint32_t width = tables_[push.table].width;
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    const RoutedPull::Share& share = pulled.shards[shard];
    const uint32_t* position = pulled.orders[0].position.data() + pulled.orders[0].shard_begin[shard];
    BlockBuilder builder(share.floats * sizeof(float));
    float* out = builder.As<float>().data();
    std::vector<PushPart> parts;
    std::vector<RoutedPush::Chunk>& chunks = routed.shards[shard];
    size_t begin = 0, end = 0;   // rows of the chunk that is being made
    std::vector<std::pair<size_t, size_t>> rows;
    std::vector<std::vector<PushPart>> parts_of;
    const auto close = [&] {
      rows.emplace_back(begin, end);
      parts_of.push_back(std::exchange(parts, {}));
      begin = end;
    };
    for (const PullPart& pull : share.parts.As<PullPart>()) {
      if (!parts.empty() && (end - begin + pull.count) * (sizeof(Key) + width * sizeof(float)) > kChunkBytes) close();
      PushPart part{.table = push.table, .range = pull.range, .sequence = 0, .previous = 0, .first = 0, .count = pull.count, .dense = 0, .nonzeros = 0};
      for (uint32_t i = 0; i < pull.count; ++i) {
        const uint32_t at = *position++;
        for (uint32_t j = 0; j < width; ++j) *out++ = push.values[size_t{at} * width + j];
        if (!push.nonzeros.empty()) part.nonzeros += push.nonzeros[at];
      }
      end += pull.count;
      parts.push_back(part);
    }
    close();
    const Block values = std::move(builder).Finish();
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto [from, to] = rows[i];
      chunks.push_back({std::move(parts_of[i]),
                        share.keys.Slice(from * sizeof(Key), (to - from) * sizeof(Key)),
                        values.Slice(from * width * sizeof(float), (to - from) * width * sizeof(float)),
                        0,
                        {}});
      Close(chunks.back(), {&push, 1});
    }
  }
  return routed;
}

RoutedPush Router::Push(std::vector<TablePush> pushes, const RoutedPull* pulled) const {
  if (pulled != nullptr && pushes.size() == 1 && pushes[0].filtered.empty() && SameKeys(pushes[0], *pulled)) return PushPulled(pushes[0], *pulled);
  std::sort(pushes.begin(), pushes.end(), [](const TablePush& a, const TablePush& b) { return a.table < b.table; });   // shards want rising parts
  return Deal(*Now(), std::move(pushes));
}

RoutedPush Router::Deal(const Placement& placement, std::vector<TablePush> pushes) const {
  RoutedPush routed;
  routed.epoch = placement.map.epoch();
  routed.shards.resize(shards_);
  std::vector<Grouped> grouped(pushes.size()), filtered(pushes.size());
  std::vector<size_t> floats_left(shards_);   // of rows that travel, by shard
  for (size_t p = 0; p < pushes.size(); ++p) {
    const Partition& partition = partitions_[pushes[p].table];
    const Order& order = placement.orders[pushes[p].table];
    Group(placement, pushes[p].table, pushes[p].filtered, filtered[p]);
    Group(placement, pushes[p].table, pushes[p].keys, grouped[p]);
    for (uint32_t place = 0; place < partition.ranges(); ++place) {
      const size_t rows = grouped[p].begin[place + 1] - grouped[p].begin[place];
      floats_left[order.shard_of[order.range_at[place]]] += rows * tables_[pushes[p].table].width;
    }
  }
  struct Building {
    std::vector<PushPart> parts;
    std::vector<Key> keys;
    std::optional<BlockBuilder> values;   // with room for all that may come
    size_t floats = 0;
    size_t bytes = 0;   // with those of filtered rows
  };
  std::vector<Building> building(shards_);
  const auto close = [&](uint32_t shard) {
    Building& b = building[shard];
    const Block values = b.values ? std::move(*b.values).Finish().Slice(0, b.floats * sizeof(float)) : Block();
    routed.shards[shard].push_back({std::move(b.parts), Block::Adopt(std::move(b.keys)), values, 0, {}});
    Close(routed.shards[shard].back(), pushes);
    floats_left[shard] -= b.floats;
    b = {};
  };
  for (size_t p = 0; p < pushes.size(); ++p) {
    const TablePush& push = pushes[p];
    const Partition& partition = partitions_[push.table];
    const uint32_t width = tables_[push.table].width;
    const Order& order = placement.orders[push.table];
    for (uint32_t place = 0; place < partition.ranges(); ++place) {
      const uint32_t begin = grouped[p].begin[place], end = grouped[p].begin[place + 1];
      const uint32_t gone = filtered[p].begin[place + 1] - filtered[p].begin[place];
      if (begin == end && gone == 0) continue;
      const uint32_t range = order.range_at[place], shard = order.shard_of[range];
      Building& b = building[shard];
      const size_t part_bytes = size_t{end - begin + gone} * (sizeof(Key) + width * sizeof(float));
      if (!b.parts.empty() && b.bytes + part_bytes > kChunkBytes) close(shard);
      if (!b.values) {
        const size_t floats = std::min(floats_left[shard], std::max(kChunkBytes / sizeof(float), size_t{end - begin} * width));
        b.values.emplace(floats * sizeof(float));
        b.keys.reserve(floats / width);
      }
      b.bytes += part_bytes;
      PushPart part{.table = push.table, .range = range, .sequence = 0, .previous = 0, .first = 0, .count = end - begin, .dense = 0, .nonzeros = 0};
      for (uint32_t i = filtered[p].begin[place]; i < filtered[p].begin[place + 1] && !push.filtered_nonzeros.empty(); ++i)
        part.nonzeros += push.filtered_nonzeros[filtered[p].order[i]];
      float* out = b.values->As<float>().data() + b.floats;
      b.floats += size_t{part.count} * width;
      for (uint32_t i = begin; i < end; ++i) {
        const uint32_t at = grouped[p].order[i];
        b.keys.push_back(push.keys[at]);
        if (width == 1) {
          *out++ = push.values[at];
        } else {
          std::memcpy(out, push.values.data() + size_t{at} * width, width * sizeof(float));
          out += width;
        }
        if (!push.nonzeros.empty()) part.nonzeros += push.nonzeros[at];
      }
      b.parts.push_back(part);
    }
  }
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    if (!building[shard].parts.empty() || routed.shards[shard].empty()) close(shard);
  }
  return routed;
}

RoutedPush Router::PushDense(uint32_t table, const Block& values) const {
  return DealDense(*Now(), table, values);
}

RoutedPush Router::DealDense(const Placement& placement, uint32_t table, const Block& values) const {
  RoutedPush routed;
  routed.epoch = placement.map.epoch();
  routed.shards.resize(shards_);
  const Partition& partition = partitions_[table];
  const size_t row_bytes = tables_[table].width * sizeof(float);
  struct Run {
    std::vector<PushPart> parts;
    size_t begin = 0, end = 0;   // bytes of `values`
  };
  std::vector<Run> runs(shards_);
  const auto close = [&](uint32_t shard) {
    Run& run = runs[shard];
    routed.shards[shard].push_back({std::move(run.parts), Block(), values.Slice(run.begin, run.end - run.begin), 0, {}});
    run = {};
  };
  for (uint32_t range = 0; range < partition.ranges(); ++range) {
    const uint64_t rows = partition.RowsIn(range);
    if (rows == 0) continue;
    const uint32_t shard = placement.orders[table].shard_of[range];
    Run& run = runs[shard];
    const size_t begin = partition.FirstRow(range) * row_bytes, end = begin + rows * row_bytes;
    if (!run.parts.empty() && (run.end != begin || end - run.begin > kChunkBytes)) close(shard);
    if (run.parts.empty()) run.begin = begin;
    run.end = end;
    run.parts.push_back({.table = table,
                         .range = range,
                         .sequence = 0,
                         .previous = 0,
                         .first = partition.FirstRow(range),
                         .count = static_cast<uint32_t>(rows),
                         .dense = 1,
                         .nonzeros = 0});
  }
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    if (!runs[shard].parts.empty() || routed.shards[shard].empty()) close(shard);
  }
  return routed;
}

RoutedPull Router::Pull(std::span<const TablePull> pulls) const {
  const std::shared_ptr<const Placement> placement = Now();
  RoutedPull routed;
  routed.epoch = placement->map.epoch();
  routed.shards.resize(shards_);
  std::vector<std::vector<PullPart>> parts(shards_);
  std::vector<std::vector<Key>> keys(shards_);
  Grouped grouped;
  for (const TablePull& pull : pulls) {
    const Partition& partition = partitions_[pull.table];
    routed.tables |= uint64_t{1} << std::min(pull.table, 63u);
    const Order& places = placement->orders[pull.table];
    Group(*placement, pull.table, pull.keys, grouped);
    RoutedPull::Order order{.table = pull.table, .position = {}, .shard_begin = std::vector<uint32_t>(shards_ + 1, 0)};
    for (uint32_t place = 0; place < partition.ranges(); ++place) {
      const uint32_t begin = grouped.begin[place], end = grouped.begin[place + 1];
      const uint32_t range = places.range_at[place], shard = places.shard_of[range];
      order.shard_begin[shard + 1] = end;
      if (begin == end) continue;
      parts[shard].push_back({.table = pull.table, .range = range, .first = 0, .count = end - begin, .dense = 0});
      for (uint32_t i = begin; i < end; ++i) keys[shard].push_back(pull.keys[grouped.order[i]]);
      routed.shards[shard].rows += end - begin;
      routed.shards[shard].floats += uint64_t{end - begin} * tables_[pull.table].width;
    }
    for (uint32_t shard = 0; shard < shards_; ++shard) order.shard_begin[shard + 1] = std::max(order.shard_begin[shard + 1], order.shard_begin[shard]);
    order.rows = static_cast<uint32_t>(pull.keys.size());
    order.position = std::move(grouped.order);
    routed.orders.push_back(std::move(order));
  }
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    RoutedPull::Share& share = routed.shards[shard];
    FillPacking(std::span<const PullPart>(parts[shard]), {}, share.packing);
    share.parts = Block::Adopt(std::move(parts[shard]));
    share.keys = Block::Adopt(std::move(keys[shard]));
    share.keys_hash = HashOfKeys(share.parts.As<PullPart>(), share.keys);
    Cut(share);
  }
  return routed;
}

RoutedPull Router::Rest(const RoutedPull& pull, std::span<const std::vector<uint8_t>> known) const {
  RoutedPull rest;
  rest.epoch = pull.epoch;
  rest.shards.resize(shards_);
  for (const RoutedPull::Order& order : pull.orders) {
    rest.orders.push_back({.table = order.table, .position = {}, .shard_begin = std::vector<uint32_t>(shards_ + 1, 0), .rows = order.rows});
  }
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    const Key* key = pull.shards[shard].keys.As<Key>().data();
    const PullPart* part = pull.shards[shard].parts.As<PullPart>().data();
    RoutedPull::Share& share = rest.shards[shard];
    std::vector<PullPart> parts;
    std::vector<Key> keys;
    for (size_t i = 0; i < pull.orders.size(); ++i) {
      const RoutedPull::Order& order = pull.orders[i];
      std::vector<uint32_t>& position = rest.orders[i].position;
      for (uint32_t j = order.shard_begin[shard]; j < order.shard_begin[shard + 1]; ++part) {
        PullPart left = *part;
        left.count = 0;
        for (const uint32_t end = j + part->count; j < end; ++j, ++key) {
          if (known[i][j] != 0) continue;
          ++left.count;
          keys.push_back(*key);
          position.push_back(order.position[j]);
        }
        if (left.count == 0) continue;
        parts.push_back(left);
        share.rows += left.count;
        share.floats += uint64_t{left.count} * tables_[order.table].width;
        rest.tables |= uint64_t{1} << std::min(order.table, 63u);
      }
      rest.orders[i].shard_begin[shard + 1] = static_cast<uint32_t>(position.size());
    }
    FillPacking(std::span<const PullPart>(parts), {}, share.packing);
    share.parts = Block::Adopt(std::move(parts));
    share.keys = Block::Adopt(std::move(keys));   // such lists hardly come twice: shards need not remember them
    Cut(share);
  }
  return rest;
}

RoutedPull Router::PullDense(uint32_t table) const {
  const std::shared_ptr<const Placement> placement = Now();
  RoutedPull routed;
  routed.epoch = placement->map.epoch();
  routed.by_message = true;
  routed.shards.resize(shards_);
  routed.tables = uint64_t{1} << std::min(table, 63u);
  const Partition& partition = partitions_[table];
  std::vector<std::vector<PullPart>> parts(shards_);
  for (uint32_t range = 0; range < partition.ranges(); ++range) {
    const uint64_t rows = partition.RowsIn(range);
    const uint32_t shard = placement->orders[table].shard_of[range];
    if (rows == 0) continue;
    parts[shard].push_back({.table = table, .range = range, .first = partition.FirstRow(range), .count = static_cast<uint32_t>(rows), .dense = 1});
    routed.shards[shard].rows += rows;
    routed.shards[shard].floats += rows * tables_[table].width;
  }
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    routed.shards[shard].parts = Block::Adopt(std::move(parts[shard]));
    Cut(routed.shards[shard]);
  }
  routed.orders.push_back({.table = table, .position = {}, .shard_begin = {}});
  return routed;
}

RoutedPush Router::Again(const RoutedPush& push) const {
  const std::shared_ptr<const Placement> placement = Now();
  struct Share {
    const PushPart* part;
    std::span<const Key> keys;
    std::span<const float> values;
  };
  std::vector<Share> shares;
  std::vector<TablePush> codes;   // how each table's values travel
  for (const std::vector<RoutedPush::Chunk>& chunks : push.shards) {
    for (const RoutedPush::Chunk& chunk : chunks) {
      std::span<const Key> keys = chunk.keys.As<Key>();
      std::span<const float> values = chunk.values.As<float>();
      size_t run = 0;
      for (size_t i = 0; i < chunk.parts.size(); ++i) {
        const PushPart& part = chunk.parts[i];
        const size_t n = part.dense != 0 ? 0 : part.count, floats = size_t{part.count} * tables_[part.table].width;
        shares.push_back({&part, keys.first(n), values.first(floats)});
        keys = keys.subspan(n);
        values = values.subspan(floats);
        if (i > 0 && chunk.parts[i - 1].table != part.table) ++run;
        if (run < chunk.packing.values.size() && std::ranges::find(codes, part.table, &TablePush::table) == codes.end()) {
          codes.push_back({.table = part.table,
                           .keys = {},
                           .values = {},
                           .nonzeros = {},
                           .code = chunk.packing.values[run].code,
                           .scale = chunk.packing.values[run].scale});
        }
      }
    }
  }
  for (const Share& share : shares) {   // those that travel as they are
    if (std::ranges::find(codes, share.part->table, &TablePush::table) == codes.end())
      codes.push_back({.table = share.part->table, .keys = {}, .values = {}, .nonzeros = {}});
  }
  std::ranges::stable_sort(shares,
                           [](const Share& a, const Share& b) { return std::tie(a.part->table, a.part->range) < std::tie(b.part->table, b.part->range); });
  RoutedPush again;
  again.shards.resize(shards_);
  again.after = push.after;
  again.change = push.change;
  again.epoch = placement->map.epoch();
  struct Building {
    std::vector<PushPart> parts;
    std::vector<Key> keys;
    std::vector<float> values;
  };
  std::vector<Building> building(shards_);
  const auto close = [&](uint32_t shard) {
    Building b = std::exchange(building[shard], {});
    again.shards[shard].push_back({std::move(b.parts), Block::Adopt(std::move(b.keys)), Block::Adopt(std::move(b.values)), 0, {}});
    Close(again.shards[shard].back(), codes);
  };
  for (const Share& share : shares) {
    const uint32_t shard = placement->orders[share.part->table].shard_of[share.part->range];
    Building& b = building[shard];
    const size_t bytes = (b.keys.size() + share.keys.size()) * sizeof(Key) + (b.values.size() + share.values.size()) * sizeof(float);
    if (!b.parts.empty() && bytes > kChunkBytes) close(shard);
    b.parts.push_back(*share.part);
    b.keys.insert(b.keys.end(), share.keys.begin(), share.keys.end());
    b.values.insert(b.values.end(), share.values.begin(), share.values.end());
  }
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    if (!building[shard].parts.empty() || again.shards[shard].empty()) close(shard);
  }
  return again;
}

RoutedPull Router::Again(const RoutedPull& pull) const {
  const std::shared_ptr<const Placement> placement = Now();
  struct Asked {
    PullPart part;
    std::span<const Key> keys;
  };
  std::vector<Asked> all;
  for (const RoutedPull::Share& share : pull.shards) {
    std::span<const Key> keys = share.keys.As<Key>();
    for (const PullPart& part : share.parts.As<PullPart>()) {
      const size_t n = part.dense != 0 ? 0 : part.count;
      all.push_back({part, keys.first(n)});
      keys = keys.subspan(n);
    }
  }
  std::ranges::stable_sort(all, [](const Asked& a, const Asked& b) { return std::tie(a.part.table, a.part.range) < std::tie(b.part.table, b.part.range); });
  RoutedPull again;
  again.shards.resize(shards_);
  again.tables = pull.tables;
  again.epoch = placement->map.epoch();
  std::vector<std::vector<PullPart>> parts(shards_);
  std::vector<std::vector<Key>> keys(shards_);
  for (const Asked& asked : all) {
    const uint32_t shard = placement->orders[asked.part.table].shard_of[asked.part.range];
    parts[shard].push_back(asked.part);
    keys[shard].insert(keys[shard].end(), asked.keys.begin(), asked.keys.end());
    again.shards[shard].rows += asked.part.count;
    again.shards[shard].floats += uint64_t{asked.part.count} * tables_[asked.part.table].width;
  }
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    RoutedPull::Share& share = again.shards[shard];
    FillPacking(std::span<const PullPart>(parts[shard]), {}, share.packing);
    share.parts = Block::Adopt(std::move(parts[shard]));
    share.keys = Block::Adopt(std::move(keys[shard]));
    Cut(share);
  }
  return again;
}

absl::StatusOr<std::vector<Block>> Router::Restore(const RoutedPull& asked, const RoutedPull& sent, std::span<const Block> values) const {
  std::map<std::pair<uint32_t, uint32_t>, std::deque<const float*>> rows;   // by table and range, in the order of the parts
  size_t answer = 0;
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    const RoutedPull::Share& share = sent.shards[shard];
    for (size_t message = 0; message < share.messages(); ++message, ++answer) {
      if (answer >= values.size()) return absl::InvalidArgumentError(absl::StrCat("shard ", shard, " answered ", message, " messages of ", share.messages()));
      TROUPE_RETURN_IF_ERROR(CheckAnswer(share, shard, message, values[answer]));
      const float* from = values[answer].As<float>().data();
      for (const PullPart& part : share.PartsOf(message)) {
        rows[{part.table, part.range}].push_back(from);
        from += size_t{part.count} * tables_[part.table].width;
      }
    }
  }
  std::vector<Block> restored;
  for (const RoutedPull::Share& share : asked.shards) {
    for (size_t message = 0; message < share.messages(); ++message) {
      BlockBuilder block(share.FloatsOf(message) * sizeof(float));
      float* out = block.As<float>().data();
      for (const PullPart& part : share.PartsOf(message)) {
        std::deque<const float*>& from = rows[{part.table, part.range}];
        out = std::copy_n(from.front(), size_t{part.count} * tables_[part.table].width, out);
        from.pop_front();
      }
      restored.push_back(std::move(block).Finish());
    }
  }
  return restored;
}

/// An answer of more than a chunk in several messages, which then are under way at once and are read while they are in the processor's cache.
void Router::Cut(RoutedPull::Share& share) const {
  if (share.floats * sizeof(float) <= kChunkBytes) return;
  RoutedPull::Share::Piece piece{};
  uint64_t begin = 0;
  for (const PullPart& part : share.parts.As<PullPart>()) {
    const uint64_t floats = uint64_t{part.count} * tables_[part.table].width;
    if (piece.floats_end > begin && (piece.floats_end - begin + floats) * sizeof(float) > kChunkBytes) {
      share.pieces.push_back(piece);
      begin = piece.floats_end;
    }
    ++piece.parts_end;
    piece.keys_end += part.dense != 0 ? 0 : part.count;
    piece.floats_end += floats;
  }
  share.pieces.push_back(piece);
  share.keys_hash = 0;   // such lists are not remembered
  for (size_t i = 0; i < share.pieces.size(); ++i) FillPacking(share.PartsOf(i), {}, share.pieces[i].packing);
}

std::span<const PullPart> RoutedPull::Share::PartsOf(size_t message) const {
  const std::span<const PullPart> all = parts.As<PullPart>();
  if (pieces.empty()) return all;
  const size_t begin = message == 0 ? 0 : pieces[message - 1].parts_end;
  return all.subspan(begin, pieces[message].parts_end - begin);
}

Block RoutedPull::Share::KeysOf(size_t message) const {
  if (pieces.empty()) return keys;
  const size_t begin = message == 0 ? 0 : pieces[message - 1].keys_end;
  return keys.Slice(begin * sizeof(Key), (pieces[message].keys_end - begin) * sizeof(Key));
}

uint64_t RoutedPull::Share::FloatsOf(size_t message) const {
  if (pieces.empty()) return floats;
  return pieces[message].floats_end - (message == 0 ? 0 : pieces[message - 1].floats_end);
}

absl::Status Router::Gather(const RoutedPull& pull, std::span<const Block> values, std::vector<std::vector<float>>& out) const {
  out.resize(pull.orders.size());
  std::vector<size_t> next(shards_);   // the answer that each shard's rows are read from now
  size_t answers = 0;
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    next[shard] = answers;
    const RoutedPull::Share& share = pull.shards[shard];
    for (size_t message = 0; message < share.messages(); ++message, ++answers) {
      if (answers >= values.size()) return absl::InvalidArgumentError(absl::StrCat("shard ", shard, " answered ", message, " messages of ", share.messages()));
      TROUPE_RETURN_IF_ERROR(CheckAnswer(share, shard, message, values[answers]));
    }
  }
  std::vector<size_t> used(shards_);   // floats of it
  for (size_t i = 0; i < pull.orders.size(); ++i) {
    const RoutedPull::Order& order = pull.orders[i];
    const uint32_t width = tables_[order.table].width;
    if (order.shard_begin.empty()) {
      out[i].resize(*tables_[order.table].rows * width);
      size_t answer = 0;
      for (uint32_t shard = 0; shard < shards_; ++shard) {
        for (size_t message = 0; message < pull.shards[shard].messages(); ++message) {
          TROUPE_RETURN_IF_ERROR(GatherPiece(pull, order.table, shard, message, {&values[answer++], 1}, out[i]));
        }
      }
      continue;
    }
    out[i].resize(size_t{order.rows} * width);
    for (uint32_t shard = 0; shard < shards_; ++shard) {
      for (uint32_t j = order.shard_begin[shard]; j < order.shard_begin[shard + 1];) {
        std::span<const float> from = values[next[shard]].As<float>().subspan(used[shard]);
        if (from.empty()) {
          ++next[shard];
          used[shard] = 0;
          continue;
        }
        const uint32_t end = j + static_cast<uint32_t>(std::min<size_t>(order.shard_begin[shard + 1] - j, from.size() / width));
        used[shard] += size_t{end - j} * width;
        const float* row = from.data();
        for (; j < end; ++j, row += width) {
          if (width == 1) {
            out[i][order.position[j]] = *row;
          } else {
            std::memcpy(out[i].data() + size_t{order.position[j]} * width, row, width * sizeof(float));
          }
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Router::ForEachRow(const RoutedPull& pull, std::span<const Block> values, const UseRow& use) const {
  std::vector<size_t> first(shards_ + 1);   // answer of each shard
  for (uint32_t shard = 0; shard < shards_; ++shard) first[shard + 1] = first[shard] + pull.shards[shard].messages();
  if (values.size() != first[shards_]) return absl::InvalidArgumentError(absl::StrCat(values.size(), " answers to a pull, expected ", first[shards_]));
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    for (size_t message = 0; first[shard] + message < first[shard + 1]; ++message) {
      TROUPE_RETURN_IF_ERROR(CheckAnswer(pull.shards[shard], shard, message, values[first[shard] + message]));
    }
  }
  for (uint32_t shard = 0; shard < shards_; ++shard) {
    const Key* key = pull.shards[shard].keys.As<Key>().data();
    size_t answer = first[shard];
    std::span<const float> row;   // and what follows in its message: rows lie in one whole
    for (size_t i = 0; i < pull.orders.size(); ++i) {
      const RoutedPull::Order& order = pull.orders[i];
      const uint32_t width = tables_[order.table].width;
      for (uint32_t j = order.shard_begin[shard]; j < order.shard_begin[shard + 1]; ++j) {
        while (row.empty()) row = values[answer++].As<float>();
        use(shard, i, *key++, row.data());
        row = row.subspan(width);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status Router::GatherPiece(const RoutedPull& pull, uint32_t table, size_t shard, size_t message, std::span<const Block> values,
                                 std::span<float> out) const {
  const RoutedPull::Share& share = pull.shards[shard];
  const std::span<const PullPart> parts = share.PartsOf(message);
  const uint32_t width = tables_[table].width;
  if (values.size() != 1 && values.size() != parts.size()) {
    return absl::InvalidArgumentError(absl::StrCat("shard ", shard, " answered ", values.size(), " blocks, expected one or ", parts.size()));
  }
  if (values.size() == 1) TROUPE_RETURN_IF_ERROR(CheckAnswer(share, shard, message, values[0]));
  for (size_t i = 0; values.size() > 1 && i < parts.size(); ++i) TROUPE_RETURN_IF_ERROR(CheckNumbers(shard, values[i], uint64_t{parts[i].count} * width));
  const float* from = nullptr;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i < values.size()) from = values[i].As<float>().data();
    const size_t floats = size_t{parts[i].count} * width;
    float* const to = out.data() + parts[i].first * width;
    out.size_bytes() >= kStreamedBytes ? StreamCopy(to, from, floats * sizeof(float)) : void(std::memcpy(to, from, floats * sizeof(float)));
    from += floats;
  }
  return absl::OkStatus();
}

}   // namespace troupe
