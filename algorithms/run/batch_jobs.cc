#include "algorithms/run/batch_jobs.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"

namespace troupe {
namespace {

class CollectingOut final : public Out {
 public:
  explicit CollectingOut(WorkResult& result) : result_(result) {}

  void Push(uint32_t table, std::vector<Key> keys, std::vector<float> gradient, std::span<const uint32_t> nonzeros) override {
    result_.pushes.push_back({.table = table, .keys = std::move(keys), .values = std::move(gradient), .nonzeros = {nonzeros.begin(), nonzeros.end()}});
  }
  void Combine(std::span<const double> partial) override {
    if (absl::Status status = AddNumbers(partial, result_.sum); !status.ok()) status_ = status;
  }
  void Collect(std::span<const double> numbers) override { result_.collected.insert(result_.collected.end(), numbers.begin(), numbers.end()); }
  const absl::Status& status() const { return status_; }

 private:
  WorkResult& result_;
  absl::Status status_;
};

}   // namespace

BatchSource::BatchSource(std::shared_ptr<const Algorithm> algorithm, std::shared_ptr<const Router> router, std::shared_ptr<const Source> source,
                         std::shared_ptr<BlockCache> cache, uint32_t split, uint32_t splits, uint64_t seed)
    : algorithm_(std::move(algorithm)),
      router_(std::move(router)),
      source_(std::move(source)),
      cache_(std::move(cache)),
      split_(split),
      splits_(splits),
      seed_(seed) {}

absl::Status BatchSource::Begin(const Phase& phase, uint64_t epoch, uint64_t skip) {
  phase_ = phase;
  ordinal_ = rows_ = nonzeros_ = 0;
  skip_ = skip;
  reader_ = std::make_unique<SplitReader>(
      source_, cache_, SplitOptions{.split = split_, .splits = splits_, .batch_rows = phase.batch_rows, .seed = seed_, .shuffle = phase.shuffle});
  bytes_total_ = reader_->bytes_total();   // over all pieces: once, not for every batch
  return reader_->Seek(epoch, 0);
}

absl::StatusOr<std::optional<PreparedBatch>> BatchSource::Next(uint64_t left_out) {
  for (;;) {
    TROUPE_TRY(std::optional<Batch> batch, reader_->Next());
    if (!batch) return std::optional<PreparedBatch>();
    ++ordinal_;
    rows_ += batch->rows();
    const uint64_t nonzeros = batch->nonzeros();
    nonzeros_ += nonzeros;
    if (ordinal_ <= std::max(skip_, left_out)) continue;
    PreparedBatch prepared{.ordinal = ordinal_, .nonzeros = nonzeros, .batch = std::move(*batch), .plan = nullptr, .pull = nullptr, .rows = {}};
    TROUPE_TRY(prepared.plan, algorithm_->MakePlan(phase_, prepared.batch));
    if (prepared.plan != nullptr && !prepared.plan->pulls.empty()) {
      std::vector<Router::TablePull> pulls;
      for (const Plan::Pull& pull : prepared.plan->pulls) pulls.push_back({pull.table, pull.keys});
      prepared.pull = std::make_shared<RoutedPull>(router_->Pull(pulls));
    }
    return std::optional<PreparedBatch>(std::move(prepared));
  }
}

absl::Status AddNumbers(std::span<const double> from, Numbers& into) {
  if (into.empty()) {
    into.assign(from.begin(), from.end());
    return absl::OkStatus();
  }
  if (into.size() != from.size()) return absl::InternalError(absl::StrCat("partial sums of ", into.size(), " and ", from.size(), " numbers in one phase"));
  for (size_t i = 0; i < from.size(); ++i) into[i] += from[i];
  return absl::OkStatus();
}

absl::Status WorkOn(const Algorithm& algorithm, const Phase& phase, const PreparedBatch& prepared, std::span<const RowsView> rows, WorkResult& result) {
  CollectingOut out(result);
  TROUPE_RETURN_IF_ERROR(algorithm.Work(phase, prepared.batch, prepared.plan.get(), rows, out));
  return out.status();
}

}   // namespace troupe
