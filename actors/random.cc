// The normal distribution with IEEE-exact operations only: +, *, / and sqrt are correctly rounded everywhere, log() of a C library is not. Sums of products
// are written as fma, so that no compiler may choose between one rounding and two.
#include "actors/random.h"

#include <cmath>

namespace troupe {
namespace {

/// Natural logarithm of x in (0, 1), to about 1 ulp: log(m * 2^e) = e log 2 + 2 atanh((m - 1) / (m + 1)).
double Log(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);   // in [0.5, 1)
  if (mantissa < 0.70710678118654752) {
    mantissa *= 2;
    --exponent;
  }
  const double z = (mantissa - 1) / (mantissa + 1);   // |z| <= 0.172: eleven terms of the series are below 1e-17
  const double square = z * z;
  constexpr double kSeries[] = {1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0};
  double sum = 0;
  for (const double coefficient : kSeries) sum = std::fma(sum, square, coefficient);
  return std::fma(static_cast<double>(exponent), 0.69314718055994531, 2 * z * sum);
}

}   // namespace

double Random::Normal() {
  // Marsaglia, Bray, "A convenient method for generating normal variables", SIAM Review 1964.
  for (;;) {
    const double u = 2 * Uniform() - 1;
    const double v = 2 * Uniform() - 1;
    const double square = std::fma(u, u, v * v);
    if (square > 0 && square < 1) return u * std::sqrt(-2 * Log(square) / square);
  }
}

}   // namespace troupe
