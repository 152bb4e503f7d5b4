#include "ps/bench_actor.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "actors/random.h"
#include "actors/status.h"
#include "actors/system.h"
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

}   // namespace

absl::StatusOr<std::vector<BenchRow>> BenchShard() {
  System system({.compute_threads = 1});
  TROUPE_TRY(BenchRow dense, DensePush(system));
  TROUPE_TRY(BenchRow sparse, SparsePush(system));
  return std::vector<BenchRow>{std::move(dense), std::move(sparse)};
}

}   // namespace troupe
