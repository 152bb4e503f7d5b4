#include "ps/encoding/key_codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace troupe {
namespace {

static_assert(std::endian::native == std::endian::little, "differences are copied as they lie in memory");

constexpr std::array<uint8_t, 4> kLengths = {1, 2, 4, 8};
constexpr std::array<uint64_t, 4> kMasks = {0xff, 0xffff, 0xffffffff, ~uint64_t{0}};
constexpr size_t kWord = sizeof(uint64_t);

uint32_t LengthCode(uint64_t difference) {
  return static_cast<uint32_t>((difference > kMasks[0]) + (difference > kMasks[1]) + (difference > kMasks[2]));
}

/// By the key's bytes, the lowest first, leaving out those that all keys share (Knuth, "The Art of Computer Programming" vol. 3, sec. 5.2.5).
template <class Item, class KeyOf>
void RadixSort(std::vector<Item>& items, const KeyOf& key_of) {
  constexpr size_t kSmall = 64;
  if (items.size() < kSmall) {
    std::sort(items.begin(), items.end(), [&](const Item& a, const Item& b) { return key_of(a) < key_of(b); });
    return;
  }
  uint64_t all = ~uint64_t{0}, any = 0;
  for (const Item& item : items) {
    all &= key_of(item);
    any |= key_of(item);
  }
  static thread_local std::vector<Item> other;
  other.resize(items.size());
  for (int shift = 0; shift < 64; shift += 8) {
    if (((all ^ any) >> shift & 0xff) == 0) continue;
    std::array<uint32_t, 257> begin{};
    for (const Item& item : items) ++begin[(key_of(item) >> shift & 0xff) + 1];
    for (size_t i = 1; i < begin.size(); ++i) begin[i] += begin[i - 1];
    for (const Item& item : items) other[begin[key_of(item) >> shift & 0xff]++] = item;
    items.swap(other);
  }
}

}   // namespace

void EncodeKeys(std::span<const Key> keys, std::vector<std::byte>& bytes) {
  const size_t start = bytes.size(), lengths = (keys.size() + 3) / 4;
  bytes.resize(start + lengths + keys.size() * kWord);
  std::byte* length = bytes.data() + start;
  std::byte* out = length + lengths;
  uint64_t next = 0;   // the least that may come
  for (size_t i = 0; i < keys.size(); ++i) {
    const uint64_t difference = keys[i] - next;
    const uint32_t code = LengthCode(difference);
    length[i / 4] |= static_cast<std::byte>(code << 2 * (i % 4));
    std::memcpy(out, &difference, kWord);
    out += kLengths[code];
    next = keys[i] + 1;
  }
  bytes.resize(static_cast<size_t>(out - bytes.data()));
}

absl::StatusOr<size_t> DecodeKeys(std::span<const std::byte> bytes, std::span<Key> keys) {
  const size_t lengths = (keys.size() + 3) / 4;
  if (bytes.size() < lengths) return absl::InvalidArgumentError("keys are cut");
  const std::byte* length = bytes.data();
  const std::byte* in = length + lengths;
  const std::byte* const end = bytes.data() + bytes.size();
  uint64_t next = 0;
  bool wrapped = false;
  for (size_t i = 0; i < keys.size(); ++i) {
    const uint32_t code = static_cast<uint32_t>(length[i / 4]) >> 2 * (i % 4) & 3;
    const auto left = static_cast<size_t>(end - in);
    uint64_t difference = 0;
    if (left >= kWord) [[likely]] {
      std::memcpy(&difference, in, kWord);
      difference &= kMasks[code];
    } else {
      if (left < kLengths[code]) return absl::InvalidArgumentError(absl::StrCat("keys are cut: ", i, " of ", keys.size()));
      std::memcpy(&difference, in, kLengths[code]);
    }
    in += kLengths[code];
    const Key key = next + difference;
    wrapped |= key < next || (i > 0 && next == 0);
    keys[i] = key;
    next = key + 1;
  }
  if (wrapped) return absl::InvalidArgumentError("keys do not fit in 64 bits");
  return static_cast<size_t>(in - bytes.data());
}

void SortKeys(std::vector<Key>& keys) {
  RadixSort(keys, [](Key key) { return key; });
}

void OrderKeys(std::span<const Key> keys, std::vector<uint32_t>& order) {
  struct Item {
    Key key;
    uint32_t at;
  };
  static thread_local std::vector<Item> items;
  items.resize(keys.size());
  for (uint32_t i = 0; i < keys.size(); ++i) items[i] = {keys[i], i};
  RadixSort(items, [](const Item& item) { return item.key; });
  order.resize(keys.size());
  for (uint32_t i = 0; i < keys.size(); ++i) order[i] = items[i].at;
}

}   // namespace troupe
