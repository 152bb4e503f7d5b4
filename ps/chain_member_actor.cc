#include "ps/chain_member_actor.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/event_based_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/chain/epoch_files.h"
#include "ps/chain/state_transfer.h"
#include "ps/chain/wire.h"
#include "ps/chain_cut_actor.h"
#include "ps/chain_log.h"
#include "ps/chain_stream_actor.h"
#include "ps/partition.h"
#include "ps/range_map.h"

namespace troupe {
namespace {

constexpr size_t kEarlyMax = 4096;   // changes that came before others
constexpr std::chrono::milliseconds kLeaseTick{100};

using Change = ChainStream::Change;

std::vector<std::pair<uint32_t, uint32_t>> RangesOf(const ShardOptions& shard) {
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  const RangeMap map(shard.tables, shard.shards);
  for (uint32_t table = 0; table < shard.tables.size(); ++table) {
    const uint32_t count = Partition(shard.tables[table], shard.shards).ranges();
    for (uint32_t range = 0; range < count; ++range) {
      if (map.ShardOf(table, range) == shard.shard) ranges.emplace_back(table, range);
    }
  }
  return ranges;
}

class Member {
 public:
  Member(caf::event_based_actor* self, System& system, ChainMemberOptions options)
      : self_(self),
        system_(system),
        options_(std::move(options)),
        next_(self, system,
              {.request_timeout = options_.request_timeout,
               .retry = options_.retry,
               .slice_bytes = options_.slice_bytes,
               .backlog_bytes_max = options_.backlog_bytes_max},
              {.has = [this](uint64_t through) { OnNextHas(through); }, .kept = [this] { return Logged(); }}),
        cut_(self, {.clocks = [this](ChainCut::Answer<ShardClocks> answer) { AskShard<ShardClocks>(AskClocks{}, std::move(answer)); },
                    .keep_view =
                        [this](const Freeze& freeze, ChainCut::Answer<Frozen> answer) {
                          Submit<Frozen>(freeze, KeepView{freeze.cut, freeze.clocks, freeze.lease}, std::move(answer));
                        }}) {}

  // --- the chain ---

  caf::result<Configured> OnConfigure(const ChainView& next) {
    auto promise = self_->make_response_promise<caf::typed_response_promise<Configured>>();
    Configure(next, promise);
    return promise;
  }

  void OnGranted(const GrantLease& grant) {
    lease_ = std::max(lease_, grant.until);
    DropEarlierFiles();
  }

  /// What was acknowledged to be is refused when it cannot be known to be any more.
  void OnLeaseTick() {
    if (!MayServe()) RefuseAll(NoLease());
    self_->delayed_send(self_, kLeaseTick, Thunk{[this] { OnLeaseTick(); }});
  }

  void OnCompareTick() {
    self_->delayed_send(self_, options_.compare_every, Thunk{[this] { OnCompareTick(); }});
    if (Place() != 0 || Last() || !shard_ || !MayServe()) return;
    const auto next = NextRange();
    if (!next) return;
    const uint64_t number = ++last_;
    next_.Add(number, *next, false);   // it goes when it is known what to compare with
    self_->request(caf::actor_cast<caf::actor>(shard_), caf::infinite, AskDigest{next->table, next->range})
        .then(
            [this, number, compare = *next](const Shard::Digest& digest) mutable {
              compare.clocks = digest.clocks;
              compare.rows = digest.rows;
              next_.Fill(number, compare);
            },
            [this, number, compare = *next](const caf::error&) { next_.Fill(number, compare); });
  }

  // --- what clients change ---

