// How often each row of a dense range was pushed to, for rules that need it (Adam's t): a float a row. While all rows of a piece stand at one count, only the
// piece's first float says so, so that pushes of whole tables read and write no more memory than a count for the table would.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace troupe::internal {

/// A view of a range's counts. Not thread-safe.
class StepCounts {
 public:
  /// Rows of a piece. What is behind a range's last whole piece has a count a row.
  static constexpr uint64_t kPiece = 1024;

  /// `counts`: a float a row, zeros at the start, changed by this class only.
  explicit StepCounts(float* counts) : counts_(counts) {}

  /// Adds 1 to the counts of rows [first, first + n). each(first row, n, count): runs of rows that have the same count now, in their order.
  template <class Each>
  void Add(uint64_t first, uint64_t n, const Each& each) {
    const uint64_t end = first + n;
    uint64_t begin = first;   // of the run
    float count = 0;
    const auto next_run = [&](uint64_t row, float at) {
      if (row > begin && at == count) return;
      if (row > begin) each(begin, row - begin, count);
      begin = row;
      count = at;
    };
    for (uint64_t row = first, next; row < end; row = next) {
      const uint64_t piece = row / kPiece * kPiece;
      next = std::min(piece + kPiece, end);
      if (next - row == kPiece && AllOne(piece)) {
        const float at = First(piece) + 1;
        counts_[piece] = -at;
        next_run(row, at);
      } else {
        Spread(piece);
        for (uint64_t i = row; i < next; ++i) next_run(i, counts_[i] += 1);
      }
    }
    if (end > begin) each(begin, end - begin, count);
  }

  float At(uint64_t row) const {
    const float first = counts_[row / kPiece * kPiece];
    return first < 0 ? -first : counts_[row];
  }
  /// All of `rows` counts, one each.
  void CopyTo(uint64_t rows, float* out) const {
    for (uint64_t row = 0; row < rows; ++row) out[row] = At(row);
  }
  /// What is no count (negative, NaN) is taken for 0.
  void CopyFrom(uint64_t rows, const float* in) {
    for (uint64_t row = 0; row < rows; ++row) counts_[row] = in[row] > 0 ? in[row] : 0.0f;
  }

 private:
  // Invariant: counts_[p] < 0 only for the first row p of a whole piece, all rows of which are at -counts_[p]; its other floats say nothing then.
  float First(uint64_t piece) const { return std::fabs(counts_[piece]); }
  bool AllOne(uint64_t piece) const {
    if (counts_[piece] < 0) return true;
    bool same = true;
    for (uint64_t i = 1; i < kPiece; ++i) same &= counts_[piece + i] == counts_[piece];
    return same;
  }
  /// A count a row from now on.
  void Spread(uint64_t piece) {
    if (counts_[piece] < 0) std::fill_n(counts_ + piece, kPiece, -counts_[piece]);
  }

  float* counts_;
};

}   // namespace troupe::internal
