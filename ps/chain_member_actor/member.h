// One member of a shard's chain: its state, and what its parts do for each other. Every function runs in the actor's context.
//
//   chain_member_actor.cc   the chain: views, leases, its neighbours; replicas compared
//   changes.cc              what clients and the member before change, and when it is acknowledged; cuts
//   state.cc                the shard: begun with what files have, or given by another member
//   files.cc                snapshots and the log, which the last member writes
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/caf_status.h"
#include "actors/status.h"
#include "actors/system.h"
#include "caf/event_based_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/chain/epoch_files.h"
#include "ps/chain/state_transfer.h"
#include "ps/chain_cut_actor.h"
#include "ps/chain_log.h"
#include "ps/chain_member_actor.h"
#include "ps/chain_stream_actor.h"

namespace troupe::chain_member {

class Member {
 public:
  Member(caf::event_based_actor* self, System& system, ChainMemberOptions options);

  // --- the chain ---

  caf::result<Configured> OnConfigure(const ChainView& next);
  void OnGranted(const GrantLease& grant);
  /// What was acknowledged to be is refused when it cannot be known to be any more.
  void OnLeaseTick();
  void OnCompareTick();

  // --- what clients change ---

  caf::result<Pushed> OnPush(const Push& push);
  caf::result<PushPulled> OnPushPull(const PushPull& both);
  caf::result<Assigned> OnAssign(const Assign& assign);
  /// What a writer is told here it builds on: not before the last member has it.
  caf::result<Opened> OnOpen(const Open& open);

  // --- what clients read ---

  template <class Reply, class Message>
  caf::result<Reply> Read(const Message& message);

  // --- cuts: of tables that go by rounds the last member's shard makes them, for when a round is applied makes no difference there; else chain_cut_actor.h ---

  caf::result<Prepared> OnPrepare(const Prepare& prepare);
  caf::result<Frozen> OnFreeze(const Freeze& freeze);
  caf::result<Released> OnRelease(const Release& release);
  absl::Status NoMoves() const { return absl::FailedPreconditionError("ranges of shards with replicas do not move"); }

  // --- what other members say ---

  caf::result<Forwarded> OnForward(const Forward& forward);
  caf::result<Aligned> OnAlign(const Align& align);
  caf::result<Adopted> OnAdopt(const Adopt& piece);

 private:
  using Change = ChainStream::Change;
  using Told = std::function<void(const absl::Status&)>;

  struct Early {
    Change change;
    std::vector<caf::typed_response_promise<Forwarded>> promises;
  };

  std::string Name() const { return absl::StrCat("shard ", options_.shard.shard.shard); }
  absl::Status Unavailable(const char* why) const { return absl::UnavailableError(absl::StrCat(Name(), ": ", why)); }
  absl::Status NoLease() const { return Unavailable("it has not heard of its keeper for too long"); }
  /// A refusal for what this host alone lacks (room on its disk, say), which must not make it differ from the others: it leaves the chain.
  static bool OfThisHost(const absl::Status& status) { return absl::IsResourceExhausted(status) || absl::IsDataLoss(status); }

  template <class Reply>
  static void Deliver(caf::typed_response_promise<Reply>& promise, absl::StatusOr<Reply> reply);
  template <class Reply, class Message>
  void AskShard(const Message& message, std::function<void(absl::StatusOr<Reply>)> answer);

  // --- chain_member_actor.cc ---

  /// -1: none.
  int Place() const;
  bool Last() const { return !view_.members.empty() && view_.members.back() == options_.self; }
  /// Nobody behind it has to have what it acknowledges.
  bool Alone() const { return Last() && !next_.has_state(); }
  /// Nor does anybody have to be waited for so that they may catch up.
  bool AnswersAtOnce() const { return Alone() && !next_.lags(); }
  bool MayServe() const { return !options_.leased || self_->clock().now() < lease_; }
  absl::Status MayChange() const;
  absl::Status MayBeRead() const;
  void Configure(const ChainView& next, caf::typed_response_promise<Configured> promise);
  absl::Status Follow(const ChainView& next);
  void FollowNext();
  void OnNextHas(uint64_t through);
  void Fail(const std::string& what);
  /// The ranges of all tables whose rows are in memory, one after the other.
  std::optional<CompareRange> NextRange();
  void Compare(const CompareRange& compare);

