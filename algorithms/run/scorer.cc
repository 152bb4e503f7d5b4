// Threads take the next piece as they get free; the caller takes the results in order. A thread that is too far ahead waits.
#include "algorithms/run/scorer.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "actors/status.h"
#include "algorithms/evaluation/metrics.h"

namespace troupe {
namespace {

constexpr uint32_t kBatchRows = 4096;   // rows at a time: their predictions stay in the cache

struct ScoredPiece {
  std::vector<float> predictions;
  Metrics metrics;
  uint64_t bad_rows = 0;
};

absl::StatusOr<std::shared_ptr<const RowBlock>> ReadPiece(const ScoreOptions& options, uint64_t piece) {
  if (options.cache == nullptr) return options.source->Read(piece);
  if (auto block = options.cache->Find(piece)) return block;
  TROUPE_TRY(auto block, options.source->Read(piece));
  options.cache->Keep(block);
  return block;
}

absl::StatusOr<ScoredPiece> ScorePiece(const Predictor& predictor, Task task, const ScoreOptions& options, uint64_t piece) {
  TROUPE_TRY(const std::shared_ptr<const RowBlock> block, ReadPiece(options, piece));
  ScoredPiece scored{std::vector<float>(block->rows), Metrics(task), block->bad_rows};
  const bool measured = task == Task::kClustering || !block->labels.empty();
  for (uint64_t first = 0; first < block->rows; first += kBatchRows) {
    const size_t n = std::min<uint64_t>(kBatchRows, block->rows - first);
    Batch batch;
    for (size_t i = 0; i < n; ++i) batch.Add(block, static_cast<uint32_t>(first + i));
    const std::span<float> predictions(scored.predictions.data() + first, n);
    double loss = 0;
    TROUPE_RETURN_IF_ERROR(predictor.Predict(batch, predictions, &loss));
    if (!measured) continue;
    const std::span<const float> labels = task == Task::kClustering ? std::span<const float>() : std::span<const float>(block->labels).subspan(first, n);
    scored.metrics.Add(predictions, labels, loss);
  }
  return scored;
}

/// Pieces in work, and those that wait for their turn.
class Pipeline {
 public:
  Pipeline(const Predictor& predictor, Task task, const ScoreOptions& options)
      : pieces_(options.source->pieces()), window_(4 * static_cast<uint64_t>(std::max(1, options.threads))) {
    const uint64_t threads = std::min<uint64_t>(static_cast<uint64_t>(std::max(1, options.threads)), pieces_);
    for (uint64_t i = 0; i < threads; ++i)
      threads_.emplace_back([this, &predictor, task, &options] {
        while (const auto piece = Take()) Put(*piece, ScorePiece(predictor, task, options, *piece));
      });
  }
  ~Pipeline() {
    {
      const std::lock_guard lock(mutex_);
      pieces_ = 0;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  /// Waits for the result of piece `next_`.
  absl::StatusOr<ScoredPiece> Next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_.contains(next_); });
    auto result = std::move(done_.extract(next_++).mapped());
    lock.unlock();
    changed_.notify_all();
    return result;
  }

 private:
  std::optional<uint64_t> Take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return taken_ >= pieces_ || taken_ < next_ + window_; });
    if (taken_ >= pieces_) return std::nullopt;
    return taken_++;
  }
  void Put(uint64_t piece, absl::StatusOr<ScoredPiece> result) {
    {
      const std::lock_guard lock(mutex_);
      done_.emplace(piece, std::move(result));
    }
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t pieces_;
  const uint64_t window_;
  uint64_t taken_ = 0, next_ = 0;   // Invariant: next_ <= taken_ <= next_ + window_
  std::map<uint64_t, absl::StatusOr<ScoredPiece>> done_;
  std::vector<std::thread> threads_;
};

}   // namespace

absl::StatusOr<ScoreResult> Score(const Predictor& predictor, Task task, const ScoreOptions& options) {
  Pipeline pipeline(predictor, task, options);
  Metrics metrics(task);
  ScoreResult result;
  for (uint64_t piece = 0; piece < options.source->pieces(); ++piece) {
    TROUPE_TRY(const ScoredPiece scored, pipeline.Next());
    if (options.predictions) TROUPE_RETURN_IF_ERROR(options.predictions(scored.predictions));
    metrics.Merge(scored.metrics);
    result.rows += scored.predictions.size();
    result.bad_rows += scored.bad_rows;
  }
  result.metrics = metrics.Result();
  return result;
}

}   // namespace troupe
