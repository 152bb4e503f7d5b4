#include "ps/bench_actor.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>

#include "actors/random.h"
#include "actors/status.h"
#include "actors/system.h"
#include "caf/scoped_actor.hpp"
#include "ps/router.h"
#include "ps/shard_actor.h"

namespace troupe {
namespace {

constexpr int kRuns = 9;

double Seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

/// A writer without the client's care for faults: numbers its pushes and keeps some under way, as the client does.
class Writer {
 public:
  Writer(System& system, const TableSpec& spec) : self_(system.actors()), router_({spec}, 1), last_(router_.slots(), 0) {}

  absl::Status Start(System& system, const TableSpec& spec) {
    ShardActorOptions options;
    options.shard = {.tables = {spec}, .shard = 0, .shards = 1, .writers = 1, .consistency = {.kind = Consistency::Kind::kAsp}, .stable_when_applied = true};
    TROUPE_TRY(shard_, SpawnShard(system, options));
    return absl::OkStatus();
  }
  ~Writer() {
    if (shard_) self_->send_exit(shard_, caf::exit_reason::kill);
  }

  const Router& router() const { return router_; }
  absl::Status Push(RoutedPush push) {
    const Round round = MakeRound(1, ++ordinal_);
    std::vector<RoutedPush::Chunk>& chunks = push.shards[0];
    absl::Status status;
    for (size_t i = 0; i < chunks.size(); ++i) {
      for (PushPart& part : chunks[i].parts) {
        part.previous = std::exchange(last_[router_.Slot(part.table, part.range)], round << 8);
        part.sequence = round << 8;
      }
      ::troupe::Push message{.writer = WriterId{0},
                             .round = round,
                             .previous = MakeRound(1, ordinal_ - 1),
                             .round_over = i + 1 == chunks.size(),
                             .wants_snapshot = false,
                             .parts = Block::Adopt(std::move(chunks[i].parts)),
                             .keys = chunks[i].keys,
                             .values = chunks[i].values};
      under_way_.push_back(self_->request(shard_, std::chrono::seconds(30), std::move(message)));
      if (under_way_.size() >= kUnderWay) status.Update(Await());
    }
    return status;
  }
  /// The oldest answer.
  absl::Status Await() {
    absl::Status status;
    under_way_.front().receive([](const Pushed&) {}, [&status](const caf::error& error) { status = FromError(error); });
    under_way_.pop_front();
    return status;
  }
  absl::Status AwaitAll() {
    absl::Status status;
    while (!under_way_.empty()) status.Update(Await());
    return status;
  }

 private:
  static constexpr size_t kUnderWay = 8;
  using Answer = decltype(std::declval<caf::scoped_actor&>()->request(std::declval<ShardActor&>(), std::chrono::seconds(1), std::declval<::troupe::Push>()));
  caf::scoped_actor self_;
  std::deque<Answer> under_way_;
  Router router_;
  std::vector<Sequence> last_;
  uint64_t ordinal_ = 0;
  ShardActor shard_;
};

absl::StatusOr<BenchRow> DensePush(System& system) {
  constexpr size_t kFloats = 10'000'000;
  const TableSpec spec{.name = "w", .width = 1, .rows = kFloats, .rule = "sgd", .rule_options = {{"learning_rate", 0.01}}};
  Writer writer(system, spec);
  TROUPE_RETURN_IF_ERROR(writer.Start(system, spec));
  const Block gradient = Block::Adopt(std::vector<float>(kFloats, 0.5f));
  std::vector<float> plain(kFloats, 1.0f);
  std::vector<double> ours, limit;
  absl::Status status;
  for (int run = 0; run < kRuns; ++run) {
    ours.push_back(Seconds([&] {
      status.Update(writer.Push(writer.router().PushDense(0, gradient)));
      status.Update(writer.AwaitAll());
    }));
    limit.push_back(Seconds([&] {
      float* w = plain.data();
      const float* g = gradient.As<float>().data();
      for (size_t i = 0; i < kFloats; ++i) w[i] -= 0.01f * g[i];
      asm volatile("" : : "r"(w) : "memory");
    }));
  }
  TROUPE_RETURN_IF_ERROR(status);
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
  Writer writer(system, spec);
  TROUPE_RETURN_IF_ERROR(writer.Start(system, spec));
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
    std::vector<RoutedPush> routed;   // the client's share of the work is not the shard's
    for (const auto& batch : batches)
      routed.push_back(writer.router().Push(
          {{.table = 0, .keys = batch, .values = {gradient.begin(), gradient.begin() + static_cast<std::ptrdiff_t>(batch.size())}, .nonzeros = {}}}));
    ours.push_back(Seconds([&] {
      for (RoutedPush& push : routed) status.Update(writer.Push(std::move(push)));
      status.Update(writer.AwaitAll());
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
