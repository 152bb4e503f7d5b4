#include "ps/internal/bench_compare.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace troupe::internal {
namespace {

constexpr size_t kRunsLeast = 3, kRunsMin = 7, kRunsMax = 15;
constexpr double kSecondsEnough = 0.5, kSecondsMost = 3;

double Median(std::vector<double> times) {
  const auto middle = times.begin() + static_cast<ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}   // namespace

double ThreadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double WallSeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

BenchRow Compare(const std::string& name, double units, const std::string& unit, const std::function<void()>& ours, const std::function<void()>& plain,
                 double (*now)()) {
  const auto seconds = [now](const std::function<void()>& work) {
    const double start = now();
    work();
    return now() - start;
  };
  ours();
  plain();
  std::vector<double> mine, limit;
  double spent = 0;
  const auto more = [&] {
    const size_t runs = mine.size();
    return runs < kRunsLeast || (runs < kRunsMin && spent < kSecondsMost) || (runs < kRunsMax && spent < kSecondsEnough);
  };
  while (more()) {
    mine.push_back(seconds(ours));
    limit.push_back(seconds(plain));
    spent += mine.back() + limit.back();
  }
  return {.name = name, .value = units / Median(mine), .unit = unit, .limit = units / Median(limit), .ratio = Median(limit) / Median(mine)};
}

}   // namespace troupe::internal
