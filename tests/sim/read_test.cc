// Reads of tables while writers push, on simulated clusters with every fault there is: none is torn, every push counts once, and nothing hangs.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/proxy.h"
#include "actors/status.h"
#include "actors/storage/scratch_folder.h"
#include "caf/send.hpp"
#include "ps/reader_actor.h"
#include "ps/shard_actor.h"
#include "ps/wire.h"
#include "tests/support/adding_cluster.h"
#include "tests/support/seeds.h"
#include "tests/support/sim.h"

namespace troupe::testing {
namespace {

using std::chrono::milliseconds;

struct Job : AddingJob {
  uint32_t readers = 1, reader_actors = 1;
  milliseconds staleness{50};
  AddingShards of;
};

struct Outcome {
  absl::Status status;
  std::string torn;   // the first read that saw what it must not see
  uint64_t reads = 0, refused = 0;
  std::set<uint64_t> cuts;
  bool all_there = false;   // the last read has seen every round of every writer
  uint64_t crashes = 0;
};

/// Asks, looks, and asks again after a while, until the run is over.
void ReadAgain(caf::event_based_actor* self, const ReaderActor& reader, const Job& job, Outcome& outcome, Sim& sim) {
  const Read read = ReadAdded(milliseconds(sim.random().Below(static_cast<uint64_t>(job.staleness.count()) + 1)));
  const auto again = [self, reader, job, &outcome, &sim] {
    self->delayed_send(self, milliseconds(1 + sim.random().Below(30)),
                       Thunk{[self, reader, job, &outcome, &sim] { ReadAgain(self, reader, job, outcome, sim); }});
  };
  self->request(reader, caf::infinite, read)
      .then(
          [&outcome, job, again](const ReadRows& rows) {
            ++outcome.reads;
            outcome.cuts.insert(rows.cut);
            if (const std::string torn = Torn(rows, job); !torn.empty() && outcome.torn.empty()) outcome.torn = torn;
            outcome.all_there |= std::ranges::all_of(rows.clocks, [&](Round clock) { return OrdinalOf(clock) == job.rounds; });
            again();
          },
          [&outcome, again](const caf::error& error) {
            ++outcome.refused;
            if (const absl::Status status = FromError(error); !absl::IsUnavailable(status) && outcome.status.ok()) outcome.status = status;
            again();
          });
}

Outcome Simulate(uint64_t seed, const Job& job, const Faults& faults) {
  Outcome outcome;
  Sim sim(seed, faults);
  sim.SetLimits(std::chrono::minutes(10), 20'000'000);
  const AddingCluster cluster(sim, job, job.of, [&outcome](const absl::Status& status) { outcome.status.Update(status); });
  System& mine = sim.system(NodeId{0});
  const std::vector<ShardActor> shards = cluster.Shards();
  std::vector<ReaderActor> readers;
  std::vector<caf::actor> actors;
  for (uint32_t i = 0; i < job.reader_actors; ++i) {
    readers.push_back(SpawnReader(mine, shards, AddingTables(),
                                  {.cut_interval = milliseconds(10),
                                   .step_max = milliseconds(100),
                                   .keep_max = milliseconds(100),
                                   .read_max = milliseconds(1'500),
                                   .wait_max = milliseconds(300)}));
  }
  for (uint32_t i = 0; i < job.readers; ++i) {
    actors.push_back(mine.actors().spawn([&, reader = readers[i % readers.size()]](caf::event_based_actor* self) -> caf::behavior {
      ReadAgain(self, reader, job, outcome, sim);
      return {[](const Thunk& thunk) { thunk.run(); }};
    }));
  }
  sim.StartFaults();
  absl::Status run = sim.Run([&] { return outcome.all_there || !outcome.torn.empty() || !outcome.status.ok(); });
  outcome.status.Update(run);
  for (const caf::actor& actor : actors) caf::anon_send_exit(actor, caf::exit_reason::kill);
  for (const ReaderActor& reader : readers) caf::anon_send_exit(reader, caf::exit_reason::kill);
  for (const ShardActor& shard : shards) caf::anon_send_exit(shard, caf::exit_reason::kill);
  outcome.crashes = sim.crashes();
  return outcome;
}

/// One simulation for each seed; `vary` makes it what the test is about.
void ReadAtAllSeeds(uint64_t usual, const std::function<void(Random&, Job&, Faults&)>& vary) {
  uint64_t reads = 0, refused = 0, cuts = 0, crashes = 0;
  for (const uint64_t seed : Seeds(usual)) {
    Random random(seed);
    constexpr Consistency::Kind kKinds[] = {Consistency::Kind::kBsp, Consistency::Kind::kSsp, Consistency::Kind::kAsp};
    Job job;
    job.consistency = {.kind = kKinds[random.Below(3)], .staleness = 2};
    job.shards = static_cast<uint32_t>(1 + random.Below(3));
    job.writers = static_cast<uint32_t>(1 + random.Below(4));
    job.rounds = static_cast<uint32_t>(20 + random.Below(100));
    job.readers = 100;
    job.reader_actors = static_cast<uint32_t>(1 + random.Below(2));
    job.pulls = random.Below(2) == 0;
    job.of.snapshot_interval = milliseconds(2 + random.Below(40));
    Faults faults;
    faults.delay_max = std::chrono::microseconds(100 + random.Below(3'000));
    faults.ordered = random.Below(2) == 0;
    faults.drop = random.Below(2) == 0 ? 0.02 * random.Uniform() : 0;
    faults.twice = random.Below(2) == 0 ? 0.2 * random.Uniform() : 0;
    faults.slow = random.Below(2) == 0 ? 0.02 : 0;
    faults.crash_every = milliseconds(5 + random.Below(100));
    faults.crashes_max = static_cast<int>(random.Below(9));
    faults.down_max = milliseconds(1 + random.Below(100));
    if (random.Below(2) == 0) {
      faults.cut_every = milliseconds(40);
      faults.cuts_max = 5;
    }
    vary(random, job, faults);
    const Outcome outcome = Simulate(seed, job, faults);
    const std::string about = absl::StrCat("TROUPE_SIM_SEED=", seed, ": ", ToString(job.consistency), ", ", job.shards, " shards by ", job.of.replication, ", ",
                                           job.writers, " writers, ", job.rounds, " rounds, pulls ", job.pulls, ", reads ", outcome.reads, ", refused ",
                                           outcome.refused, ", cuts ", outcome.cuts.size(), ", crashes ", outcome.crashes);
    BOOST_TEST(outcome.torn == "", about << ": torn: " << outcome.torn);
    BOOST_TEST(outcome.status.ok(), about << ": " << outcome.status.ToString());
    BOOST_TEST((outcome.all_there || !outcome.status.ok() || !outcome.torn.empty()), about);
    reads += outcome.reads;
    refused += outcome.refused;
    cuts += outcome.cuts.size();
    crashes += outcome.crashes;
  }
  BOOST_TEST_MESSAGE("reads " << reads << ", refused " << refused << ", cuts " << cuts);
  BOOST_TEST(crashes > 0U);
  BOOST_TEST(reads > 10 * cuts);   // they share
}

BOOST_AUTO_TEST_SUITE(SimulatedReads)

BOOST_AUTO_TEST_CASE(no_read_is_torn_whatever_happens) {
  ReadAtAllSeeds(60, [](Random&, Job&, Faults&) {});
}

BOOST_AUTO_TEST_CASE(no_read_of_replicas_is_torn) {
  ReadAtAllSeeds(40, [](Random& random, Job& job, Faults&) { job.of.replication = static_cast<uint32_t>(2 + random.Below(2)); });
}

/// What was acknowledged nobody sends again: it is in the log of who was the last, whoever falls, and all at once too.
BOOST_AUTO_TEST_CASE(nothing_of_replicas_that_log_is_lost) {
  const auto folder = ScratchFolder::Make();
  TROUPE_CHECK(folder.ok());
  ReadAtAllSeeds(40, [&folder, runs = 0](Random& random, Job& job, Faults& faults) mutable {
    job.of.replication = static_cast<uint32_t>(2 + random.Below(2));
    job.of.log_folder = absl::StrCat(folder->path(), "/", ++runs);
    if (job.consistency.in_rounds()) job.consistency.kind = Consistency::Kind::kAsp;
    faults.crashes_max *= 2;
  });
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::testing
