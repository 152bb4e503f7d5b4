#include "ps/encoding/packing.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "ps/encoding/bytes.h"
#include "ps/encoding/key_codec.h"
#include "ps/encoding/value_codec.h"
#include "ps/partition.h"

namespace troupe {
namespace {

/// What parts of a push differ in little from one to the next.
struct Numbers {
  uint64_t sequence = 0, gap = 0;   // gap: sequence - previous
};

void Write(ByteWriter& out, const PushPart& part, Numbers& last) {
  out.Signed(part.sequence - last.sequence);
  out.Signed(part.sequence - part.previous - last.gap);
  out.Varint(part.nonzeros);
  last = {part.sequence, part.sequence - part.previous};
}
void Write(ByteWriter&, const PullPart&, Numbers&) {}
bool Read(ByteReader& in, PushPart& part, Numbers& last) {
  if (!in.Signed(&part.sequence) || !in.Signed(&part.previous) || !in.Varint(&part.nonzeros)) return false;
  last.sequence += part.sequence;
  last.gap += part.previous;
  part.sequence = last.sequence;
  part.previous = last.sequence - last.gap;
  return true;
}
bool Read(ByteReader&, PullPart&, Numbers&) {
  return true;
}

/// The parts of the table that parts[0] is of.
template <class Part>
std::span<const Part> FirstTable(std::span<const Part> parts) {
  size_t n = 1;
  while (n < parts.size() && parts[n].table == parts[0].table) ++n;
  return parts.first(n);
}

template <class Part>
uint64_t KeysOf(std::span<const Part> parts) {
  uint64_t keys = 0;
  for (const Part& part : parts) keys += part.dense != 0 ? 0 : part.count;
  return keys;
}

/// Do rising keys and the number of ranges say all of these parts that have rows?
template <class Part>
bool Follows(std::span<const Part> parts, std::span<const Key> keys, uint32_t ranges) {
  if (keys.empty()) return false;
  const SparseKeys dealt(ranges);
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    if (part.dense != 0 || part.first != 0 || (i > 0 && part.range <= parts[i - 1].range)) return false;
    for (uint32_t j = 0; j < part.count; ++j) {
      if (dealt.RangeOf(keys[j]) != part.range || (j > 0 && keys[j] <= keys[j - 1])) return false;
    }
    keys = keys.subspan(part.count);
  }
  return true;
}

template <class Part>
void WriteParts(ByteWriter& out, std::span<const Part> parts, Numbers& last) {
  uint32_t range = 0;
  out.Varint(parts.size());
  for (const Part& part : parts) {
    out.Signed(uint64_t{part.range} - range);
    out.Varint(uint64_t{part.count} << 1 | (part.dense != 0));
    if (part.dense != 0) out.Varint(part.first);
    Write(out, part, last);
    range = part.range;
  }
}

/// The ranges of parts without rows.
template <class Part>
void WriteEmpty(ByteWriter& out, std::span<const Part> parts) {
  const auto empty = [](const Part& part) { return part.count == 0; };
  out.Varint(static_cast<uint64_t>(std::count_if(parts.begin(), parts.end(), empty)));
  uint32_t next = 0;
  for (const Part& part : parts) {
    if (!empty(part)) continue;
    out.Varint(part.range - next);
    next = part.range + 1;
  }
}

template <class Part, class Message>
Packed PackArrays(const Message& message) {
  Packed packed{message.parts, message.keys, {}, {}};
  if (message.packing.ranges.empty() || !message.parts.template IsArrayOf<Part>() || !message.keys.template IsArrayOf<Key>()) return packed;
  const std::span<const Part> parts = message.parts.template As<Part>();
  const std::span<const Key> keys = message.keys.template As<Key>();
  const bool whole = KeysOf(parts) == keys.size();
  ByteWriter out;
  std::vector<std::byte> differences;
  std::vector<Key> plain, sorted;
  Numbers last;
  size_t at = 0, tables = 0;
  for (std::span<const Part> rest = parts, table; !rest.empty(); rest = rest.subspan(table.size()), ++tables) {
    table = FirstTable(rest);
    out.Varint(table[0].table);
    const std::span<const Key> its = whole ? keys.subspan(at, KeysOf(table)) : std::span<const Key>();
    at += its.size();
    uint32_t ranges = tables < message.packing.ranges.size() ? message.packing.ranges[tables] : 0;
    if (!whole || (ranges > 0 && !Follows(table, its, ranges))) ranges = 0;
    packed.packing.ranges.push_back(ranges);   // where there are no parts, none: all travels as it is
    if (ranges == 0) {
      WriteParts(out, table, last);
      plain.insert(plain.end(), its.begin(), its.end());
      continue;
    }
    out.Varint(its.size());
    WriteEmpty(out, table);
    for (const Part& part : table) Write(out, part, last);
    sorted.assign(its.begin(), its.end());
    SortKeys(sorted);
    EncodeKeys(sorted, differences);
  }
  if (packed.packing.ranges.empty()) return packed;
  packed.parts = Block::Adopt(out.Take());
  if (!differences.empty()) {
    const auto* bytes = reinterpret_cast<const std::byte*>(plain.data());
    differences.insert(differences.end(), bytes, bytes + plain.size() * sizeof(Key));
    packed.keys = Block::Adopt(std::move(differences));
  }
  return packed;
}

/// The sorted keys of one table dealt to their ranges, which become its parts.
template <class Part>
void Deal(std::span<const Key> sorted, uint32_t table, uint32_t ranges, std::vector<Key>& keys, std::vector<Part>& parts) {
  const size_t first = keys.size(), first_part = parts.size();
  const auto add = [&](uint32_t range) {
    Part part{};
    part.table = table;
    part.range = range;
    parts.push_back(part);
  };
  const SparseKeys dealt(ranges);
  std::vector<uint32_t> range_of(sorted.size());
  for (size_t i = 0; i < sorted.size(); ++i) range_of[i] = dealt.RangeOf(sorted[i]);
  keys.resize(first + sorted.size());
  if (ranges / 4 > sorted.size() + 256) {   // so many that counting them takes longer than sorting
    std::vector<uint32_t> order(sorted.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return range_of[a] < range_of[b]; });
    for (size_t i = 0; i < order.size(); ++i) {
      keys[first + i] = sorted[order[i]];
      if (parts.size() == first_part || parts.back().range != range_of[order[i]]) add(range_of[order[i]]);
      ++parts.back().count;
    }
    return;
  }
  std::vector<size_t> begin(size_t{ranges} + 1, 0);
  for (const uint32_t range : range_of) ++begin[range + 1];
  for (uint32_t range = 0; range < ranges; ++range) {
    if (begin[range + 1] > 0) {
      add(range);
      parts.back().count = static_cast<uint32_t>(begin[range + 1]);
    }
    begin[range + 1] += begin[range];
  }
  for (size_t i = 0; i < sorted.size(); ++i) keys[first + begin[range_of[i]]++] = sorted[i];
}

