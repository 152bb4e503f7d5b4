// The client of benchmarks.
#pragma once

#include <chrono>
#include <deque>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "caf/scoped_actor.hpp"
#include "ps/router.h"

namespace troupe::internal {

/// A writer without the client's care for faults: numbers its pushes and keeps some under way, as the client does.
class BenchWriter {
 public:
  BenchWriter(System& system, std::vector<TableSpec> tables, ShardActor shard)
      : self_(system.actors()), router_(std::move(tables), 1), last_(router_.slots(), 0), shard_(std::move(shard)) {}

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
  /// Rows as they are now, for Router::Gather.
  absl::StatusOr<std::vector<Block>> Pull(const RoutedPull& pull) {
    const RoutedPull::Share& share = pull.shards[0];
    const auto ask = [&](size_t i) {
      return self_->request(shard_, std::chrono::seconds(30),
                            ::troupe::Pull{.parts = Block::Copy(share.PartsOf(i)),
                                           .keys = share.KeysOf(i),
                                           .piece = static_cast<uint32_t>(i),
                                           .answer_bytes = share.FloatsOf(i) * sizeof(float)});
    };
    std::deque<decltype(ask(0))> under_way;
    std::vector<Block> values;
    absl::Status status;
    for (size_t next = 0; values.size() < share.messages() && status.ok();) {
      while (next < share.messages() && under_way.size() < kUnderWay) under_way.push_back(ask(next++));
      under_way.front().receive([&values](const Pulled& pulled) { values.push_back(pulled.values); },
                                [&status](const caf::error& error) { status = FromError(error); });
      under_way.pop_front();
    }
    if (!status.ok()) return status;
    return values;
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

}   // namespace troupe::internal
