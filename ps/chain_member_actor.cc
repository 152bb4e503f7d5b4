#include "ps/chain_member_actor.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "ps/chain/wire.h"
#include "ps/chain_member_actor/member.h"
#include "ps/partition.h"
#include "ps/range_map.h"

namespace troupe {
namespace chain_member {
namespace {

constexpr std::chrono::milliseconds kLeaseTick{100};

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

}   // namespace

Member::Member(caf::event_based_actor* self, System& system, ChainMemberOptions options)
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
                  .keep_view = [this](const Freeze& freeze, ChainCut::Answer<Frozen> answer) { SubmitView(freeze, std::move(answer)); }}),
      compared_(RangesOf(options_.shard.shard)) {}

int Member::Place() const {
  const auto it = std::ranges::find(view_.members, options_.self);
  return it == view_.members.end() ? -1 : static_cast<int>(it - view_.members.begin());
}

absl::Status Member::MayChange() const {
  if (Place() != 0 || !shard_) return Unavailable("it is not the first of its chain");
  if (!log_.failed().ok()) return log_.failed();
  return MayServe() ? absl::OkStatus() : NoLease();
}

absl::Status Member::MayBeRead() const {
  if (!Last() || !shard_) return Unavailable("it is not the last of its chain");
  if (!readable_) return Unavailable("it may not have all yet");
  return MayServe() ? absl::OkStatus() : NoLease();
}

void Member::Fail(const std::string& what) {
  if (options_.failed) options_.failed(absl::StrCat(Name(), ": ", what));
}

caf::result<Configured> Member::OnConfigure(const ChainView& next) {
  auto promise = self_->make_response_promise<caf::typed_response_promise<Configured>>();
  Configure(next, promise);
  return promise;
}

void Member::Configure(const ChainView& next, caf::typed_response_promise<Configured> promise) {
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

absl::Status Member::Follow(const ChainView& next) {
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

void Member::FollowNext() {
  if (!Last()) {
    next_.ToMember(view_.members[static_cast<size_t>(Place()) + 1], view_.epoch, last_);
  } else if (view_.joining) {
    next_.ToJoiner(*view_.joining, view_.number, shard_, last_);
  } else {
    next_.End();
  }
  OnNextHas(next_.has(last_));
}

void Member::OnNextHas(uint64_t through) {
  through = AnswersAtOnce() ? last_ : through;
  Acknowledge(Last() ? std::min(through, Logged()) : through);
  if (!Last() || !next_.caught_up()) return;
  for (auto& promise : std::exchange(asked_, {})) promise.deliver(Configured{.joined = true});
}

void Member::OnGranted(const GrantLease& grant) {
  lease_ = std::max(lease_, grant.until);
  DropEarlierFiles();
}

void Member::OnLeaseTick() {
  if (!MayServe()) RefuseAll(NoLease());
  self_->delayed_send(self_, kLeaseTick, Thunk{[this] { OnLeaseTick(); }});
}

caf::result<Aligned> Member::OnAlign(const Align& align) {
  if (align.epoch != view_.epoch || Place() <= 0) return ToError(Unavailable("it is not next in this chain"));
  if (last_ < align.number) return ToError(Unavailable("it is behind"));
  readable_ = true;
  return Aligned{};
}

void Member::OnCompareTick() {
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

std::optional<CompareRange> Member::NextRange() {
  const ShardOptions& shard = options_.shard.shard;
  for (size_t i = 0; i < compared_.size(); ++i) {
    if (next_compared_ >= compared_.size()) next_compared_ = 0;
    const auto [table, range] = compared_[next_compared_++];
    if (shard.tables[table].limits.memory_max == 0) return CompareRange{.table = table, .range = range};
  }
  return std::nullopt;
}

void Member::Compare(const CompareRange& compare) {
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

namespace {

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
}   // namespace chain_member

using namespace chain_member;

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