absl::Status Cut(const char* what) {
  return absl::InvalidArgumentError(absl::StrCat("message: packed ", what, " are cut or garbage"));
}

/// Parts without rows between those of parts[first ..], which rise. False: cut, or one of a range that has rows.
template <class Part>
bool ReadEmpty(ByteReader& in, uint32_t table, size_t first, std::vector<Part>& parts) {
  uint64_t n, next = 0;
  if (!in.Varint(&n) || n > in.rest().size()) return false;
  for (uint64_t i = 0; i < n; ++i) {
    uint64_t step;
    if (!in.Varint(&step) || step > UINT32_MAX || next + step > UINT32_MAX) return false;
    Part part{};
    part.table = table;
    part.range = static_cast<uint32_t>(next + step);
    parts.push_back(part);
    next += step + 1;
  }
  const auto begin = parts.begin() + static_cast<std::ptrdiff_t>(first), middle = parts.end() - static_cast<std::ptrdiff_t>(n);
  const auto before = [](const Part& a, const Part& b) { return a.range < b.range; };
  std::inplace_merge(begin, middle, parts.end(), before);
  return std::adjacent_find(begin, parts.end(), [](const Part& a, const Part& b) { return a.range == b.range; }) == parts.end();
}

/// n parts, each said in full.
template <class Part>
bool ReadParts(ByteReader& in, uint32_t table, uint64_t n, Numbers& last, std::vector<Part>& parts) {
  uint32_t range = 0;
  for (uint64_t i = 0; i < n; ++i) {
    Part part{};
    uint64_t step, count;
    if (!in.Signed(&step) || !in.Varint(&count) || count >> 33 != 0) return false;
    range += static_cast<uint32_t>(step);
    part.table = table;
    part.range = range;
    part.count = static_cast<uint32_t>(count >> 1);
    part.dense = count & 1;
    if (part.dense != 0 && !in.Varint(&part.first)) return false;
    if (!Read(in, part, last)) return false;
    parts.push_back(part);
  }
  return true;
}

