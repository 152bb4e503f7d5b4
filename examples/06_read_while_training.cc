// Read while training: a reader beside a writer that is in the middle of a round, and a branch of the table that goes its own way.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "actors/ask.h"
#include "actors/status.h"
#include "actors/system.h"
#include "ps/reader_actor.h"
#include "ps/router.h"
#include "ps/shard_actor.h"

using namespace troupe;   // an example may

namespace {
const std::vector<Key> kKeys = {3, 17, 1'000'000'007};

/// A round of the one writer, for each shard. ps/client.h does this for a real one; 02_push_and_pull.cc explains it.
struct Writer {
  const Router& router;
  Round done = kFirstRound;
  std::vector<Sequence> last = std::vector<Sequence>(router.slots());

  std::vector<Push> Next(RoutedPush routed, const FunctionCall* change = nullptr) {
    const Round round = done + 1;
    std::vector<Push> messages;
    for (std::vector<RoutedPush::Chunk>& chunks : routed.shards) {
      for (PushPart& part : chunks[0].parts) {
        part.sequence = round << 8;
        part.previous = std::exchange(last[router.Slot(part.table, part.range)], part.sequence);
      }
      Push push{.round = round, .previous = done, .parts = Block::Adopt(chunks[0].parts), .keys = chunks[0].keys, .values = chunks[0].values};
      if (change != nullptr) push.change = std::make_shared<const FunctionCall>(*change);
      messages.push_back(push);
    }
    done = round;
    return messages;
  }
  std::vector<Push> Ones(uint32_t table) { return Next(router.Push({{.table = table, .keys = kKeys, .values = {1, 1, 1}, .nonzeros = {}}})); }
};

absl::Status Run() {
  System system({.compute_threads = 1});
  const TableSpec w{.name = "w", .rows = {}, .rule = "add", .rule_options = {}};
  TableSpec trial = w;
  trial.name = "trial";
  trial.branch_of = "w";   // takes no memory until it is forked and differs
  std::vector<ShardActor> shards;
  for (uint32_t i = 0; i < 2; ++i) {
    ShardActorOptions options;
    options.shard = {.tables = {w, trial}, .shard = i, .shards = 2, .consistency = Consistency{.kind = Consistency::Kind::kAsp}};
    TROUPE_TRY(ShardActor shard, SpawnShard(system, options));
    shards.push_back(std::move(shard));
  }
  const Router router({w, trial}, 2);
  Writer writer{router};
  const ReaderActor reader = SpawnReader(system, shards, {w, trial}, {.keep_max = std::chrono::minutes(1)});
  const auto send = [&](const std::vector<Push>& messages, size_t shard) { return Ask<Pushed>(system, shards[shard], messages[shard]).status(); };
  const auto send_all = [&](const std::vector<Push>& messages) {
    absl::Status status = send(messages, 0);
    status.Update(send(messages, 1));
    return status;
  };
  const auto show = [&](const char* what, uint32_t table, int staleness_ms) -> absl::Status {
    const Read read{.rows = {{.table = table, .keys = Block::Copy(std::span<const Key>(kKeys))}}, .max_staleness = std::chrono::milliseconds(staleness_ms)};
    TROUPE_TRY(const ReadRows rows, Ask<ReadRows>(system, reader, read));
    const auto values = rows.values[0].As<float>();
    std::printf("%-48s %g %g %g, of %d rounds\n", what, values[0], values[1], values[2], static_cast<int>(OrdinalOf(rows.clocks[0])));
    return absl::OkStatus();
  };

  TROUPE_RETURN_IF_ERROR(send_all(writer.Ones(0)));
  TROUPE_RETURN_IF_ERROR(show("after a round", 0, 0));
  const std::vector<Push> second = writer.Ones(0);
  TROUPE_RETURN_IF_ERROR(send(second, 0));   // shard 1 has not got its half yet
  TROUPE_RETURN_IF_ERROR(show("in the middle of the next, a minute old is fine", 0, 60'000));
  TROUPE_RETURN_IF_ERROR(send(second, 1));
  TROUPE_RETURN_IF_ERROR(show("and after it, nothing old", 0, 0));

  const FunctionCall fork{.function = "fork", .tables = {1, 0}};
  TROUPE_RETURN_IF_ERROR(send_all(writer.Next(RoutedPush::Empty(2), &fork)));
  TROUPE_RETURN_IF_ERROR(send_all(writer.Ones(1)));
  TROUPE_RETURN_IF_ERROR(show("the branch has had a push of its own", 1, 0));
  TROUPE_RETURN_IF_ERROR(show("the table has not", 0, 60'000));
  system.Stop(reader);
  for (const ShardActor& shard : shards) system.Stop(shard);
  return absl::OkStatus();
}
}   // namespace

int main() {
  const absl::Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return ExitCode(status);
}
