// The actor behind a TableSet, which owns the client, and the calls that wait for it.
#include "ps/table_set_actor.h"

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
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
#include "ps/function.h"
#include "ps/internal/finite.h"
#include "ps/shard_actor.h"

namespace troupe {
namespace {

constexpr WriterId kMe{0};
constexpr std::chrono::milliseconds kTick{20};

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
  bool whole = false;   // a dense table: its messages are read as they come

  std::mutex mutex;
  std::condition_variable changed;
  struct Piece {
    uint32_t shard;
    size_t message;
    Block values;
  };
  std::vector<Piece> pieces;   // come and not yet read
  std::vector<Block> values;   // all, where they are read together
  std::optional<absl::Status> over;

  template <class Change>
  void Tell(Change&& change) {
    std::lock_guard lock(mutex);
    change();
    changed.notify_one();
  }
};

struct SetTick {};
struct SetState;
struct SetCall {
  std::function<void(SetState&)> run;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SetTick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SetCall)

namespace troupe {
namespace {

struct SetState {
  static inline const char* name = "table_set";
  std::unique_ptr<Client> client;
  absl::Status failure;
  Round round = kFirstRound;
  struct Push {
    Round round;
    size_t bytes;
    std::shared_ptr<Promise> done;
    absl::Status status = {};   // of what a shard has refused
    bool flush = false;         // tells the first error before it
  };
  std::deque<Push> pushes;                       // under way, rising rounds
  std::deque<std::shared_ptr<PullCall>> pulls;   // the first is under way
  std::deque<std::function<void()>> waiting;     // for the client's beginning
  absl::Status first_error;                      // of pushes since the last flush
  std::function<void(size_t)> release;           // bytes of pushes that are over