template <class Part, class Message>
absl::Status UnpackArrays(const Packed& packed, Message& message) {
  message.packing = packed.packing;
  if (packed.packing.ranges.empty()) {
    message.parts = packed.parts;
    message.keys = packed.keys;
    return absl::OkStatus();
  }
  ByteReader in({packed.parts.data(), packed.parts.size()});
  std::span<const std::byte> key_bytes(packed.keys.data(), packed.keys.size());
  std::vector<Part> parts;
  std::vector<Key> keys, sorted;
  std::vector<std::pair<size_t, uint64_t>> plain;   // where keys that travel as they are belong, and how many
  Numbers last;
  for (const uint32_t ranges : packed.packing.ranges) {
    uint64_t table, n;
    if (!in.Varint(&table) || table > UINT32_MAX || !in.Varint(&n) || n == 0) return Cut("parts");
    if (!parts.empty() && parts.back().table == table) return Cut("parts");   // it would be one table's with them
    const size_t before = parts.size();
    if (ranges == 0) {
      if (n > in.rest().size() || !ReadParts(in, static_cast<uint32_t>(table), n, last, parts)) return Cut("parts");
      plain.emplace_back(keys.size(), KeysOf(std::span<const Part>(parts).subspan(before)));
      continue;
    }
    if (n > key_bytes.size()) return Cut("keys");
    sorted.resize(n);
    TROUPE_TRY(const size_t used, DecodeKeys(key_bytes, sorted));
    key_bytes = key_bytes.subspan(used);
    Deal(std::span<const Key>(sorted), static_cast<uint32_t>(table), ranges, keys, parts);
    if (!ReadEmpty(in, static_cast<uint32_t>(table), before, parts)) return Cut("parts");
    for (size_t i = before; i < parts.size(); ++i) {
      if (!Read(in, parts[i], last)) return Cut("parts");
    }
  }
  if (!in.rest().empty()) return Cut("parts");
  message.parts = Block::Adopt(std::move(parts));
  if (keys.empty()) {
    message.keys = packed.keys;
    return absl::OkStatus();
  }
  uint64_t wanted = 0;
  for (const auto& [at, n] : plain) wanted += n;
  if (wanted != key_bytes.size() / sizeof(Key) || key_bytes.size() % sizeof(Key) != 0) return Cut("keys");
  std::vector<Key> all(keys.size() + wanted);
  Key* to = all.data();
  size_t from = 0;
  for (const auto& [at, n] : plain) {
    to = std::copy(keys.begin() + static_cast<std::ptrdiff_t>(from), keys.begin() + static_cast<std::ptrdiff_t>(at), to);
    from = at;
    if (n > 0) std::memcpy(to, key_bytes.data(), n * sizeof(Key));
    to += n;
    key_bytes = key_bytes.subspan(n * sizeof(Key));
  }
  std::copy(keys.begin() + static_cast<std::ptrdiff_t>(from), keys.end(), to);
  message.keys = Block::Adopt(std::move(all));
  return absl::OkStatus();
}

uint64_t FloatsOf(std::span<const ValueRun> runs) {
  uint64_t floats = 0;
  for (const ValueRun& run : runs) floats += run.floats;
  return floats;
}

}   // namespace

Block PackRuns(const Block& values, std::span<const ValueRun> runs) {
  std::span<const float> floats = values.As<float>();
  size_t bytes = 0;
  for (const ValueRun& run : runs) bytes += PackedBytes(run.code, run.floats);
  BlockBuilder out(bytes);
  std::byte* to = out.data();
  for (const ValueRun& run : runs) {
    PackValues(run.code, run.scale, floats.first(run.floats), to);
    to += PackedBytes(run.code, run.floats);
    floats = floats.subspan(run.floats);
  }
  return std::move(out).Finish();
}

absl::StatusOr<Block> UnpackRuns(const Block& bytes, std::span<const ValueRun> runs) {
  size_t left = bytes.size();
  for (const ValueRun& run : runs) {
    if (run.code > ValueCode::kOneBit || !(run.scale >= 0 && run.scale < INFINITY)) return Cut("values");
    if (run.floats > 8 * uint64_t{left} || PackedBytes(run.code, run.floats) > left) return Cut("values");
    left -= PackedBytes(run.code, run.floats);
  }
  if (left != 0) return Cut("values");
  BlockBuilder out(FloatsOf(runs) * sizeof(float));
  std::span<float> to = out.As<float>();
  const std::byte* from = bytes.data();
  for (const ValueRun& run : runs) {
    UnpackValues(run.code, run.scale, from, to.first(run.floats));
    from += PackedBytes(run.code, run.floats);
    to = to.subspan(run.floats);
  }
  return std::move(out).Finish();
}

Packed Pack(const Push& push) {
  Packed packed = PackArrays<PushPart>(push);
  packed.values = push.values;
  if (!push.values.IsArrayOf<float>() || FloatsOf(push.packing.values) != push.values.size() / sizeof(float)) return packed;
  packed.packing.values = push.packing.values;
  if (!packed.packing.values.empty()) packed.values = PackRuns(push.values, push.packing.values);
  return packed;
}
Packed Pack(const Pull& pull) {
  return PackArrays<PullPart>(pull);
}

absl::Status Unpack(const Packed& packed, Push& push) {
  TROUPE_RETURN_IF_ERROR((UnpackArrays<PushPart>(packed, push)));
  push.values = packed.values;
  if (packed.packing.values.empty()) return absl::OkStatus();
  TROUPE_TRY(push.values, UnpackRuns(packed.values, packed.packing.values));
  return absl::OkStatus();
}
absl::Status Unpack(const Packed& packed, Pull& pull) {
  return UnpackArrays<PullPart>(packed, pull);
}

}   // namespace troupe
