// Where the words of a text end: every space and end of line, 32 characters at a time. A parser that knows its words' ends beforehand works on several of them
// at once, where one that finds each end by reading must have read a word before it can begin the next.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace troupe::internal {

/// Characters that are looked at together.
inline constexpr size_t kBlanksStep = 32;

/// Bit i: p[i] is a blank, any character up to ' '.
inline uint32_t BlanksAt(const char* p) {
#if defined(__AVX2__)
  const __m256i text = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(text, _mm256_set1_epi8(' ')), text)));
#elif defined(__SSE2__)
  const auto half = [&](size_t i) {
    const __m128i text = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
    return static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(' ')), text)));
  };
  return half(0) | half(16) << 16;
#else
  uint32_t marks = 0;
  for (size_t i = 0; i < kBlanksStep; ++i) marks |= static_cast<uint32_t>(static_cast<unsigned char>(p[i]) <= ' ') << i;
  return marks;
#endif
}

/// Positions of the blanks among the n characters at `text`, rising, to `blanks`; returns how many.
///
/// text    n rounded up to kBlanksStep can be read; blanks behind n are taken as well.
/// blanks  room for as many numbers as characters are read, and 8.
inline size_t FindBlanks(const char* text, size_t n, uint32_t* blanks) {
  constexpr int kUsual = 6;              // written whether or not they are there: at most one branch of a step is hard to foresee
  constexpr uint32_t kLast = 1u << 31;   // set, it changes no position, and the compiler need not look for none
  uint32_t* out = blanks;
  for (size_t at = 0; at < n; at += kBlanksStep) {
    uint32_t marks = BlanksAt(text + at);
    const int found = std::popcount(marks);
    const auto write = [&](int i) {
      out[i] = static_cast<uint32_t>(at) + static_cast<uint32_t>(std::countr_zero(marks | kLast));
      marks &= marks - 1;
    };
    for (int i = 0; i < kUsual; ++i) write(i);
    for (int i = kUsual; i < found; ++i) write(i);
    out += found;
  }
  return static_cast<size_t>(out - blanks);
}

}   // namespace troupe::internal
