#include "ps/group_member_actor.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/caf_status.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/snapshot.h"

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
  System* system = nullptr;
  GroupMemberActorOptions options;
  std::optional<GroupMember> member;
  ShardActor copy;
  std::vector<GroupMemberActor> members;
  absl::Status failure;   // the group cannot go on
  struct Ending {         // an end of a phase, to be answered when the group has ended it
    uint32_t writer;
    Round round;
    std::function<void(absl::StatusOr<Pushed>)> answer;
  };
  std::vector<Ending> endings;
  std::map<uint64_t, std::function<void(const absl::Status&)>> asked;   // what the copy has not answered: one that is replaced takes its promises with it
  uint64_t asked_last = 0;
  uint64_t progress = 0, progress_at_tick = 0;   // messages that were taken, or sent
  int idle_ticks = 0;

  // Replacements. Invariant: the member runs only where `working`.
  std::optional<GroupView> view;
  bool in_step = false;
  bool working = false;
  std::vector<bool> greeting;   // by member: a greeting is under way
  struct Fetching {             // of another's state
    uint64_t group;
    uint32_t source;
    Round over = 0;
    uint64_t total = 0;
    BlockBuilder bytes{0};
    uint64_t at = 0;
  };
  std::shared_ptr<Fetching> fetching;   // null: none
  struct Lent {                         // its own state, for others
    uint64_t group;
    Block bytes;   // empty: it is being written
  };
  std::optional<Lent> lent;
};
using Self = caf::stateful_actor<MemberState>;

constexpr int kTicks = 10;   // of its patience

void Sync(Self* self);

/// Whoever asks is told from here on. It asks no more: what it would say is final.
void Fail(Self* self, const absl::Status& status) {
  MemberState& state = self->state;
  if (!state.failure.ok()) return;
  const absl::Status why = WithContext(status, absl::StrCat("worker ", state.options.member.member));
  state.failure = IsRetryable(why) ? absl::AbortedError(why.message()) : why;
  if (state.options.failed) state.options.failed(state.failure);
  for (const auto& ending : std::exchange(state.endings, {})) ending.answer(state.failure);
  for (const auto& [number, answer] : std::exchange(state.asked, {})) answer(state.failure);
}

/// May be asked for anything but what brings it into its group?
absl::Status CheckReady(const MemberState& state) {
  if (!state.failure.ok()) return state.failure;
  if (state.in_step) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("worker ", state.options.member.member, " has been replaced and is taking the state of its group"));
}

absl::Status CheckJoined(const MemberState& state) {
  if (!state.failure.ok()) return state.failure;
  if (!state.members.empty()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("worker ", state.options.member.member, " does not know its group yet"));
}

void Later(Self* self, std::function<void()> run) {
  self->delayed_send(self, self->state.options.retry, Thunk{std::move(run)});
}

/// Until it is taken, or another view holds.
void Send(Self* self, const std::shared_ptr<const AllReduce::Outgoing>& out) {
  MemberState& state = self->state;
  if (!state.failure.ok() || out->message.group != state.view->number()) return;
  self->request(state.members[out->to], caf::infinite, out->message)
      .then(
          [self, out](const ReduceTaken& taken) {
            if (!taken.taken) Later(self, [self, out] { Send(self, out); });
          },
          [self, out](const caf::error& error) {
            const absl::Status status = FromError(error);
            IsRetryable(status) ? Later(self, [self, out] { Send(self, out); }) : Fail(self, status);
          });
}

/// Asks the copy; the answer, of whatever kind, comes once.
template <class Reply, class Message>
void RequestCopy(Self* self, Message message, std::function<void(const absl::StatusOr<Reply>&)> answer) {
  const uint64_t number = ++self->state.asked_last;
  self->state.asked.emplace(number, [answer](const absl::Status& status) { answer(status); });
  const auto once = [self, number, answer](const absl::StatusOr<Reply>& reply) {
    if (self->state.asked.erase(number) > 0) answer(reply);
  };
  self->request(self->state.copy, caf::infinite, std::move(message))
      .then([once](const Reply& reply) { once(reply); }, [once](const caf::error& error) { once(FromError(error)); });
}

