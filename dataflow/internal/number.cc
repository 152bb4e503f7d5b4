// The numbers that are not short: long ones, exponents, infinities.
#include "dataflow/internal/number.h"

#include <charconv>
#include <cstdlib>
#include <string>
#include <system_error>

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace troupe::internal {
namespace {

// Digits with at most one point between or around them, 15 at most: mantissa and power of ten are exact doubles. Null where it is anything else.
const char* ParsePlain(const char* p, const char* limit, double* value) {
  static constexpr double kPowers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
  const bool negative = p < limit && *p == '-';
  p += negative;
  uint64_t mantissa = 0;
  unsigned digits = 0;
  unsigned fraction = 0;
  const auto read = [&] {
    for (; p < limit && static_cast<unsigned char>(*p - '0') < 10 && digits <= 15; ++p, ++digits) mantissa = mantissa * 10 + static_cast<uint64_t>(*p - '0');
  };
  read();
  if (p < limit && *p == '.') {
    ++p;
    const unsigned whole = digits;
    read();
    fraction = digits - whole;
  }
  if (digits == 0 || digits > 15 || (p < limit && (*p | 0x20) == 'e')) return nullptr;
  *value = static_cast<double>(mantissa) / kPowers[fraction];
  if (negative) *value = -*value;
  return p;
}

}   // namespace

#ifdef __AVX2__
bool JoinDigits(const uint64_t* digits, size_t n, uint64_t* values) {
  const __m256i tens = _mm256_set1_epi16(1 << 8 | 10);         // bytes 10, 1, 10, 1, ...
  const __m256i hundreds = _mm256_set1_epi32(1 << 16 | 100);   // 16 bits each: 100, 1, ...
  const __m256i ten_thousands = _mm256_set1_epi32(1 << 16 | 10000);
  const __m256i nine = _mm256_set1_epi8(9);
  __m256i largest = _mm256_setzero_si256();
  for (size_t i = 0; i < n; i += 4) {
    const __m256i four = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(digits + i));
    largest = _mm256_max_epu8(largest, four);
    const __m256i fours_of_digits = _mm256_madd_epi16(_mm256_maddubs_epi16(four, tens), hundreds);   // 32 bits each
    const __m256i packed = _mm256_packus_epi32(fours_of_digits, _mm256_setzero_si256());
    const __m256i joined = _mm256_madd_epi16(packed, ten_thousands);   // in each half: two numbers of 32 bits, then zeros
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(values + i), _mm256_unpacklo_epi32(joined, _mm256_setzero_si256()));
  }
  return _mm256_testc_si256(_mm256_setzero_si256(), _mm256_subs_epu8(largest, nine)) != 0;
}
#else
bool JoinDigits(const uint64_t* digits, size_t n, uint64_t* values) {
  uint64_t strange = 0;
  for (size_t i = 0; i < n; ++i) {
    strange |= NonDigits(digits[i]);
    values[i] = JoinDigits(digits[i]);
  }
  return strange == 0;
}
#endif

const char* ParseAnyFloat(const char* begin, const char* limit, float* value) {
  if (limit - begin > 1 && *begin == '+' && begin[1] != '-') ++begin;
  double exact = 0;
  if (const char* end = ParsePlain(begin, limit, &exact)) {
    *value = static_cast<float>(exact);
    return end;
  }
  const auto [end, error] = std::from_chars(begin, limit, exact);
  if (error == std::errc::invalid_argument) return nullptr;
  if (error == std::errc::result_out_of_range) exact = std::strtod(std::string(begin, end).c_str(), nullptr);   // tells too small (0) from too large (infinite)
  *value = static_cast<float>(exact);
  return end;
}

}   // namespace troupe::internal
