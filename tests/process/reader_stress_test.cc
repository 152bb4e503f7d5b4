// A hundred readers beside writers that never stop, on as many threads as there are: no read is torn. TROUPE_READ_SECONDS=120 reads for two minutes in place of
// three seconds.
#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "actors/stop_actors.h"
#include "caf/event_based_actor.hpp"
#include "caf/send.hpp"
#include "ps/shard_actor.h"
#include "tests/support/adding_writer.h"
#include "tests/support/seeds.h"

namespace troupe::testing {
namespace {

using std::chrono::milliseconds;

struct Counts {
  std::atomic<bool> over{false};
  std::atomic<uint64_t> reads{0};
  std::mutex mutex;
  std::string wrong;   // the first

  void Wrong(const std::string& what) {
    const std::lock_guard lock(mutex);
    if (wrong.empty()) wrong = what;
  }
};

void ReadAgain(caf::event_based_actor* self, const ReaderActor& reader, const AddingJob& job, Counts* counts) {
  if (counts->over) {
    self->quit();
    return;
  }
  self->request(reader, std::chrono::seconds(20), ReadAdded(milliseconds(counts->reads % 200)))
      .then(
          [=](const ReadRows& rows) {
            ++counts->reads;
            if (const std::string torn = Torn(rows, job); !torn.empty()) counts->Wrong(torn);
            self->delayed_send(self, milliseconds(5), Thunk{[=] { ReadAgain(self, reader, job, counts); }});
          },
          [=](const caf::error& error) {
            counts->Wrong(FromError(error).ToString());
            self->quit();
          });
}

BOOST_AUTO_TEST_SUITE(ReadersSuite)

BOOST_AUTO_TEST_CASE(a_hundred_readers_beside_writers_see_whole_rounds) {
  const auto seconds = static_cast<double>(NumberFromEnvironment("TROUPE_READ_SECONDS", 3));
  for (const Consistency& consistency :
       {Consistency{}, Consistency{.kind = Consistency::Kind::kSsp, .staleness = 2}, Consistency{.kind = Consistency::Kind::kAsp}}) {
    System system({.compute_threads = 2});
    const AddingJob job{.consistency = consistency, .shards = 2, .writers = 3, .rounds = UINT32_MAX, .pulls = true};
    Counts counts;
    std::vector<ShardActor> shards;
    for (uint32_t i = 0; i < job.shards; ++i) {
      ShardActorOptions options;
      options.shard = {
          .tables = AddingTables(), .shard = i, .shards = job.shards, .writers = job.writers, .consistency = consistency, .stable_when_applied = true};
      auto shard = SpawnShard(system, options);
      BOOST_REQUIRE_MESSAGE(shard.ok(), shard.status().ToString());
      shards.push_back(*shard);
    }
    std::vector<caf::actor> writers, readers;
    for (uint32_t i = 0; i < job.writers; ++i) {
      writers.push_back(system.actors().spawn(AddingWriterBehavior, WriterId{i}, job, shards,
                                              std::function<void(absl::Status)>([&counts](const absl::Status& status) { counts.Wrong(status.ToString()); })));
    }
    const ReaderActor reader = SpawnReader(system, shards, AddingTables());
    for (int i = 0; i < 100; ++i) {
      readers.push_back(system.actors().spawn([&, i](caf::event_based_actor* self) -> caf::behavior {
        self->delayed_send(self, milliseconds(i), Thunk{[self, reader, job, counts = &counts] { ReadAgain(self, reader, job, counts); }});
        return {[](const Thunk& thunk) { thunk.run(); }};
      }));
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds / 3));
    counts.over = true;
    StopAndWait(system, readers);
    StopAndWait(system, writers);
    StopAndWait(system, std::vector<ReaderActor>{reader});
    StopAndWait(system, shards);
    BOOST_TEST(counts.wrong == "", ToString(consistency));
    BOOST_TEST(counts.reads >= 100U, ToString(consistency) << ": " << counts.reads << " reads");
    BOOST_TEST_MESSAGE(ToString(consistency) << ": " << counts.reads << " reads");
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe::testing
