// The state of a member of a chain: its shard, begun with what is left of the chain before, or given by the member before it, part by part.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "ps/chain_member_actor/member.h"

namespace troupe::chain_member {

caf::result<Adopted> Member::OnAdopt(const Adopt& piece) {
  const StatePart& of = piece.of;
  const auto age = [](const StatePart& part) { return std::pair(part.view, part.attempt); };
  if (age(of) == age(taken_) && of.part < parts_taken_) return Adopted{};
  if (Place() >= 0 || making_ || age(of) < age(taken_) || (assembly_ && age(of) < age(assembly_->of())))
    return ToError(Unavailable("it does not join (any more)"));
  const bool next = age(of) == age(taken_) ? of.part == parts_taken_ && of.number == last_ : of.part == 0;
  if (!next) return ToError(Unavailable("another part of the state comes first"));
  if (taking_ != of) {   // else it has come already, and is being put in place
    if (!assembly_ || assembly_->of() != of) assembly_.emplace(piece);
    absl::Status status = assembly_->Take(piece);
    if (status.ok() && !assembly_->whole()) return Adopted{};
    if (status.ok()) status = TakePart(std::move(*std::exchange(assembly_, std::nullopt)));
    if (!status.ok()) {
      CannotAdopt(status);
      return ToError(absl::UnavailableError(status.message()));
    }
    if (!taking_) return Adopted{};
  }
  auto promise = self_->make_response_promise<caf::typed_response_promise<Adopted>>();
  adopting_.push_back(promise);
  return promise;
}

absl::Status Member::TakePart(StateAssembly&& assembly) {
  const StatePart of = assembly.of();
  TROUPE_TRY(ShardState state, std::move(assembly).Finish());
  if (of.part == 0) {
    DropShard();
    taking_ = of;
    TakeState(of, std::move(state));
    return absl::OkStatus();
  }
  taking_ = of;
  self_->request(caf::actor_cast<caf::actor>(shard_), caf::infinite, TakeSlice{std::move(state.sections)})
      .then(
          [this, of](const SliceTaken&) {
            if (taking_ == of) OnPartTaken(of);
          },
          [this, of](const caf::error& error) {
            if (taking_ == of) CannotAdopt(FromError(error));
          });
  return absl::OkStatus();
}

void Member::TakeState(const StatePart& of, ShardState state) {
  ShardActorOptions shard = options_.shard;
  shard.snapshot_uri = shard.restore_uri = "";
  shard.log_folder.clear();
  shard.catch_up_max = {};                                                                              // it has all that the chain has
  if (!shard.tier_folder.empty()) absl::StrAppend(&shard.tier_folder, ".", of.view, ".", of.attempt);   // one that was dropped may still be there
  shard.state = std::make_shared<const std::vector<SnapshotSection>>(std::move(state.sections));
  MakeShard(shard, [this, of, waiting = std::move(state.waiting)](absl::StatusOr<ShardActor> made) mutable {
    if (taking_ != of) {
      if (made.ok()) system_.Stop(*made);
      return;
    }
    if (const absl::Status status = TakeShard(std::move(made)); !status.ok()) return CannotAdopt(status);
    for (Push& push : waiting) System::Deliver(shard_, std::move(push));
    last_ = of.number;
    OnPartTaken(of);
  });
}

void Member::MakeShard(const ShardActorOptions& options, std::function<void(absl::StatusOr<ShardActor>)> taken, std::function<absl::Status()> still) {
  system_.compute().Submit(Compute::Priority::kStep, [&system = system_, me = caf::actor(self_), options, taken = std::move(taken), still = std::move(still)] {
    auto made = std::make_shared<absl::StatusOr<ShardActor>>(SpawnShard(system, options));
    if (const absl::Status status = still(); !status.ok()) {
      if (made->ok()) system.Stop(**made);
      *made = status;
    }
    System::Deliver(me, Thunk{[made, taken] { taken(std::move(*made)); }});
  });
}

void Member::OnPartTaken(const StatePart& of) {
  taking_.reset();
  taken_ = of;
  parts_taken_ = of.part + 1;
  whole_ = !of.more;
  for (auto& promise : std::exchange(adopting_, {})) promise.deliver(Adopted{});
}

void Member::CannotAdopt(const absl::Status& status) {
  taking_.reset();
  for (auto& promise : std::exchange(adopting_, {})) promise.deliver(ToError(absl::UnavailableError(status.message())));
  Fail(absl::StrCat("it cannot take over the state: ", status.message()));
}

absl::Status Member::Begin() {
  if (making_) return absl::OkStatus();
  if (begun_ && begun_->first == view_.epoch) return TakeShard(std::exchange(begun_, std::nullopt)->second);
  begun_.reset();
  DropShard();
  ShardActorOptions shard = options_.shard;
  shard.snapshot_uri.clear();
  if (view_.epoch == 1 || log_.on()) shard.catch_up_max = {};
  uint64_t newest = 0;
  if (!options_.shard.snapshot_uri.empty()) {
    if (log_.on()) TROUPE_RETURN_IF_ERROR(LookAnew(system_.storage(), options_.shard.snapshot_uri));
    TROUPE_TRY(newest, NewestEpoch(system_.storage(), options_.shard.snapshot_uri, view_.epoch));
  }
  if (newest > 0 && log_.on()) {
    shard.snapshot_uri = FileOf(newest);
    shard.log_name = LogOf(newest);
  } else if (newest > 0) {
    shard.restore_uri = FileOf(newest);
  }
  if (newest == 0) shard.log_folder.clear();
  last_ = 0;
  making_ = true;
  const auto taken = [this, epoch = view_.epoch](absl::StatusOr<ShardActor> made) {
    making_ = false;
    whole_ = made.ok();
    begun_.emplace(epoch, std::move(made));
    for (auto& [view, promise] : std::exchange(to_follow_, {})) Configure(view, promise);
    if (!begun_) return;                                      // it has been taken
    if (begun_->second.ok()) system_.Stop(*begun_->second);   // the chain has become another one meanwhile
    begun_.reset();
  };
  // A last member that was given up may have finished its first snapshot meanwhile, and removed what was being read here.
  const auto still = [&storage = system_.storage(), logs = log_.on(), uri = options_.shard.snapshot_uri, epoch = view_.epoch, newest]() -> absl::Status {
    if (!logs) return absl::OkStatus();
    TROUPE_RETURN_IF_ERROR(LookAnew(storage, uri));
    TROUPE_TRY(const uint64_t now, NewestEpoch(storage, uri, epoch));
    return now == newest ? absl::OkStatus() : absl::UnavailableError(absl::StrCat(SnapshotOfEpoch(uri, newest), " is not the newest any more"));
  };
  MakeShard(shard, taken, still);
  return absl::OkStatus();
}

absl::Status Member::TakeShard(absl::StatusOr<ShardActor> shard) {
  // Somebody has the log who was in the chain and has not been heard, or has gone on with another one: this one is asked again until it finds the newest.
  if (log_.on() && (absl::IsFailedPrecondition(shard.status()) || absl::IsNotFound(shard.status()))) return absl::UnavailableError(shard.status().message());
  TROUPE_RETURN_IF_ERROR(shard.status());
  shard_ = std::move(*shard);
  self_->link_to(shard_);
  return absl::OkStatus();
}

void Member::DropShard() {
  whole_ = false;
  taking_.reset();
  for (auto& promise : std::exchange(adopting_, {})) promise.deliver(ToError(Unavailable("its state is begun anew")));
  early_.clear();
  log_.OnOtherShard();
  cut_.Leave(Unavailable("its state is begun anew"));
  if (!shard_) return;
  self_->unlink_from(shard_);
  system_.Stop(std::exchange(shard_, nullptr));
}

}   // namespace troupe::chain_member