  caf::result<Pushed> OnPush(const Push& push) {
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    if (push.keys_kept) return Pushed{.outcome = Pushed::Outcome::kNeedKeys};   // other members would not know them
    auto promise = self_->make_response_promise<caf::typed_response_promise<Pushed>>();
    WhenItPasses(push, promise, [this, writer = push.writer, promise](const Push& passed) {
      Submit<Pushed>(
          passed, passed,
          [this, writer, promise](absl::StatusOr<Pushed> pushed) mutable {
            if (pushed.ok()) SayStable(*pushed);
            Deliver(promise, std::move(pushed));
          },
          [this, writer](const Pushed& pushed) { cut_.OnPushed(writer, pushed.clock); });
    });
    return promise;
  }
  caf::result<PushPulled> OnPushPull(const PushPull& both) {
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    if (view_.members.size() > 1) return ToError(Unavailable("it is not read here"));
    if (both.push.keys_kept) return PushPulled{.pushed = {.outcome = Pushed::Outcome::kNeedKeys}, .pulled = {}};
    auto promise = self_->make_response_promise<caf::typed_response_promise<PushPulled>>();
    WhenItPasses(both.push, promise, [this, pull = both.pull, promise](const Push& passed) mutable {
      if (view_.members.size() > 1) return void(promise.deliver(ToError(Unavailable("it is not read here"))));
      Submit<PushPulled>(
          passed, PushPull{passed, pull},
          [this, promise](absl::StatusOr<PushPulled> answer) mutable {
            if (answer.ok()) SayStable(answer->pushed);
            Deliver(promise, std::move(answer));
          },
          [this, writer = passed.writer](const PushPulled& answer) { cut_.OnPushed(writer, answer.pushed.clock); });
    });
    return promise;
  }
  caf::result<Assigned> OnAssign(const Assign& assign) {
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    auto promise = self_->make_response_promise<caf::typed_response_promise<Assigned>>();
    Submit<Assigned>(assign, assign, [promise](absl::StatusOr<Assigned> assigned) mutable { Deliver(promise, std::move(assigned)); });
    return promise;
  }
  /// What a writer is told here it builds on: not before the last member has it.
  caf::result<Opened> OnOpen(const Open& open) {
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    auto promise = self_->make_response_promise<caf::typed_response_promise<Opened>>();
    self_->request(shard_, caf::infinite, open)
        .then(
            [this, promise, number = last_](const Opened& opened) mutable {
              WhenAcknowledged(number, [this, promise, opened = Opened(opened)](const absl::Status& status) mutable {
                SayStable(opened);
                status.ok() ? promise.deliver(opened) : promise.deliver(ToError(status));
              });
            },
            [promise](const caf::error& error) mutable { promise.deliver(error); });
    return promise;
  }

  // --- what clients read ---

  template <class Reply, class Message>
  caf::result<Reply> Read(const Message& message) {
    if (const absl::Status status = MayBeRead(); !status.ok()) return ToError(status);
    auto promise = self_->make_response_promise<caf::typed_response_promise<Reply>>();
    self_->request(shard_, caf::infinite, message)
        .then(
            [this, promise, epoch = view_.epoch](Reply& reply) mutable {
              const bool as_asked = epoch == view_.epoch && MayServe();   // else somebody may be further
              as_asked ? promise.deliver(std::move(reply)) : promise.deliver(ToError(Unavailable("the chain is another one now")));
            },
            [promise](const caf::error& error) mutable { promise.deliver(error); });
    return promise;
  }
  // --- cuts: of tables that go by rounds the last member's shard makes them, for when a round is applied makes no difference there; else chain_cut_actor.h ---

  caf::result<Prepared> OnPrepare(const Prepare& prepare) {
    if (by_rounds_) return Read<Prepared>(prepare);
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    auto promise = self_->make_response_promise<caf::typed_response_promise<Prepared>>();
    cut_.OnPrepare(prepare, [promise](absl::StatusOr<Prepared> prepared) mutable { Deliver(promise, std::move(prepared)); });
    return promise;
  }
  caf::result<Frozen> OnFreeze(const Freeze& freeze) {
    if (by_rounds_) return Read<Frozen>(freeze);
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    auto promise = self_->make_response_promise<caf::typed_response_promise<Frozen>>();
    cut_.OnFreeze(freeze, [promise](absl::StatusOr<Frozen> frozen) mutable { Deliver(promise, std::move(frozen)); });
    return promise;
  }
  caf::result<Released> OnRelease(const Release& release) {
    if (by_rounds_) return Read<Released>(release);
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    cut_.End(release.cut);
    if (!cut_.TakeView(release.cut)) return Released{};
    auto promise = self_->make_response_promise<caf::typed_response_promise<Released>>();
    Submit<Released>(release, release, [promise](absl::StatusOr<Released> released) mutable { Deliver(promise, std::move(released)); });
    return promise;
  }
  absl::Status NoMoves() const { return absl::FailedPreconditionError("ranges of shards with replicas do not move"); }

