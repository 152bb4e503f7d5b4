// The calls of TableSet and TableRef: each hands what it wants to the actor, and waits for as long as it may.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/ask.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "ps/call_actor.h"
#include "ps/function.h"
#include "ps/internal/finite.h"
#include "ps/key_index.h"
#include "ps/shard_actor.h"
#include "ps/table_set_actor/set.h"

namespace troupe {

using namespace table_set;

namespace {

Pushing Refused(const absl::Status& status) {
  Promise refused(nullptr);
  refused.Give(status);
  return Pushing(refused.outcome());
}

/// Whole pushes are refused, not one shard's share of them.
template <class KeyOf>
absl::Status CheckFinite(const TableSpec& spec, std::span<const float> gradients, KeyOf&& key_of) {
  if (spec.non_finite != NonFinite::kRefuse || internal::AllFinite(gradients.data(), gradients.size())) return absl::OkStatus();
  const auto wrong = std::ranges::find_if(gradients, [](float value) { return !std::isfinite(value); });
  const auto row = static_cast<size_t>(wrong - gradients.begin()) / spec.width;
  return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': gradient of key ", key_of(row), " is ", *wrong, ", expected a finite number"));
}

}   // namespace

void TableSet::Impl::Release(size_t bytes) {
  std::lock_guard lock(mutex);
  in_flight -= bytes;
  released.notify_all();
}

Pushing TableSet::Impl::Push(RoutedPush routed, bool flush) {
  size_t bytes = 0;
  for (const auto& chunks : routed.shards) {
    for (const RoutedPush::Chunk& chunk : chunks) bytes += chunk.keys.size() + chunk.values.size();
  }
  bool room;
  size_t all;   // that is not acknowledged
  {
    std::unique_lock lock(mutex);
    room = released.wait_for(lock, options.patience, [&] { return in_flight == 0 || in_flight + bytes <= options.in_flight_bytes_max; });
    if (room) in_flight += bytes;
    all = in_flight;
  }
  auto done = std::make_shared<Promise>(ProgressOf(all));
  Pushing pushing(done->outcome());
  if (!room) {
    done->Give(absl::ResourceExhaustedError(absl::StrCat(all, " bytes of pushes are not acknowledged, at most ", options.in_flight_bytes_max,
                                                         ", and none was within ", options.patience.count(), " ms")));
    return pushing;
  }
  if (writer) {
    std::lock_guard lock(mutex);
    while (!open.empty() && open.front()->over()) open.pop_front();
    open.push_back(done->outcome());
  }
  auto held = std::make_shared<RoutedPush>(std::move(routed));
  Do(
      [held, bytes, done, flush](SetState& state) {
        state.pushes.push_back({.round = ++state.round, .bytes = bytes, .done = done, .flush = flush});
        if (state.failure.ok())
          state.client->Push(state.me, state.round, std::move(*held));
        else
          End(state, 1, state.failure);
      },
      all);
  return pushing;
}

bool TableSet::Impl::AwaitPushes(std::chrono::steady_clock::time_point end) {
  std::deque<std::shared_ptr<Pushing::Outcome>> mine;
  {
    std::lock_guard lock(mutex);
    mine = open;
  }
  return std::ranges::all_of(mine, [end](const auto& push) { return push->WaitUntil(end); });
}

absl::Status TableSet::Impl::Run(const std::shared_ptr<PullCall>& pull, const PullOptions& how) {
  pull->priority = how.priority;
  const std::chrono::milliseconds limit = how.limit.value_or(options.patience);
  const auto end = std::chrono::steady_clock::now() + limit;
  if (!AwaitPushes(end)) return TooLong(limit);
  Do([pull](SetState& state) { state.failure.ok() ? AddPull(state, pull) : pull->End(state.failure); }, LongestOf(*pull->pull));
  {
    std::unique_lock lock(pull->mutex);
    pull->left = !pull->changed.WaitUntil(lock, end, [&] { return pull->over.has_value(); });
    if (!pull->left) {
      pull->over->Update(pull->read_status);
      return *pull->over;
    }
  }
  Do([pull](SetState& state) { LeavePull(state, pull); });
  return TooLong(limit);
}

absl::StatusOr<std::vector<float>> TableSet::Impl::Ask(uint32_t table, std::span<const Key> keys, const PullOptions& how, std::vector<float> memory) {
  const Router::TablePull wanted[] = {{.table = table, .keys = keys}};
  auto routed = std::make_shared<const RoutedPull>(router->Pull(wanted));
  auto pull = std::make_shared<PullCall>(routed, ProgressOf(LongestOf(*routed)));
  TROUPE_RETURN_IF_ERROR(Run(pull, how));
  std::vector<std::vector<float>> values;
  values.push_back(std::move(memory));
  TROUPE_RETURN_IF_ERROR(router->Gather(*pull->pull, pull->values, values));
  return std::move(values[0]);
}

absl::StatusOr<FunctionValue> TableSet::Impl::Call(const FunctionCall& call) {
  struct Result {
    explicit Result(std::shared_ptr<Progress> progress) : come(std::move(progress)) {}
    std::mutex mutex;
    ProgressCondition come;
    std::optional<absl::StatusOr<FunctionValue>> value;
  };
  auto result = std::make_shared<Result>(progress);
  const caf::actor asker = CallShards(system, shards, options.tables, call, 0, {.patience = options.patience}, [result](absl::StatusOr<FunctionValue> value) {
    std::lock_guard lock(result->mutex);
    result->value = std::move(value);
    result->come.NotifyAll();
  });
  std::unique_lock lock(result->mutex);
  if (result->come.WaitUntil(lock, std::chrono::steady_clock::now() + options.patience, [&] { return result->value.has_value(); }))
    return *std::move(result->value);
  system.Stop(asker);
  return TooLong(options.patience);
}

absl::Status Pushing::Wait(std::chrono::milliseconds limit) const {
  if (outcome_ == nullptr) return absl::FailedPreconditionError("nothing was pushed");
  return outcome_->WaitUntil(std::chrono::steady_clock::now() + limit) ? *outcome_->status : TooLong(limit);
}

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
  auto impl = std::make_shared<Impl>(system, std::move(shards), options, nullptr);
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
  auto pull = std::make_shared<PullCall>(std::make_shared<const RoutedPull>(set_->router->PullDense(number_)), nullptr);
  pull->read = [&, routed = pull->pull](uint32_t shard, size_t message, std::span<const Block> blocks) {
    return set_->router->GatherPiece(*routed, number_, shard, message, blocks, values);
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
