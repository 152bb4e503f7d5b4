#include "ps/encoding/value_codec.h"

#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "actors/random.h"

namespace troupe {
namespace {

constexpr ValueCode kCodes[] = {ValueCode::kFloat32, ValueCode::kFloat16, ValueCode::kBfloat16, ValueCode::kInt8, ValueCode::kOneBit};

std::vector<float> RandomValues(size_t n, Random& random) {
  const int exponent = static_cast<int>(random.Below(60)) - 40;
  std::vector<float> values(n);
  for (float& value : values) value = std::ldexp(static_cast<float>(random.Normal()), exponent - static_cast<int>(random.Below(10)));
  if (n > 2) values[1] = 0;
  if (n > 3) values[2] = -0.0F;
  return values;
}
std::vector<float> Quantised(ValueCode code, float scale, std::vector<float> values) {
  Quantise(code, scale, values);
  return values;
}
std::vector<float> ThereAndBack(ValueCode code, float scale, const std::vector<float>& values) {
  std::vector<std::byte> bytes(PackedBytes(code, values.size()));
  PackValues(code, scale, values, bytes.data());
  std::vector<float> back(values.size());
  UnpackValues(code, scale, bytes.data(), back);
  return back;
}
bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

/// The halves by their definition.
double Float16(uint32_t half) {
  const int exponent = static_cast<int>(half >> 10 & 31);
  const double fraction = half & 1023, sign = half >> 15 != 0 ? -1 : 1;
  return exponent == 0 ? sign * fraction * 0x1p-24 : sign * std::ldexp(1024 + fraction, exponent - 25);
}

BOOST_AUTO_TEST_SUITE(ValueCodecTest)

BOOST_AUTO_TEST_CASE(what_was_quantised_comes_back_bit_for_bit) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    const std::vector<float> values = RandomValues(random.Below(seed % 7 == 0 ? 3000 : 40), random);
    for (const ValueCode code : kCodes) {
      const float scale = ScaleOf(code, values);
      const std::vector<float> quantised = Quantised(code, scale, values);
      BOOST_TEST(SameBits(ThereAndBack(code, scale, quantised), quantised), "seed " << seed << " code " << static_cast<int>(code));
      BOOST_TEST(SameBits(Quantised(code, scale, quantised), quantised));
      for (const float value : quantised) BOOST_REQUIRE(std::isfinite(value));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_error_is_at_most_half_a_step) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Random random(seed);
    const std::vector<float> values = RandomValues(200, random);
    const float scale = ScaleOf(ValueCode::kInt8, values);
    const std::vector<float> eighth = Quantised(ValueCode::kInt8, scale, values), brain = Quantised(ValueCode::kBfloat16, 1, values),
                             half = Quantised(ValueCode::kFloat16, 1, values);
    for (size_t i = 0; i < values.size(); ++i) {
      const double value = double{values[i]}, size = std::abs(value);
      BOOST_TEST(std::abs(double{eighth[i]} - value) <= 0.5001 * double{scale});
      BOOST_TEST(std::abs(double{brain[i]} - value) <= std::max(size * 0x1p-8, 0x1p-134));
      BOOST_TEST(std::abs(double{half[i]} - value) <= (size > 65504 ? size : std::max(size * 0x1p-11, 0x1p-25)));
    }
  }
}

BOOST_AUTO_TEST_CASE(every_half_is_what_its_definition_says_and_is_the_nearest) {
  for (uint32_t half = 0; half < 0x7c00; ++half) {
    std::array<std::byte, 2> bytes;
    const auto number = static_cast<uint16_t>(half);
    std::memcpy(bytes.data(), &number, 2);
    float value;
    UnpackValues(ValueCode::kFloat16, 1, bytes.data(), {&value, 1});
    BOOST_REQUIRE_EQUAL(double{value}, Float16(half));
    if (half + 1 == 0x7c00) break;
    // Just below the middle to the next one rounds down, above it up, the middle itself to the even one.
    const double middle = (Float16(half) + Float16(half + 1)) / 2;
    const auto at = static_cast<float>(middle);
    const std::vector<float> around = Quantised(ValueCode::kFloat16, 1, {std::nextafter(at, 0.0F), at, std::nextafter(at, 1e9F)});
    BOOST_REQUIRE_EQUAL(double{around[0]}, Float16(half));
    BOOST_REQUIRE_EQUAL(double{around[1]}, Float16(half % 2 == 0 ? half : half + 1));
    BOOST_REQUIRE_EQUAL(double{around[2]}, Float16(half + 1));
  }
}

BOOST_AUTO_TEST_CASE(large_numbers_stay_finite_and_those_that_are_not_stay_so) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN(), max = std::numeric_limits<float>::max();
  for (const ValueCode code : {ValueCode::kFloat16, ValueCode::kBfloat16}) {
    for (const size_t before : {0, 9}) {   // whole vectors and what is left of them
      std::vector<float> values(before, 0.0F);
      values.insert(values.end(), {max, -max, infinity, -infinity, nan});
      const std::vector<float> q = Quantised(code, 1, values);
      BOOST_TEST(q[before] == (code == ValueCode::kFloat16 ? 65504.0F : 0x1.fep127F));
      BOOST_TEST(q[before + 1] == -q[before]);
      BOOST_TEST(q[before + 2] == infinity);
      BOOST_TEST(q[before + 3] == -infinity);
      BOOST_TEST(std::isnan(q[before + 4]));
    }
  }
  BOOST_TEST(std::isfinite(Quantised(ValueCode::kInt8, 1, {nan, infinity})[0]));   // not asked for, but it must not trap
}

BOOST_AUTO_TEST_CASE(one_bit_is_the_mean_magnitude_with_the_sign) {
  const std::vector<float> values = {1, -2, 3, -6, 0, 0, 0, 0, 12};
  const float scale = ScaleOf(ValueCode::kOneBit, values);
  BOOST_TEST(double{scale} == 24.0 / 9, boost::test_tools::tolerance(1e-6));
  BOOST_TEST((Quantised(ValueCode::kOneBit, scale, values) == std::vector<float>{scale, -scale, scale, -scale, scale, scale, scale, scale, scale}));
  BOOST_TEST(PackedBytes(ValueCode::kOneBit, 9) == 2U);
}

BOOST_AUTO_TEST_CASE(nothing_and_zeros_have_a_scale_of_zero) {
  for (const ValueCode code : {ValueCode::kInt8, ValueCode::kOneBit}) {
    BOOST_TEST(ScaleOf(code, {}) == 0);
    const std::vector<float> zeros(5);
    BOOST_TEST(ScaleOf(code, zeros) == 0);
    BOOST_TEST((Quantised(code, 0, zeros) == zeros));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
