#include "ps/internal/admission.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "ps/partition.h"

namespace troupe::internal {
namespace {

constexpr size_t kCounters = 4;   // of a key: one in each quarter of its block

std::array<size_t, kCounters> CountersOf(Key key, size_t blocks, size_t block) {
  uint64_t hash = HashKey(key);
  const size_t first = (hash % blocks) * block;
  hash /= blocks;
  std::array<size_t, kCounters> at;
  for (size_t i = 0; i < kCounters; ++i, hash >>= 4) at[i] = first + i * (block / kCounters) + (hash & (block / kCounters - 1));
  return at;
}

}   // namespace

void Admission::Touch(std::span<const Key> keys, bool* admitted) {
  for (const Key key : keys) {
    for (const size_t at : CountersOf(key, kBlocks, kBlock)) counters_[at] = static_cast<uint8_t>(counters_[at] + (counters_[at] < 255));
  }
  for (const Key key : keys) {
    uint32_t count = 255;
    for (const size_t at : CountersOf(key, kBlocks, kBlock)) count = std::min<uint32_t>(count, counters_[at]);
    *admitted++ = count >= after_;
  }
  const uint64_t touches = uint64_t{touches_} + keys.size();
  touches_ = static_cast<uint32_t>(touches % kWindow);
  for (uint64_t halvings = std::min<uint64_t>(touches / kWindow, 8); halvings > 0; --halvings) {
    for (uint8_t& counter : counters_) counter = static_cast<uint8_t>(counter >> 1);
  }
}

void Admission::AppendTo(std::vector<std::byte>* bytes) const {
  std::array<uint8_t, kBlocks / 8> used{};
  std::vector<uint8_t> blocks;
  for (size_t i = 0; i < kBlocks; ++i) {
    const auto begin = counters_.begin() + static_cast<ptrdiff_t>(i * kBlock), end = begin + kBlock;
    if (std::all_of(begin, end, [](uint8_t counter) { return counter == 0; })) continue;
    used[i / 8] = static_cast<uint8_t>(used[i / 8] | 1 << i % 8);
    blocks.insert(blocks.end(), begin, end);
  }
  const auto add = [bytes](const void* from, size_t size) {
    const auto* at = static_cast<const std::byte*>(from);
    bytes->insert(bytes->end(), at, at + size);
  };
  add(&touches_, sizeof touches_);
  add(used.data(), used.size());
  add(blocks.data(), blocks.size());
}

bool Admission::Read(std::span<const std::byte>* bytes) {
  std::array<uint8_t, kBlocks / 8> used;
  uint32_t touches;
  std::span<const std::byte> rest = *bytes;
  if (rest.size() < sizeof touches + used.size()) return false;
  std::memcpy(&touches, rest.data(), sizeof touches);
  std::memcpy(used.data(), rest.data() + sizeof touches, used.size());
  rest = rest.subspan(sizeof touches + used.size());
  std::vector<uint8_t> counters(kBytes);
  for (size_t i = 0; i < kBlocks; ++i) {
    if ((used[i / 8] >> i % 8 & 1) == 0) continue;
    if (rest.size() < kBlock || std::all_of(rest.begin(), rest.begin() + kBlock, [](std::byte b) { return b == std::byte{0}; })) return false;
    std::memcpy(counters.data() + i * kBlock, rest.data(), kBlock);
    rest = rest.subspan(kBlock);
  }
  if (touches >= kWindow) return false;
  touches_ = touches;
  counters_ = std::move(counters);
  *bytes = rest;
  return true;
}

}   // namespace troupe::internal
