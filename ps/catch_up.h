// A shard that has come back without its last pushes, until their writers have sent them again. Where tables go by no rounds (SSP, ASP), rules depend on the
// order of pushes and pulls on who was heard already: unless both are as they were, the loss is to be seen in the model. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "ps/types.h"

namespace troupe {

/// Of one shard's life. A writer has caught up when it has said what it holds (Open) and all of that has arrived. Until all have, pulls wait, and pushes are
/// kept here to be taken in the order in which the shard's earlier life took them (Pushed::order); those that it had not answered come last.
class CatchUp {
 public:
  using Take = std::function<void()>;
  explicit CatchUp(uint32_t writers) : writers_(writers) {}

  /// The writer holds pushes of rounds up to `through`; 0: none, and whatever else there was it computes anew.
  void OnOpen(uint32_t writer, Round through) { writers_[writer].wanted = through; }
  bool HasOpened(uint32_t writer) const { return writers_[writer].wanted != UINT64_MAX; }
  /// After OnOpen. A writer's pushes come in its own order. `order`: Push::order, 0: not known.
  void Keep(uint32_t writer, uint64_t order, Take take) { writers_[writer].kept.push_back({order == 0 ? UINT64_MAX : order, ++seen_, std::move(take)}); }
  /// What is to be taken next; null: a push before it may still come, or none is kept. `clocks`: of rounds that have arrived, by writer.
  Take Next(const std::vector<Round>& clocks) {
    for (size_t writer = 0; writer < writers_.size(); ++writer) {
      if (writers_[writer].kept.empty() && writers_[writer].wanted > clocks[writer]) return nullptr;
    }
    return TakeFirst();
  }
  /// The same, whatever may still come.
  Take TakeFirst() {
    const auto first = std::ranges::min_element(writers_, {}, [](const Writer& writer) {
      return writer.kept.empty() ? std::pair(UINT64_MAX, UINT64_MAX) : std::pair(writer.kept.front().order, writer.kept.front().arrival);
    });
    if (first == writers_.end() || first->kept.empty()) return nullptr;
    Take take = std::move(first->kept.front().take);
    first->kept.pop_front();
    return take;
  }
  bool IsOver(const std::vector<Round>& clocks) const {
    return std::ranges::equal(writers_, clocks, [](const Writer& writer, Round clock) { return writer.kept.empty() && writer.wanted <= clock; });
  }

 private:
  struct Kept {
    uint64_t order, arrival;
    Take take;
  };
  struct Writer {
    Round wanted = UINT64_MAX;   // it has not said yet
    std::deque<Kept> kept = {};
  };
  std::vector<Writer> writers_;
  uint64_t seen_ = 0;
};

}   // namespace troupe
