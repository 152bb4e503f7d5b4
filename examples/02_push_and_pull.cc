// Push and pull: a table on two shards, straight from code. Gradients are pushed, rows are pulled, and a push that comes twice counts once.
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "actors/ask.h"
#include "actors/status.h"
#include "actors/system.h"
#include "ps/router.h"
#include "ps/shard_actor.h"

using namespace troupe;   // an example may

namespace {
constexpr WriterId kMe{0};

/// The writing end in its simplest form. ps/client.h is the real one: it never waits, holds what a dead shard would lose, and sends it again by itself.
struct Writer {
  System& system;
  const std::vector<ShardActor>& shards;
  const Router& router;
  Round done = kFirstRound;
  std::vector<Sequence> last = std::vector<Sequence>(router.slots());   // by (table, range)

  /// One message a shard, numbered: this writer's round, and for every range its previous push, so that a gap is seen and a repetition known.
  std::vector<Push> Number(Round round, RoutedPush routed) {
    std::vector<Push> messages;
    for (std::vector<RoutedPush::Chunk>& chunks : routed.shards) {
      RoutedPush::Chunk& only = chunks[0];   // a big push would be cut into more of them
      for (PushPart& part : only.parts) {
        part.sequence = round << 8;
        part.previous = std::exchange(last[router.Slot(part.table, part.range)], part.sequence);
      }
      messages.push_back(
          {.writer = kMe, .round = round, .previous = done, .parts = Block::Adopt(std::move(only.parts)), .keys = only.keys, .values = only.values});
    }
    done = round;
    return messages;
  }

  absl::Status Send(const std::vector<Push>& messages) const {
    for (size_t s = 0; s < shards.size(); ++s) {
      TROUPE_TRY(const Pushed pushed, Ask<Pushed>(system, shards[s], messages[s]));
      std::printf("  shard %zu has round %d\n", s, static_cast<int>(OrdinalOf(pushed.clock)));
    }
    return absl::OkStatus();
  }

  /// The rows as they are before `round`, in the order of `keys`.
  absl::Status Show(Round round, const std::vector<Key>& keys) const {
    const Router::TablePull wanted[] = {{.table = 0, .keys = keys}};
    const RoutedPull routed = router.Pull(wanted);
    std::vector<Block> answers;   // by shard
    for (size_t s = 0; s < shards.size(); ++s) {
      const Pull pull{.writer = kMe, .round = round, .parts = routed.shards[s].parts, .keys = routed.shards[s].keys};
      TROUPE_TRY(const Pulled pulled, Ask<Pulled>(system, shards[s], pull));
      answers.push_back(pulled.values);
    }
    std::vector<std::vector<float>> rows;
    TROUPE_RETURN_IF_ERROR(router.Gather(routed, answers, rows));
    std::printf("  w[%zu] = %g   w[%zu] = %g   w[%zu] = %g\n", keys[0], rows[0][0], keys[1], rows[0][1], keys[2], rows[0][2]);
    return absl::OkStatus();
  }
};

absl::Status Run() {
  System system({.compute_threads = 1});
  TableSpec weights{.name = "w", .rows = {}, .rule = "sgd", .rule_options = {{"learning_rate", 0.5}}};   // no number of rows: sparse, any 64-bit key
  std::vector<ShardActor> shards;
  for (uint32_t i = 0; i < 2; ++i) {
    const ShardActorOptions options{
        .shard = {.tables = {weights}, .shard = i, .shards = 2, .writers = 1, .consistency = {}}, .snapshot_uri = {}, .restore_uri = {}};
    TROUPE_TRY(ShardActor shard, SpawnShard(system, options));
    shards.push_back(std::move(shard));
  }
  const Router router({weights}, 2);
  Writer writer{system, shards, router};
  const std::vector<Key> keys = {3, 17, 1'000'000'007};
  const TablePush gradient{.table = 0, .keys = keys, .values = {-1, -2, -3}, .nonzeros = {}};

  std::puts("push the gradient -1, -2, -3: the shards make a step of it");
  const std::vector<Push> first = writer.Number(MakeRound(1, 1), router.Push({gradient}));
  TROUPE_RETURN_IF_ERROR(writer.Send(first));
  TROUPE_RETURN_IF_ERROR(writer.Show(MakeRound(1, 2), keys));
  std::puts("the same messages again, as if their answers had been lost: known by their numbers, counted once");
  TROUPE_RETURN_IF_ERROR(writer.Send(first));
  TROUPE_RETURN_IF_ERROR(writer.Show(MakeRound(1, 2), keys));
  std::puts("the next push of the same gradient");
  TROUPE_RETURN_IF_ERROR(writer.Send(writer.Number(MakeRound(1, 2), router.Push({gradient}))));
  TROUPE_RETURN_IF_ERROR(writer.Show(MakeRound(1, 3), keys));
  for (const ShardActor& shard : shards) system.Stop(shard);
  return absl::OkStatus();
}
}   // namespace

int main() {
  const absl::Status status = Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return ExitCode(status);
}
