// The actor behind a TableSet, which owns the client, and the calls that wait for it.
#include "ps/table_set_actor.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/ask.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "actors/storage/scratch_folder.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "ps/call_actor.h"
#include "ps/client.h"
#include "ps/fetched_rows.h"
#include "ps/function.h"
#include "ps/internal/finite.h"
#include "ps/key_index.h"
#include "ps/shard_actor.h"

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kTick{20};
constexpr size_t kFetchesMax = 4;   // of changed and intended rows under way at once; what is beyond them is asked for by its pull

absl::Status TooLong(std::chrono::milliseconds limit) {
  return absl::DeadlineExceededError(absl::StrCat("the shards gave no answer within ", limit.count(), " ms"));
}

/// Of a push's outcome; whatever becomes of who should give it, it is given.
class Promise {
 public:
  ~Promise() { Give(absl::UnavailableError("the set of tables has ended before the push was acknowledged")); }
  std::shared_future<absl::Status> future() { return future_; }
  void Give(const absl::Status& status) {
    if (!std::exchange(given_, true)) promise_.set_value(status);
  }

 private:
  std::promise<absl::Status> promise_;
  std::shared_future<absl::Status> future_ = promise_.get_future().share();
  bool given_ = false;
};

Pushing Refused(const absl::Status& status) {
  Promise refused;
  refused.Give(status);
  return Pushing(refused.future());
}

/// Whole pushes are refused, not one shard's share of them.
template <class KeyOf>
absl::Status CheckFinite(const TableSpec& spec, std::span<const float> gradients, KeyOf&& key_of) {
  if (spec.non_finite != NonFinite::kRefuse || internal::AllFinite(gradients.data(), gradients.size())) return absl::OkStatus();
  const auto wrong = std::ranges::find_if(gradients, [](float value) { return !std::isfinite(value); });
  const auto row = static_cast<size_t>(wrong - gradients.begin()) / spec.width;
  return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': gradient of key ", key_of(row), " is ", *wrong, ", expected a finite number"));
}

/// A pull, from its call to its last row.
struct PullCall {
  std::shared_ptr<const RoutedPull> pull;
  int priority = 0;
  /// Of a dense table: reads a message as it comes, in the actor, while the next ones are under way.
  std::function<absl::Status(uint32_t shard, size_t message, const Block& values)> read;
  /// Told in the actor's context that it is over, where nobody waits for it.
  std::function<void(const PullCall&)> over_by;
  PullNumber number = 0;   // the actor's: while it is under way

  std::mutex mutex;   // also held while `read` writes to the caller's memory
  std::condition_variable changed;
  bool left = false;           // by a caller that has waited long enough
  absl::Status read_status;    // the first error of `read`
  std::vector<Block> values;   // all, where they are read together
  std::optional<absl::Status> over;

  ~PullCall() {
    if (!over) End(absl::UnavailableError("the set of tables has ended"));
  }
  template <class Change>
  void Tell(Change&& change) {
    std::lock_guard lock(mutex);
    change();
    changed.notify_one();
  }
  void End(const absl::Status& status, std::vector<Block> blocks = {}) {
    Tell([&] {
      values = std::move(blocks);
      over = status;
    });
    if (over_by) over_by(*this);
  }
};

/// What the set has of one table at this end, shared by the threads that pull and the actor that fetches.
struct Copies {
  std::mutex mutex;
  std::condition_variable over;   // a fetch is
  FetchedRows rows;

  Copies(const TableSpec& spec, const TableReplicas& options) : rows(spec.width, options.bytes_max, options.staleness) {}
  static FetchedRows::Time Now() { return std::chrono::steady_clock::now().time_since_epoch(); }
};

absl::Status CheckReplicas(const TableSetOptions& options) {
  for (const auto& [name, replicas] : options.replicas) {
    const auto spec = std::ranges::find(options.tables, name, &TableSpec::name);
    if (spec == options.tables.end()) return absl::InvalidArgumentError(absl::StrCat("replicas of table '", name, "', expected one of the set's"));
    if (spec->staleness_scale || spec->delay_compensation > 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "replicas of table '", name, "', whose shards must know which rows are read: expected neither staleness_scale nor ", "delay_compensation"));
    }
    if (spec->limits.ttl > 0 || spec->limits.rows_max > 0) {
      return absl::InvalidArgumentError(absl::StrCat("replicas of table '", name, "', whose pushes let other rows go: expected neither ttl nor rows_max"));
    }
    if (Replicas(spec->width, replicas.bytes_max).rows_max() == 0) {
      return absl::InvalidArgumentError(absl::StrCat("replicas of table '", name, "': bytes_max is ", replicas.bytes_max, ", expected room for a row"));
    }
    if (replicas.staleness.count() <= 0) {
      return absl::InvalidArgumentError(absl::StrCat("replicas of table '", name, "': staleness is ", replicas.staleness.count(), " ms, expected more than 0"));
    }
  }
  return absl::OkStatus();
}

