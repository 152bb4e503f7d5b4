// Names that strangers choose and others are shown, on terminals and in logs.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace troupe {

/// No control characters, with which terminals' own sequences begin. what: "a job's name".
/// InvalidArgument: "a job's name is 'a\nb', expected no control characters".
absl::Status CheckPrintable(std::string_view what, std::string_view text);

}   // namespace troupe
