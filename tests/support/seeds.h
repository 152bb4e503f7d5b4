// Which seeds a simulated scenario runs: TROUPE_SIM_SEEDS and TROUPE_SIM_SEED in the environment decide.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace troupe::testing {

inline uint64_t NumberFromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Seeds 1 .. n, where n is `usual` (a quarter of it under a sanitizer) or TROUPE_SIM_SEEDS; or only TROUPE_SIM_SEED.
inline std::vector<uint64_t> Seeds(uint64_t usual) {
#ifdef __SANITIZE_ADDRESS__
  usual = (usual + 3) / 4;
#endif
  if (const uint64_t one = NumberFromEnvironment("TROUPE_SIM_SEED", 0); one != 0) return {one};
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= NumberFromEnvironment("TROUPE_SIM_SEEDS", usual); ++seed) seeds.push_back(seed);
  return seeds;
}

}   // namespace troupe::testing
