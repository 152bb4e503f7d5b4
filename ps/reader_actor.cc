#include "ps/reader_actor.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/caf_status.h"
#include "actors/random.h"
#include "actors/status.h"
#include "caf/event_based_actor.hpp"
#include "caf/send.hpp"
#include "caf/stateful_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/cut.h"
#include "ps/router.h"

namespace troupe {
namespace {

struct CutTick {};
struct KeptEnough {
  uint64_t cut;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::CutTick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::KeptEnough)

namespace troupe {
namespace {

using Time = std::chrono::steady_clock::time_point;

struct View {
  uint64_t cut;
  uint64_t number;   // of the reader's cuts
  Time began;
  std::vector<Round> clocks;
};

struct Reading {
  Read read;
  RoutedPull pull;
  // Its cut begins after this, or is none of those that had begun when it came.
  Time not_before;
  uint64_t cuts_before;
  Time asked;
  caf::typed_response_promise<ReadRows> promise;
  std::shared_ptr<const View> view;
  std::vector<std::vector<Block>> values;   // by shard and message
  size_t open = 0;                          // shards
  bool failed = false;
};
using ReadingPtr = std::shared_ptr<Reading>;

/// A cut that is being made.
struct Making {
  uint64_t cut, number;
  Time began;
  std::vector<Prepared> prepared;   // by shard
  std::vector<Round> clocks;
  size_t open;   // shards whose answer to the present step has not come
};

struct ReaderState {
  static inline const char* name = "reader";
  std::vector<ShardActor> shards;
  std::optional<Router> router;
  ReaderOptions options;
  uint64_t first_cut = 0, cuts = 0;
  std::shared_ptr<const View> view;   // the last one; null: none
  std::shared_ptr<Making> making;
  Time next_cut{};   // not before
  bool ticking = false;
  std::deque<ReadingPtr> waiting;   // for a cut
};
using Self = caf::stateful_actor<ReaderState>;

void StartCut(Self* self);

absl::Status Check(const Router& router, const Read& read) {
  for (const Read::Rows& rows : read.rows) {
    if (rows.table >= router.tables().size()) {
      return absl::InvalidArgumentError(absl::StrCat("read: table is ", rows.table, ", expected < ", router.tables().size()));
    }
    const TableSpec& spec = router.tables()[rows.table];
    if (!rows.keys.IsArrayOf<Key>()) return absl::InvalidArgumentError("read: keys are cut or not aligned");
    const std::span<const Key> keys = rows.keys.As<Key>();
    std::vector<Key> sorted(keys.begin(), keys.end());
    std::sort(sorted.begin(), sorted.end());
    if (const auto twice = std::adjacent_find(sorted.begin(), sorted.end()); twice != sorted.end()) {
      return absl::InvalidArgumentError(absl::StrCat("read: row ", *twice, " of table '", spec.name, "' twice, expected distinct rows"));
    }
    if (spec.rows && !sorted.empty() && sorted.back() >= *spec.rows) {
      return absl::InvalidArgumentError(absl::StrCat("read: row is ", sorted.back(), ", expected < ", *spec.rows, " in table '", spec.name, "'"));
    }
  }
  return absl::OkStatus();
}

bool Fits(const std::shared_ptr<const View>& view, const Reading& reading) {
  return view != nullptr && (view->began > reading.not_before || view->number > reading.cuts_before);
}

/// Once nobody reads it any more: the shards need not keep it.
std::shared_ptr<const View> MakeView(Self* self, const Making& making) {
  return {new View{making.cut, making.number, making.began, making.clocks}, [shards = self->state.shards](const View* view) {
            for (const ShardActor& shard : shards) caf::anon_send(shard, Release{view->cut});
            delete view;
          }};
}

void Fail(const ReadingPtr& reading, const absl::Status& status) {
  if (std::exchange(reading->failed, true)) return;
  reading->promise.deliver(ToError(status));
  reading->view = nullptr;
}

void Finish(Self* self, const ReadingPtr& reading) {
  std::vector<Block> values;
  for (auto& shard : reading->values) {
    for (Block& block : shard) values.push_back(std::move(block));
  }
  std::vector<std::vector<float>> rows;
  if (const absl::Status status = self->state.router->Gather(reading->pull, values, rows); !status.ok()) {
    Fail(reading, status);
    return;
  }
  ReadRows answer{.values = {}, .clocks = reading->view->clocks, .cut = reading->view->cut};
  for (std::vector<float>& of_table : rows) answer.values.push_back(Block::Adopt(std::move(of_table)));
  reading->view = nullptr;
  reading->promise.deliver(std::move(answer));
}

/// The next message to one shard.
void Ask(Self* self, const ReadingPtr& reading, size_t shard) {
  const RoutedPull::Share& share = reading->pull.shards[shard];
  const size_t message = reading->values[shard].size();
  const Pull pull{.parts = share.pieces.empty() ? share.parts : Block::Copy(share.PartsOf(message)),
                  .keys = share.KeysOf(message),
                  .packing = share.PackingOf(message),
                  .view = reading->view->cut};
  self->request(self->state.shards[shard], self->state.options.read_max, pull)
      .then(
          [self, reading, shard](const Pulled& pulled) {
            if (reading->failed) return;
            reading->values[shard].push_back(pulled.values);
            if (reading->values[shard].size() < reading->pull.shards[shard].messages()) {
              Ask(self, reading, shard);
            } else if (--reading->open == 0) {
              Finish(self, reading);
            }
          },
          [self, reading, shard](const caf::error& error) {
            // A view that is gone at one shard is of no use to others.
            if (self->state.view == reading->view) self->state.view = nullptr;
            Fail(reading, absl::UnavailableError(absl::StrCat("read: ", FromError(error).message(), " (shard ", shard, ")")));
          });
}

RoutedPull Route(const Router& router, const Read& read) {
  std::vector<Router::TablePull> wanted;
  for (const Read::Rows& rows : read.rows) wanted.push_back({.table = rows.table, .keys = rows.keys.As<Key>()});
  return router.Pull(wanted);
}

void Serve(Self* self, const ReadingPtr& reading) {
  ReaderState& state = self->state;
  if (reading->pull.epoch != state.router->epoch()) reading->pull = Route(*state.router, reading->read);   // ranges have moved while it waited for the view
  reading->view = state.view;
  reading->values.resize(state.shards.size());
  std::vector<size_t> asked;
  for (size_t shard = 0; shard < state.shards.size(); ++shard) {
    if (reading->pull.shards[shard].rows > 0) {
      asked.push_back(shard);
    } else {
      reading->values[shard].assign(reading->pull.shards[shard].messages(), Block());
    }
  }
  reading->open = asked.size();
  if (asked.empty()) Finish(self, reading);
  for (const size_t shard : asked) Ask(self, reading, shard);
}

// --- cuts ---

void ServeWaiting(Self* self) {
  ReaderState& state = self->state;
  const std::deque<ReadingPtr> waiting = std::exchange(state.waiting, {});
  for (const ReadingPtr& reading : waiting) {
    if (Fits(state.view, *reading)) {
      Serve(self, reading);
    } else {
      state.waiting.push_back(reading);
    }
  }
  if (!state.waiting.empty()) StartCut(self);
}

void GiveUp(Self* self, uint64_t cut, size_t shard, const absl::Status& status) {
  ReaderState& state = self->state;
  state.making = nullptr;
  for (const ShardActor& each : state.shards) caf::anon_send(each, Release{cut});
  // Two readers whose cuts meet at the shards should not meet again.
  const Time now = self->clock().now();
  state.next_cut = now + std::chrono::milliseconds(1 + static_cast<int64_t>(cut % static_cast<uint64_t>(2 * state.options.cut_interval.count())));
  const absl::Status error = absl::UnavailableError(absl::StrCat("read: no cut could be made: ", status.message(), " (shard ", shard, ")"));
  for (const ReadingPtr& reading : std::exchange(state.waiting, {})) {
    if (!IsRetryable(status) || now - reading->asked >= state.options.wait_max) {
      Fail(reading, error);
    } else {
      state.waiting.push_back(reading);
    }
  }
  if (!state.waiting.empty()) StartCut(self);
}

/// One step of the cut: `message` to all shards; then, when all have answered, `next`.
template <class Reply, class Message>
void Step(Self* self, const Message& message, void (*take)(Making&, size_t shard, const Reply&), void (*next)(Self*)) {
  ReaderState& state = self->state;
  const std::shared_ptr<Making> making = state.making;
  making->open = state.shards.size();
  for (size_t shard = 0; shard < state.shards.size(); ++shard) {
    self->request(state.shards[shard], 2 * state.options.step_max, message)
        .then(
            [self, making, shard, take, next](const Reply& reply) {
              if (self->state.making != making) return;
              take(*making, shard, reply);
              if (--making->open == 0) next(self);
            },
            [self, making, shard](const caf::error& error) {
              if (self->state.making == making) GiveUp(self, making->cut, shard, FromError(error));
            });
  }
}

void OnFrozen(Self* self) {
  ReaderState& state = self->state;
  state.view = MakeView(self, *state.making);
  state.making = nullptr;
  self->delayed_send(self, state.options.keep_max, KeptEnough{state.view->cut});
  ServeWaiting(self);
}

/// The view that there is was made by an older map: it serves those that are reading it, and no others.
void Follow(Self* self, size_t shard) {
  self->request(self->state.shards[shard], 2 * self->state.options.step_max, AskRanges{})
      .then(
          [self](const Ranges& ranges) {
            ReaderState& state = self->state;
            auto map = RangeMap::Decode(state.router->tables(), static_cast<uint32_t>(state.shards.size()), ranges.map);
            if (!map.ok() || map->epoch() <= state.router->epoch()) return;
            state.router->Follow(std::move(*map));
            state.view = nullptr;
          },
          [](const caf::error&) {});   // the next cut asks again
}

void OnPrepared(Self* self) {
  ReaderState& state = self->state;
  Making& making = *state.making;
  for (size_t shard = 0; shard < making.prepared.size(); ++shard) {
    const MapEpoch epoch = making.prepared[shard].epoch;
    if (epoch == state.router->epoch()) continue;
    if (epoch > state.router->epoch()) Follow(self, shard);
    GiveUp(self, making.cut, shard, absl::UnavailableError(absl::StrCat("ranges have moved (map ", epoch, ")")));
    return;
  }
  auto clocks = CutOf(making.prepared);
  if (!clocks.ok()) {
    GiveUp(self, making.cut, 0, clocks.status());
    return;
  }
  making.clocks = std::move(*clocks);
  const Freeze freeze{.cut = making.cut,
                      .clocks = Block::Copy(std::span<const Round>(making.clocks)),
                      .wait = state.options.step_max,
                      .lease = state.options.keep_max + state.options.read_max};
  Step<Frozen>(
      self, freeze, [](Making&, size_t, const Frozen&) {}, OnFrozen);
}

/// Now, or when the last one is long enough ago.
void StartCut(Self* self) {
  ReaderState& state = self->state;
  if (state.making != nullptr || state.ticking) return;
  const Time now = self->clock().now();
  if (now < state.next_cut) {
    state.ticking = true;
    self->delayed_send(self, std::chrono::ceil<std::chrono::milliseconds>(state.next_cut - now), CutTick{});
    return;
  }
  state.next_cut = now + state.options.cut_interval;
  const uint64_t cut = std::max<uint64_t>(1, Mix64(state.first_cut + ++state.cuts));
  state.making = std::make_shared<Making>(
      Making{.cut = cut, .number = state.cuts, .began = now, .prepared = std::vector<Prepared>(state.shards.size()), .clocks = {}, .open = 0});
  Step<Prepared>(
      self, Prepare{cut, state.options.step_max}, [](Making& making, size_t shard, const Prepared& prepared) { making.prepared[shard] = prepared; },
      OnPrepared);
}

caf::result<ReadRows> OnRead(Self* self, const Read& read) {
  ReaderState& state = self->state;
  if (const absl::Status status = Check(*state.router, read); !status.ok()) return ToError(status);
  if (state.waiting.size() >= state.options.reads_max) {
    return ToError(absl::UnavailableError(absl::StrCat("read: ", state.waiting.size(), " reads wait already")));
  }
  auto reading = std::make_shared<Reading>();
  reading->read = read;
  reading->pull = Route(*state.router, read);
  reading->asked = self->clock().now();
  reading->not_before = reading->asked - read.max_staleness;
  reading->cuts_before = state.cuts;
  reading->promise = self->make_response_promise<caf::typed_response_promise<ReadRows>>();
  if (Fits(state.view, *reading)) {
    Serve(self, reading);
  } else {
    state.waiting.push_back(reading);
    StartCut(self);
  }
  return reading->promise;
}

}   // namespace

ReaderActor SpawnReader(System& system, std::vector<ShardActor> shards, std::vector<TableSpec> tables, const ReaderOptions& options) {
  const auto actor = system.actors().spawn([&system, shards = std::move(shards), tables = std::move(tables), options](Self* self) -> caf::behavior {
    ReaderState& state = self->state;
    state.shards = shards;
    state.router.emplace(tables, static_cast<uint32_t>(shards.size()));
    state.options = options;
    // No two readers of a job number their cuts alike.
    state.first_cut = Mix64(Mix64(static_cast<uint64_t>(system.node()) + 1) ^ Mix64(static_cast<uint64_t>(system.incarnation())) ^ Mix64(~self->id()));
    return {[self](const Read& read) { return OnRead(self, read); },
            [self](CutTick) {
              self->state.ticking = false;
              if (!self->state.waiting.empty()) StartCut(self);
            },
            [self](const KeptEnough& kept) {
              if (self->state.view != nullptr && self->state.view->cut == kept.cut) self->state.view = nullptr;
            }};
  });
  return caf::actor_cast<ReaderActor>(actor);
}

}   // namespace troupe
