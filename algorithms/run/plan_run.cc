#include "algorithms/run/plan_run.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <vector>

#include "actors/status.h"
#include "actors/text.h"
#include "algorithms/registry.h"
#include "algorithms/run/local_runner.h"

namespace troupe {
namespace {

constexpr uint64_t kSampleBytes = 1 << 20;

/// Some pieces of another source, in its order.
class SampledSource final : public Source {
 public:
  SampledSource(std::shared_ptr<const Source> from, std::vector<uint64_t> pieces) : from_(std::move(from)), pieces_(std::move(pieces)) {}
  const Schema& schema() const override { return from_->schema(); }
  uint64_t pieces() const override { return pieces_.size(); }
  uint64_t piece_bytes(uint64_t i) const override { return from_->piece_bytes(pieces_[i]); }
  absl::StatusOr<std::shared_ptr<const RowBlock>> Read(uint64_t i) const override {
    const auto begun = std::chrono::steady_clock::now();
    auto block = from_->Read(pieces_[i]);
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    if (block.ok()) rows_[i] = (*block)->rows;
    return block;
  }
  uint64_t rows_read() const { return std::accumulate(rows_.begin(), rows_.end(), uint64_t{0}); }
  /// That reading took so far. Not thread-safe, as the oracle that reads is not.
  double seconds() const { return seconds_; }

 private:
  const std::shared_ptr<const Source> from_;
  const std::vector<uint64_t> pieces_;
  mutable double seconds_ = 0;
  mutable std::vector<uint64_t> rows_ = std::vector<uint64_t>(pieces_.size());   // by piece, 0: not read
};

/// As far apart as they can be; all, where the data are not much.
std::vector<uint64_t> SamplePieces(const Source& source) {
  const uint64_t mean = std::max<uint64_t>(1, source.bytes() / std::max<uint64_t>(1, source.pieces()));
  const uint64_t n = std::clamp<uint64_t>((kSampleBytes + mean - 1) / mean, std::min<uint64_t>(4, source.pieces()), source.pieces());
  std::vector<uint64_t> pieces;
  for (uint64_t i = 0; i < n; ++i) pieces.push_back(static_cast<uint64_t>(static_cast<unsigned __int128>(source.pieces()) * i / n));
  return pieces;
}

/// Of phases that push: they are what shards are laid out for.
class TrafficWatch final : public LocalWatch {
 public:
  explicit TrafficWatch(size_t tables) : traffic(tables) {}
  void Pulled(uint32_t table, std::span<const Key> keys) override { traffic[table].Pulled(keys); }
  void Pushed(uint32_t table, std::span<const Key> keys) override { traffic[table].Pushed(keys); }
  void Batch(const Phase& phase, double seconds) override {
    if (!phase.pushes) return;
    ++batches;
    total += seconds;
  }

  std::vector<TableTraffic> traffic;
  uint64_t batches = 0;
  double total = 0;   // seconds
};

}   // namespace

absl::StatusOr<RunPlan> PlanRun(const TrainOptions& options, const std::shared_ptr<const Source>& source, bool processes, uint32_t cores) {
  TROUPE_TRY(const std::unique_ptr<Algorithm> algorithm, MakeAlgorithm(options.algorithm));
  TROUPE_TRY(const Params params, Params::Parse(algorithm->params(), options.params));
  TROUPE_TRY(const Blueprint blueprint, DeclareTables(options, *algorithm, params, DataShape::Of(source->schema())));
  const auto sample = std::make_shared<const SampledSource>(source, SamplePieces(*source));
  TrafficWatch watch(blueprint.tables.size());
  const auto ran = RunLocal({.algorithm = options.algorithm, .params = options.params, .source = sample, .seed = options.seed, .watch = &watch});
  if (!ran.ok()) return WithContext(ran.status(), "a sample of the data");
  RunPlan plan{.layout = {}, .rows = sample->rows_read(), .batches = watch.batches, .growth = 1};
  plan.growth = static_cast<double>(source->bytes()) / static_cast<double>(std::max<uint64_t>(1, sample->bytes()));
  PlanInputs inputs;
  inputs.tables = blueprint.tables;
  inputs.traffic = std::move(watch.traffic);
  inputs.batches = watch.batches;
  inputs.growth = plan.growth;
  inputs.batch_seconds = watch.batches == 0 ? 0 : (watch.total + sample->seconds()) / static_cast<double>(watch.batches);
  inputs.workers = options.workers;
  inputs.cores = cores;
  inputs.memory = MemoryOf(options);
  inputs.shards = options.shards;
  inputs.processes = processes;
  for (const TableSpec& table : blueprint.tables) inputs.stale.push_back(options.consistency.Of(table.name).allows_prefetch());
  plan.layout = PlanLayout(inputs);
  return plan;
}

}   // namespace troupe
