// The list of algorithms, filled while the program starts.
#include "algorithms/registry.h"

#include <map>

#include "actors/check.h"
#include "actors/text.h"

namespace troupe {
namespace {

/// Made at its first use, so that the order in which files register does not matter.
std::map<std::string, AlgorithmFactory, std::less<>>& Factories() {
  static auto* factories = new std::map<std::string, AlgorithmFactory, std::less<>>();
  return *factories;
}

}   // namespace

std::vector<std::string> AlgorithmNames() {
  std::vector<std::string> names;
  for (const auto& [name, factory] : Factories()) names.push_back(name);
  return names;
}

absl::StatusOr<std::unique_ptr<Algorithm>> MakeAlgorithm(std::string_view name) {
  const auto found = Factories().find(name);
  if (found != Factories().end()) return found->second();
  const std::vector<std::string> names = AlgorithmNames();
  return absl::NotFoundError(UnknownName("algorithm", name, names));
}

bool internal::RegisterAlgorithm(const char* name, AlgorithmFactory factory) {
  TROUPE_CHECK(Factories().emplace(name, factory).second);   // two algorithms of one name
  return true;
}

}   // namespace troupe
