// Ranges that move between shards while writers push and readers read, on simulated clusters with every fault there is: no read is torn, every push counts
// once, no range is lost or at two shards, and nothing hangs, also when whoever moves them falls in the middle.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/proxy.h"
#include "actors/status.h"
#include "caf/send.hpp"
#include "ps/reader_actor.h"
#include "ps/relocation_actor.h"
#include "ps/shard_actor.h"
#include "ps/wire.h"
#include "tests/support/adding_cluster.h"
#include "tests/support/seeds.h"
#include "tests/support/sim.h"

namespace troupe::testing {
namespace {

using std::chrono::milliseconds;

struct Job : AddingJob {
  milliseconds snapshot_interval{20};
  bool mover_falls = false;   // it is on a node of its own, which crashes like the others
};

struct Outcome {
  absl::Status status;
  std::string torn;
  uint64_t reads = 0, moved = 0, failed = 0, crashes = 0;
  MapEpoch epoch = 0;
  bool all_there = false;
};

std::vector<RangeMove> AnyMoves(const RangeMap& map, Random& random) {
  std::vector<RangeMove> moves;
  std::set<std::pair<uint32_t, uint32_t>> seen;
  for (uint64_t i = 1 + random.Below(4); i > 0; --i) {
    const auto table = static_cast<uint32_t>(random.Below(2));
    const auto range = static_cast<uint32_t>(random.Below(map.ranges(table)));
    const auto to = static_cast<uint32_t>(random.Below(map.shards()));
    if (map.ShardOf(table, range) != to && seen.emplace(table, range).second) moves.push_back({table, range, to});
  }
  if (random.Below(8) == 0) return Drained(map, static_cast<uint32_t>(random.Below(map.shards())));
  return moves;
}

void MoveAgain(System& system, caf::event_based_actor* self, const std::vector<ShardActor>& shards, uint64_t number, Outcome& outcome, Sim& sim) {
  const auto done = [&system, self = caf::actor(self), raw = self, shards, number, &outcome, &sim](const absl::StatusOr<MovedRanges>& moved) {
    System::Deliver(self, Thunk{[&system, raw, shards, number, &outcome, &sim, moved] {
                      if (moved.ok()) {
                        ++outcome.moved;
                        outcome.epoch = std::max(outcome.epoch, moved->map.epoch());
                      } else {
                        ++outcome.failed;
                        if (!IsRetryable(moved.status())) outcome.status.Update(moved.status());
                      }
                      raw->delayed_send(raw, milliseconds(1 + sim.random().Below(60)),
                                        Thunk{[&system, raw, shards, number, &outcome, &sim] { MoveAgain(system, raw, shards, number + 1, outcome, sim); }});
                    }});
  };
  MoveRanges(
      system, shards, AddingTables(), [&sim](const RangeMap& map, const std::vector<Ranges>&) { return AnyMoves(map, sim.random()); },
      {.folder = "mem:/moves", .number = number, .step_max = milliseconds(200), .patience = milliseconds(60'000)}, done);
}

void ReadAgain(caf::event_based_actor* self, const ReaderActor& reader, const Job& job, Outcome& outcome, Sim& sim) {
  const auto again = [self, reader, job, &outcome, &sim] {
    self->delayed_send(self, milliseconds(1 + sim.random().Below(30)),
                       Thunk{[self, reader, job, &outcome, &sim] { ReadAgain(self, reader, job, outcome, sim); }});
  };
  self->request(reader, caf::infinite, ReadAdded(milliseconds(sim.random().Below(50))))
      .then(
          [&outcome, job, again](const ReadRows& rows) {
            ++outcome.reads;
            if (const std::string torn = Torn(rows, job); !torn.empty() && outcome.torn.empty()) outcome.torn = torn;
            outcome.all_there |= std::ranges::all_of(rows.clocks, [&](Round clock) { return OrdinalOf(clock) == job.rounds; });
            again();
          },
          [&outcome, again](const caf::error& error) {
            if (const absl::Status status = FromError(error); !absl::IsUnavailable(status) && outcome.status.ok()) outcome.status = status;
            again();
          });
}

Outcome Simulate(uint64_t seed, const Job& job, const Faults& faults) {
  Outcome outcome;
  Sim sim(seed, faults);
  sim.SetLimits(std::chrono::minutes(10), 20'000'000);
  const AddingCluster cluster(sim, job, {.snapshot_interval = job.snapshot_interval, .replication = 1, .log_folder = {}},
                              [&outcome](const absl::Status& status) { outcome.status.Update(status); });
  const auto spawn_mover = [&](System& system, const std::vector<ShardActor>& shards) {
    return system.actors().spawn([&, shards](caf::event_based_actor* self) -> caf::behavior {
      MoveAgain(system, self, shards, 1, outcome, sim);
      return {[](const Thunk& thunk) { thunk.run(); }};
    });
  };
  System& mine = sim.system(NodeId{0});
  const std::vector<ShardActor> shards = cluster.Proxies(mine);
  std::vector<caf::actor> actors;
  if (job.mover_falls) {
    sim.AddNode([&](System& system) -> absl::StatusOr<std::vector<caf::actor>> {
      const std::vector<ShardActor> its = cluster.Proxies(system);
      std::vector<caf::actor> all{spawn_mover(system, its)};
      for (const ShardActor& shard : its) all.push_back(caf::actor_cast<caf::actor>(shard));
      return all;
    });
  } else {
    actors.push_back(spawn_mover(mine, shards));
  }
  const ReaderActor reader = SpawnReader(mine, shards, AddingTables(),
                                         {.cut_interval = milliseconds(10),
                                          .step_max = milliseconds(100),
                                          .keep_max = milliseconds(100),
                                          .read_max = milliseconds(1'500),
                                          .wait_max = milliseconds(300)});
  for (int i = 0; i < 4; ++i) {
    actors.push_back(mine.actors().spawn([&](caf::event_based_actor* self) -> caf::behavior {
      ReadAgain(self, reader, job, outcome, sim);
      return {[](const Thunk& thunk) { thunk.run(); }};
    }));
  }
  sim.StartFaults();
  outcome.status.Update(sim.Run([&] { return outcome.all_there || !outcome.torn.empty() || !outcome.status.ok(); }));
  for (const caf::actor& actor : actors) caf::anon_send_exit(actor, caf::exit_reason::kill);
  caf::anon_send_exit(reader, caf::exit_reason::kill);
  for (const ShardActor& shard : shards) caf::anon_send_exit(shard, caf::exit_reason::kill);
  outcome.crashes = sim.crashes();
  return outcome;
}

BOOST_AUTO_TEST_SUITE(SimulatedMoves)

BOOST_AUTO_TEST_CASE(every_push_counts_once_wherever_its_ranges_go) {
  uint64_t moved = 0, crashes = 0;
  for (const uint64_t seed : Seeds(200)) {
    Random random(seed);
    constexpr Consistency::Kind kKinds[] = {Consistency::Kind::kBsp, Consistency::Kind::kSsp, Consistency::Kind::kAsp};
    Job job;
    job.consistency = {.kind = kKinds[random.Below(3)], .staleness = 2};
    job.shards = static_cast<uint32_t>(2 + random.Below(3));
    job.writers = static_cast<uint32_t>(1 + random.Below(4));
    job.rounds = static_cast<uint32_t>(20 + random.Below(150));
    job.pulls = random.Below(2) == 0;
    job.snapshot_interval = milliseconds(2 + random.Below(40));
    Faults faults;
    faults.delay_max = std::chrono::microseconds(100 + random.Below(3'000));
    faults.ordered = random.Below(2) == 0;
    faults.drop = random.Below(2) == 0 ? 0.02 * random.Uniform() : 0;
    faults.twice = random.Below(2) == 0 ? 0.2 * random.Uniform() : 0;
    faults.slow = random.Below(2) == 0 ? 0.02 : 0;
    faults.crash_every = milliseconds(5 + random.Below(100));
    faults.crashes_max = static_cast<int>(random.Below(9));
    faults.down_max = milliseconds(1 + random.Below(100));
    job.mover_falls = random.Below(2) == 0;
    const Outcome outcome = Simulate(seed, job, faults);
    const std::string about = absl::StrCat("TROUPE_SIM_SEED=", seed, ": ", ToString(job.consistency), ", ", job.shards, " shards, ", job.writers, " writers, ",
                                           job.rounds, " rounds, pulls ", job.pulls, ", mover falls ", job.mover_falls, ", reads ", outcome.reads, ", moved ",
                                           outcome.moved, ", failed ", outcome.failed, ", map ", outcome.epoch, ", crashes ", outcome.crashes);
    BOOST_TEST(outcome.torn == "", about << ": torn, " << outcome.torn);
    BOOST_TEST(outcome.status.ok(), about << ": " << outcome.status.ToString());
    BOOST_TEST((outcome.all_there || !outcome.status.ok() || !outcome.torn.empty()), about);
    moved += outcome.moved;
    crashes += outcome.crashes;
  }
  BOOST_TEST_MESSAGE("moved " << moved << ", crashes " << crashes);
  BOOST_TEST(moved > 0U);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::testing
