// Numbers in 16, 8 or 1 bits. Quantise makes them what the code can hold; packing those and unpacking them gives the same bits again. Pure.
#pragma once

#include <cstddef>
#include <span>

#include "ps/encoding.h"

namespace troupe {

/// What one number stands for: int8, the largest magnitude / 127; one bit, the mean magnitude; else 1. Values are finite.
float ScaleOf(ValueCode code, std::span<const float> values);
/// Each value becomes the nearest that the code can hold (one bit: the scale with its sign). NaN and infinities stay in 16 and 32 bits; finite values stay
/// finite.
void Quantise(ValueCode code, float scale, std::span<float> values);

size_t PackedBytes(ValueCode code, size_t values);
/// PackedBytes at `out`. Values that Quantise made come back from Unpack bit for bit; others as Quantise would make them.
void PackValues(ValueCode code, float scale, std::span<const float> values, std::byte* out);
/// Any bytes are values.
void UnpackValues(ValueCode code, float scale, const std::byte* bytes, std::span<float> values);

}   // namespace troupe
