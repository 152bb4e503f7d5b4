#include "ps/relocation_actor.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/gather.h"
#include "actors/random.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/cut.h"
#include "ps/snapshot.h"

namespace troupe {
namespace {

constexpr int kTellsMax = 5;                            // each for MoveOptions::patience: then whoever moves next ends it
constexpr std::chrono::milliseconds kHoldMax{10'000};   // as shards allow
constexpr char kDecision[] = "decision";

/// One attempt, step by step: each is asked of all shards, and calls the next.
class Relocation : public std::enable_shared_from_this<Relocation> {
 public:
  Relocation(System& system, std::vector<ShardActor> shards, std::vector<TableSpec> tables,
             std::function<std::vector<RangeMove>(const RangeMap&, const std::vector<Ranges>&)> choose, MoveOptions options,
             std::function<void(absl::StatusOr<MovedRanges>)> done)
      : system_(system),
        shards_(std::move(shards)),
        tables_(std::move(tables)),
        choose_(std::move(choose)),
        options_(std::move(options)),
        done_(std::move(done)),
        cut_(std::max<uint64_t>(
            1, Mix64(Mix64(static_cast<uint64_t>(system.node()) + 1) ^ Mix64(static_cast<uint64_t>(system.incarnation()) + 7) ^ Mix64(~options_.number)))) {}

  void Start() {
    for (const TableSpec& table : tables_) {
      if (table.kept_by == KeptBy::kShards) continue;
      done_(absl::FailedPreconditionError(absl::StrCat("table '", table.name, "' is kept by the workers: ranges of the job stay where they are")));
      return;
    }
    Ask<Ranges>(AskRanges{.loads = true}, options_.step_max, [self = shared_from_this()](const absl::StatusOr<std::vector<Ranges>>& ranges) {
      ranges.ok() ? self->OnRanges(*ranges) : self->done_(ranges.status());
    });
  }

 private:
  template <class Reply, class Message>
  void Ask(const Message& message, std::chrono::milliseconds patience, std::function<void(absl::StatusOr<std::vector<Reply>>)> then) {
    AskEach<Reply>([message](size_t) { return message; }, patience, std::move(then));
  }
  template <class Reply, class Make>
  void AskEach(Make make, std::chrono::milliseconds patience, std::function<void(absl::StatusOr<std::vector<Reply>>)> then) {
    if (options_.wanted && !options_.wanted()) return;
    Gather<Reply>(system_, shards_, std::move(make), GatherOptions{.retry = std::chrono::milliseconds(20), .patience = patience}, std::move(then));
  }
  std::string UriOf(size_t shard) const { return absl::StrCat(options_.folder, "/move-", cut_, "-", shard); }
  std::string DecisionUri() const { return absl::StrCat(options_.folder, "/move.decision"); }

  void OnRanges(const std::vector<Ranges>& ranges) {
    const auto in_doubt = std::ranges::find_if(ranges, [](const Ranges& each) { return each.in_doubt != 0; });
    if (in_doubt != ranges.end()) {
      EndEarlier(in_doubt->in_doubt);
      return;
    }
    for (size_t shard = 0; shard < ranges.size(); ++shard) {
      auto map = RangeMap::Decode(tables_, static_cast<uint32_t>(shards_.size()), ranges[shard].map);
      if (!map.ok()) {
        done_(WithContext(map.status(), absl::StrCat("shard ", shard)));
        return;
      }
      if (shard > 0 && *map != present_) {
        done_(absl::UnavailableError(absl::StrCat("shards 0 and ", shard, " have different maps of the ranges")));
        return;
      }
      present_ = std::move(*map);
    }
    const std::vector<RangeMove> moves = choose_(present_, ranges);
    if (moves.empty()) {
      done_(MovedRanges{.map = present_});
      return;
    }
    auto next = present_.After(moves);
    if (!next.ok()) {
      done_(next.status());
      return;
    }
    next_ = std::move(*next);
    began_ = system_.actors().clock().now();
    Ask<Prepared>(Prepare{cut_, std::min(4 * options_.step_max, kHoldMax)}, options_.step_max / 2,
                  [self = shared_from_this()](const absl::StatusOr<std::vector<Prepared>>& prepared) {
                    prepared.ok() ? self->OnPrepared(*prepared) : self->GiveUp(prepared.status());
                  });
  }

  /// A move whose process fell between the agreement of the shards and the end.
  void EndEarlier(uint64_t cut) {
    if (std::exchange(ended_earlier_, true)) {
      done_(absl::UnavailableError("an earlier move of ranges has not come to its end yet"));
      return;
    }
    system_.compute().Submit(Compute::Priority::kStep, [self = shared_from_this(), cut] {
      Settle settle{.cut = cut, .epoch = 0, .commit = false};
      const auto decision = ReadSnapshot(self->system_.storage(), self->DecisionUri());
      if (!decision.ok() && !absl::IsNotFound(decision.status())) {
        self->done_(decision.status());
        return;
      }
      for (const SnapshotSection& section : decision.ok() ? *decision : std::vector<SnapshotSection>()) {
        uint64_t numbers[2];   // cut, epoch
        if (section.name != kDecision || section.bytes.size() != sizeof numbers) continue;
        std::memcpy(numbers, section.bytes.data(), sizeof numbers);
        if (numbers[0] == cut) settle = {.cut = cut, .epoch = numbers[1], .commit = true};
      }
      self->Ask<Settled>(settle, self->options_.patience,
                         [self](const absl::StatusOr<std::vector<Settled>>& settled) { settled.ok() ? self->Start() : self->done_(settled.status()); });
    });
  }

  void OnPrepared(const std::vector<Prepared>& prepared) {
    auto clocks = CutOf(prepared);
    if (!clocks.ok()) {
      GiveUp(clocks.status());
      return;
    }
    Stand stand{.cut = cut_,
                .clocks = Block::Adopt(std::move(*clocks)),
                .map = next_.Encode(),
                .uri = {},
                .wait = std::min(options_.step_max, kHoldMax),
                .hold = std::min(4 * options_.step_max, kHoldMax)};
    AskEach<Standing>(
        [self = shared_from_this(), stand](size_t shard) {
          Stand its = stand;
          its.uri = self->UriOf(shard);
          return its;
        },
        options_.step_max / 2,
        [self = shared_from_this()](const absl::StatusOr<std::vector<Standing>>& standing) {
          standing.ok() ? self->OnStanding() : self->GiveUp(standing.status());
        });
  }

  /// Those that give something away.
  std::vector<size_t> Givers() const {
    std::vector<size_t> givers;
    for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
      bool gives = false;
      for (uint32_t table = 0; table < present_.tables(); ++table) {
        for (uint32_t range = 0; range < present_.ranges(table); ++range) {
          gives |= present_.ShardOf(table, range) == shard && next_.ShardOf(table, range) != shard;
        }
      }
      if (gives) givers.push_back(shard);
    }
    return givers;
  }
  bool Gets(uint32_t shard) const {
    for (uint32_t table = 0; table < present_.tables(); ++table) {
      for (uint32_t range = 0; range < present_.ranges(table); ++range) {
        if (present_.ShardOf(table, range) != shard && next_.ShardOf(table, range) == shard) return true;
      }
    }
    return false;
  }

  void OnStanding() {
    std::vector<TakeIn> requests(shards_.size(), TakeIn{.cut = cut_, .uris = {}});
    for (const size_t giver : Givers()) {
      for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
        if (Gets(shard)) requests[shard].uris.push_back(UriOf(giver));
      }
    }
    AskEach<TakenIn>(
        [requests](size_t shard) { return requests[shard]; }, options_.step_max,
        [self = shared_from_this()](const absl::StatusOr<std::vector<TakenIn>>& taken) { taken.ok() ? self->Decide() : self->GiveUp(taken.status()); });
  }