  // --- changes.cc ---

  template <class Reply, class Take>
  void WhenItPasses(const Push& push, caf::typed_response_promise<Reply> promise, Take take);
  /// To the shard and to the next member, as the next change. `answer` is called when the last one has it; `applied`, as soon as this member's shard has.
  template <class Reply, class Message, class Answer, class Applied>
  void Submit(const Change& change, const Message& message, Answer answer, Applied applied);
  template <class Reply, class Message, class Answer>
  void Submit(const Change& change, const Message& message, Answer answer);
  void SubmitView(const Freeze& freeze, ChainCut::Answer<Frozen> answer);
  /// Change `number`.
  template <class Reply, class Message, class Has, class Refused>
  void TellShard(uint64_t number, const Message& message, Has has, Refused refused);
  void TakeForwarded(const Change& change);
  void AnswerForward(uint64_t number, caf::typed_response_promise<Forwarded> promise);
  /// What several members have survives any of them. Where one joins, files may be further than what it has got so far, and it may be all that is left soon:
  /// nothing more is promised until it is a member.
  template <class Answer>
  void SayStable(Answer& answer) const;
  void WhenAcknowledged(uint64_t number, Told told);
  void Acknowledge(uint64_t through);
  void RefuseAll(const absl::Status& why);

  // --- state.cc ---

  /// With what is left of the chain before, or of an earlier run. Asked again it is done, unless `making_`.
  absl::Status Begin();
  /// Its shard may take a while with it: `taking_`.
  absl::Status TakePart(StateAssembly&& assembly);
  void TakeState(const StatePart& of, ShardState state);
  void OnPartTaken(const StatePart& of);
  /// Whoever comes in its place begins with none.
  void CannotAdopt(const absl::Status& status);
  /// By a compute job: a large one takes its time, and this process must be heard meanwhile. `taken` is called in the actor's context.
  void MakeShard(
      const ShardActorOptions& options, std::function<void(absl::StatusOr<ShardActor>)> taken,
      std::function<absl::Status()> still = [] { return absl::OkStatus(); });
  absl::Status TakeShard(absl::StatusOr<ShardActor> shard);
  void DropShard();

  // --- files.cc ---

  std::string FileOf(uint64_t epoch) const { return SnapshotOfEpoch(options_.shard.snapshot_uri, epoch); }
  std::string LogOf(uint64_t epoch) const { return LogOfEpoch(options_.shard.shard.shard, epoch); }
  /// One member writes, the last.
  void KeepFiles();
  /// One member logs, the last, and as long as it is the last: in a log of its own, which begins with all that it has.
  void KeepLogOfChain();
  void AskForLog(const ChainLog::Begun& begun);
  void OnLogKept(uint64_t epoch, const absl::Status& status);
  void DropEarlierFiles();
  /// More may be in the log than before.
  void FollowLog();
  /// Others go on; where there are none, changes are refused until it has begun again.
  void FailLog(const absl::Status& status);
  void BeginLogLater();
  /// Of the last member: what it has as its successors would find it.
  uint64_t Logged() const;

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
  StatePart taken_;                                             // the last part in place
  uint32_t parts_taken_ = 0;                                    // of its attempt
  bool whole_ = false;                                          // there is nothing of the state that has not come
  const std::vector<std::pair<uint32_t, uint32_t>> compared_;   // table, range
  size_t next_compared_ = 0;
};

template <class Reply, class Message>
caf::result<Reply> Member::Read(const Message& message) {
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

template <class Reply>
void Member::Deliver(caf::typed_response_promise<Reply>& promise, absl::StatusOr<Reply> reply) {
  reply.ok() ? promise.deliver(*std::move(reply)) : promise.deliver(ToError(reply.status()));
}

template <class Reply, class Message>
void Member::AskShard(const Message& message, std::function<void(absl::StatusOr<Reply>)> answer) {
  self_->request(caf::actor_cast<caf::actor>(shard_), caf::infinite, message)
      .then([answer](Reply& reply) { answer(std::move(reply)); }, [answer](const caf::error& error) { answer(FromError(error)); });
}

}   // namespace troupe::chain_member
