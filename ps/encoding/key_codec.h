// Rising keys as their differences, in 1, 2, 4 or 8 bytes each, and the sorting that it takes. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/types.h"

namespace troupe {

/// Appends `keys`, which rise strictly, to `bytes`: two bits a key that say how long it is, then the differences less one.
/// After Lemire, Kurz, Rupp, "Stream VByte: Faster byte-oriented integer compression", IPL 2018.
void EncodeKeys(std::span<const Key> keys, std::vector<std::byte>& bytes);
/// Fills `keys` from the beginning of `bytes`; returns how many were used. There are at least as many bytes as keys: check that before memory is made for them.
/// InvalidArgument: cut, or keys beyond 64 bits.
absl::StatusOr<size_t> DecodeKeys(std::span<const std::byte> bytes, std::span<Key> keys);

void SortKeys(std::vector<Key>& keys);
/// order[i]: where in `keys` the i-th smallest stands.
void OrderKeys(std::span<const Key> keys, std::vector<uint32_t>& order);

}   // namespace troupe