/// A round of the all-reduce, for the copy.
void PushToCopy(Self* self, Push round) {
  const ShardActor copy = self->state.copy;
  self->request(copy, caf::infinite, round)
      .then(
          [self](const Pushed& pushed) {
            if (pushed.outcome != Pushed::Outcome::kApplied) Fail(self, absl::InternalError("the copy of the tables has not what was pushed to it"));
          },
          [self, copy, round](const caf::error& error) {
            if (copy == self->state.copy) Fail(self, self->state.member->Explain(round, FromError(error)));   // else it was replaced meanwhile
          });
}

void Perform(Self* self, GroupMember::Effects& effects) {
  MemberState& state = self->state;
  if (!effects.rounds.empty()) state.lent.reset();   // all are in step
  for (Push& push : effects.rounds) PushToCopy(self, std::move(push));
  for (AllReduce::Outgoing& out : effects.messages) {
    ++state.progress;
    out.message.group = state.view->number();
    Send(self, std::make_shared<const AllReduce::Outgoing>(std::move(out)));
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

// --- replacements ---

Greeting Own(MemberState& state) {
  state.view->Stand(state.member->over(), state.in_step);
  return state.view->Own();
}

absl::Status Hear(Self* self, const Greeting& greeting) {
  MemberState& state = self->state;
  TROUPE_TRY(const bool grown, state.view->Hear(greeting));
  if (grown) {
    state.member->Stop();
    state.working = false;
    state.fetching = nullptr;
    state.lent.reset();
  }
  Sync(self);
  return absl::OkStatus();
}

void Greet(Self* self, uint32_t member) {
  MemberState& state = self->state;
  if (state.greeting[member]) return;
  state.greeting[member] = true;
  self->request(state.members[member], caf::infinite, Own(state))
      .then(
          [self, member](const Greeting& theirs) {
            self->state.greeting[member] = false;
            if (absl::Status status = Hear(self, theirs); !status.ok()) Fail(self, status);
          },
          [self, member](const caf::error& error) {
            const absl::Status status = FromError(error);
            if (!IsRetryable(status)) return Fail(self, status);
            Later(self, [self, member] {
              self->state.greeting[member] = false;
              Sync(self);
            });
          });
}

/// In place of its own copy, of which nothing is left.
void TakeCopy(Self* self, ShardActor copy) {
  MemberState& state = self->state;
  if (state.copy) {
    self->unlink_from(state.copy);
    self->send_exit(state.copy, caf::exit_reason::kill);
  }
  state.copy = std::move(copy);
  self->link_to(state.copy);
  for (const auto& [number, answer] : std::exchange(state.asked, {})) answer(absl::UnavailableError("the copy of the tables was replaced"));
}

void AskPiece(Self* self);

/// Everything has come: a copy with it, and on with the others.
void Install(Self* self) {
  MemberState& state = self->state;
  const std::shared_ptr<MemberState::Fetching> fetched = state.fetching;
  const auto copy = [&]() -> absl::StatusOr<ShardActor> {
    TROUPE_TRY(std::vector<SnapshotSection> sections, ParseSnapshot(std::move(fetched->bytes).Finish(), absl::StrCat("state of worker ", fetched->source)));
    ShardActorOptions options = state.options.copy;
    options.state = std::make_shared<const std::vector<SnapshotSection>>(std::move(sections));
    return SpawnShard(*state.system, options);
  }();
  if (!copy.ok()) return Fail(self, copy.status());
  TakeCopy(self, *copy);
  // Nothing else is looked at before this is answered.
  self->request(state.copy, caf::infinite, Open{WriterId{0}})
      .await(
          [self](const Opened& opened) {
            MemberState& now = self->state;
            now.member->Begin(opened);
            now.fetching = nullptr;
            now.in_step = true;
            ++now.progress;
            Sync(self);
          },
          [self](const caf::error& error) { Fail(self, FromError(error)); });
}

void OnPiece(Self* self, const StatePiece& piece) {
  MemberState::Fetching& fetching = *self->state.fetching;
  if (fetching.at == 0) {
    fetching.over = piece.over;
    fetching.total = piece.total;
    fetching.bytes = BlockBuilder(piece.total);
  }
  if (piece.over != fetching.over || piece.total != fetching.total || piece.bytes.empty() || piece.bytes.size() > fetching.total - fetching.at)
    return Fail(self, absl::DataLossError(absl::StrCat("worker ", fetching.source, " sends pieces of its state that do not fit")));
  std::copy_n(piece.bytes.data(), piece.bytes.size(), fetching.bytes.data() + fetching.at);
  fetching.at += piece.bytes.size();
  ++self->state.progress;
  fetching.at < fetching.total ? AskPiece(self) : Install(self);
}

void AskPiece(Self* self) {
  MemberState& state = self->state;
  self->request(state.members[state.fetching->source], caf::infinite, FetchState{state.fetching->group, state.fetching->at})
      .then(
          [self, fetching = state.fetching](const StatePiece& piece) {
            if (fetching == self->state.fetching) OnPiece(self, piece);
          },
          [self, fetching = state.fetching](const caf::error& error) {
            if (fetching != self->state.fetching) return;
            const absl::Status status = FromError(error);
            if (!IsRetryable(status)) return Fail(self, status);
            Later(self, [self, fetching] {
              if (fetching == self->state.fetching) AskPiece(self);
            });
          });
}

/// Does what is to be done next to work in this view.
void Sync(Self* self) {
  MemberState& state = self->state;
  if (state.working || state.members.empty() || !state.failure.ok()) return;
  state.view->Stand(state.member->over(), state.in_step);
  const std::vector<uint32_t> missing = state.view->Missing();
  for (const uint32_t member : missing) Greet(self, member);
  if (!missing.empty()) return;
  if (const auto source = state.view->Source()) {
    if (state.fetching != nullptr) return;
    state.fetching = std::make_shared<MemberState::Fetching>(MemberState::Fetching{.group = state.view->number(), .source = *source});
    AskPiece(self);
    return;
  }
  state.in_step = state.working = true;
  GroupMember::Effects effects;
  state.member->Go(effects);
  Perform(self, effects);
}

void WriteLent(Self* self) {
  MemberState& state = self->state;
  state.lent = MemberState::Lent{state.view->number(), {}};
  const std::string uri = absl::StrCat("mem:/state-of-worker-", state.options.member.member, "-", state.options.incarnation);
  self->request(state.copy, caf::infinite, TakeSnapshot{uri, 0})
      .then(
          [self, uri, group = state.lent->group](const SnapshotTaken& taken) {
            MemberState& now = self->state;
            auto bytes = now.system->storage().Read(uri);
            now.system->storage().Remove(uri).IgnoreError();
            if (!now.lent || now.lent->group != group) return;
            now.lent.reset();   // and written again, where it is not what is wanted: a copy may hold a round back for a checkpoint
            if (bytes.ok() && taken.clock == now.member->over()) now.lent = MemberState::Lent{group, std::move(*bytes)};
          },
          [self, group = state.lent->group](const caf::error&) {   // a full disk, a later request: whoever fetches asks again
            MemberState& now = self->state;
            if (now.lent && now.lent->group == group) now.lent.reset();
          });
}

absl::StatusOr<StatePiece> OnFetchState(Self* self, const FetchState& fetch) {
  MemberState& state = self->state;
  TROUPE_RETURN_IF_ERROR(state.failure);
  const auto not_now = [&](const char* what) { return absl::UnavailableError(absl::StrCat("worker ", state.options.member.member, what)); };
  if (!state.working || fetch.group != state.view->number()) return not_now(" is not in this view of its group");
  if (!state.lent) WriteLent(self);
  if (state.lent->bytes.empty()) return not_now(" is writing its state");
  const Block& bytes = state.lent->bytes;
  if (fetch.at >= bytes.size()) return absl::InvalidArgumentError(absl::StrCat("fetch: from byte ", fetch.at, ", expected below ", bytes.size()));
  return StatePiece{state.member->over(), bytes.size(), bytes.Slice(fetch.at, std::min(kChunkBytes, bytes.size() - fetch.at))};
}

// --- the protocol ---

void OnPush(Self* self, const Push& push, std::function<void(absl::StatusOr<Pushed>)> answer) {
  MemberState& state = self->state;
  absl::Status status = CheckJoined(state);
  if (status.ok()) status = CheckReady(state);
  if (!status.ok()) {
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

/// As the copy's only writer, and apart from pulls of the worker's other writers, which may wait there as well. (What these push are whole rounds of the copy.)
Pull AtCopy(Pull pull) {
  pull.after = 0;
  pull.piece += static_cast<uint32_t>(pull.writer) * kPiecesMax;
  pull.writer = WriterId{0};
  return pull;
}

template <class Reply, class Message>
caf::result<Reply> AskCopy(Self* self, Message message) {
  if (absl::Status status = CheckReady(self->state); !status.ok()) return ToError(status);
  auto promise = self->make_response_promise<caf::typed_response_promise<Reply>>();
  RequestCopy<Reply>(self, std::move(message), [promise](const absl::StatusOr<Reply>& reply) mutable {
    reply.ok() ? promise.deliver(*reply) : promise.deliver(ToError(reply.status()));
  });
  return promise;
}

caf::result<Assigned> OnAssignCopy(Self* self, const AssignCopy& assign) {
  const MemberState& state = self->state;
  if (!state.working || assign.group != state.view->number())
    return ToError(absl::UnavailableError(absl::StrCat("worker ", state.options.member.member, " is not in this view of its group")));
  return AskCopy<Assigned>(self, assign.assign);
}

/// In all copies; answered when all have it, in one view: whoever comes later takes the state of one that has it.
caf::result<Assigned> OnAssign(Self* self, const Assign& assign) {
  MemberState& state = self->state;
  if (absl::Status status = CheckJoined(state); !status.ok()) return ToError(status);
  auto promise = self->make_response_promise<caf::typed_response_promise<Assigned>>();
  auto missing = std::make_shared<size_t>(state.members.size());   // 0: answered
  for (const GroupMemberActor& member : state.members) {
    self->request(member, caf::infinite, AssignCopy{state.view->number(), assign})
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

caf::result<ReduceTaken> OnReduce(Self* self, const ReduceMessage& message) {
  MemberState& state = self->state;
  if (absl::Status status = CheckJoined(state); !status.ok()) return ToError(status);
  if (!state.working || message.group != state.view->number()) return ReduceTaken{false};
  GroupMember::Effects effects;
  if (absl::Status status = state.member->OnMessage(message, effects); !status.ok()) return ToError(status);
  ++state.progress;
  Perform(self, effects);
  return ReduceTaken{true};
}

caf::error NoCuts() {
  return ToError(absl::FailedPreconditionError("there are no cuts where workers keep tables (ring, tree)"));
}

std::string WaitsFor(const MemberState& state) {
  if (state.working) return state.member->WaitsFor();
  if (state.members.empty() || !state.failure.ok()) return "";
  if (state.fetching != nullptr) return absl::StrCat("it waits for the state of worker ", state.fetching->source);
  return absl::StrCat("it waits for workers ", absl::StrJoin(state.view->Missing(), ", "), " to be there");
}

void OnTick(Self* self) {
  MemberState& state = self->state;
  const std::string waits = WaitsFor(state);
  state.idle_ticks = waits.empty() || state.progress != state.progress_at_tick ? 0 : state.idle_ticks + 1;
  state.progress_at_tick = state.progress;
  if (state.idle_ticks >= kTicks) {
    Fail(self, absl::UnavailableError(absl::StrCat(waits, ": nothing has come for ", state.options.patience.count() / 1000, " s")));
    return;
  }
  self->delayed_send(self, state.options.patience / kTicks, MemberTick{});
}

caf::behavior MemberBehavior(Self* self, ShardActor copy) {
  self->set_exit_handler([self](const caf::exit_msg& exit) {
    if (exit.source == caf::actor_cast<caf::actor_addr>(self->state.copy)) {
      Fail(self, WithContext(FromError(exit.reason), "the copy of the tables"));
    } else {
      self->quit(exit.reason);
    }
  });
  TakeCopy(self, std::move(copy));
  self->delayed_send(self, self->state.options.patience / kTicks, MemberTick{});
  // Nothing else is looked at before this is answered.
  self->request(self->state.copy, caf::infinite, Open{WriterId{0}})
      .await([self](const Opened& opened) { self->state.member->Begin(opened); }, [self](const caf::error& error) { Fail(self, FromError(error)); });
  return {
      [self](JoinGroup& join) {
        self->state.members = std::move(join.members);
        self->state.greeting.assign(self->state.members.size(), false);
        Sync(self);
      },
      [self](const ReduceMessage& message) { return OnReduce(self, message); },
      [self](const AssignCopy& assign) { return OnAssignCopy(self, assign); },
      [self](const Greeting& greeting) -> caf::result<Greeting> {
        if (absl::Status status = self->state.failure; !status.ok()) return ToError(status);
        if (absl::Status status = Hear(self, greeting); !status.ok()) return ToError(status);
        return Own(self->state);
      },
      [self](const FetchState& fetch) -> caf::result<StatePiece> {
        auto piece = OnFetchState(self, fetch);
        if (!piece.ok()) return ToError(piece.status());
        return std::move(*piece);
      },
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
            RequestCopy<Pulled>(self, pull, [promise, pushed = *pushed](const absl::StatusOr<Pulled>& pulled) mutable {
              pulled.ok() ? promise.deliver(PushPulled{pushed, *pulled}) : promise.deliver(ToError(pulled.status()));
            });
          }
        });
        return promise;
      },
      [self](const Open& open) -> caf::result<Opened> {
        if (absl::Status status = CheckReady(self->state); !status.ok()) return ToError(status);
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
      [](const Thunk& thunk) { thunk.run(); },
      [self](MemberTick) { OnTick(self); },
  };
}

}   // namespace

absl::StatusOr<SpawnedMember> SpawnGroupMember(System& system, const GroupMemberActorOptions& given) {
  GroupMemberActorOptions options = given;
  options.copy.shard.shard = options.copy.shard.shards = options.member.shards;   // the place behind the last one
  options.copy.shard.writers = 1;
  TROUPE_TRY(GroupMember member, GroupMember::Make(options.member));
  TROUPE_TRY(const GroupView view, GroupView::Make(options.member.member, options.member.members, options.incarnation));
  TROUPE_TRY(ShardActor copy, SpawnShard(system, options.copy));
  auto held = std::make_shared<GroupMember>(std::move(member));   // the actor begins later, on another thread
  auto actor = system.actors().spawn([&system, options, view, held, copy](Self* self) {
    self->state.system = &system;
    self->state.options = options;
    self->state.view = view;
    self->state.in_step = options.incarnation == 1;
    self->state.member.emplace(std::move(*held));
    return MemberBehavior(self, copy);
  });
  return SpawnedMember{caf::actor_cast<GroupMemberActor>(actor), copy};
}

void JoinMembers(const std::vector<GroupMemberActor>& members) {
  for (const GroupMemberActor& member : members) System::Deliver(member, JoinGroup{members});
}

}   // namespace troupe
