#include "ps/group_member_actor.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/caf_status.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "caf/typed_response_promise.hpp"

namespace troupe {
namespace {

struct MemberTick {};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::MemberTick)

namespace troupe {
namespace {

constexpr uint32_t kPiecesMax = 1 << 16;   // messages of one pull

struct MemberState {
  static inline const char* name = "group_member";
  GroupMemberActorOptions options;
  std::optional<GroupMember> member;
  ShardActor copy;
  std::vector<GroupMemberActor> members;
  struct Ending {   // an end of a phase, to be answered when the group has ended it
    uint32_t writer;
    Round round;
    std::function<void(absl::StatusOr<Pushed>)> answer;
  };
  std::vector<Ending> endings;
  uint64_t messages = 0, messages_at_tick = 0;   // that have come, or gone
  int idle_ticks = 0;
};
using Self = caf::stateful_actor<MemberState>;

constexpr int kTicks = 10;   // of its patience

void Fail(Self* self, const absl::Status& status) {
  MemberState& state = self->state;
  const absl::Status why = WithContext(status, absl::StrCat("worker ", state.options.member.member));
  if (state.options.failed) state.options.failed(why);
  for (const auto& ending : std::exchange(state.endings, {})) ending.answer(why);
  self->quit(ToError(why));
}

void Perform(Self* self, GroupMember::Effects& effects) {
  MemberState& state = self->state;
  for (Push& push : effects.rounds) {
    self->request(state.copy, caf::infinite, std::move(push))
        .then(
            [self](const Pushed& pushed) {
              if (pushed.outcome != Pushed::Outcome::kApplied) Fail(self, absl::InternalError("the copy of the tables has not what was pushed to it"));
            },
            [self](const caf::error& error) { Fail(self, FromError(error)); });
  }
  for (AllReduce::Outgoing& out : effects.messages) {
    ++state.messages;
    self->request(state.members[out.to], caf::infinite, std::move(out.message))
        .then([](ReduceTaken) {}, [self](const caf::error& error) { Fail(self, FromError(error)); });
  }
  for (size_t i = 0; i < state.endings.size();) {
    if (state.endings[i].round > state.member->over()) {
      ++i;
      continue;
    }
    const MemberState::Ending ending = std::move(state.endings[i]);
    state.endings.erase(state.endings.begin() + static_cast<std::ptrdiff_t>(i));
    ending.answer(state.member->AnswerTo(ending.writer));
  }
}

absl::Status CheckJoined(const MemberState& state) {
  if (!state.members.empty()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("worker ", state.options.member.member, " does not know its group yet"));
}

void OnPush(Self* self, const Push& push, std::function<void(absl::StatusOr<Pushed>)> answer) {
  MemberState& state = self->state;
  if (absl::Status status = CheckJoined(state); !status.ok()) {
    answer(status);
    return;
  }
  GroupMember::Effects effects;
  auto pushed = state.member->OnPush(push, effects);
  if (pushed.ok() && !*pushed) {
    state.endings.push_back({static_cast<uint32_t>(push.writer), push.round, std::move(answer)});
  } else {
    answer(pushed.ok() ? absl::StatusOr<Pushed>(**pushed) : pushed.status());
  }
  Perform(self, effects);
}

/// As the copy's only writer, and apart from pulls of the worker's other writers, which may wait there as well.
Pull AtCopy(Pull pull) {
  pull.piece += static_cast<uint32_t>(pull.writer) * kPiecesMax;
  pull.writer = WriterId{0};
  return pull;
}

template <class Reply, class Message>
caf::result<Reply> AskCopy(Self* self, Message message) {
  auto promise = self->make_response_promise<caf::typed_response_promise<Reply>>();
  self->request(self->state.copy, caf::infinite, std::move(message))
      .then([promise](const Reply& reply) mutable { promise.deliver(reply); }, [promise](const caf::error& error) mutable { promise.deliver(error); });
  return promise;
}

/// In all copies; answered when all have it.
caf::result<Assigned> OnAssign(Self* self, const Assign& assign) {
  if (absl::Status status = CheckJoined(self->state); !status.ok()) return ToError(status);
  auto promise = self->make_response_promise<caf::typed_response_promise<Assigned>>();
  auto missing = std::make_shared<size_t>(self->state.members.size());   // 0: answered
  for (const GroupMemberActor& member : self->state.members) {
    self->request(member, caf::infinite, AssignCopy{assign})
        .then(
            [promise, missing](Assigned) mutable {
              if (*missing > 0 && --*missing == 0) promise.deliver(Assigned{});
            },
            [promise, missing](const caf::error& error) mutable {
              if (std::exchange(*missing, 0) > 0) promise.deliver(error);
            });
  }
  return promise;
}

caf::error NoCuts() {
  return ToError(absl::FailedPreconditionError("there are no cuts where workers keep tables (ring, tree)"));
}

caf::behavior MemberBehavior(Self* self) {
  self->monitor(self->state.copy);
  self->set_down_handler([self](const caf::down_msg& down) { Fail(self, FromError(down.reason)); });
  self->delayed_send(self, self->state.options.patience / kTicks, MemberTick{});
  // Nothing else is looked at before this is answered.
  self->request(self->state.copy, caf::infinite, Open{WriterId{0}})
      .await([self](const Opened& opened) { self->state.member->Begin(opened); }, [self](const caf::error& error) { Fail(self, FromError(error)); });
  return {
      [self](JoinGroup& join) { self->state.members = std::move(join.members); },
      [self](const ReduceMessage& message) -> caf::result<ReduceTaken> {
        GroupMember::Effects effects;
        ++self->state.messages;
        absl::Status status = CheckJoined(self->state);
        if (status.ok()) status = self->state.member->OnMessage(message, effects);
        if (!status.ok()) return ToError(status);
        Perform(self, effects);
        return ReduceTaken{};
      },
      [self](const AssignCopy& assign) { return AskCopy<Assigned>(self, assign.assign); },
      [self](const Push& push) -> caf::result<Pushed> {
        auto promise = self->make_response_promise<caf::typed_response_promise<Pushed>>();
        OnPush(self, push,
               [promise](absl::StatusOr<Pushed> pushed) mutable { pushed.ok() ? promise.deliver(*pushed) : promise.deliver(ToError(pushed.status())); });
        return promise;
      },
      [self](const Pull& pull) { return AskCopy<Pulled>(self, AtCopy(pull)); },
      [self](const PushPull& both) -> caf::result<PushPulled> {
        auto promise = self->make_response_promise<caf::typed_response_promise<PushPulled>>();
        OnPush(self, both.push, [self, promise, pull = AtCopy(both.pull)](absl::StatusOr<Pushed> pushed) mutable {
          if (!pushed.ok()) {
            promise.deliver(ToError(pushed.status()));
          } else if (pushed->outcome != Pushed::Outcome::kApplied) {
            promise.deliver(PushPulled{*pushed, {}});
          } else {
            self->request(self->state.copy, caf::infinite, std::move(pull))
                .then(
                    [promise, pushed = *pushed](const Pulled& pulled) mutable {
                      promise.deliver(PushPulled{pushed, pulled});
                    },
                    [promise](const caf::error& error) mutable { promise.deliver(error); });
          }
        });
        return promise;
      },
      [self](const Open& open) -> caf::result<Opened> {
        auto opened = self->state.member->OnOpen(open);
        if (!opened.ok()) return ToError(opened.status());
        return std::move(*opened);
      },
      [self](const Assign& assign) { return OnAssign(self, assign); },
      [self](const TakeSnapshot& request) { return AskCopy<SnapshotTaken>(self, request); },
      [self](const SaveRows& request) { return AskCopy<RowsSaved>(self, request); },
      [self](const Call& call) { return AskCopy<Called>(self, call); },
      [](const Prepare&) -> caf::result<Prepared> { return NoCuts(); },
      [](const Freeze&) -> caf::result<Frozen> { return NoCuts(); },
      [](const Release&) -> caf::result<Released> { return NoCuts(); },
      [self](const AskRanges& ask) { return AskCopy<Ranges>(self, ask); },
      [](const Stand&) -> caf::result<Standing> { return NoCuts(); },
      [](const TakeIn&) -> caf::result<TakenIn> { return NoCuts(); },
      [](const Settle&) -> caf::result<Settled> { return NoCuts(); },
      [self](MemberTick) {
        MemberState& state = self->state;
        const std::string waits = state.member->WaitsFor();
        state.idle_ticks = waits.empty() || state.messages != state.messages_at_tick ? 0 : state.idle_ticks + 1;
        state.messages_at_tick = state.messages;
        if (state.idle_ticks >= kTicks) {
          Fail(self, absl::UnavailableError(absl::StrCat(waits, ": nothing has come for ", state.options.patience.count() / 1000, " s")));
          return;
        }
        self->delayed_send(self, state.options.patience / kTicks, MemberTick{});
      },
  };
}

}   // namespace

absl::StatusOr<SpawnedMember> SpawnGroupMember(System& system, const GroupMemberActorOptions& options) {
  TROUPE_TRY(GroupMember member, GroupMember::Make(options.member));
  ShardActorOptions copy_options = options.copy;
  copy_options.shard.shard = copy_options.shard.shards = options.member.shards;   // the place behind the last one
  copy_options.shard.writers = 1;
  TROUPE_TRY(ShardActor copy, SpawnShard(system, copy_options));
  auto held = std::make_shared<GroupMember>(std::move(member));   // the actor begins later, on another thread
  auto actor = system.actors().spawn([options, held, copy](Self* self) {
    self->state.options = options;
    self->state.member.emplace(std::move(*held));
    self->state.copy = copy;
    return MemberBehavior(self);
  });
  return SpawnedMember{caf::actor_cast<GroupMemberActor>(actor), copy};
}

void JoinMembers(const std::vector<GroupMemberActor>& members) {
  for (const GroupMemberActor& member : members) System::Deliver(member, JoinGroup{members});
}

}   // namespace troupe
