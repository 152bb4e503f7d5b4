// A training run's looks at the loads of its shards, and the moves of ranges that follow.
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "algorithms/run/trainer_driver.h"

namespace troupe {

bool TrainerDriver::RebalanceDue() const {
  if (options_.rebalance_every_s < 0 || ranges_stay_ || options_.shards < 2) return false;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - looked_at_).count() >= options_.rebalance_every_s;
}

void TrainerDriver::StartRebalance() {
  auto ending = std::make_shared<Ending>();
  moving_ = ending;
  const auto choose = [this, lifeline = lifeline_](const RangeMap& map, const std::vector<Ranges>& ranges) {
    std::vector<RangeMove> moves;
    lifeline->IfAlive([&] {
      std::vector<RangeLoad> loads;
      for (const Ranges& shard : ranges) loads.insert(loads.end(), shard.loads.As<RangeLoad>().begin(), shard.loads.As<RangeLoad>().end());
      decision_ = options_.choose_moves ? Rebalancer::Decision{options_.choose_moves(map), {}} : rebalancer_.Look(map, loads);
      moves = decision_.moves;
    });
    return moves;
  };
  const auto wanted = [lifeline = lifeline_] { return lifeline->alive(); };
  const std::vector<ShardActor> shards(cluster_.shards().begin(), cluster_.shards().begin() + options_.shards);
  MoveRanges(cluster_.system(), shards, tables_, choose, {.folder = cluster_.move_folder(), .number = ++looks_, .wanted = wanted},
             [this, lifeline = lifeline_, ending](const absl::StatusOr<MovedRanges>& moved) {
               lifeline->IfAlive([&] { OnRebalanced(moved); });
               ending->Set();
             });
}

void TrainerDriver::OnRebalanced(const absl::StatusOr<MovedRanges>& moved) {
  std::lock_guard lock(mutex_);
  moving_ = nullptr;
  looked_at_ = std::chrono::steady_clock::now();
  const Rebalancer::Decision decision = std::exchange(decision_, {});
  const auto log = [this](std::string line) {
    if (events_.log) events_.log(std::move(line));
  };
  if (!moved.ok()) {
    ++moves_failed_;
    ranges_stay_ = !IsRetryable(moved.status());
    log(absl::StrCat("ranges stay", ranges_stay_ ? "" : " for now", ": ", moved.status().message()));
    return;
  }
  map_ = moved->map;
  if (decision.moves.empty()) return;
  TrainReport::Move move{.ranges = static_cast<uint32_t>(decision.moves.size()), .pause_ms = static_cast<double>(moved->pause.count()) / 1e3};
  move.reasons = decision.reasons;
  log(absl::StrCat(move.ranges, " ranges moved, map ", map_.epoch(), ", pushes waited ", moved->pause.count() / 1000, " ms"));
  for (const std::string& reason : decision.reasons) log(absl::StrCat("moved: ", reason));
  moves_.push_back(std::move(move));
}

}   // namespace troupe
