// One split of a data set as a stream of batches: pieces -> shuffled windows -> batches of a fixed number of rows. A batch is a pure function of
// (seed, epoch, split, ordinal), whoever reads it and however often.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "dataflow/batch.h"
#include "dataflow/block_cache.h"
#include "dataflow/source.h"

namespace troupe {

struct SplitOptions {
  uint32_t split = 0;
  uint32_t splits = 1;
  uint32_t batch_rows = 256;
  uint64_t seed = 1;
  /// Rows come in an order drawn from (seed, epoch, split): pieces in random order, and rows mixed within windows of window_pieces pieces. false: as in the
  /// file, each batch within one piece.
  bool shuffle = true;
  uint32_t window_pieces = 16;
};

/// Pieces of split s of n: [first, last).
struct PieceRange {
  uint64_t first, last;
};
PieceRange PiecesOf(uint64_t pieces, uint32_t split, uint32_t splits);

/// Not thread-safe: one user at a time, on any thread.
class SplitReader {
 public:
  /// `cache` may be null; it may be shared by readers of the same source.
  SplitReader(std::shared_ptr<const Source> source, std::shared_ptr<BlockCache> cache, SplitOptions options);
  ~SplitReader();

  /// Starts epoch `epoch` (0-based) before its batch `ordinal` (0-based); a new reader stands at (0, 0). Batches before it are passed over, which reads and
  /// parses their pieces. Behind the last batch is the end of the epoch.
  absl::Status Seek(uint64_t epoch, uint64_t ordinal);
  /// The next batch, or nullopt at the end of the epoch. After an error only Seek helps. Every batch but the last of an epoch has batch_rows rows (unshuffled:
  /// the last of each piece).
  absl::StatusOr<std::optional<Batch>> Next();
  /// Of the current epoch so far, with what Seek passed over.
  uint64_t rows_read() const;
  uint64_t bad_rows() const;
  uint64_t bytes_read() const;
  uint64_t bytes_total() const;   ///< of this split, in one epoch

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}   // namespace troupe
