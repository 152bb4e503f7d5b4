// Decimal numbers from text, eight characters at a time. What a parser of text spends its time on.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace troupe::internal {

/// Readable bytes that every text given to a parser has behind its end; the first one is '\n'.
inline constexpr size_t kTextPadding = 32;

static_assert(std::endian::native == std::endian::little, "the first character of a chunk is its lowest byte");

/// Eight characters, each with '0' taken off: a digit becomes 0 to 9.
inline uint64_t LoadDigits(const char* p) {
  uint64_t chunk;
  std::memcpy(&chunk, p, sizeof chunk);
  return chunk ^ 0x3030303030303030u;
}

/// The top bit of each byte that is no digit.
inline uint64_t NonDigits(uint64_t digits) {
  return (((digits & 0x7f7f7f7f7f7f7f7fu) + 0x7676767676767676u) | digits) & 0x8080808080808080u;
}

/// Position of the lowest byte that is marked; `marks` is not 0.
inline unsigned FirstMark(uint64_t marks) {
  return static_cast<unsigned>(std::countr_zero(marks)) / 8;
}

/// Value of the eight digits, the first one lowest in memory: neighbours are joined to pairs, pairs to fours, fours to eight.
inline uint64_t JoinDigits(uint64_t digits) {
  digits = (digits * 10 + (digits >> 8)) & 0x00ff00ff00ff00ffu;
  digits = (digits * 100 + (digits >> 16)) & 0x0000ffff0000ffffu;
  return (digits * 10000 + (digits >> 32)) & 0xffffffffu;
}

/// Powers of ten that short numbers are divided by, as factors: off by half a unit, which at most seven digits times one of them do not show as floats: within
/// 2.3e-16 of the number, which is at least 3e-15 from the middle of two of them.
inline constexpr double kTenths[] = {1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};

/// The digits without the byte at `point` (0 .. 7): those before it move up, the lowest is 0.
inline uint64_t CutPoint(uint64_t digits, unsigned point) {
  const uint64_t below = (uint64_t{1} << (8 * point)) - 1;
  return (digits & below) << 8 | (digits & ~(below << 8 | 0xff));
}

/// values[i] = JoinDigits(digits[i]), four at a time; false, and no matter what in `values`, where a byte is no digit.
///
/// n  rounded up to 4 numbers are read and written.
bool JoinDigits(const uint64_t* digits, size_t n, uint64_t* values);

/// Any number that std::from_chars knows, and a leading +, from [begin, limit): rounded to double, then to float; too small is 0, too large infinite.
/// Returns the end of the number, or null where none stands.
const char* ParseAnyFloat(const char* begin, const char* limit, float* value);

/// A short number up to `stop` (3, -0.25, 17.125: a sign, digits, and digits behind a point, 8 characters without the sign) as eight digits for JoinDigits and
/// what their number is to be multiplied by. False: it is another; ParseUsualFloat has to look. Gives the number that ParseUsualFloat would.
inline bool SplitShortFloat(const char* p, const char* stop, uint64_t* digits, double* scale) {
  const bool negative = *p == '-';
  p += negative;
  const auto length = static_cast<size_t>(stop - p);
  const uint64_t chunk = LoadDigits(p);
  uint64_t marks = NonDigits(chunk);
  if (marks == 0 || length > 8) return false;
  const unsigned whole = FirstMark(marks);   // digits before the point
  if (whole == 0) return false;
  if (p[whole] == '.') [[likely]] {
    marks &= marks - 1;
    if ((marks != 0 ? FirstMark(marks) : 8) != length || length == whole + 1) return false;
    *digits = CutPoint(chunk, whole) << (8 * (8 - length));
    *scale = kTenths[length - whole - 1];
  } else {
    if (whole != length) return false;
    *digits = chunk << (8 * (8 - length));
    *scale = 1;
  }
  if (negative) *scale = -*scale;
  return true;
}

/// The number at `p` in its usual forms (3, -0.25, 17.125: a sign, up to seven digits, and as many behind the point as make 14 in all), or null:
/// ParseAnyFloat has to look. The caller sees to it that what follows is a delimiter: "1e5" stops before the e.
inline const char* ParseUsualFloat(const char* p, float* value) {
  static constexpr double kPowers[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};
  const bool negative = *p == '-';
  p += negative;
  uint64_t digits = LoadDigits(p);
  uint64_t marks = NonDigits(digits);
  if (marks == 0) return nullptr;
  const unsigned whole = FirstMark(marks);   // digits before the point
  if (whole == 0) return nullptr;
  unsigned length = whole;
  double number;
  if (p[whole] == '.') {
    digits = CutPoint(digits, whole);
    marks &= marks - 1;
    length = marks != 0 ? FirstMark(marks) : 8;
    number = static_cast<double>(JoinDigits(digits << (8 * (8 - length))));
    if (length < 8) [[likely]] {
      if (length == whole + 1) return nullptr;
      number *= kTenths[length - whole - 1];
    } else {
      digits = LoadDigits(p + 8);
      marks = NonDigits(digits);
      if (marks == 0) return nullptr;
      const unsigned more = FirstMark(marks);
      if (more > 0) number = number * kPowers[more] + static_cast<double>(JoinDigits(digits << (8 * (8 - more))));
      length += more;
      if (length == whole + 1) return nullptr;
      number /= kPowers[length - whole - 1];   // both exact, so the quotient is rounded once
    }
  } else {
    number = static_cast<double>(JoinDigits(digits << (8 * (8 - length))));
  }
  *value = static_cast<float>(negative ? -number : number);
  return p + length;
}

}   // namespace troupe::internal
