// A workload that shows torn reads: each round of a writer adds 1 to rows of two tables on all shards, in several messages. In every state that a reader may
// see, all rows are equal, and say how many rounds the clocks of its cut count.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "caf/stateful_actor.hpp"
#include "ps/client.h"
#include "ps/reader_actor.h"

namespace troupe::testing {

/// One phase: ordinals of rounds are counts.
struct AddingJob {
  Consistency consistency;
  uint32_t shards = 1, writers = 1, rounds = 1;
  bool pulls = false;   // before each push, as training does
};

struct AddingTick {};

}   // namespace troupe::testing

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::testing::AddingTick)

namespace troupe::testing {

inline constexpr uint64_t kAddedRows = 12;

/// Sparse "a" and dense "b": rows on every shard.
inline std::vector<TableSpec> AddingTables() {
  constexpr auto kSum = TableSpec::Combine::kSum;
  return {{.name = "a", .width = 1, .rows = {}, .rule = "add", .rule_options = {}, .combine = kSum, .ranges = 8},
          {.name = "b", .width = 2, .rows = kAddedRows, .rule = "add", .rule_options = {}, .combine = kSum, .ranges = 6}};
}
inline std::vector<Key> AddedKeys(uint32_t table) {
  std::vector<Key> keys;
  for (Key key = 0; key < kAddedRows; ++key) keys.push_back(table == 0 ? 1000 + 77 * key : key);
  return keys;
}

/// A round: the tables' rows leave in messages of their own.
inline RoutedPush AddingPush(const Router& router) {
  RoutedPush all;
  all.shards.resize(router.shards());
  for (uint32_t table = 0; table < 2; ++table) {
    TablePush ones{.table = table, .keys = AddedKeys(table), .values = {}, .nonzeros = {}};
    ones.values.assign(ones.keys.size() * router.tables()[table].width, 1);
    RoutedPush push = router.Push({std::move(ones)});
    all.epoch = push.epoch;
    for (size_t shard = 0; shard < push.shards.size(); ++shard) {
      for (RoutedPush::Chunk& chunk : push.shards[shard]) {
        if (!chunk.parts.empty()) all.shards[shard].push_back(std::move(chunk));
      }
    }
  }
  for (auto& chunks : all.shards) {
    if (chunks.empty()) chunks.emplace_back();
  }
  return all;
}

inline Read ReadAdded(std::chrono::milliseconds max_staleness) {
  Read read{.rows = {}, .max_staleness = max_staleness};
  for (uint32_t table = 0; table < 2; ++table) read.rows.push_back({.table = table, .keys = Block::Adopt(AddedKeys(table))});
  return read;
}

/// What is wrong with a read; empty: nothing.
inline std::string Torn(const ReadRows& read, const AddingJob& job) {
  if (read.clocks.size() != job.writers) return absl::StrCat(read.clocks.size(), " clocks");
  uint64_t rounds = 0;
  for (const Round clock : read.clocks) rounds += OrdinalOf(clock);
  for (uint32_t table = 0; table < 2; ++table) {
    const std::span<const float> values = read.values[table].As<float>();
    if (values.size() != kAddedRows * (table + 1)) return absl::StrCat(values.size(), " values of table ", table);
    for (size_t i = 0; i < values.size(); ++i) {
      if (static_cast<double>(values[i]) == static_cast<double>(rounds)) continue;
      return absl::StrCat("table ", table, " value ", i, " is ", values[i], ", clocks say ", rounds);
    }
  }
  return "";
}

struct AddingWriterState {
  std::optional<Client> client;
  Round next = 0;
  bool pulling = false;   // a pull is not answered yet
};
using AddingWriter = caf::stateful_actor<AddingWriterState>;

/// Pushes the writer's rounds, four under way.
inline caf::behavior AddingWriterBehavior(AddingWriter* self, WriterId id, const AddingJob& job, std::vector<ShardActor> shards,
                                          std::function<void(absl::Status)> failed) {
  const auto router = std::make_shared<const Router>(AddingTables(), job.shards);
  const auto push = [self, id, router] {
    const Round round = std::exchange(self->state.next, self->state.next + 1);
    self->state.client->Push(id, round, AddingPush(*router));
  };
  const auto go_on = [self, id, job, router, push] {
    AddingWriterState& state = self->state;
    while (state.client->ready(id) && !state.pulling && OrdinalOf(state.next) <= job.rounds && state.client->rounds_in_flight(id) < 4) {
      if (!job.pulls) {
        push();
        continue;
      }
      state.pulling = true;
      const std::vector<Key> keys = AddedKeys(0);
      const Router::TablePull wanted[] = {{.table = 0, .keys = keys}};
      state.client->Pull(id, state.next, std::make_shared<const RoutedPull>(router->Pull(wanted)));
    }
  };
  Client::Events events;
  events.begin_after = [self, go_on](WriterId, Round clock) {
    self->state.next = clock + 1;
    self->state.pulling = false;
    go_on();
  };
  events.pulled = [self, push, go_on](WriterId, PullNumber, std::vector<Block>) {
    self->state.pulling = false;
    push();
    go_on();
  };
  events.acked = [go_on](WriterId) { go_on(); };
  events.failed = std::move(failed);
  self->state.client.emplace(self, std::move(shards), router, ClientOptions{.held_bytes_max = 20'000}, std::move(events));
  self->state.client->Start(id);
  self->delayed_send(self, std::chrono::milliseconds(20), AddingTick{});
  return {[self](AddingTick) {
            self->state.client->Tick();
            self->delayed_send(self, std::chrono::milliseconds(20), AddingTick{});
          },
          [](const Thunk& thunk) { thunk.run(); }};
}

}   // namespace troupe::testing
