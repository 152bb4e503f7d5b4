// The numbers that are not short: long ones, exponents, infinities.
#include "dataflow/internal/number.h"

#include <charconv>
#include <cstdlib>
#include <string>
#include <system_error>

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