struct SetTick {};
struct SetState;
struct SetCall {
  std::function<void(SetState&)> run;
};
struct SetEnd {
  absl::Status why;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SetTick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SetCall)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SetEnd)

namespace troupe {
namespace {

struct SetState {
  static inline const char* name = "table_set";
  WriterId me{};
  std::unique_ptr<Client> client;
  absl::Status failure;
  bool begun = false;   // the client has been there
  Round round = kFirstRound;
  struct Push {
    Round round;
    size_t bytes;
    std::shared_ptr<Promise> done;
    absl::Status status = {};   // of what a shard has refused
    bool flush = false;         // tells the first error before it
  };
  std::deque<Push> pushes;                                 // under way, rising rounds
  std::map<PullNumber, std::shared_ptr<PullCall>> pulls;   // under way
  std::deque<std::shared_ptr<PullCall>> queued;            // the next ones, by falling priority
  std::deque<std::function<void()>> waiting;               // for the client's beginning
  absl::Status first_error;                                // of pushes since the last flush
  size_t pulls_max = Client::kPullsMax;                    // under way at once
  std::function<void(size_t)> release;                     // bytes of pushes that are over
  std::vector<std::shared_ptr<Copies>> copies;             // by table; null: none

  ~SetState() {
    for (const auto& [number, pull] : pulls) pull->End(absl::UnavailableError("the set of tables has ended"));
    for (const auto& pull : queued) pull->End(absl::UnavailableError("the set of tables has ended"));
  }
};
using Self = caf::stateful_actor<SetState>;

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

void Fail(SetState& state, const absl::Status& status) {
  state.failure = status;
  End(state, state.pushes.size(), status);
  for (const auto& [number, pull] : std::exchange(state.pulls, {})) pull->End(status);
  for (const auto& pull : std::exchange(state.queued, {})) pull->End(status);
  for (const auto& call : std::exchange(state.waiting, {})) call();   // each finds the failure
}

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

void AddPull(SetState& state, const std::shared_ptr<PullCall>& pull) {
  Queue(state, pull);
  StartPulls(state);
}

/// Nobody waits for it any more.
void LeavePull(SetState& state, const std::shared_ptr<PullCall>& pull) {
  std::erase(state.queued, pull);
  const auto under_way = state.pulls.find(pull->number);
  if (under_way == state.pulls.end() || under_way->second != pull) return;
  state.pulls.erase(under_way);
  state.client->Cancel(state.me, pull->number);
  StartPulls(state);
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
              [&state](WriterId, PullNumber number, uint32_t shard, size_t message, const Block& values) {
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

struct TableSet::Impl : std::enable_shared_from_this<TableSet::Impl> {
  System& system;
  TableSetOptions options;
  std::vector<ShardActor> shards;
  bool owns_shards = false;
  std::optional<WriterId> writer;   // of several; none: the only one
  ScratchFolder rows;               // of shards that spill and have no folder
  std::shared_ptr<const Router> router;
  std::vector<std::shared_ptr<Copies>> copies;                                               // by table; null: none
  std::shared_ptr<std::atomic<size_t>> fetches = std::make_shared<std::atomic<size_t>>(0);   // under way
  caf::actor actor;

  std::mutex mutex;
  std::condition_variable released;
  size_t in_flight = 0;                                // bytes
  std::deque<std::shared_future<absl::Status>> open;   // pushes that may be under way, where pulls wait for them

  Impl(System& s, std::vector<ShardActor> actors, const TableSetOptions& o)
      : system(s), options(o), shards(std::move(actors)), router(std::make_shared<const Router>(o.tables, static_cast<uint32_t>(shards.size()))) {
    for (const TableSpec& spec : o.tables) {
      const auto own = o.replicas.find(spec.name);
      copies.push_back(own == o.replicas.end() ? nullptr : std::make_shared<Copies>(spec, own->second));
    }
  }

  void Start() {
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
  ~Impl() {
    system.Stop(actor);
    if (owns_shards) StopAndWait(system, shards);
  }

  /// Runs `call` with the actor's state, once the client is ready.
  void Do(std::function<void(SetState&)> call) {
    system.RunOnLink([&] { System::Deliver(actor, SetCall{std::move(call)}); });
  }

  void Release(size_t bytes) {
    std::lock_guard lock(mutex);
    in_flight -= bytes;
    released.notify_all();
  }
  Pushing Push(RoutedPush routed, bool flush = false) {
    size_t bytes = 0;
    for (const auto& chunks : routed.shards) {
      for (const RoutedPush::Chunk& chunk : chunks) bytes += chunk.keys.size() + chunk.values.size();
    }
    auto done = std::make_shared<Promise>();
    Pushing pushing(done->future());
    {
      std::unique_lock lock(mutex);
      const bool room = released.wait_for(lock, options.patience, [&] { return in_flight == 0 || in_flight + bytes <= options.in_flight_bytes_max; });
      if (!room) {
        done->Give(absl::ResourceExhaustedError(absl::StrCat(in_flight, " bytes of pushes are not acknowledged, at most ", options.in_flight_bytes_max,
                                                             ", and none was within ", options.patience.count(), " ms")));
        return pushing;
      }
      in_flight += bytes;
    }
    if (writer) {
      std::lock_guard lock(mutex);
      while (!open.empty() && open.front().wait_for(std::chrono::seconds(0)) == std::future_status::ready) open.pop_front();
      open.push_back(done->future());
    }
    auto held = std::make_shared<RoutedPush>(std::move(routed));
    Do([held, bytes, done, flush](SetState& state) {
      state.pushes.push_back({.round = ++state.round, .bytes = bytes, .done = done, .flush = flush});
      if (state.failure.ok())
        state.client->Push(state.me, state.round, std::move(*held));
      else
        End(state, 1, state.failure);
    });
    return pushing;
  }

  /// Until those that were made before are over, well or not.
  bool AwaitPushes(std::chrono::steady_clock::time_point end) {
    std::deque<std::shared_future<absl::Status>> mine;
    {
      std::lock_guard lock(mutex);
      mine = open;
    }
    return std::ranges::all_of(mine, [end](const auto& push) { return push.wait_until(end) == std::future_status::ready; });
  }

  absl::Status Run(const std::shared_ptr<PullCall>& pull, const PullOptions& how) {
    pull->priority = how.priority;
    const std::chrono::milliseconds limit = how.limit.value_or(options.patience);
    const auto end = std::chrono::steady_clock::now() + limit;
    if (!AwaitPushes(end)) return TooLong(limit);
    Do([pull](SetState& state) { state.failure.ok() ? AddPull(state, pull) : pull->End(state.failure); });
    {
      std::unique_lock lock(pull->mutex);
      pull->left = !pull->changed.wait_until(lock, end, [&] { return pull->over.has_value(); });
      if (!pull->left) {
        pull->over->Update(pull->read_status);
        return *pull->over;
      }
    }
    Do([pull](SetState& state) { LeavePull(state, pull); });
    return TooLong(limit);
  }

  /// The rows of `keys` as shards have them, in their order. `memory` is what they come in.
  absl::StatusOr<std::vector<float>> Ask(uint32_t table, std::span<const Key> keys, const PullOptions& how, std::vector<float> memory = {}) {
    const Router::TablePull wanted[] = {{.table = table, .keys = keys}};
    auto pull = std::make_shared<PullCall>();
    pull->pull = std::make_shared<const RoutedPull>(router->Pull(wanted));
    TROUPE_RETURN_IF_ERROR(Run(pull, how));
    std::vector<std::vector<float>> values;
    values.push_back(std::move(memory));
    TROUPE_RETURN_IF_ERROR(router->Gather(*pull->pull, pull->values, values));
    return std::move(values[0]);
  }

  /// Those rows of keys[i] for i in `positions` into `values`, and copies of the ones that are worth it.
  absl::Status AskInto(uint32_t table, std::span<const Key> keys, std::span<const uint32_t> positions, float* values, const PullOptions& how) {
    if (positions.empty()) return absl::OkStatus();
    Copies& here = *copies[table];
    const size_t width = options.tables[table].width;
    std::vector<Key> asked;
    for (const uint32_t i : positions) asked.push_back(keys[i]);
    FetchedRows::Fetch fetch;
    {
      std::lock_guard lock(here.mutex);
      fetch = here.rows.Begin(asked, Copies::Now());
    }
    const absl::StatusOr<std::vector<float>> rows = Ask(table, asked, how);
    for (size_t j = 0; rows.ok() && j < asked.size(); ++j) std::copy_n(rows->data() + j * width, width, values + positions[j] * width);
    std::lock_guard lock(here.mutex);
    for (size_t j = 0; rows.ok() && j < asked.size(); ++j) here.rows.Put(fetch, asked[j], rows->data() + j * width);
    here.rows.End(fetch, asked);
    here.over.notify_all();
    return rows.status();
  }

  absl::StatusOr<std::vector<float>> PullNear(uint32_t table, std::span<const Key> keys, const PullOptions& how, std::vector<float> values) {
    Copies& here = *copies[table];
    values.resize(keys.size() * options.tables[table].width);
    const std::chrono::milliseconds limit = how.limit.value_or(options.patience);
    const auto end = std::chrono::steady_clock::now() + limit;
    FetchedRows::Missing missing;
    {
      std::lock_guard lock(here.mutex);
      missing = here.rows.Pull(keys, Copies::Now(), values.data());
    }
    if (how.priority > 0) {   // a fetch on its way has none
      missing.ask.insert(missing.ask.end(), missing.wait.begin(), missing.wait.end());
      missing.wait.clear();
    }
    TROUPE_RETURN_IF_ERROR(AskInto(table, keys, missing.ask, values.data(), how));
    if (missing.wait.empty()) return values;
    std::vector<uint32_t> still;
    {
      std::unique_lock lock(here.mutex);
      const auto over = [&] { return std::ranges::all_of(missing.fetches, [&](FetchedRows::Fetch fetch) { return here.rows.Over(fetch); }); };
      if (!here.over.wait_until(lock, end, over)) return TooLong(limit);
      still = here.rows.Read(keys, missing.wait, Copies::Now(), values.data());
    }
    if (still.empty()) return values;   // else changed meanwhile, or the fetch has failed
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    TROUPE_RETURN_IF_ERROR(AskInto(table, keys, still, values.data(), {.priority = how.priority, .limit = std::max(left, std::chrono::milliseconds(0))}));
    return values;
  }

  /// In the background, unless enough is under way. Every fetch that has begun comes to its end, with the actor at the latest.
  void FetchRows(uint32_t table, std::vector<Key> keys) {
    if (keys.empty()) return;
    if (fetches->fetch_add(1) >= kFetchesMax) {
      fetches->fetch_sub(1);
      return;
    }
    const std::shared_ptr<Copies>& here = copies[table];
    const Router::TablePull wanted[] = {{.table = table, .keys = keys}};
    auto pull = std::make_shared<PullCall>();
    pull->pull = std::make_shared<const RoutedPull>(router->Pull(wanted));
    FetchedRows::Fetch fetch;
    {
      std::lock_guard lock(here->mutex);
      fetch = here->rows.Begin(keys, Copies::Now());
    }
    pull->over_by = [here, fetch, fetches = fetches, router = router, keys = std::move(keys)](const PullCall& done) {
      fetches->fetch_sub(1);
      std::lock_guard lock(here->mutex);
      if (done.over->ok()) {
        router->ForEachRow(*done.pull, done.values, [&](uint32_t, size_t, Key key, const float* row) { here->rows.Put(fetch, key, row); })
            .IgnoreError();   // whoever pulls them asks himself, and is told
      }
      here->rows.End(fetch, keys);
      here->over.notify_all();
    };
    Do([pull](SetState& state) { state.failure.ok() ? AddPull(state, pull) : pull->End(state.failure); });
  }

  absl::Status Intend(uint32_t table, std::span<const Key> keys) {
    std::vector<Key> fetch;
    {
      std::lock_guard lock(copies[table]->mutex);
      TROUPE_RETURN_IF_ERROR(copies[table]->rows.Intend(keys, Copies::Now(), fetch));
    }
    FetchRows(table, std::move(fetch));
    return absl::OkStatus();
  }

  /// Rows have been changed by a push that has been handed over, or by something that is done: nobody may see them as they were.
  void Changed(uint32_t table, std::span<const Key> keys) {
    if (copies[table] == nullptr) return;
    std::vector<Key> again;
    {
      std::lock_guard lock(copies[table]->mutex);
      again = copies[table]->rows.Change(keys, Copies::Now());
    }
    FetchRows(table, std::move(again));
  }
  void AllChanged(uint32_t table) {
    if (copies[table] == nullptr) return;
    std::vector<Key> again;
    {
      std::lock_guard lock(copies[table]->mutex);
      again = copies[table]->rows.ChangeAll(Copies::Now());
    }
    FetchRows(table, std::move(again));
  }

  absl::StatusOr<FunctionValue> Call(const FunctionCall& call) {
    struct Result {
      std::mutex mutex;
      std::condition_variable come;
      std::optional<absl::StatusOr<FunctionValue>> value;
    };
    auto result = std::make_shared<Result>();
    const caf::actor asker = CallShards(system, shards, options.tables, call, 0, {.patience = options.patience}, [result](absl::StatusOr<FunctionValue> value) {
      std::lock_guard lock(result->mutex);
      result->value = std::move(value);
      result->come.notify_one();
    });
    std::unique_lock lock(result->mutex);
    if (result->come.wait_for(lock, options.patience, [&] { return result->value.has_value(); })) return *std::move(result->value);
    system.Stop(asker);
    return TooLong(options.patience);
  }
};

std::unique_ptr<TableSet> MakeTableSet(System& system, std::vector<ShardActor> shards, const TableSetOptions& options) {
  auto impl = std::make_shared<TableSet::Impl>(system, std::move(shards), options);
  impl->Start();
  return std::make_unique<TableSet>(std::move(impl));
}

std::unique_ptr<TableSet> MakeTableSet(System& system, std::vector<ShardActor> shards, const TableSetOptions& options, WriterId writer) {
  auto impl = std::make_shared<TableSet::Impl>(system, std::move(shards), options);
  impl->writer = writer;
  impl->Start();
  return std::make_unique<TableSet>(std::move(impl));
}

void Abandon(const TableSet& set, const absl::Status& why) {
  // Also where the client is not ready, so past Do.
  set.impl_->system.RunOnLink([&] { System::Deliver(set.impl_->actor, SetEnd{why}); });
}

absl::Status Pushing::Wait(std::chrono::milliseconds limit) const {
  if (!done_.valid()) return absl::FailedPreconditionError("nothing was pushed");
  return done_.wait_for(limit) == std::future_status::ready ? done_.get() : TooLong(limit);
}

// --------------------------------------------------------------------------------------------------------------------------------------------- the set

absl::StatusOr<std::unique_ptr<TableSet>> TableSet::Create(System& system, const TableSetOptions& options) {
  if (options.shards == 0) return absl::InvalidArgumentError("a set of tables on 0 shards, expected at least one");
  TROUPE_RETURN_IF_ERROR(CheckReplicas(options));
  for (const TableSpec& spec : options.tables) {
    TROUPE_RETURN_IF_ERROR(Validate(spec));
    if (spec.kept_by != KeptBy::kShards) return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "' is kept by workers, expected by shards"));
    const auto named = std::ranges::count(options.tables, spec.name, &TableSpec::name);
    if (named > 1) return absl::InvalidArgumentError(absl::StrCat(named, " tables are named '", spec.name, "', expected one"));
  }
  std::vector<ShardActor> shards;
  ScratchFolder rows;
  const bool spills = std::ranges::any_of(options.tables, [](const TableSpec& spec) { return spec.limits.memory_max > 0; });
  if (spills && options.folder.empty()) {
    TROUPE_TRY(rows, ScratchFolder::Make());
  }
  for (uint32_t i = 0; i < options.shards; ++i) {
    ShardActorOptions shard;
    if (spills) shard.tier_folder = absl::StrCat(options.folder.empty() ? rows.path() : options.folder, "/shard-", i, ".rows");
    if (!options.folder.empty()) {
      shard.log_folder = options.folder;
      shard.snapshot_uri = absl::StrCat(options.folder, "/shard-", i, ".snapshot");
    }
    shard.shard = {.tables = options.tables,
                   .shard = i,
                   .shards = options.shards,
                   .writers = 1,
                   .consistency = Consistency{.kind = Consistency::Kind::kAsp},
                   .writers_go_on = true,
                   .stable_when_applied = options.folder.empty()};
    TROUPE_TRY(ShardActor actor, SpawnShard(system, shard));
    shards.push_back(std::move(actor));
  }
  auto impl = std::make_shared<Impl>(system, std::move(shards), options);
  impl->owns_shards = true;
  impl->rows = std::move(rows);
  impl->Start();
  return std::make_unique<TableSet>(std::move(impl));
}

TableSet::~TableSet() = default;

absl::StatusOr<TableRef> TableSet::Find(std::string_view name) const {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < impl_->options.tables.size(); ++i) {
    if (impl_->options.tables[i].name == name) return TableRef(impl_.get(), i);
    names.push_back(absl::StrCat("'", impl_->options.tables[i].name, "'"));
  }
  return absl::NotFoundError(absl::StrCat("no table '", std::string(name), "', expected one of ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<FunctionValue> TableSet::Call(const FunctionCall& call) const {
  TROUPE_RETURN_IF_ERROR(Flush());
  return impl_->Call(call);
}

absl::Status TableSet::Change(const FunctionCall& call) const {
  TROUPE_TRY(const Function function, MakeFunction(call, impl_->options.tables));
  if (function.change == nullptr)
    return absl::InvalidArgumentError(absl::StrCat("function '", call.function, "' changes nothing, expected one that changes rows"));
  RoutedPush push = RoutedPush::Empty(impl_->shards.size());
  push.change = std::make_shared<const FunctionCall>(call);
  const Pushing pushing = impl_->Push(std::move(push));
  for (uint32_t table = 0; table < impl_->copies.size(); ++table) impl_->AllChanged(table);
  return pushing.Wait(impl_->options.patience);
}

absl::Status TableSet::Flush() const {
  return impl_->Push(RoutedPush::Empty(impl_->shards.size()), true).Wait(impl_->options.patience);
}

// ------------------------------------------------------------------------------------------------------------------------------------------- a table

const TableSpec& TableRef::spec() const {
  return set_->options.tables[number_];
}

absl::Status TableRef::CheckKeys(std::span<const Key> keys) const {
  constexpr size_t kMany = 1 << 16;   // keys: what these take is not kept
  thread_local KeyIndex kept;
  KeyIndex large;
  KeyIndex& index = keys.size() < kMany ? kept : large;
  std::vector<uint32_t> columns;
  index.Start(keys.size());
  columns.resize(keys.size());
  index.Columns(keys, columns.data());
  const bool inside = !spec().rows || std::ranges::all_of(keys, [rows = *spec().rows](Key key) { return key < rows; });
  if (index.keys().size() == keys.size() && inside) return absl::OkStatus();
  std::vector<Key> sorted(keys.begin(), keys.end());
  std::ranges::sort(sorted);
  const auto twice = std::ranges::adjacent_find(sorted);
  if (twice != sorted.end())
    return absl::InvalidArgumentError(absl::StrCat("table '", spec().name, "': key ", *twice, " is there twice, expected distinct keys"));
  return absl::InvalidArgumentError(absl::StrCat("table '", spec().name, "': row is ", sorted.back(), ", expected < ", *spec().rows));
}

absl::StatusOr<Rows> TableRef::Pull(std::vector<Key> keys, const PullOptions& how) const {
  std::vector<float> values;
  TROUPE_RETURN_IF_ERROR(PullInto(keys, values, how));
  return Rows{.keys = std::move(keys), .width = spec().width, .values = std::move(values)};
}

absl::Status TableRef::PullInto(std::span<const Key> keys, std::vector<float>& values, const PullOptions& how) const {
  TROUPE_RETURN_IF_ERROR(CheckKeys(keys));
  const bool near = set_->copies[number_] != nullptr;
  TROUPE_TRY(values, near ? set_->PullNear(number_, keys, how, std::move(values)) : set_->Ask(number_, keys, how, std::move(values)));
  return absl::OkStatus();
}

absl::Status TableRef::Intend(std::vector<Key> keys) const {
  TROUPE_RETURN_IF_ERROR(CheckKeys(keys));
  if (set_->copies[number_] == nullptr) return absl::FailedPreconditionError(absl::StrCat("table '", spec().name, "' has no replicas, expected some"));
  return set_->Intend(number_, keys);
}

absl::Status TableRef::PullAll(std::vector<float>& values, const PullOptions& how) const {
  if (!spec().rows) return absl::FailedPreconditionError(absl::StrCat("table '", spec().name, "' is sparse, expected a dense one"));
  values.resize(*spec().rows * spec().width);
  auto pull = std::make_shared<PullCall>();
  pull->pull = std::make_shared<const RoutedPull>(set_->router->PullDense(number_));
  pull->read = [&, routed = pull->pull](uint32_t shard, size_t message, const Block& block) {
    return set_->router->GatherPiece(*routed, number_, shard, message, block, values);
  };
  return set_->Run(pull, how);
}

Pushing TableRef::Push(std::vector<Key> keys, std::vector<float> gradients) const {
  absl::Status status = CheckKeys(keys);
  if (status.ok() && gradients.size() != keys.size() * spec().width) {
    status = absl::InvalidArgumentError(
        absl::StrCat("table '", spec().name, "': ", gradients.size(), " numbers for ", keys.size(), " keys, expected ", keys.size() * spec().width));
  }
  if (status.ok()) status = CheckFinite(spec(), gradients, [&](size_t row) { return keys[row]; });
  if (!status.ok()) return Refused(status);
  const std::vector<Key> changed = set_->copies[number_] != nullptr ? keys : std::vector<Key>();
  std::vector<TablePush> push(1);   // moved into: a list in braces would be copied
  push[0] = {.table = number_, .keys = std::move(keys), .values = std::move(gradients), .nonzeros = {}};
  Pushing pushing = set_->Push(set_->router->Push(std::move(push)));
  set_->Changed(number_, changed);
  return pushing;
}

Pushing TableRef::PushAll(Block gradients) const {
  if (!spec().rows) return Refused(absl::FailedPreconditionError(absl::StrCat("table '", spec().name, "' is sparse, expected a dense one")));
  if (!gradients.IsArrayOf<float>() || gradients.As<float>().size() != *spec().rows * spec().width) {
    return Refused(absl::InvalidArgumentError(
        absl::StrCat("table '", spec().name, "': ", gradients.size(), " bytes, expected ", *spec().rows * spec().width * sizeof(float), " for all rows")));
  }
  Pushing pushing = set_->Push(set_->router->PushDense(number_, gradients));
  set_->AllChanged(number_);
  return pushing;
}

absl::Status TableRef::Assign(std::vector<Key> keys, std::vector<float> values) const {
  TROUPE_RETURN_IF_ERROR(CheckKeys(keys));
  if (values.size() != keys.size() * spec().width) {
    return absl::InvalidArgumentError(
        absl::StrCat("table '", spec().name, "': ", values.size(), " numbers for ", keys.size(), " keys, expected ", keys.size() * spec().width));
  }
  const auto wrong = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
  if (wrong != values.end()) {
    const Key key = keys[static_cast<size_t>(wrong - values.begin()) / spec().width];
    return absl::InvalidArgumentError(absl::StrCat("table '", spec().name, "': value of key ", key, " is ", *wrong, ", expected a finite number"));
  }
  const uint32_t shards = static_cast<uint32_t>(set_->shards.size());
  const Partition partition(spec(), shards);
  std::vector<std::vector<Key>> keys_of(shards);
  std::vector<std::vector<float>> values_of(shards);
  for (size_t i = 0; i < keys.size(); ++i) {
    const uint32_t shard = partition.ShardOf(partition.RangeOf(keys[i]));
    keys_of[shard].push_back(keys[i]);
    values_of[shard].insert(values_of[shard].end(), values.begin() + static_cast<std::ptrdiff_t>(i * spec().width),
                            values.begin() + static_cast<std::ptrdiff_t>((i + 1) * spec().width));
  }
  TROUPE_RETURN_IF_ERROR(set_->Push(RoutedPush::Empty(shards)).Wait(set_->options.patience));
  absl::Status status;
  for (uint32_t shard = 0; shard < shards; ++shard) {
    if (keys_of[shard].empty()) continue;
    const ::troupe::Assign message{.table = number_, .keys = Block::Adopt(std::move(keys_of[shard])), .values = Block::Adopt(std::move(values_of[shard]))};
    status.Update(Ask<Assigned>(set_->system, set_->shards[shard], message, set_->options.patience).status());
    if (!status.ok()) break;
  }
  set_->Changed(number_, keys);   // some have been, also after an error
  return status;
}

}   // namespace troupe
