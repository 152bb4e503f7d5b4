// A run that is taken up with other numbers of shards and workers than it had: under BSP the model of an uninterrupted one bit for bit, and always its ledger.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "actors/random.h"
#include "actors/text.h"
#include "algorithms/run/checkpoint.h"
#include "ps/snapshot_places.h"
#include "tests/algorithms/host.h"
#include "tests/algorithms/memory_source.h"
#include "tests/algorithms/trainer_run.h"

namespace troupe {
namespace {

using testing::TestRow;

constexpr uint32_t kSplits = 4;

/// Rows of two classes: few columns that all have, or features of which each has some.
std::shared_ptr<const Source> Rows(bool dense) {
  Random random(dense ? 3 : 4);
  std::vector<TestRow> rows(600);
  for (TestRow& row : rows) {
    row.label = random.Uniform() < 0.5 ? 1.0f : 0.0f;
    for (int j = 0; j < 9 && dense; ++j) row.dense.push_back(static_cast<float>(random.Normal()) + (row.label > 0 ? 0.3f : -0.3f));
    for (Feature feature = 0; feature < 6 && !dense; ++feature) {
      row.entries.emplace_back(feature * 200 + random.Below(200), static_cast<float>(random.Uniform()) + row.label);
    }
  }
  return std::make_shared<testing::MemorySource>(rows, 25);
}

struct Case {
  std::string algorithm;
  std::map<std::string, std::string> params;
  bool dense;
  int epochs;
};

TrainOptions Options(const Case& of, const std::string& consistency) {
  Case with = of;
  if (of.algorithm == "logistic_regression") with.params.emplace("batch_size", "20");
  TrainOptions options = testing::OptionsOf(
      {.algorithm = with.algorithm, .params = with.params, .source = Rows(with.dense), .splits = kSplits, .seed = 5, .epochs = with.epochs}, 2, 1);
  options.consistency = *ParseConsistencies(consistency);
  return options;
}

struct Run {
  TrainReport report;
  std::string rows;
};
absl::StatusOr<Run> ResultOf(System& system, const absl::StatusOr<TrainReport>& report) {
  if (!report.ok()) return report.status();
  const auto model = LoadModel(system.storage(), testing::kModel);
  if (!model.ok()) return model.status();
  return Run{*report, ShowModel(**model, true)};
}

Run Uninterrupted(const TrainOptions& options) {
  System system({.compute_threads = 2});
  const auto run = ResultOf(system, testing::TrainIn(system, options));
  BOOST_REQUIRE_MESSAGE(run.ok(), run.status().ToString());
  return *run;
}

/// Falls after its n-th wait, and is taken up each time with another number of shards, and of workers.
Run WithOtherShards(TrainOptions options, uint64_t* resumed) {
  constexpr uint32_t kShards[] = {2, 4, 1, 3, 2, 5};
  testing::KeepCheckpoints(options);
  System system({.compute_threads = 2});
  for (int waits = 1;; ++waits) {
    options.shards = kShards[waits % std::size(kShards)];
    options.workers = 1 + static_cast<uint32_t>(waits) % 3;
    const ClusterFactory falling = [&](const ClusterOptions& cluster) -> absl::StatusOr<std::unique_ptr<Cluster>> {
      *resumed += !cluster.restore_uris.empty();
      if (!cluster.restore_uris.empty()) BOOST_TEST(cluster.restore_uris.size() == PlacesOf(cluster.tables, options.shards));
      TROUPE_TRY(std::unique_ptr<Cluster> made, MakeLocalCluster(system, cluster));
      return std::make_unique<testing::FallingCluster>(std::move(made), waits);
    };
    const auto report = Train(options, system.storage(), falling, {});
    if (absl::IsAborted(report.status()) && waits < 1000) continue;
    const auto run = ResultOf(system, report);
    BOOST_REQUIRE_MESSAGE(run.ok(), run.status().ToString());
    return *run;
  }
}

BOOST_AUTO_TEST_SUITE(ResumeElsewhereSuite)

BOOST_AUTO_TEST_CASE(a_run_on_other_shards_makes_the_same_model) {
  const Case cases[] = {
      {"logistic_regression", {}, false, 5},
      {"logistic_regression", {{"rule", "adam"}, {"learning_rate", "0.02"}, {"schedule", "inverse:20"}}, true, 5},
      {"logistic_regression", {{"rule", "ftrl"}, {"l1", "0.002"}, {"encoding", "delta+cache"}}, false, 4},
      {"logistic_regression", {{"admit_after", "2"}, {"ttl", "9"}, {"rows_max", "900"}}, false, 5},
      {"logistic_regression", {{"memory_max", "1M"}}, false, 4},
      {"naive_bayes", {}, false, 1},
      {"k_means", {{"k", "3"}}, true, 6},
  };
  for (const Case& of : cases) {
    BOOST_TEST_CONTEXT(of.algorithm << " " << (of.params.empty() ? "" : of.params.begin()->first) << (of.dense ? " dense" : "")) {
      const TrainOptions options = Options(of, "bsp");
      const Run expected = Uninterrupted(options);
      uint64_t resumed = 0;
      const Run run = WithOtherShards(options, &resumed);
      BOOST_TEST(resumed > 0u);
      BOOST_TEST(run.rows == expected.rows);
      BOOST_TEST(run.report.ledger_read == expected.report.ledger_read);
      BOOST_TEST(run.report.ledger_applied == expected.report.ledger_applied);
      BOOST_TEST(run.report.dropped == expected.report.dropped);
      BOOST_TEST(run.report.evicted == expected.report.evicted);
    }
  }
}

BOOST_AUTO_TEST_CASE(every_batch_counts_once_whatever_the_consistency) {
  for (const char* consistency : {"asp", "ssp:2", "backup:1", "ssp:1,w=asp", "asp,w=bsp"}) {
    BOOST_TEST_CONTEXT(consistency) {
      uint64_t resumed = 0;
      const Run run = WithOtherShards(Options({"logistic_regression", {}, false, 4}, consistency), &resumed);
      BOOST_TEST(resumed > 2u);
      BOOST_TEST(run.report.ledger_read > 0u);
      const uint64_t counted = run.report.ledger_applied + run.report.ledger_late;
      const bool may_leave_out = std::string(consistency).starts_with("backup");   // a writer that comes back behind rounds that are over goes on after them
      BOOST_TEST((may_leave_out ? counted <= run.report.ledger_read : counted == run.report.ledger_read), counted << " of " << run.report.ledger_read);
    }
  }
  // Counts are exact, so the model says so, too.
  const TrainOptions counting = Options({"naive_bayes", {}, false, 1}, "asp");
  const Run expected = Uninterrupted(counting);
  uint64_t resumed = 0;
  const Run run = WithOtherShards(counting, &resumed);
  BOOST_TEST(resumed > 0u);
  BOOST_TEST(run.rows == expected.rows);
  BOOST_TEST(run.report.ledger_applied == expected.report.ledger_applied);
}

BOOST_AUTO_TEST_CASE(a_damaged_checkpoint_is_refused_before_an_older_one_goes) {
  TrainOptions options = Options({"logistic_regression", {}, false, 5}, "bsp");
  const Run expected = Uninterrupted(options);
  testing::KeepCheckpoints(options);
  options.checkpoints_kept = 2;
  options.shards = 2;
  System system({.compute_threads = 2});
  Storage& storage = system.storage();
  const auto names = [&] { return storage.List(options.checkpoint_uri).value_or(std::vector<std::string>()); };
  const auto checkpoints = [&] { return std::ranges::count_if(names(), [](const std::string& name) { return name.starts_with("checkpoint."); }); };
  for (int waits = 1; checkpoints() < 2; ++waits) {
    BOOST_REQUIRE(waits < 100);
    const ClusterFactory falling = [&](const ClusterOptions& cluster) -> absl::StatusOr<std::unique_ptr<Cluster>> {
      TROUPE_TRY(std::unique_ptr<Cluster> made, MakeLocalCluster(system, cluster));
      return std::make_unique<testing::FallingCluster>(std::move(made), waits);
    };
    BOOST_REQUIRE(absl::IsAborted(Train(options, storage, falling, {}).status()));
  }
  const Checkpoint newest = *ReadCheckpoint(storage, options.checkpoint_uri);
  // Rows in a file of their own, as shards with replicas write them: who deals ranges anew has no need to read it.
  const std::string state = SnapshotUri(options.checkpoint_uri, newest.id, 1);
  const std::string rows = absl::StrCat(options.checkpoint_uri, "/shard-1.", newest.id, ".e1.snapshot");
  BOOST_REQUIRE(WriteSnapshot(storage, rows, *ReadPlacedSnapshot(storage, state), true).ok());
  BOOST_REQUIRE(WriteSnapshot(storage, state, *ReadPlaces(storage, rows), true).ok());
  Checkpoint with_rows = newest;
  with_rows.files.emplace_back(FileName(rows));
  std::ranges::sort(with_rows.files);
  CheckpointFolder folder(storage, options.checkpoint_uri, 9);
  BOOST_REQUIRE((folder.Find(false).ok() && folder.Write(with_rows).ok()));
  const Block whole = *storage.Read(rows);
  std::string damaged(reinterpret_cast<const char*>(whole.data()), whole.size());
  damaged[damaged.size() / 2] ^= 1;
  BOOST_REQUIRE(storage.Write(rows, {Block::Copy(damaged.data(), damaged.size())}, false).ok());

  const std::vector<std::string> before = names();
  options.shards = 3;
  for (int tries = 0; tries < 2; ++tries) {
    const absl::Status refused = testing::TrainIn(system, options).status();
    BOOST_TEST(Message(refused).starts_with(rows + ": "), refused.ToString());
    BOOST_TEST(names() == before, boost::test_tools::per_element());
  }
  options.accept_loss = true;
  const auto run = ResultOf(system, testing::TrainIn(system, options));
  BOOST_REQUIRE_MESSAGE(run.ok(), run.status().ToString());
  BOOST_TEST(run->rows == expected.rows);
}

BOOST_AUTO_TEST_CASE(what_workers_keep_goes_along) {
  for (const char* consistency : {"ring", "asp,w=tree"}) {
    TrainOptions options = Options({"logistic_regression", {{"rule", "adam"}}, true, 4}, consistency);
    testing::KeepCheckpoints(options);
    const std::string expected = Uninterrupted(options).rows;   // by two workers, as below: their number is part of the order of sums
    System system({.compute_threads = 2});
    uint64_t resumed = 0;
    for (int waits = 1;; ++waits) {
      options.shards = 1 + static_cast<uint32_t>(waits) % 3;
      const ClusterFactory falling = [&](const ClusterOptions& cluster) -> absl::StatusOr<std::unique_ptr<Cluster>> {
        resumed += cluster.restore_uris.size() == options.shards + 1;
        TROUPE_TRY(std::unique_ptr<Cluster> made, MakeLocalCluster(system, cluster));
        return std::make_unique<testing::FallingCluster>(std::move(made), waits);
      };
      const auto report = Train(options, system.storage(), falling, {});
      if (absl::IsAborted(report.status()) && waits < 1000) continue;
      const auto run = ResultOf(system, report);
      BOOST_REQUIRE_MESSAGE(run.ok(), run.status().ToString());
      BOOST_TEST(run->rows == expected);
      BOOST_TEST(resumed > 1u);
      break;
    }
  }
}

BOOST_AUTO_TEST_CASE(a_checkpoint_that_cannot_be_dealt_out_is_named_and_stays) {
  TrainOptions options = Options({"logistic_regression", {}, false, 4}, "bsp");
  options.shards = 3;
  testing::KeepCheckpoints(options);
  System system({.compute_threads = 2});
  const auto fall = [&](int waits) {
    return Train(options, system.storage(),
                 [&](const ClusterOptions& cluster) -> absl::StatusOr<std::unique_ptr<Cluster>> {
                   TROUPE_TRY(std::unique_ptr<Cluster> made, MakeLocalCluster(system, cluster));
                   return std::make_unique<testing::FallingCluster>(std::move(made), waits);
                 },
                 {})
        .status();
  };
  BOOST_REQUIRE(absl::IsAborted(fall(6)));
  const auto before = ReadCheckpoint(system.storage(), options.checkpoint_uri);
  BOOST_REQUIRE(before.ok());
  BOOST_TEST(before->shards == 3u);
  const std::string uri = SnapshotUri(options.checkpoint_uri, before->id, 1);
  const Block whole = *system.storage().Read(uri);
  options.shards = 2;
  BOOST_REQUIRE(system.storage().Write(uri, {whole.Slice(0, whole.size() / 2)}, false).ok());
  BOOST_TEST(Message(fall(100)).starts_with(uri), Message(fall(100)));
  BOOST_REQUIRE(system.storage().Remove(uri).ok());
  BOOST_TEST(Message(fall(100)).starts_with(uri));
  BOOST_REQUIRE(system.storage().Write(uri, {*system.storage().Read(SnapshotUri(options.checkpoint_uri, before->id, 2))}, false).ok());
  BOOST_TEST(Message(fall(100)).starts_with(absl::StrCat(options.checkpoint_uri, ": state of shard 1: is that of shard 2 of 3")));
  BOOST_TEST(ReadCheckpoint(system.storage(), options.checkpoint_uri)->id == before->id);
  BOOST_REQUIRE(system.storage().Write(uri, {whole}, false).ok());
  BOOST_TEST(fall(100).ok());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