  ~SetState() {
    for (const auto& pull : pulls) pull->Tell([&] { pull->over = absl::UnavailableError("the set of tables has ended"); });
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
  for (const auto& pull : std::exchange(state.pulls, {})) pull->Tell([&] { pull->over = status; });
  for (const auto& call : std::exchange(state.waiting, {})) call();   // each finds the failure
}

void NextPull(SetState& state) {
  if (!state.pulls.empty()) state.client->Pull(kMe, state.round + 1, state.pulls.front()->pull);
}

/// The client is there, perhaps again after a shard has come back without what was not yet on its disk.
void Begin(SetState& state) {
  state.round = std::max(state.round, state.client->furthest(kMe));
  End(state, state.pushes.size(), absl::UnavailableError("a shard came back before it had acknowledged the push, which may have counted in part"));
  NextPull(state);
  for (const auto& call : std::exchange(state.waiting, {})) call();
}

Client::Events EventsOf(Self* self) {
  SetState& state = self->state;
  return {.begin_after = [&state](WriterId, Round) { Begin(state); },
          .pulled =
              [&state](WriterId, std::vector<Block> values) {
                if (state.pulls.empty()) return;   // the set has failed
                const std::shared_ptr<PullCall> pull = std::move(state.pulls.front());
                state.pulls.pop_front();
                NextPull(state);
                pull->Tell([&] {
                  pull->values = std::move(values);
                  pull->over = absl::OkStatus();
                });
              },
          .piece =
              [&state](WriterId, uint32_t shard, size_t message, const Block& values) {
                if (state.pulls.empty() || !state.pulls.front()->whole) return false;
                PullCall& pull = *state.pulls.front();
                pull.Tell([&] { pull.pieces.push_back({shard, message, values}); });
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
  ScratchFolder rows;   // of shards that spill and have no folder
  std::shared_ptr<const Router> router;
  caf::actor actor;

  std::mutex mutex;
  std::condition_variable released;
  size_t in_flight = 0;   // bytes

  Impl(System& s, std::vector<ShardActor> actors, const TableSetOptions& o)
      : system(s), options(o), shards(std::move(actors)), router(std::make_shared<const Router>(o.tables, static_cast<uint32_t>(shards.size()))) {}

  void Start() {
    actor = system.actors().spawn([router = router, shards = shards, self_impl = weak_from_this()](Self* self) -> caf::behavior {
      SetState& state = self->state;
      state.release = [self_impl](size_t bytes) {
        if (const auto impl = self_impl.lock()) impl->Release(bytes);
      };
      state.client = std::make_unique<Client>(self, shards, router, ClientOptions{.rounds_left_out = true}, EventsOf(self));
      state.client->Start(kMe);
      self->delayed_send(self, kTick, SetTick{});
      return {[self](const SetCall& call) {
                SetState& state = self->state;
                if (state.client->ready(kMe) || !state.failure.ok())
                  call.run(state);
                else
                  state.waiting.push_back([&state, call] { call.run(state); });
              },
              [self](SetTick) {
                self->state.client->Tick();
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
    auto held = std::make_shared<RoutedPush>(std::move(routed));
    Do([held, bytes, done, flush](SetState& state) {
      state.pushes.push_back({.round = ++state.round, .bytes = bytes, .done = done, .flush = flush});
      if (state.failure.ok())
        state.client->Push(kMe, state.round, std::move(*held));
      else
        End(state, 1, state.failure);
    });
    return pushing;
  }

  absl::Status Run(const std::shared_ptr<PullCall>& pull, const std::function<void(const PullCall::Piece&)>& read) {
    Do([pull](SetState& state) {
      if (!state.failure.ok()) return pull->Tell([&] { pull->over = state.failure; });
      state.pulls.push_back(pull);
      if (state.pulls.size() == 1) NextPull(state);
    });
    const auto end = std::chrono::steady_clock::now() + options.patience;
    std::vector<PullCall::Piece> pieces;
    std::unique_lock lock(pull->mutex);
    for (;;) {
      if (!pull->changed.wait_until(lock, end, [&] { return pull->over || !pull->pieces.empty(); })) return TooLong(options.patience);
      if (pull->pieces.empty()) return *pull->over;
      pieces.swap(pull->pieces);
      lock.unlock();
      for (const PullCall::Piece& piece : pieces) read(piece);
      pieces.clear();
      lock.lock();
    }
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

absl::Status Pushing::Wait(std::chrono::milliseconds limit) const {
  if (!done_.valid()) return absl::FailedPreconditionError("nothing was pushed");
  return done_.wait_for(limit) == std::future_status::ready ? done_.get() : TooLong(limit);
}

// --------------------------------------------------------------------------------------------------------------------------------------------- the set

absl::StatusOr<std::unique_ptr<TableSet>> TableSet::Create(System& system, const TableSetOptions& options) {
  if (options.shards == 0) return absl::InvalidArgumentError("a set of tables on 0 shards, expected at least one");
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
  return impl_->Push(std::move(push)).Wait(impl_->options.patience);
}

absl::Status TableSet::Flush() const {
  return impl_->Push(RoutedPush::Empty(impl_->shards.size()), true).Wait(impl_->options.patience);
}

// ------------------------------------------------------------------------------------------------------------------------------------------- a table

const TableSpec& TableRef::spec() const {
  return set_->options.tables[number_];
}

absl::Status TableRef::CheckKeys(std::span<const Key> keys) const {
  std::vector<Key> sorted(keys.begin(), keys.end());
  std::ranges::sort(sorted);
  const auto twice = std::ranges::adjacent_find(sorted);
  if (twice != sorted.end())
    return absl::InvalidArgumentError(absl::StrCat("table '", spec().name, "': key ", *twice, " is there twice, expected distinct keys"));
  if (spec().rows && !sorted.empty() && sorted.back() >= *spec().rows) {
    return absl::InvalidArgumentError(absl::StrCat("table '", spec().name, "': row is ", sorted.back(), ", expected < ", *spec().rows));
  }
  return absl::OkStatus();
}

absl::StatusOr<Rows> TableRef::Pull(std::vector<Key> keys) const {
  TROUPE_RETURN_IF_ERROR(CheckKeys(keys));
  const Router::TablePull wanted[] = {{.table = number_, .keys = keys}};
  auto pull = std::make_shared<PullCall>();
  pull->pull = std::make_shared<const RoutedPull>(set_->router->Pull(wanted));
  TROUPE_RETURN_IF_ERROR(set_->Run(pull, {}));
  std::vector<std::vector<float>> values;
  TROUPE_RETURN_IF_ERROR(set_->router->Gather(*pull->pull, pull->values, values));
  return Rows{.keys = std::move(keys), .width = spec().width, .values = std::move(values[0])};
}

absl::Status TableRef::PullAll(std::vector<float>& values) const {
  if (!spec().rows) return absl::FailedPreconditionError(absl::StrCat("table '", spec().name, "' is sparse, expected a dense one"));
  values.resize(*spec().rows * spec().width);
  auto pull = std::make_shared<PullCall>();
  pull->pull = std::make_shared<const RoutedPull>(set_->router->PullDense(number_));
  pull->whole = true;
  absl::Status status;
  status.Update(set_->Run(pull, [&](const PullCall::Piece& piece) {
    status.Update(set_->router->GatherPiece(*pull->pull, number_, piece.shard, piece.message, piece.values, values));
  }));
  return status;
}

Pushing TableRef::Push(std::vector<Key> keys, std::vector<float> gradients) const {
  absl::Status status = CheckKeys(keys);
  if (status.ok() && gradients.size() != keys.size() * spec().width) {
    status = absl::InvalidArgumentError(
        absl::StrCat("table '", spec().name, "': ", gradients.size(), " numbers for ", keys.size(), " keys, expected ", keys.size() * spec().width));
  }
  if (status.ok()) status = CheckFinite(spec(), gradients, [&](size_t row) { return keys[row]; });
  if (!status.ok()) return Refused(status);
  return set_->Push(set_->router->Push({{.table = number_, .keys = std::move(keys), .values = std::move(gradients), .nonzeros = {}}}));
}

Pushing TableRef::PushAll(Block gradients) const {
  if (!spec().rows) return Refused(absl::FailedPreconditionError(absl::StrCat("table '", spec().name, "' is sparse, expected a dense one")));
  if (!gradients.IsArrayOf<float>() || gradients.As<float>().size() != *spec().rows * spec().width) {
    return Refused(absl::InvalidArgumentError(
        absl::StrCat("table '", spec().name, "': ", gradients.size(), " bytes, expected ", *spec().rows * spec().width * sizeof(float), " for all rows")));
  }
  return set_->Push(set_->router->PushDense(number_, gradients));
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
  for (uint32_t shard = 0; shard < shards; ++shard) {
    if (keys_of[shard].empty()) continue;
    const ::troupe::Assign message{.table = number_, .keys = Block::Adopt(std::move(keys_of[shard])), .values = Block::Adopt(std::move(values_of[shard]))};
    TROUPE_RETURN_IF_ERROR(Ask<Assigned>(set_->system, set_->shards[shard], message, set_->options.patience).status());
  }
  return absl::OkStatus();
}

}   // namespace troupe
