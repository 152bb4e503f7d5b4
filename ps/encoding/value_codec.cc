#include "ps/encoding/value_codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __F16C__
#include <immintrin.h>
#endif

namespace troupe {
namespace {

constexpr size_t kPiece = 1024;   // values that are quantised at a time: they and their code stay in the first cache
constexpr float kFloat16Max = 65504;
constexpr float kBfloat16Max = 0x1.fep127F;
constexpr float kInt8Max = 127;

/// To the nearest whole number, even where two are, for |x| < 2^22: beyond 2^23 floats have no fractions. Vectorises, as std::nearbyint does not.
float Whole(float x) {
  constexpr float kShift = 0x1.8p23F;
  return (x + kShift) - kShift;
}

/// A finite number beyond `max` would become infinite.
float Bounded(float value, float max) {
  const float magnitude = std::abs(value);
  return magnitude > max && magnitude < INFINITY ? std::copysign(max, value) : value;
}

/// IEEE 754 binary16, rounded to nearest even.
[[maybe_unused]] uint16_t Float16Of(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  uint32_t half;
  if (magnitude > 0x7f800000) {
    half = 0x7e00 | (magnitude >> 13 & 0x3ff);   // NaN, quiet
  } else if (magnitude >= 0x477ff000) {
    half = 0x7c00;
  } else if (magnitude < 0x38800000) {   // subnormal: the addition rounds
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - std::bit_cast<uint32_t>(0.5F);
  } else {
    half = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
  }
  return static_cast<uint16_t>(sign | half);
}
[[maybe_unused]] float OfFloat16(uint16_t half) {
  const uint32_t sign = uint32_t{half} >> 15 << 31, magnitude = half & 0x7fff;
  if (magnitude < 0x400) return std::copysign(static_cast<float>(magnitude) * 0x1p-24F, std::bit_cast<float>(sign));
  uint32_t bits = (magnitude << 13) + 0x38000000;
  if (magnitude >= 0x7c00) bits += 0x38000000;   // infinities and NaNs
  if (magnitude > 0x7c00) bits |= 0x400000;      // quiet
  return std::bit_cast<float>(sign | bits);
}

void PackFloat16(std::span<const float> values, std::byte* out) {
  size_t i = 0;
#ifdef __F16C__
  const auto eight = [](const float* from) {
    const __m256 sign = _mm256_set1_ps(-0.0F), max = _mm256_set1_ps(kFloat16Max), infinity = _mm256_set1_ps(INFINITY);
    const __m256 value = _mm256_loadu_ps(from), magnitude = _mm256_andnot_ps(sign, value);
    const __m256 beyond = _mm256_and_ps(_mm256_cmp_ps(magnitude, max, _CMP_GT_OQ), _mm256_cmp_ps(magnitude, infinity, _CMP_LT_OQ));
    const __m256 bounded = _mm256_blendv_ps(value, _mm256_or_ps(max, _mm256_and_ps(sign, value)), beyond);
    return _mm256_cvtps_ph(bounded, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  };
  for (; i + 8 <= values.size(); i += 8) _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * i), eight(values.data() + i));
  if (i < values.size()) {
    std::array<float, 8> rest{};
    std::copy(values.begin() + static_cast<std::ptrdiff_t>(i), values.end(), rest.begin());
    const __m128i packed = eight(rest.data());
    std::memcpy(out + 2 * i, &packed, 2 * (values.size() - i));
  }
#else
  for (; i < values.size(); ++i) {
    const uint16_t half = Float16Of(Bounded(values[i], kFloat16Max));
    std::memcpy(out + 2 * i, &half, sizeof half);
  }
#endif
}
void UnpackFloat16(const std::byte* bytes, std::span<float> values) {
  size_t i = 0;
#ifdef __F16C__
  for (; i + 8 <= values.size(); i += 8) _mm256_storeu_ps(values.data() + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + 2 * i))));
  if (i < values.size()) {
    __m128i packed = _mm_setzero_si128();
    std::memcpy(&packed, bytes + 2 * i, 2 * (values.size() - i));
    std::array<float, 8> rest;
    _mm256_storeu_ps(rest.data(), _mm256_cvtph_ps(packed));
    std::copy_n(rest.begin(), values.size() - i, values.begin() + static_cast<std::ptrdiff_t>(i));
  }
#else
  for (; i < values.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, bytes + 2 * i, sizeof half);
    values[i] = OfFloat16(half);
  }
#endif
}