  // --- what other members say ---

  caf::result<Forwarded> OnForward(const Forward& forward) {
    const bool joins = Place() < 0 && !left_ && shard_ && forward.epoch == taken_.view;
    if (!joins && (Place() <= 0 || forward.epoch != view_.epoch)) return ToError(Unavailable("it is not next in this chain"));
    if (!shard_) return ToError(Unavailable("it has no state yet"));
    auto promise = self_->make_response_promise<caf::typed_response_promise<Forwarded>>();
    if (forward.number > last_ + kEarlyMax) {
      promise.deliver(ToError(Unavailable("it is far behind")));
    } else if (forward.number > last_ + 1) {
      Early& early = early_[forward.number];
      early.change = forward.change;
      early.promises.push_back(promise);
    } else {
      if (forward.number == last_ + 1) TakeForwarded(forward.change);
      AnswerForward(forward.number, promise);
      for (auto next = early_.begin(); next != early_.end() && next->first <= last_ + 1; next = early_.erase(next)) {
        if (next->first == last_ + 1) TakeForwarded(next->second.change);
        for (auto& waiting : next->second.promises) AnswerForward(next->first, waiting);
      }
    }
    return promise;
  }

  caf::result<Aligned> OnAlign(const Align& align) {
    if (align.epoch != view_.epoch || Place() <= 0) return ToError(Unavailable("it is not next in this chain"));
    if (last_ < align.number) return ToError(Unavailable("it is behind"));
    readable_ = true;
    return Aligned{};
  }

