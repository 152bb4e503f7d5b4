#include "ps/bench_intent.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "actors/random.h"
#include "actors/status.h"

namespace troupe {
namespace {

constexpr uint64_t kRows = 1'000'000;
constexpr uint32_t kWidth = 64;
constexpr size_t kKeys = 1'000;   // of a batch
constexpr size_t kBatches = 400;
constexpr float kRate = 0.01F;
/// Batches that are intended ahead. Some rows of the later one are changed by a push of the earlier.
constexpr size_t kAhead = 2;
/// Between batches: what computing one takes. Rows that are intended come meanwhile, pushes are acknowledged.
constexpr std::chrono::milliseconds kCompute{2};
constexpr std::chrono::seconds kLimit{30};

/// Microseconds of each batch's pull and push.
struct Times {
  std::vector<double> both = {};
  double At(double share) const {
    std::vector<double> sorted = both;
    std::ranges::sort(sorted);
    return sorted[std::min(sorted.size() - 1, static_cast<size_t>(share * static_cast<double>(sorted.size())))];
  }
};

double Microseconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

/// Of even rows, or of odd ones.
std::vector<Key> RandomKeys(Random& random, uint64_t odd) {
  std::set<Key> distinct;
  while (distinct.size() < kKeys) distinct.insert(random.Below(kRows / 2) * 2 + odd);
  std::vector<Key> keys(distinct.begin(), distinct.end());
  random.Shuffle(std::span(keys));
  return keys;
}

/// Pulls (into `rows`, as the plain loop does) and pushes one batch; what its push waits for is not counted.
absl::Status Batch(const TableRef& table, const std::vector<Key>& keys, const std::vector<float>& gradients, std::vector<float>& rows, Times& times) {
  absl::Status status;
  Pushing pushing;
  std::vector<Key> pushed = keys;   // what the call takes away
  std::vector<float> given = gradients;
  times.both.push_back(Microseconds([&] {
    status.Update(table.PullInto(keys, rows));
    pushing = table.Push(std::move(pushed), std::move(given));
  }));
  status.Update(pushing.Wait(kLimit));
  return status;
}

/// The same without any runtime.
void PlainBatch(std::vector<float>& table, const std::vector<Key>& keys, const std::vector<float>& gradients, std::vector<float>& rows, Times& times) {
  times.both.push_back(Microseconds([&] {
    for (size_t i = 0; i < kKeys; ++i) std::memcpy(rows.data() + i * kWidth, table.data() + keys[i] * kWidth, kWidth * sizeof(float));
    asm volatile("" : : "r"(rows.data()) : "memory");
    for (size_t i = 0; i < kKeys; ++i) {
      float* row = table.data() + keys[i] * kWidth;
      for (uint32_t j = 0; j < kWidth; ++j) row[j] -= kRate * gradients[i * kWidth + j];
    }
    asm volatile("" : : "r"(table.data()) : "memory");
  }));
}

}   // namespace

TableSpec IntentTable() {
  return {.name = "r", .width = kWidth, .rows = kRows, .rule = "sgd", .rule_options = {{"learning_rate", kRate}}};
}

TableReplicas IntentReplicas() {
  return {.bytes_max = 16 << 20, .staleness = std::chrono::seconds(1)};
}

absl::StatusOr<std::vector<BenchRow>> BenchIntent(System& system, const TableSet& elsewhere) {
  TROUPE_TRY(const std::unique_ptr<TableSet> set, TableSet::Create(system, {.tables = {IntentTable()}}));
  TROUPE_TRY(const TableRef here, set->Find("r"));
  TROUPE_TRY(const TableRef there, elsewhere.Find("r"));
  Random random(1);
  std::vector<float> plain(kRows * kWidth, 0.5F), gradients(kKeys * kWidth, 0.25F), rows(kKeys * kWidth);
  std::vector<std::vector<Key>> batches;
  for (size_t i = 0; i < kBatches + kAhead; ++i) batches.push_back(RandomKeys(random, 0));
  Times loops, in_process, asked, intended;
  for (size_t i = 0; i < kAhead; ++i) TROUPE_RETURN_IF_ERROR(there.Intend(batches[i]));
  for (size_t i = 0; i < kBatches; ++i) {
    std::this_thread::sleep_for(kCompute);
    PlainBatch(plain, batches[i], gradients, rows, loops);
    std::this_thread::sleep_for(kCompute);
    TROUPE_RETURN_IF_ERROR(Batch(here, batches[i], gradients, rows, in_process));
    std::this_thread::sleep_for(kCompute);
    TROUPE_RETURN_IF_ERROR(Batch(there, batches[i], gradients, rows, intended));
    TROUPE_RETURN_IF_ERROR(there.Intend(batches[i + kAhead]));
    std::this_thread::sleep_for(kCompute);
    TROUPE_RETURN_IF_ERROR(Batch(there, RandomKeys(random, 1), gradients, rows, asked));
  }
  const auto row = [](const std::string& name, double mine, double limit) { return BenchRow{name, mine, "us", limit, limit / mine}; };
  const std::string what = "pull and push of 1,000 random rows x 64 floats of 1M";
  const double near = in_process.At(0.5), far = intended.At(0.5);
  return std::vector<BenchRow>{row(absl::StrCat(what, ", in process; limit: plain loops"), near, loops.At(0.5)),
                               row(absl::StrCat(what, ", in another process; limit: in process"), asked.At(0.5), near),
                               row(absl::StrCat(what, ", there with intent; limit: in process"), far, near),
                               row("99th percentile of it with intent; limit: 10 times its median", intended.At(0.99), 10 * far)};
}

}   // namespace troupe