  void Decide() {
    system_.compute().Submit(Compute::Priority::kStep, [self = shared_from_this()] {
      const uint64_t numbers[] = {self->cut_, self->next_.epoch()};
      const absl::Status written =
          WriteSnapshot(self->system_.storage(), self->DecisionUri(), {{kDecision, Block::Copy(numbers, sizeof numbers)}}, /*durable=*/true);
      written.ok() ? self->Tell(true, absl::OkStatus()) : self->GiveUp(written);
    });
  }

  void GiveUp(const absl::Status& status) { Tell(false, status); }

  void Tell(bool commit, const absl::Status& why) {
    const auto pause = std::chrono::duration_cast<std::chrono::microseconds>(system_.actors().clock().now() - began_);
    Ask<Settled>(Settle{.cut = cut_, .epoch = next_.epoch(), .commit = commit}, options_.patience,
                 [self = shared_from_this(), pause, commit, why](const absl::StatusOr<std::vector<Settled>>& settled) {
                   if (!settled.ok() && commit && IsRetryable(settled.status()) && ++self->told_ < kTellsMax) return self->Tell(true, why);
                   if (!settled.ok()) {
                     self->done_(commit
                                     ? absl::UnavailableError(absl::StrCat("ranges have moved, but a shard has not heard of it: ", settled.status().message()))
                                     : why);
                     return;
                   }
                   self->CleanUp(commit ? absl::StatusOr<MovedRanges>(MovedRanges{.map = self->next_, .pause = pause}) : why);
                 });
  }

  void CleanUp(absl::StatusOr<MovedRanges> result) {
    system_.compute().Submit(Compute::Priority::kStep, [self = shared_from_this(), result = std::move(result)]() mutable {
      std::vector<std::string> uris{self->DecisionUri()};
      for (const size_t giver : self->Givers()) uris.push_back(self->UriOf(giver));
      for (const std::string& uri : uris) self->system_.storage().Remove(uri).IgnoreError();   // it may not have come so far
      self->done_(std::move(result));
    });
  }

  System& system_;
  const std::vector<ShardActor> shards_;
  const std::vector<TableSpec> tables_;
  const std::function<std::vector<RangeMove>(const RangeMap&, const std::vector<Ranges>&)> choose_;
  const MoveOptions options_;
  const std::function<void(absl::StatusOr<MovedRanges>)> done_;
  const uint64_t cut_;
  bool ended_earlier_ = false;
  int told_ = 0;   // in vain, of a move that is decided
  RangeMap present_, next_;
  std::chrono::steady_clock::time_point began_;
};

}   // namespace

void MoveRanges(System& system, const std::vector<ShardActor>& shards, const std::vector<TableSpec>& tables,
                std::function<std::vector<RangeMove>(const RangeMap&, const std::vector<Ranges>&)> choose, const MoveOptions& options,
                std::function<void(absl::StatusOr<MovedRanges>)> done) {
  std::make_shared<Relocation>(system, shards, tables, std::move(choose), options, std::move(done))->Start();
}

}   // namespace troupe
