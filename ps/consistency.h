// When a pull may be answered: BSP, SSP(s) or ASP.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "ps/types.h"

namespace troupe {

struct Consistency {
  enum class Kind : uint8_t {
    kBsp,   ///< bulk synchronous: a round is applied when every writer has ended it, in the writers' order; pulls wait for it
    kSsp,   ///< stale synchronous: pushes are applied on arrival; a pull waits until no writer is more than `staleness` rounds behind
    kAsp,   ///< asynchronous: nothing waits
  };
  Kind kind = Kind::kBsp;
  uint32_t staleness = 0;

  /// Before its batch of `round` a writer needs every writer's clock to be at least this.
  Round Needs(Round round) const {
    if (kind == Kind::kAsp) return 0;
    const uint64_t back = 1 + (kind == Kind::kSsp ? staleness : 0);
    const uint64_t ordinal = OrdinalOf(round);
    return MakeRound(PhaseOf(round), ordinal > back ? ordinal - back : 0);   // {p, 0}: all of phase p - 1 is over
  }
  /// A writer may ask for its next batch's rows before it has pushed the current one.
  bool allows_prefetch() const { return kind == Kind::kAsp || (kind == Kind::kSsp && staleness > 0); }
  bool operator==(const Consistency&) const = default;
};

/// "bsp", "ssp:K" with K in [0, 1000000], "asp". InvalidArgument: "consistency is 'X', expected bsp, ssp:K or asp".
absl::StatusOr<Consistency> ParseConsistency(std::string_view text);
std::string ToString(const Consistency& consistency);

}   // namespace troupe
