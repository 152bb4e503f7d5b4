// All algorithms by name. Each registers itself in its own file.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "algorithms/algorithm.h"

namespace troupe {

using AlgorithmFactory = std::unique_ptr<Algorithm> (*)();

/// Sorted names.
std::vector<std::string> AlgorithmNames();
/// NotFound: "unknown algorithm 'X'; did you mean 'Y'?".
absl::StatusOr<std::unique_ptr<Algorithm>> MakeAlgorithm(std::string_view name);

namespace internal {
bool RegisterAlgorithm(const char* name, AlgorithmFactory factory);
}

/// At the end of an algorithm's file.
#define TROUPE_REGISTER(name, Class)                      \
  [[maybe_unused]] static const bool registered_##Class = \
      ::troupe::internal::RegisterAlgorithm(name, []() -> std::unique_ptr<::troupe::Algorithm> { return std::make_unique<Class>(); })

}   // namespace troupe
