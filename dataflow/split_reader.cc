// Shuffling in two steps, so that memory stays bounded: pieces in random order, then rows within a window of some pieces. Rows that do not fill a batch
// move on into the next window. Rows are shuffled as references; what they hold is never copied.
#include "dataflow/split_reader.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "actors/check.h"
#include "actors/random.h"
#include "actors/status.h"

namespace troupe {

PieceRange PiecesOf(uint64_t pieces, uint32_t split, uint32_t splits) {
  TROUPE_CHECK(split < splits);
  const auto at = [&](uint64_t s) { return static_cast<uint64_t>(static_cast<unsigned __int128>(pieces) * s / splits); };
  return {at(split), at(split + uint64_t{1})};
}

struct SplitReader::Impl {
  Impl(std::shared_ptr<const Source> from, std::shared_ptr<BlockCache> kept, const SplitOptions& how)
      : source(std::move(from)), cache(std::move(kept)), options(how), range(PiecesOf(source->pieces(), how.split, how.splits)) {
    TROUPE_CHECK(options.batch_rows > 0);
    Begin(0);
  }

  const std::shared_ptr<const Source> source;
  const std::shared_ptr<BlockCache> cache;
  const SplitOptions options;
  const PieceRange range;

  uint64_t epoch = 0;
  uint64_t ordinal = 0;   // of the next batch
  absl::Status failed;
  Random random{0};
  std::vector<uint64_t> order;   // the epoch's pieces
  size_t next_piece = 0;         // in `order`

  // The window: rows that are read and, from `next_row` on, not handed out yet. Invariant: `blocks` holds every block of those.
  std::vector<Batch::Row> rows;
  size_t next_row = 0;
  std::vector<std::shared_ptr<const RowBlock>> blocks;

  uint64_t rows_read = 0;
  uint64_t bad_rows = 0;
  uint64_t bytes_read = 0;

  size_t remaining() const { return rows.size() - next_row; }

  void Begin(uint64_t to) {
    epoch = to;
    ordinal = rows_read = bad_rows = bytes_read = 0;
    failed = absl::OkStatus();
    order.resize(range.last - range.first);
    std::iota(order.begin(), order.end(), range.first);
    random = Random(options.seed).Fork(epoch).Fork(options.split);
    if (options.shuffle) random.Shuffle(std::span(order));
    next_piece = next_row = 0;
    rows.clear();
    blocks.clear();
  }

  absl::Status LoadPiece() {
    const uint64_t piece = order[next_piece++];
    std::shared_ptr<const RowBlock> block = cache == nullptr ? nullptr : cache->Find(piece);
    if (block == nullptr) {
      TROUPE_TRY(block, source->Read(piece));
      if (cache != nullptr) cache->Keep(block);
    }
    bytes_read += source->piece_bytes(piece);
    bad_rows += block->bad_rows;
    if (block->rows == 0) return absl::OkStatus();
    for (uint32_t row = 0; row < block->rows; ++row) rows.push_back({block.get(), row});
    blocks.push_back(std::move(block));
    return absl::OkStatus();
  }

  // Forgets rows that were handed out, and blocks that no other row needs.
  void DropUsed() {
    rows.erase(rows.begin(), rows.begin() + static_cast<ptrdiff_t>(next_row));
    next_row = 0;
    std::vector<const RowBlock*> used;
    for (const Batch::Row& row : rows) used.push_back(row.block);
    std::sort(used.begin(), used.end());
    std::erase_if(blocks, [&](const auto& block) { return !std::binary_search(used.begin(), used.end(), block.get()); });
  }

  // Makes `rows` hold a whole batch, or what is left of the epoch.
  absl::Status Fill() {
    const size_t enough = options.shuffle ? options.batch_rows : 1;   // unshuffled, a batch ends with its piece
    while (remaining() < enough && next_piece < order.size()) {
      DropUsed();
      const size_t pieces = options.shuffle ? std::max(options.window_pieces, 1u) : 1;
      const size_t stop = std::min(next_piece + pieces, order.size());
      while (next_piece < stop) TROUPE_RETURN_IF_ERROR(LoadPiece());
      if (options.shuffle) random.Shuffle(std::span(rows));
    }
    return absl::OkStatus();
  }

  // Rows [first, first + n) of the window are the next batch; n = 0 at the end of the epoch.
  absl::StatusOr<size_t> Advance() {
    if (failed.ok()) failed = Fill();
    if (!failed.ok()) return failed;
    const size_t n = std::min<size_t>(options.batch_rows, remaining());
    next_row += n;
    rows_read += n;
    ordinal += n > 0;
    if (n == 0) DropUsed();   // a reader at rest holds nothing
    return n;
  }
};

SplitReader::SplitReader(std::shared_ptr<const Source> source, std::shared_ptr<BlockCache> cache, SplitOptions options)
    : impl_(std::make_unique<Impl>(std::move(source), std::move(cache), options)) {}

SplitReader::~SplitReader() = default;

absl::Status SplitReader::Seek(uint64_t epoch, uint64_t ordinal) {
  Impl& state = *impl_;
  if (epoch != state.epoch || ordinal < state.ordinal || !state.failed.ok()) state.Begin(epoch);
  while (state.ordinal < ordinal) {
    TROUPE_TRY(const size_t n, state.Advance());
    if (n == 0) break;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Batch>> SplitReader::Next() {
  Impl& state = *impl_;
  TROUPE_TRY(const size_t n, state.Advance());
  if (n == 0) return std::optional<Batch>();
  const auto end = state.rows.begin() + static_cast<ptrdiff_t>(state.next_row);
  return Batch(std::vector<Batch::Row>(end - static_cast<ptrdiff_t>(n), end), state.blocks);
}

uint64_t SplitReader::rows_read() const {
  return impl_->rows_read;
}
uint64_t SplitReader::bad_rows() const {
  return impl_->bad_rows;
}
uint64_t SplitReader::bytes_read() const {
  return impl_->bytes_read;
}

uint64_t SplitReader::bytes_total() const {
  uint64_t sum = 0;
  for (uint64_t piece = impl_->range.first; piece < impl_->range.last; ++piece) sum += impl_->source->piece_bytes(piece);
  return sum;
}

}   // namespace troupe