  caf::result<Adopted> OnAdopt(const Adopt& piece) {
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

 private:
  void Configure(const ChainView& next, caf::typed_response_promise<Configured> promise) {
    if (next.number > view_.number) {
      const absl::Status status = Follow(next);
      if (making_) return to_follow_.emplace_back(next, promise), void();
      if (!status.ok()) return promise.deliver(ToError(status)), void();
    } else if (next.number < view_.number) {
      return promise.deliver(Configured{}), void();
    }
    if (!Last() || !view_.joining) {
      promise.deliver(Configured{});
    } else if (next_.caught_up()) {
      promise.deliver(Configured{.joined = true});
    } else {
      asked_.push_back(promise);
    }
  }

  struct Early {
    Change change;
    std::vector<caf::typed_response_promise<Forwarded>> promises;
  };
  using Told = std::function<void(const absl::Status&)>;

  std::string Name() const { return absl::StrCat("shard ", options_.shard.shard.shard); }
  absl::Status Unavailable(const char* why) const { return absl::UnavailableError(absl::StrCat(Name(), ": ", why)); }
  absl::Status NoLease() const { return Unavailable("it has not heard of its keeper for too long"); }

  /// -1: none.
  int Place() const {
    const auto it = std::ranges::find(view_.members, options_.self);
    return it == view_.members.end() ? -1 : static_cast<int>(it - view_.members.begin());
  }
  bool Last() const { return !view_.members.empty() && view_.members.back() == options_.self; }
  /// Nobody behind it has to have what it acknowledges.
  bool Alone() const { return Last() && !next_.has_state(); }
  /// Nor does anybody have to be waited for so that they may catch up.
  bool AnswersAtOnce() const { return Alone() && !next_.lags(); }
  bool MayServe() const { return !options_.leased || self_->clock().now() < lease_; }
  absl::Status MayChange() const {
    if (Place() != 0 || !shard_) return Unavailable("it is not the first of its chain");
    if (!log_.failed().ok()) return log_.failed();
    return MayServe() ? absl::OkStatus() : NoLease();
  }
  absl::Status MayBeRead() const {
    if (!Last() || !shard_) return Unavailable("it is not the last of its chain");
    if (!readable_) return Unavailable("it may not have all yet");
    return MayServe() ? absl::OkStatus() : NoLease();
  }

  /// Its shard may take a while with it: `taking_`.
  absl::Status TakePart(StateAssembly&& assembly) {
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
  void TakeState(const StatePart& of, ShardState state) {
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
  /// By a compute job: a large one takes its time, and this process must be heard meanwhile. `taken` is called in the actor's context.
  void MakeShard(
      const ShardActorOptions& options, std::function<void(absl::StatusOr<ShardActor>)> taken,
      std::function<absl::Status()> still = [] { return absl::OkStatus(); }) {
    system_.compute().Submit(Compute::Priority::kStep,
                             [&system = system_, me = caf::actor(self_), options, taken = std::move(taken), still = std::move(still)] {
                               auto made = std::make_shared<absl::StatusOr<ShardActor>>(SpawnShard(system, options));
                               if (const absl::Status status = still(); !status.ok()) {
                                 if (made->ok()) system.Stop(**made);
                                 *made = status;
                               }
                               System::Deliver(me, Thunk{[made, taken] { taken(std::move(*made)); }});
                             });
  }
  void OnPartTaken(const StatePart& of) {
    taking_.reset();
    taken_ = of;
    parts_taken_ = of.part + 1;
    whole_ = !of.more;
    for (auto& promise : std::exchange(adopting_, {})) promise.deliver(Adopted{});
  }
  /// Whoever comes in its place begins with none.
  void CannotAdopt(const absl::Status& status) {
    taking_.reset();
    for (auto& promise : std::exchange(adopting_, {})) promise.deliver(ToError(absl::UnavailableError(status.message())));
    Fail(absl::StrCat("it cannot take over the state: ", status.message()));
  }
  /// A refusal for what this host alone lacks (room on its disk, say), which must not make it differ from the others: it leaves the chain.
  static bool OfThisHost(const absl::Status& status) { return absl::IsResourceExhausted(status) || absl::IsDataLoss(status); }
  void Fail(const std::string& what) {
    if (options_.failed) options_.failed(absl::StrCat(Name(), ": ", what));
  }

  absl::Status Follow(const ChainView& next) {
    const ChainView before = std::exchange(view_, next);
    for (auto& promise : std::exchange(asked_, {})) promise.deliver(Configured{});
    const bool was_member = std::ranges::find(before.members, options_.self) != before.members.end();
    if (Place() < 0) {   // left out
      if (was_member) system_.network().Withdraw(ChainActorId(before.epoch));
      next_.End();
      left_ = was_member;
      RefuseAll(Unavailable("it has left the chain"));
      cut_.Leave(Unavailable("it has left the chain"));
      return absl::OkStatus();
    }
    if (view_.members.size() == 1 && (!shard_ || !was_member)) {
      // What had not joined has not all that was acknowledged; the files have.
      const absl::Status status = Begin();
      if (!status.ok() || making_) {
        view_ = before;
        return status;
      }
    }
    if (!shard_ || !whole_) return absl::InternalError(absl::StrCat(Name(), ": it has a place in a chain and no state"));
    assembly_.reset();
    const bool between = was_member && before.members.back() != options_.self;   // what was acknowledged has gone through it
    readable_ = view_.members.size() == 1 || between || (was_member && readable_);
    if (view_.epoch != before.epoch) {
      if (was_member) system_.network().Withdraw(ChainActorId(before.epoch));
      Expose(system_, ChainActorId(view_.epoch), caf::actor_cast<ShardActor>(caf::actor(self_)));
    }
    if (Place() != 0) cut_.Leave(Unavailable("it is not the first of its chain"));
    log_.on() ? KeepLogOfChain() : KeepFiles();
    FollowNext();
    return absl::OkStatus();
  }

  /// With what is left of the chain before, or of an earlier run. Asked again it is done, unless `making_`.
  absl::Status Begin() {
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
  absl::Status TakeShard(absl::StatusOr<ShardActor> shard) {
    // Somebody has the log who was in the chain and has not been heard, or has gone on with another one: this one is asked again until it finds the newest.
    if (log_.on() && (absl::IsFailedPrecondition(shard.status()) || absl::IsNotFound(shard.status()))) return absl::UnavailableError(shard.status().message());
    TROUPE_RETURN_IF_ERROR(shard.status());
    shard_ = std::move(*shard);
    self_->link_to(shard_);
    return absl::OkStatus();
  }
  void DropShard() {
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
  std::string FileOf(uint64_t epoch) const { return SnapshotOfEpoch(options_.shard.snapshot_uri, epoch); }
  /// One member writes, the last.
  void KeepFiles() {
    if (options_.shard.snapshot_uri.empty()) return;
    const bool alone = view_.members.size() == 1;
    System::Deliver(shard_, KeepSnapshots{.uri = Last() ? FileOf(view_.epoch) : "",
                                          .interval = options_.shard.snapshot_interval * (alone ? 1 : kChainSnapshotFactor),
                                          .needed = alone});
  }

  std::string LogOf(uint64_t epoch) const { return LogOfEpoch(options_.shard.shard.shard, epoch); }
  /// One member logs, the last, and as long as it is the last: in a log of its own, which begins with all that it has.
  void KeepLogOfChain() {
    if (!Last()) {
      if (log_.End()) AskShard<LogKept>(KeepLog{}, [](const absl::StatusOr<LogKept>&) {});
      return;
    }
    if (const std::optional<ChainLog::Begun> begun = log_.Begin(view_.epoch, last_)) AskForLog(*begun);
  }
  void AskForLog(const ChainLog::Begun& begun) {
    AskShard<LogKept>(KeepLog{.uri = FileOf(begun.epoch), .folder = options_.shard.log_folder, .name = LogOf(begun.epoch)},
                      [this, begun](const absl::StatusOr<LogKept>& kept) {
                        if (log_.OnBegun(begun, kept.status())) OnLogKept(begun.epoch, kept.status());
                      });
  }
  void OnLogKept(uint64_t epoch, const absl::Status& status) {
    if (!status.ok()) return FailLog(status);
    if (!log_.failed().ok()) return BeginLogLater();
    next_.Trim();
    OnNextHas(next_.has(last_));
    earlier_files_ = epoch;
    DropEarlierFiles();
  }
  void DropEarlierFiles() {
    if (!earlier_files_ || !Last() || !MayServe()) return;   // without a lease: another one may be reading what is there
    const uint64_t epoch = *std::exchange(earlier_files_, std::nullopt);
    system_.compute().Submit(Compute::Priority::kStep, [&storage = system_.storage(), shard = options_.shard.shard.shard, uri = options_.shard.snapshot_uri,
                                                        folder = options_.shard.log_folder, epoch] { DropEarlierEpochs(storage, uri, folder, shard, epoch); });
  }

  // --- to the next member ---

  void FollowNext() {
    if (!Last()) {
      next_.ToMember(view_.members[static_cast<size_t>(Place()) + 1], view_.epoch, last_);
    } else if (view_.joining) {
      next_.ToJoiner(*view_.joining, view_.number, shard_, last_);
    } else {
      next_.End();
    }
    OnNextHas(next_.has(last_));
  }
  void OnNextHas(uint64_t through) {
    through = AnswersAtOnce() ? last_ : through;
    Acknowledge(Last() ? std::min(through, Logged()) : through);
    if (!Last() || !next_.caught_up()) return;
    for (auto& promise : std::exchange(asked_, {})) promise.deliver(Configured{.joined = true});
  }

  // --- changes ---

  template <class Reply>
  static void Deliver(caf::typed_response_promise<Reply>& promise, absl::StatusOr<Reply> reply) {
    reply.ok() ? promise.deliver(*std::move(reply)) : promise.deliver(ToError(reply.status()));
  }
  template <class Reply, class Take>
  void WhenItPasses(const Push& push, caf::typed_response_promise<Reply> promise, Take take) {
    if (cut_.Passes(push)) return take(push);
    cut_.Keep(
        push,
        [this, push, promise, take = std::move(take)]() mutable {
          const absl::Status status = MayChange();
          status.ok() ? take(push) : void(promise.deliver(ToError(status)));
        },
        [promise](const absl::Status& why) mutable { promise.deliver(ToError(why)); });
  }
  template <class Reply, class Message>
  void AskShard(const Message& message, std::function<void(absl::StatusOr<Reply>)> answer) {
    self_->request(caf::actor_cast<caf::actor>(shard_), caf::infinite, message)
        .then([answer](Reply& reply) { answer(std::move(reply)); }, [answer](const caf::error& error) { answer(FromError(error)); });
  }

  /// To the shard and to the next member, as the next change. `answer` is called when the last one has it; `applied`, as soon as this member's shard has.
  template <class Reply, class Message, class Answer, class Applied>
  void Submit(const Change& change, const Message& message, Answer answer, Applied applied) {
    const uint64_t number = ++last_;
    next_.Add(number, change);
    TellShard<Reply>(
        number, message,
        [this, answer, applied, number](Reply& reply) mutable {
          applied(reply);
          if (AnswersAtOnce() && number <= Logged()) {   // the common case of a single member, without a copy
            answer(MayServe() ? absl::StatusOr<Reply>(std::move(reply)) : NoLease());
            return;
          }
          WhenAcknowledged(number,
                           [answer, reply](const absl::Status& status) mutable { answer(status.ok() ? absl::StatusOr<Reply>(std::move(reply)) : status); });
        },
        [this, answer, number](const absl::Status& refused) mutable {   // a refusal is as much the state's as an answer
          if (OfThisHost(refused) && view_.members.size() > 1) {        // the next member has it
            answer(absl::UnavailableError(refused.message()));
            return Fail(std::string(refused.message()));
          }
          WhenAcknowledged(number, [answer, refused](const absl::Status& status) mutable { answer(status.ok() ? refused : status); });
        });
  }
  template <class Reply, class Message, class Answer>
  void Submit(const Change& change, const Message& message, Answer answer) {
    Submit<Reply>(change, message, std::move(answer), [](const Reply&) {});
  }
  /// Change `number`.
  template <class Reply, class Message, class Has, class Refused>
  void TellShard(uint64_t number, const Message& message, Has has, Refused refused) {
    log_.Tell(number);
    self_->request(caf::actor_cast<caf::actor>(shard_), caf::infinite, message)
        .then(
            [this, number, has, shard = log_.shard()](Reply& reply) mutable {
              log_.OnTold(number, shard);
              has(reply);
              FollowLog();
            },
            [this, number, refused, shard = log_.shard(), log = log_.epoch()](const caf::error& error) mutable {
              absl::Status status = FromError(error);
              const bool of_disk = OfThisHost(status) || absl::IsInternal(status);
              const bool of_log = of_disk && log_.kept() && log == log_.epoch();
              if (of_disk && log != 0 && !of_log) status = absl::UnavailableError(status.message());   // of one that is not kept any more: others have it
              of_log ? FailLog(status) : log_.OnTold(number, shard);                                   // what is not in the log is not acknowledged
              refused(status);
              FollowLog();
            });
  }
  /// More may be in the log than before.
  void FollowLog() {
    if (!log_.on() || !Last()) return;
    next_.Trim();
    OnNextHas(next_.has(last_));
  }
  /// Others go on; where there are none, changes are refused until it has begun again.
  void FailLog(const absl::Status& status) {
    if (view_.members.size() > 1) return Fail(std::string(status.message()));
    log_.Fail(status);
    RefuseAll(status);
    BeginLogLater();
  }
  void BeginLogLater() {
    if (log_.begins() || std::exchange(log_waits_, true)) return;
    self_->delayed_send(self_, options_.shard.log_retry, Thunk{[this] {
                          log_waits_ = false;
                          if (!log_.failed().ok() && log_.kept() && !log_.begins()) AskForLog(log_.BeginAgain(last_));
                        }});
  }
  /// Of the last member: what it has as its successors would find it.
  uint64_t Logged() const { return log_.Through(last_, acknowledged_); }
  void TakeForwarded(const Change& change) {
    next_.Add(++last_, change);
    if (const auto* compare = std::get_if<CompareRange>(&change)) return Compare(*compare);
    const uint64_t number = last_;
    // The first member's answer counts.
    const auto refused = [this](const absl::Status& status) {
      if (OfThisHost(status) || absl::IsInternal(status)) Fail(std::string(status.message()));
    };
    if (const auto* push = std::get_if<Push>(&change)) {
      TellShard<Pushed>(
          number, *push, [](const Pushed&) {}, refused);
    } else if (const auto* assign = std::get_if<Assign>(&change)) {
      TellShard<Assigned>(
          number, *assign, [](const Assigned&) {}, refused);
    } else if (const auto* freeze = std::get_if<Freeze>(&change)) {
      if (!whole_) return;   // nobody is to read what is not all there
      cut_.OnView(*freeze);
      TellShard<Frozen>(
          number, KeepView{freeze->cut, freeze->clocks, freeze->lease}, [](const Frozen&) {}, refused);
    } else if (const auto* release = std::get_if<Release>(&change)) {
      cut_.TakeView(release->cut);
      TellShard<Released>(
          number, *release, [](const Released&) {}, refused);
    }
  }
  /// The ranges of all tables whose rows are in memory, one after the other.
  std::optional<CompareRange> NextRange() {
    const ShardOptions& shard = options_.shard.shard;
    for (size_t i = 0; i < compared_.size(); ++i) {
      if (next_compared_ >= compared_.size()) next_compared_ = 0;
      const auto [table, range] = compared_[next_compared_++];
      if (shard.tables[table].limits.memory_max == 0) return CompareRange{.table = table, .range = range};
    }
    return std::nullopt;
  }
  void Compare(const CompareRange& compare) {
    if (!whole_) return;   // the range may be one that comes
    self_->request(caf::actor_cast<caf::actor>(shard_), caf::infinite, AskDigest{compare.table, compare.range})
        .then(
            [this, compare](const Shard::Digest& digest) {
              if (digest.clocks != compare.clocks || digest.rows == compare.rows) return;
              Fail(absl::StrCat("range ", compare.range, " of table '", options_.shard.shard.tables[compare.table].name,
                                "' differs from that of the first process that holds it"));
            },
            [](const caf::error&) {});
  }
  void AnswerForward(uint64_t number, caf::typed_response_promise<Forwarded> promise) {
    WhenAcknowledged(
        number, [promise, number](const absl::Status& status) mutable { status.ok() ? promise.deliver(Forwarded{number}) : promise.deliver(ToError(status)); });
  }
  /// What several members have survives any of them. Where one joins, files may be further than what it has got so far, and it may be all that is left soon:
  /// nothing more is promised until it is a member.
  template <class Answer>
  void SayStable(Answer& answer) const {
    if (view_.members.size() > 1 || log_.on()) {
      answer.stable = answer.clock;
    } else if (next_.active()) {
      answer.stable = 0;
    }
  }

  void WhenAcknowledged(uint64_t number, Told told) {
    if (left_) {
      told(Unavailable("it has left the chain"));
    } else if (Place() < 0) {   // joins
      told(absl::OkStatus());
    } else if (!MayServe()) {
      told(NoLease());
    } else if (!log_.failed().ok()) {
      told(log_.failed());
    } else if ((AnswersAtOnce() && number <= Logged()) || number <= acknowledged_) {
      told(absl::OkStatus());
    } else {
      waiting_.emplace(number, std::move(told));
    }
  }
  void Acknowledge(uint64_t through) {
    acknowledged_ = std::max(acknowledged_, through);
    while (!waiting_.empty() && waiting_.begin()->first <= acknowledged_) {
      const Told told = std::move(waiting_.begin()->second);
      waiting_.erase(waiting_.begin());
      told(MayServe() ? absl::OkStatus() : NoLease());
    }
  }
  void RefuseAll(const absl::Status& why) {
    for (const auto& [number, told] : std::exchange(waiting_, {})) told(why);
  }

  caf::event_based_actor* self_;
  System& system_;
  const ChainMemberOptions options_;
  const bool by_rounds_ =
      std::ranges::all_of(options_.shard.shard.tables, [this](const TableSpec& spec) { return options_.shard.shard.consistency.Of(spec.name).in_rounds(); });
  ChainView view_;
  ShardActor shard_;    // null: it has no state
  uint64_t last_ = 0;   // the last change that the shard was told
  uint64_t acknowledged_ = 0;
  bool left_ = false;       // it was a member
  bool readable_ = false;   // it has all that was ever acknowledged
  std::chrono::steady_clock::time_point lease_{};
  ChainStream next_;   // to the next member, or to one that joins behind this one
  ChainCut cut_;
  ChainLog log_{!options_.shard.log_folder.empty()};
  bool log_waits_ = false;                  // to be begun again
  std::optional<uint64_t> earlier_files_;   // than this epoch's, which has a log: to be removed
  std::vector<caf::typed_response_promise<Configured>> asked_;
  // Of a chain that this member begins.
  bool making_ = false;                                                    // its shard is being made; views that come wait
  std::optional<std::pair<uint64_t, absl::StatusOr<ShardActor>>> begun_;   // for this epoch
  std::vector<std::pair<ChainView, caf::typed_response_promise<Configured>>> to_follow_;
  std::multimap<uint64_t, Told> waiting_;   // by change
  std::map<uint64_t, Early> early_;
  // Of a state that it is given. Invariant: what is in place of it is what the giver's shard was behind change last_ (chain_stream_actor.h).
  std::optional<StateAssembly> assembly_;   // of the part that comes
  std::optional<StatePart> taking_;         // the part that its shard is putting in place
  std::vector<caf::typed_response_promise<Adopted>> adopting_;
  StatePart taken_;                                                                              // the last part in place
  uint32_t parts_taken_ = 0;                                                                     // of its attempt
  bool whole_ = false;                                                                           // there is nothing of the state that has not come
  const std::vector<std::pair<uint32_t, uint32_t>> compared_ = RangesOf(options_.shard.shard);   // table, range
  size_t next_compared_ = 0;
};

caf::behavior MemberBehavior(caf::event_based_actor* self, System* system, const ChainMemberOptions& options) {
  auto member = std::make_shared<Member>(self, *system, options);
  if (options.leased) member->OnLeaseTick();
  if (options.compare_every.count() > 0) member->OnCompareTick();
  return {
      [member](const Configure& configure) { return member->OnConfigure(configure.view); },
      [member](const Forward& forward) { return member->OnForward(forward); },
      [member](const Align& align) { return member->OnAlign(align); },
      [member](const Adopt& piece) { return member->OnAdopt(piece); },
      [member](const Push& push) { return member->OnPush(push); },
      [member](const PushPull& both) { return member->OnPushPull(both); },
      [member](const Assign& assign) { return member->OnAssign(assign); },
      [member](const Open& open) { return member->OnOpen(open); },
      [member](const Pull& pull) { return member->Read<Pulled>(pull); },
      [member](const TakeSnapshot& request) { return member->Read<SnapshotTaken>(request); },
      [member](const SaveRows& request) { return member->Read<RowsSaved>(request); },
      [member](const Call& call) { return member->Read<Called>(call); },
      [member](const AskRanges& ask) { return member->Read<Ranges>(ask); },
      [member](const Prepare& prepare) { return member->OnPrepare(prepare); },
      [member](const Freeze& freeze) { return member->OnFreeze(freeze); },
      [member](const Release& release) { return member->OnRelease(release); },
      [member](const Stand&) -> caf::result<Standing> { return ToError(member->NoMoves()); },
      [member](const TakeIn&) -> caf::result<TakenIn> { return ToError(member->NoMoves()); },
      [member](const Settle&) -> caf::result<Settled> { return ToError(member->NoMoves()); },
      [member](const GrantLease& grant) { member->OnGranted(grant); },
      [](const Thunk& thunk) { thunk.run(); },
  };
}

}   // namespace

absl::Status ValidateChain(const ShardActorOptions& shard) {
  for (const TableSpec& spec : shard.shard.tables) {
    const bool delayed = spec.staleness_scale || spec.delay_compensation != 0;
    if (!delayed || shard.shard.consistency.Of(spec.name).in_rounds()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("table '", spec.name, "' makes up for delays, which is known where rows are read alone: expected a replication of 1"));
  }
  const std::vector<TableSpec>& tables = shard.shard.tables;
  const auto by_rounds = [&](const TableSpec& spec) { return shard.shard.consistency.Of(spec.name).in_rounds(); };
  const bool some = std::ranges::any_of(tables, by_rounds), all = std::ranges::all_of(tables, by_rounds);
  if (shard.shard.consistency.all.backup > 0 || some != all) {   // when a round is applied makes a difference there, and one member may hold it back
    return absl::InvalidArgumentError(absl::StrCat("consistency is '", ToString(shard.shard.consistency),
                                                   "': with backup workers, or where only some tables go by rounds, expected a replication of 1"));
  }
  return shard.log_folder.empty() ? absl::OkStatus() : ValidateLog(shard.shard);
}

absl::StatusOr<ChainMemberActor> SpawnChainMember(System& system, const ChainMemberOptions& options) {
  TROUPE_RETURN_IF_ERROR(ValidateChain(options.shard));
  auto actor = system.actors().spawn([&system, options](caf::event_based_actor* self) { return MemberBehavior(self, &system, options); });
  Expose(system, kChainPeerActor, caf::actor_cast<ChainPeerActor>(actor));
  return caf::actor_cast<ChainMemberActor>(actor);
}

}   // namespace troupe
