// The kinds by name.
#include "dataflow/generated/generated_rows.h"

#include <map>

#include "actors/check.h"

namespace troupe {
namespace {

const std::map<std::string, std::unique_ptr<GeneratedRows> (*)(uint64_t)>& Makers() {
  static const std::map<std::string, std::unique_ptr<GeneratedRows> (*)(uint64_t)> makers = {
      {"ctr", MakeClickLog}, {"dense", MakeDenseRows}, {"clusters", MakeClusterRows}, {"ratings", MakeRatingRows}, {"text", MakeTextRows}};
  return makers;
}

}   // namespace

std::vector<std::string> GeneratedKinds() {
  return {"ctr", "dense", "clusters", "ratings", "text"};
}

std::unique_ptr<GeneratedRows> MakeGeneratedRows(const std::string& kind, uint64_t seed) {
  const auto maker = Makers().find(kind);
  TROUPE_CHECK(maker != Makers().end());
  return maker->second(seed);
}

}   // namespace troupe
