// A training run's checkpoints: when one is due, all shards' at one round, and what stands then.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "actors/gather.h"
#include "actors/status.h"
#include "actors/text.h"
#include "algorithms/run/trainer_driver.h"

namespace troupe {

bool TrainerDriver::CheckpointDue() const {
  return !options_.checkpoint_uri.empty() && std::chrono::duration<double>(std::chrono::steady_clock::now() - saved_at_).count() >= options_.checkpoint_every_s;
}

troupe::Checkpoint TrainerDriver::Describe(uint64_t id) const {
  troupe::Checkpoint checkpoint = saved_;
  checkpoint.id = id;
  checkpoint.identity = identity_;
  checkpoint.shards = options_.shards;
  checkpoint.places = PlacesOf(tables_, options_.shards);
  checkpoint.files.clear();
  return checkpoint;
}

void TrainerDriver::StartCheckpoint(Round at) {
  auto ending = std::make_shared<Ending>();
  saving_ = ending;
  const troupe::Checkpoint checkpoint = Describe(folder_.next_id());
  const auto finish = [this, ending](const absl::Status& status, bool again) {
    {
      std::lock_guard lock(mutex_);
      if (!status.ok()) saving_failed_ = WithContext(status, "checkpoint");
      saving_ = nullptr;
      if (!again) saved_at_ = std::chrono::steady_clock::now();
    }
    ending->Set();
  };
  Gather<SnapshotTaken>(
      cluster_.system(), cluster_.shards(),
      [uri = options_.checkpoint_uri, at, id = checkpoint.id, base = folder_.latest()](size_t shard) {
        const auto place = static_cast<uint32_t>(shard);
        return TakeSnapshot{SnapshotUri(uri, id, place), at, true, base == 0 ? "" : SnapshotUri(uri, base, place)};
      },
      GatherOptions{},
      [this, lifeline = lifeline_, checkpoint, finish](const absl::StatusOr<std::vector<SnapshotTaken>>& taken) {
        lifeline->IfAlive([&] {
          if (absl::IsOutOfRange(taken.status())) {   // a shard was past it already: at the next progress report, further ahead
            {
              std::lock_guard lock(mutex_);
              checkpoint_margin_ *= 2;
              if (checkpoint_margin_ > kCheckpointMarginMax) {   // the shards have all of this phase, only its end is not yet known here
                checkpoint_margin_ = kCheckpointMarginMin;
                passed_phase_ = phase_number_;
              }
            }
            finish(absl::OkStatus(), /*again=*/true);
            return;
          }
          if (!taken.ok()) return finish(taken.status(), false);
          // The storage may be far away, and this may be the network's thread.
          cluster_.system().compute().Submit(Compute::Priority::kStep, [this, writing = writing_, checkpoint, all = *taken, finish] {
            writing->IfAlive([&] { finish(Stands(checkpoint, all), false); });
          });
        });
      });
}

absl::Status TrainerDriver::Stands(troupe::Checkpoint checkpoint, const std::vector<SnapshotTaken>& taken) {
  checkpoint.clock = std::ranges::min_element(taken, {}, &SnapshotTaken::clock)->clock;
  std::set<std::string> files;
  uint64_t bytes = 0;
  for (const SnapshotTaken& place : taken) {
    files.insert(place.files.begin(), place.files.end());
    bytes += place.bytes;
  }
  checkpoint.files.assign(files.begin(), files.end());
  TROUPE_RETURN_IF_ERROR(folder_.Write(checkpoint));
  if (events_.log) events_.log(absl::StrCat("checkpoint ", checkpoint.id, " of ", files.size(), " files, ", HumanBytes(bytes), " of them new"));
  return absl::OkStatus();
}

absl::Status TrainerDriver::Checkpoint(const Numbers& state) {
  {
    std::lock_guard lock(mutex_);
    saved_.phases = phase_number_;
    saved_.data_epochs = data_epoch_;
    saved_.rows = rows_;
    saved_.nonzeros = nonzeros_;
    saved_.driver = state;
    if (!CheckpointDue()) return absl::OkStatus();
    StartCheckpoint(phase_number_ == 0 ? 0 : MakeRound(phase_number_ + 1, 0));
  }
  TROUPE_RETURN_IF_ERROR(AwaitLastPhase());
  if (const auto ending = busy()) TROUPE_RETURN_IF_ERROR(cluster_.Await(*ending));   // there was no phase to wait with
  std::lock_guard lock(mutex_);
  return saving_failed_;
}

}   // namespace troupe
