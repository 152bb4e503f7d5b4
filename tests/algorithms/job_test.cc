// Runs of a program of one's own, in this process.
#include "algorithms/job.h"

#include <boost/test/unit_test.hpp>

#include "algorithms/run/launcher.h"

namespace troupe {
namespace {

TrainOptions Small(const std::string& model) {
  TrainOptions options;
  options.algorithm = "naive_bayes";
  options.data.uri = "generate:ctr?rows=2000&seed=1";
  options.workers = 0;
  options.model_uri = "mem:" + model;
  return options;
}

}   // namespace

BOOST_AUTO_TEST_SUITE(JobSuite)

BOOST_AUTO_TEST_CASE(it_trains_as_often_as_one_likes_and_reads_its_models) {
  Job job({"a", "b"}, std::nullopt);
  BOOST_TEST((job.arguments() == std::vector<std::string>{"a", "b"}));
  BOOST_TEST(!job.on_cluster());
  BOOST_TEST(job.attempt() == 1u);
  for (const char* model : {"one", "two"}) {
    const auto report = job.Train(Small(model));
    BOOST_REQUIRE_MESSAGE(report.ok(), report.status().ToString());
    BOOST_TEST(report->rows == 2000u);
    BOOST_TEST(job.storage().Exists(std::string("mem:") + model + "/manifest.json").value());
  }
}

BOOST_AUTO_TEST_CASE(runs_with_one_checkpoint_are_refused_and_runs_at_once) {
  Job job({}, std::nullopt);
  TrainOptions options = Small("model");
  options.checkpoint_uri = "mem:state";
  absl::Status within;
  const auto report = job.Train(options, {.progress = [&](const TrainProgress&) { within = job.Train(Small("other")).status(); }});
  BOOST_REQUIRE_MESSAGE(report.ok(), report.status().ToString());
  BOOST_TEST(within.ToString() == "FAILED_PRECONDITION: two runs of a job at once: expected one after the other");
  BOOST_TEST(job.Train(options).status().ToString() ==
             "INVALID_ARGUMENT: mem:state: is the checkpoint of an earlier run of this job, expected one for each run");
  BOOST_TEST(job.Train(Small("model")).ok());
}

BOOST_AUTO_TEST_CASE(there_are_no_more_workers_than_splits) {
  Job job({}, std::nullopt);
  TrainOptions options = Small("model");
  options.splits = 1;
  BOOST_TEST(job.Train(options).ok());   // also on a machine with many cores, where more workers than splits would be refused
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
