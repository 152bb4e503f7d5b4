// The actor behind a TableSet, which owns the client.
#include "ps/table_set_actor.h"

#include <algorithm>
#include <utility>

#include "actors/stop_actors.h"
#include "ps/table_set_actor/set.h"

namespace troupe {
namespace table_set {
namespace {

constexpr std::chrono::milliseconds kTick{20};

using Self = caf::stateful_actor<SetState>;

void StartPulls(SetState& state) {
  while (!state.queued.empty() && state.client->pulls_under_way(state.me) < state.pulls_max) {
    const std::shared_ptr<PullCall> pull = std::move(state.queued.front());
    state.queued.pop_front();
    pull->number = state.client->Pull(state.me, state.round + 1, pull->pull, pull->priority);
    state.pulls.emplace(pull->number, pull);
  }
}

void Queue(SetState& state, const std::shared_ptr<PullCall>& pull) {
  const auto behind = std::ranges::find_if(state.queued, [&](const auto& other) { return other->priority < pull->priority; });
  state.queued.insert(behind, pull);
}

}   // namespace

void End(SetState& state, size_t pushes, const absl::Status& status) {
  size_t bytes = 0;
  for (; pushes > 0; --pushes) {
    bytes += state.pushes.front().bytes;
    SetState::Push& push = state.pushes.front();
    push.status.Update(status);
    if (push.flush) push.status.Update(std::exchange(state.first_error, absl::OkStatus()));
    if (!push.flush) state.first_error.Update(push.status);
    push.done->Give(push.status);
    state.pushes.pop_front();
  }
  state.release(bytes);
}

void AddPull(SetState& state, const std::shared_ptr<PullCall>& pull) {
  Queue(state, pull);
  StartPulls(state);
}

void LeavePull(SetState& state, const std::shared_ptr<PullCall>& pull) {
  std::erase(state.queued, pull);
  const auto under_way = state.pulls.find(pull->number);
  if (under_way == state.pulls.end() || under_way->second != pull) return;
  state.pulls.erase(under_way);
  state.client->Cancel(state.me, pull->number);
  StartPulls(state);
}

namespace {

void Fail(SetState& state, const absl::Status& status) {
  state.failure = status;
  End(state, state.pushes.size(), status);
  for (const auto& [number, pull] : std::exchange(state.pulls, {})) pull->End(status);
  for (const auto& pull : std::exchange(state.queued, {})) pull->End(status);
  for (const auto& call : std::exchange(state.waiting, {})) call();   // each finds the failure
}

/// What the shards had may be lost: no copy shows it any longer.
void ForgetCopies(const SetState& state) {
  for (const std::shared_ptr<Copies>& copies : state.copies) {
    if (copies == nullptr) continue;
    std::lock_guard lock(copies->mutex);
    copies->rows.ChangeAll(Copies::Now());   // the wanted ones are asked for by their pull
  }
}

/// The client is there, perhaps again after a shard has come back without what was not yet on its disk.
void Begin(SetState& state) {
  state.round = std::max(state.round, state.client->furthest(state.me));
  if (std::exchange(state.begun, true)) ForgetCopies(state);
  End(state, state.pushes.size(), absl::UnavailableError("a shard came back before it had acknowledged the push, which may have counted in part"));
  for (const auto& [number, pull] : std::exchange(state.pulls, {})) Queue(state, pull);
  StartPulls(state);
  for (const auto& call : std::exchange(state.waiting, {})) call();
}

Client::Events EventsOf(Self* self) {
  SetState& state = self->state;
  return {.begin_after = [&state](WriterId, Round) { Begin(state); },
          .pulled =
              [&state](WriterId, PullNumber number, std::vector<Block> values) {
                const auto found = state.pulls.find(number);
                if (found == state.pulls.end()) return;   // the set has failed
                const std::shared_ptr<PullCall> pull = std::move(found->second);
                state.pulls.erase(found);
                StartPulls(state);
                pull->End(absl::OkStatus(), std::move(values));
              },
          .piece =
              [&state](WriterId, PullNumber number, uint32_t shard, size_t message, std::span<const Block> values) {
                const auto found = state.pulls.find(number);
                if (found == state.pulls.end() || !found->second->read) return false;
                PullCall& pull = *found->second;
                const std::lock_guard lock(pull.mutex);
                if (!pull.left) pull.read_status.Update(pull.read(shard, message, values));
                return true;
              },
          .acked =
              [&state](WriterId writer) {
                const Round acked = state.client->acked(writer);
                size_t count = 0;
                while (count < state.pushes.size() && state.pushes[count].round <= acked) ++count;
                End(state, count, absl::OkStatus());
              },
          .refused =
              [&state](WriterId, Round round, const absl::Status& status) {
                const auto push = std::ranges::find(state.pushes, round, &SetState::Push::round);
                if (push != state.pushes.end()) push->status.Update(status);
              },
          .failed = [&state](const absl::Status& status) { Fail(state, status); }};
}

}   // namespace
}   // namespace table_set

using namespace table_set;

TableSet::Impl::Impl(System& s, std::vector<ShardActor> actors, const TableSetOptions& o, std::shared_ptr<Progress> p)
    : system(s),
      options(o),
      shards(std::move(actors)),
      router(std::make_shared<const Router>(o.tables, static_cast<uint32_t>(shards.size()))),
      progress(std::move(p)) {
  for (const TableSpec& spec : o.tables) {
    const auto own = o.replicas.find(spec.name);
    copies.push_back(own == o.replicas.end() ? nullptr : std::make_shared<Copies>(spec, own->second));
  }
}

void TableSet::Impl::Start() {
  actor = system.actors().spawn(
      [router = router, shards = shards, copies = copies, writer = writer.value_or(WriterId{0}), self_impl = weak_from_this()](Self* self) -> caf::behavior {
        SetState& state = self->state;
        state.me = writer;
        state.copies = copies;
        // Shards that make up for delays remember what a writer was given for its next push: of one pull at a time.
        if (std::ranges::any_of(router->tables(), [](const TableSpec& spec) { return spec.staleness_scale || spec.delay_compensation > 0; }))
          state.pulls_max = 1;
        state.release = [self_impl](size_t bytes) {
          if (const auto impl = self_impl.lock()) impl->Release(bytes);
        };
        state.client = std::make_unique<Client>(self, shards, router, ClientOptions{.rounds_left_out = true}, EventsOf(self));
        state.client->Start(state.me);
        self->delayed_send(self, kTick, SetTick{});
        return {[self](const SetCall& call) {
                  SetState& state = self->state;
                  if (!state.failure.ok() || state.client->ready(state.me))
                    call.run(state);
                  else
                    state.waiting.push_back([&state, call] { call.run(state); });
                },
                [self](const SetEnd& end) {
                  self->state.client->End();
                  Fail(self->state, end.why);
                },
                [self](SetTick) {
                  if (self->state.failure.ok()) self->state.client->Tick();
                  self->delayed_send(self, kTick, SetTick{});
                }};
      });
}

TableSet::Impl::~Impl() {
  system.Stop(actor);
  if (owns_shards) StopAndWait(system, shards);
}

void TableSet::Impl::Do(std::function<void(SetState&)> call, size_t bytes) {
  const auto deliver = [&] { System::Deliver(actor, SetCall{std::move(call)}); };
  if (const auto here = ProgressOf(bytes))
    here->Run(deliver);
  else
    system.RunOnLink(deliver);
}

namespace {

std::shared_ptr<TableSet::Impl> MakeRemote(System& system, std::vector<ShardActor> shards, const TableSetOptions& options) {
  return std::make_shared<TableSet::Impl>(system, std::move(shards), options, system.has_network() ? system.network().progress() : nullptr);
}

}   // namespace

std::unique_ptr<TableSet> MakeTableSet(System& system, std::vector<ShardActor> shards, const TableSetOptions& options) {
  auto impl = MakeRemote(system, std::move(shards), options);
  impl->Start();
  return std::make_unique<TableSet>(std::move(impl));
}

std::unique_ptr<TableSet> MakeTableSet(System& system, std::vector<ShardActor> shards, const TableSetOptions& options, WriterId writer) {
  auto impl = MakeRemote(system, std::move(shards), options);
  impl->writer = writer;
  impl->Start();
  return std::make_unique<TableSet>(std::move(impl));
}

void Abandon(const TableSet& set, const absl::Status& why) {
  // Also where the client is not ready, so past Do.
  set.impl_->system.RunOnLink([&] { System::Deliver(set.impl_->actor, SetEnd{why}); });
}

}   // namespace troupe