void PackBfloat16(std::span<const float> values, std::byte* out) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(Bounded(values[i], kBfloat16Max));
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    const auto half = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
    std::memcpy(out + 2 * i, &half, sizeof half);
  }
}
void UnpackBfloat16(const std::byte* bytes, std::span<float> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t half;
    std::memcpy(&half, bytes + 2 * i, sizeof half);
    values[i] = std::bit_cast<float>(uint32_t{half} << 16);
  }
}

void PackInt8(float scale, std::span<const float> values, std::byte* out) {
  if (!(scale > 0)) {
    std::fill_n(out, values.size(), std::byte{0});   // of nothing, too
    return;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    float steps = values[i] / scale;
    steps = steps > -kInt8Max ? steps : -kInt8Max;   // NaN, too
    steps = steps < kInt8Max ? steps : kInt8Max;
    out[i] = static_cast<std::byte>(static_cast<int8_t>(static_cast<int>(Whole(steps))));
  }
}
void UnpackInt8(float scale, const std::byte* bytes, std::span<float> values) {
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(static_cast<int8_t>(bytes[i])) * scale;
}

void PackOneBit(std::span<const float> values, std::byte* out) {
  for (size_t i = 0; i < values.size(); i += 8) {
    uint32_t byte = 0;
    const size_t n = std::min<size_t>(8, values.size() - i);
    for (size_t j = 0; j < n; ++j) byte |= std::bit_cast<uint32_t>(values[i + j]) >> 31 << j;
    out[i / 8] = static_cast<std::byte>(byte);
  }
}
void UnpackOneBit(float scale, const std::byte* bytes, std::span<float> values) {
  const uint32_t bits = std::bit_cast<uint32_t>(scale);
  for (size_t i = 0; i < values.size(); i += 8) {
    const auto byte = static_cast<uint32_t>(bytes[i / 8]);
    const size_t n = std::min<size_t>(8, values.size() - i);
    for (size_t j = 0; j < n; ++j) values[i + j] = std::bit_cast<float>(bits | (byte >> j & 1) << 31);
  }
}

}   // namespace

float ScaleOf(ValueCode code, std::span<const float> values) {
  if (code == ValueCode::kInt8) {
    float max = 0;
    for (const float value : values) {
      const float magnitude = std::abs(value);
      max = magnitude > max ? magnitude : max;
    }
    return max / kInt8Max;
  }
  if (code == ValueCode::kOneBit) {
    double sum = 0;
    for (const float value : values) sum += std::abs(double{value});
    return values.empty() ? 0 : static_cast<float>(sum / static_cast<double>(values.size()));
  }
  return 1;
}

void Quantise(ValueCode code, float scale, std::span<float> values) {
  if (code == ValueCode::kFloat32) return;
  std::array<std::byte, kPiece * sizeof(uint16_t)> piece;
  while (!values.empty()) {
    const std::span<float> some = values.first(std::min(kPiece, values.size()));
    PackValues(code, scale, some, piece.data());
    UnpackValues(code, scale, piece.data(), some);
    values = values.subspan(some.size());
  }
}

size_t PackedBytes(ValueCode code, size_t values) {
  switch (code) {
    case ValueCode::kFloat32:
      return values * sizeof(float);
    case ValueCode::kFloat16:
    case ValueCode::kBfloat16:
      return values * sizeof(uint16_t);
    case ValueCode::kInt8:
      return values;
    case ValueCode::kOneBit:
      return (values + 7) / 8;
  }
  return 0;
}

void PackValues(ValueCode code, float scale, std::span<const float> values, std::byte* out) {
  switch (code) {
    case ValueCode::kFloat32:
      if (!values.empty()) std::memcpy(out, values.data(), values.size_bytes());
      break;
    case ValueCode::kFloat16:
      PackFloat16(values, out);
      break;
    case ValueCode::kBfloat16:
      PackBfloat16(values, out);
      break;
    case ValueCode::kInt8:
      PackInt8(scale, values, out);
      break;
    case ValueCode::kOneBit:
      PackOneBit(values, out);
      break;
  }
}

void UnpackValues(ValueCode code, float scale, const std::byte* bytes, std::span<float> values) {
  switch (code) {
    case ValueCode::kFloat32:
      if (!values.empty()) std::memcpy(values.data(), bytes, values.size_bytes());
      break;
    case ValueCode::kFloat16:
      UnpackFloat16(bytes, values);
      break;
    case ValueCode::kBfloat16:
      UnpackBfloat16(bytes, values);
      break;
    case ValueCode::kInt8:
      UnpackInt8(scale, bytes, values);
      break;
    case ValueCode::kOneBit:
      UnpackOneBit(scale, bytes, values);
      break;
  }
}

}   // namespace troupe
