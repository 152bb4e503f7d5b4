// Training on copies of rows: near the model without them, for fewer pulled bytes; and refused where it cannot be.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "algorithms/run/trainer.h"
#include "tests/support/counting_cluster.h"

namespace troupe {
namespace {

struct Run {
  absl::StatusOr<TrainReport> report = absl::UnknownError("");
  uint64_t replies = 0;   // bytes from shards
  double auc() const {
    for (const auto& [metric, number] : report->metrics)
      if (metric == "auc") return number;
    return std::nan("");
  }
};

Run Trained(const std::string& consistency, const ReplicaOptions& replicas, std::map<std::string, std::string> params = {}) {
  System system({.compute_threads = 2});
  testing::Traffic traffic;
  TrainOptions options;
  options.algorithm = "logistic_regression";
  options.params = std::move(params);
  options.data.uri = "generate:ctr?rows=20000&seed=3";
  options.epochs = 2;
  options.shards = 2;
  options.consistency = *ParseConsistencies(consistency);
  options.replicas = replicas;
  options.memory_bytes = 64 << 20;
  options.model_uri = "mem:/model";
  Run run;
  run.report = Train(options, system.storage(), testing::CountingCluster(system, traffic), {});
  run.replies = traffic.replies;
  return run;
}

BOOST_AUTO_TEST_SUITE(ReplicasSuite)

BOOST_AUTO_TEST_CASE(hot_rows_come_from_copies_and_the_model_stays_as_good) {
  const Run plain = Trained("ssp:4", {}), copied = Trained("ssp:4", {.bytes_max = 16 << 20});
  BOOST_REQUIRE_MESSAGE(plain.report.ok() && copied.report.ok(), plain.report.status() << " " << copied.report.status());
  BOOST_TEST(plain.report->rows_copied == 0u);
  const TrainReport& report = *copied.report;
  BOOST_TEST(report.ledger_read == report.ledger_applied);
  BOOST_TEST_CONTEXT("pulled " << report.rows_pulled << ", copied " << report.rows_copied << ", replies " << copied.replies << " of " << plain.replies
                               << " bytes, auc " << copied.auc() << " of " << plain.auc()) {
    BOOST_TEST(report.rows_copied > report.rows_pulled / 4);
    BOOST_TEST(static_cast<double>(copied.replies) < 0.85 * static_cast<double>(plain.replies));
    BOOST_TEST(copied.auc() > plain.auc() - 0.005);   // 20,000 rows: single steps count
  }
}

BOOST_AUTO_TEST_CASE(without_room_for_a_row_all_is_pulled) {
  const Run run = Trained("asp", {.bytes_max = 1});
  BOOST_REQUIRE_MESSAGE(run.report.ok(), run.report.status());
  BOOST_TEST(run.report->rows_copied == 0u);
  BOOST_TEST(run.report->rows_pulled > 100'000u);
}

BOOST_AUTO_TEST_CASE(runs_that_cannot_have_copies_are_refused) {
  const ReplicaOptions on{.bytes_max = 1 << 20};
  BOOST_TEST(absl::IsInvalidArgument(Trained("bsp", on).report.status()));
  BOOST_TEST(Trained("bsp", on).report.status().message() ==
             "replicas: consistency is 'bsp', expected ssp:K, delay:MS or asp for a table: in rounds a batch needs the rows of the round before");
  BOOST_TEST(Trained("asp", on, {{"delay_compensation", "0.1"}}).report.status().message() ==
             "replicas: table 'w' has delay_compensation, expected none: its shards must know which rows a writer has");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
