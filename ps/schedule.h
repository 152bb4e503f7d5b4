// How a table's learning rate changes with its steps. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace troupe {

/// A factor of the learning rate by step t = 0, 1, 2, ...: rounds (batches of each writer) that are over, under SSP and ASP the writers' mean.
struct Schedule {
  enum class Kind : uint8_t {
    kConstant,
    kLinear,        ///< falls to 0 over `steps`
    kCosine,        ///< (1 + cos(pi t / steps)) / 2, then 0.  Loshchilov, Hutter, "SGDR", ICLR 2017
    kStep,          ///< times `factor` every `steps`
    kExponential,   ///< factor ^ (t / steps)
    kInverse,       ///< 1 / (1 + t / steps)
    kInverseRoot,   ///< 1 / sqrt(1 + t / steps)
  };
  Kind kind = Kind::kConstant;
  double steps = 1;
  double factor = 1;
  double warmup = 0;   ///< steps over which the rate rises in a line before the rest counts

  double At(double step) const;
  bool constant() const { return kind == Kind::kConstant && warmup == 0; }
  bool operator==(const Schedule&) const = default;
};

/// "constant", "linear:T", "cosine:T", "step:T:F", "exponential:T:F", "inverse:T", "inverse_root:T", each with "warmup:W," in front if wanted.
/// InvalidArgument: "schedule is 'X', expected ...".
absl::StatusOr<Schedule> ParseSchedule(std::string_view text);
std::string ToString(const Schedule& schedule);

}   // namespace troupe
