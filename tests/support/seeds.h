// Which seeds a simulated scenario runs, and how often processes are killed: TROUPE_SIM_SEEDS, TROUPE_SIM_SEED and TROUPE_TEST_KILL_RUNS in the environment
// decide; TROUPE_TEST_TIMES=10, which `tools/check --long` sets, makes ten of each one.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <vector>

namespace troupe::testing {

inline uint64_t NumberFromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

inline uint64_t Times() {
  return NumberFromEnvironment("TROUPE_TEST_TIMES", 1);
}
/// How often somebody is killed: TROUPE_TEST_KILL_RUNS, else `usual` times TROUPE_TEST_TIMES.
inline unsigned KillRuns(unsigned usual) {
  return static_cast<unsigned>(NumberFromEnvironment("TROUPE_TEST_KILL_RUNS", usual * Times()));
}

/// Seeds 1 .. n, where n is `usual` (a quarter of it under a sanitizer) times TROUPE_TEST_TIMES, or TROUPE_SIM_SEEDS; or only TROUPE_SIM_SEED.
inline std::vector<uint64_t> Seeds(uint64_t usual) {
#ifdef __SANITIZE_ADDRESS__
  usual = (usual + 3) / 4;
#endif
  usual *= Times();
  if (const uint64_t one = NumberFromEnvironment("TROUPE_SIM_SEED", 0); one != 0) return {one};
  std::vector<uint64_t> seeds;
  for (uint64_t seed = 1; seed <= NumberFromEnvironment("TROUPE_SIM_SEEDS", usual); ++seed) seeds.push_back(seed);
  return seeds;
}

}   // namespace troupe::testing
