// Errors as values: absl::Status and StatusOr, the two macros that pass them on, and what an exit code each kind becomes.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace troupe {

/// The process exit code of a command that ends with `status`: 0 done; 2 usage, unknown names, unreadable or invalid input
/// (InvalidArgument, NotFound, PermissionDenied, OutOfRange, FailedPrecondition, AlreadyExists, Unimplemented, DataLoss); 1 everything else (disk, network,
/// tokens, restarts used up).
int ExitCode(const absl::Status& status);

}   // namespace troupe

#define TROUPE_RETURN_IF_ERROR(expression)                                             \
  do {                                                                                 \
    if (::absl::Status troupe_status = (expression); !troupe_status.ok()) [[unlikely]] \
      return troupe_status;                                                            \
  } while (false)

#define TROUPE_CONCAT_INNER(a, b) a##b
#define TROUPE_CONCAT(a, b) TROUPE_CONCAT_INNER(a, b)

/// TROUPE_TRY(auto x, F()): x = F()'s value, or return its error.
#define TROUPE_TRY(declaration, expression) TROUPE_TRY_INNER(TROUPE_CONCAT(troupe_result_, __LINE__), declaration, expression)
#define TROUPE_TRY_INNER(result, declaration, expression) \
  auto result = (expression);                             \
  if (!result.ok()) [[unlikely]]                          \
    return std::move(result).status();                    \
  declaration = std::move(*result)
