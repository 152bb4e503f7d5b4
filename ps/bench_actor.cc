#include "ps/bench_actor.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "actors/random.h"
#include "actors/status.h"
#include "actors/system.h"
#include "caf/event_based_actor.hpp"
#include "ps/reader_actor.h"
#include "ps/shard_actor.h"
#include "ps/table_set_actor.h"

namespace troupe {
namespace {

constexpr int kRuns = 9;
constexpr std::chrono::seconds kLimit{30};

double Seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Of all threads of this process: readers' own work counts, what else runs on the machine does not.
double CpuSeconds(const std::function<void()>& work) {
  const auto now = [] {
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double begin = now();
  work();
  return now() - begin;
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

ShardActorOptions BenchShardOptions(const TableSpec& spec) {
  ShardActorOptions options;
  options.shard = {
      .tables = {spec}, .shard = 0, .shards = 1, .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}, .stable_when_applied = true};
  return options;
}

absl::StatusOr<BenchRow> DensePush(System& system) {
  constexpr size_t kFloats = 10'000'000;
  const TableSpec spec{.name = "w", .width = 1, .rows = kFloats, .rule = "sgd", .rule_options = {{"learning_rate", 0.01}}};
  TROUPE_TRY(ShardActor shard, SpawnShard(system, BenchShardOptions(spec)));
  const auto set = MakeTableSet(system, {shard}, {.tables = {spec}});
  TROUPE_TRY(const TableRef table, set->Find("w"));
  const Block gradient = Block::Adopt(std::vector<float>(kFloats, 0.5f));
  std::vector<float> plain(kFloats, 1.0f);
  std::vector<double> ours, limit;
  absl::Status status;
  for (int run = 0; run < kRuns; ++run) {
    ours.push_back(Seconds([&] { status.Update(table.PushAll(gradient).Wait(kLimit)); }));
    limit.push_back(Seconds([&] {
      float* w = plain.data();
      const float* g = gradient.As<float>().data();
      for (size_t i = 0; i < kFloats; ++i) w[i] -= 0.01f * g[i];
      asm volatile("" : : "r"(w) : "memory");
    }));
  }
  TROUPE_RETURN_IF_ERROR(status);
  system.Stop(shard);
  const double mine = kFloats / Median(ours) / 1e6, best = kFloats / Median(limit) / 1e6;
  return BenchRow{"dense push of 10M floats with sgd through the shard actor", mine, "Mfloats/s", best, mine / best};
}

/// The plain way: one flat open-addressing array of {key, w, g2}.
class FlatTable {
 public:
  struct Row {
    Key key;
    float w, g2;
  };
  explicit FlatTable(size_t slots) : rows_(slots, Row{~Key{0}, 0, 0}), mask_(slots - 1) {}
  Row& At(Key key) {
    size_t i = (key * 0x9e3779b97f4a7c15ULL) >> 20 & mask_;
    while (rows_[i].key != key && rows_[i].key != ~Key{0}) i = (i + 1) & mask_;
    rows_[i].key = key;
    return rows_[i];
  }

 private:
  std::vector<Row> rows_;
  size_t mask_;
};

absl::StatusOr<BenchRow> SparsePush(System& system) {
  constexpr size_t kKeys = 1'000'000, kBatch = 1'700, kBatches = 400;
  const TableSpec spec{.name = "w", .width = 1, .rows = std::nullopt, .rule = "adagrad", .rule_options = {{"learning_rate", 0.1}}};
  TROUPE_TRY(ShardActor shard, SpawnShard(system, BenchShardOptions(spec)));
  const auto set = MakeTableSet(system, {shard}, {.tables = {spec}});
  TROUPE_TRY(const TableRef table, set->Find("w"));
  FlatTable flat(1 << 21);
  Random random(1);
  std::vector<std::vector<Key>> batches(kBatches);
  for (auto& batch : batches) {
    for (size_t i = 0; i < kBatch; ++i) batch.push_back(1 + random.Below(kKeys));
    std::sort(batch.begin(), batch.end());
    batch.erase(std::unique(batch.begin(), batch.end()), batch.end());
  }
  const std::vector<float> gradient(kBatch, 0.1f);
  std::vector<double> ours, limit;
  absl::Status status;
  for (int run = 0; run < kRuns; ++run) {
    ours.push_back(Seconds([&] {
      Pushing last;
      for (const auto& batch : batches) last = table.Push(batch, {gradient.begin(), gradient.begin() + static_cast<std::ptrdiff_t>(batch.size())});
      status.Update(last.Wait(kLimit));
    }));
    limit.push_back(Seconds([&] {
      for (const auto& batch : batches) {
        for (size_t i = 0; i < batch.size(); ++i) {
          FlatTable::Row& row = flat.At(batch[i]);
          row.g2 += gradient[i] * gradient[i];
          row.w -= 0.1f * gradient[i] / (std::sqrt(row.g2) + 1e-8f);
        }
      }
    }));
  }
  TROUPE_RETURN_IF_ERROR(status);
  system.Stop(shard);
  const double keys = kBatches * kBatch;
  const double mine = keys / Median(ours) / 1e6, best = keys / Median(limit) / 1e6;
  return BenchRow{"sparse adagrad through the shard actor, 1,700 of 1M keys a push", mine, "Mkeys/s", best, mine / best};
}

struct ReadCounts {
  std::atomic<uint64_t> reads{0}, refused{0};
  std::atomic<bool> over{false};
};

/// Ten times a second, until it is over.
void ReadAgain(caf::event_based_actor* self, const ReaderActor& reader, const std::shared_ptr<ReadCounts>& counts, const Block& keys) {
  if (counts->over) {
    self->quit();
    return;
  }
  self->delayed_send(self, std::chrono::milliseconds(100), Thunk{[=] { ReadAgain(self, reader, counts, keys); }});
  self->request(reader, std::chrono::seconds(10), Read{.rows = {{.table = 0, .keys = keys}}, .max_staleness = std::chrono::milliseconds(250)})
      .then([counts](const ReadRows&) { ++counts->reads; }, [counts](const caf::error&) { ++counts->refused; });
}

/// Pushes without readers and beside 100 of them, each of which reads 100 rows 10 times a second, at most a quarter of a second old.
absl::StatusOr<BenchRow> PushBesideReaders(System& system) {
  constexpr size_t kKeys = 1'000'000, kBatch = 1'700, kBatches = 4'000, kReaders = 100;
  const TableSpec spec{.name = "w", .width = 1, .rows = std::nullopt, .rule = "adagrad", .rule_options = {{"learning_rate", 0.1}}};
  TROUPE_TRY(ShardActor shard, SpawnShard(system, BenchShardOptions(spec)));
  const ReaderActor reader = SpawnReader(system, {shard}, {spec});
  const auto set = MakeTableSet(system, {shard}, {.tables = {spec}});
  TROUPE_TRY(const TableRef table, set->Find("w"));
  Random random(2);
  const auto batch = [&random](size_t n) {
    std::vector<Key> keys;
    while (keys.size() < n) keys.push_back(1 + random.Below(kKeys));
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    return keys;
  };
  const auto push_all = [&]() -> absl::StatusOr<double> {
    std::vector<std::vector<Key>> batches;
    size_t keys = 0;
    for (size_t i = 0; i < kBatches; ++i) {
      batches.push_back(batch(kBatch));
      keys += batches.back().size();
    }
    absl::Status status;
    const double seconds = CpuSeconds([&] {
      Pushing last;
      for (std::vector<Key>& pushed : batches) {
        std::vector<float> numbers(pushed.size(), 0.1F);
        last = table.Push(std::move(pushed), std::move(numbers));
      }
      status.Update(last.Wait(kLimit));
    });
    TROUPE_RETURN_IF_ERROR(status);
    return static_cast<double>(keys) / seconds / 1e6;
  };
  const auto counts = std::make_shared<ReadCounts>();
  TROUPE_RETURN_IF_ERROR(push_all().status());   // rows come into being
  std::vector<double> beside, alone;
  for (int run = 0; run < 5; ++run) {
    TROUPE_TRY(const double without, push_all());
    counts->over = false;
    for (size_t i = 0; i < kReaders; ++i) {
      system.actors().spawn<caf::hidden>([reader, counts, keys = Block::Adopt(batch(100)), i](caf::event_based_actor* self) -> caf::behavior {
        self->delayed_send(self, std::chrono::milliseconds(i), Thunk{[=] { ReadAgain(self, reader, counts, keys); }});
        return {[](const Thunk& thunk) { thunk.run(); }};
      });
    }
    TROUPE_TRY(const double with, push_all());
    counts->over = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));   // until they have seen it
    alone.push_back(without);
    beside.push_back(with);
  }
  system.Stop(reader);
  system.Stop(shard);
  if (counts->refused > 0 || counts->reads == 0) {
    return absl::InternalError(absl::StrCat("readers: ", counts->refused.load(), " of ", counts->reads.load() + counts->refused.load(), " reads failed"));
  }
  const double mine = Median(beside), best = Median(alone);
  return BenchRow{absl::StrCat("the same beside ", kReaders, " readers of snapshots, in CPU time; limit: without them"), mine, "Mkeys/s", best, mine / best};
}

}   // namespace

absl::StatusOr<std::vector<BenchRow>> BenchShard() {
  System system({.compute_threads = 1});
  TROUPE_TRY(BenchRow dense, DensePush(system));
  TROUPE_TRY(BenchRow sparse, SparsePush(system));
  TROUPE_TRY(BenchRow beside_readers, PushBesideReaders(system));
  return std::vector<BenchRow>{std::move(dense), std::move(sparse), std::move(beside_readers)};
}

}   // namespace troupe
