// absl::Status through CAF: the error of a request carries code and message.
#pragma once

#include "absl/status/status.h"
#include "caf/error.hpp"

namespace troupe {

/// `status` must not be ok.
caf::error ToError(const absl::Status& status);
/// Ours back again; CAF's own (receiver down, time-out, dropped) as Unavailable or DeadlineExceeded, so that only these are retried.
absl::Status FromError(const caf::error& error);

/// Unavailable, DeadlineExceeded and Cancelled (what was asked for was replaced by something later): asked again it may work; everything else is final.
bool IsRetryable(const absl::Status& status);

}   // namespace troupe
