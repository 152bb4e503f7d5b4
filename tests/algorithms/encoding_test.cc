// Training with encoded pushes and pulls: the same model on every host, near the one without, for the bytes that were promised.
#include "ps/encoding.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "algorithms/run/trainer.h"
#include "tests/algorithms/host.h"
#include "tests/algorithms/memory_source.h"
#include "tests/support/counting_cluster.h"

namespace troupe {
namespace {

using testing::Host;

std::shared_ptr<const Source> Data(bool dense) {
  return std::make_shared<testing::MemorySource>(testing::LearnableRows(Task::kBinary, dense, 1200, 11), 50);
}
LocalOptions Options(const std::string& encoding, bool dense = false) {
  return {.algorithm = "logistic_regression",
          .params = {{"batch_size", "50"}, {"encoding", encoding}, {"l1", encoding.starts_with("kkt") ? "0.01" : "0"}},
          .source = Data(dense),
          .splits = 4,
          .seed = 3,
          .epochs = 5};
}

struct Run {
  uint64_t bytes = 0;
  TrainReport report;
  std::string rows;
};
Run Counted(const LocalOptions& local) {
  System system({.compute_threads = 2});
  testing::Traffic traffic;
  TrainOptions options;
  options.algorithm = local.algorithm;
  options.params = local.params;
  options.data.uri = "memory";
  options.opened = local.source;
  options.epochs = local.epochs;
  options.seed = local.seed;
  options.splits = local.splits;
  options.workers = 2;
  options.shards = 2;
  options.memory_bytes = 64 << 20;
  options.model_uri = "mem:/model";
  const auto report = Train(options, system.storage(), testing::CountingCluster(system, traffic), {});
  BOOST_REQUIRE_MESSAGE(report.ok(), report.status().ToString());
  return {traffic.bytes(), *report, ShowModel(**LoadModel(system.storage(), "mem:/model"), true)};
}

BOOST_AUTO_TEST_SUITE(EncodingSuite)

BOOST_AUTO_TEST_CASE(every_host_makes_the_oracles_model_bit_for_bit) {
  for (const char* encoding : {"delta+cache", "float16+pull_bfloat16", "int8+delta+cache", "int8+feedback+delta+cache", "random_k:0.3+onebit+feedback+delta",
                               "kkt:0.001+float16+delta"}) {
    const bool stateless = ParseEncoding(encoding)->filter != Encoding::Filter::kRandomK && !ParseEncoding(encoding)->feedback;
    for (const bool dense : {false, true}) {
      const auto oracle = testing::Hosts()[0]->Train(Options(encoding, dense));
      BOOST_REQUIRE_MESSAGE(oracle.ok(), oracle.status().ToString());
      for (const std::unique_ptr<Host>& host : testing::Hosts()) {
        BOOST_TEST_CONTEXT("host " << host->name() << ", " << encoding << (dense ? " dense" : " sparse")) {
          const auto result = host->Train(Options(encoding, dense));
          BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
          BOOST_TEST(result->nonzeros_read == result->nonzeros_applied);
          // What is kept for later pushes falls with its writer.
          if (host->exact() && (host->stands() || stateless)) BOOST_TEST(result->rows == oracle->rows);
          if (!host->stands()) BOOST_TEST(result->falls > 0u);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(each_encoding_saves_its_bytes_and_keeps_the_quality) {
  const Run plain = Counted(Options("none"));
  const auto value = [](const Run& run, const char* name) {
    for (const auto& [metric, number] : run.report.metrics)
      if (metric == name) return number;
    return std::nan("");
  };
  struct Case {
    const char* encoding;
    double bytes, auc;   // of small batches, where heads and parts are much of it, and how often shards are asked what they have depends on time: at most so
                         // many of the plain run's bytes; at most so much less area
  };
  for (const Case& c :
       {Case{"delta", 0.6, 0}, Case{"cache", 1.05, 0}, Case{"delta+cache", 0.6, 0}, Case{"float16+delta", 0.6, 0.002}, Case{"bfloat16+delta", 0.6, 0.002},
        Case{"int8+feedback+delta", 0.6, 0.002}, Case{"int8+feedback+delta+cache+pull_float16", 0.6, 0.002}, Case{"onebit+feedback+delta", 0.6, 0.02},
        Case{"top_k:0.2+feedback+delta", 0.6, 0.02}, Case{"random_k:0.2+feedback+delta", 0.6, 0.03}, Case{"threshold:0.002+feedback+delta", 0.6, 0.02}}) {
    const Run run = Counted(Options(c.encoding));
    BOOST_TEST_CONTEXT(c.encoding << ": bytes " << run.bytes << " of " << plain.bytes << ", auc " << value(run, "auc") << " of " << value(plain, "auc")) {
      BOOST_TEST(static_cast<double>(run.bytes) <= c.bytes * static_cast<double>(plain.bytes));
      BOOST_TEST(value(run, "auc") >= value(plain, "auc") - c.auc);
      BOOST_TEST(run.report.ledger_read == run.report.ledger_applied);
      if (ParseEncoding(c.encoding)->exact()) BOOST_TEST(run.rows == plain.rows);
    }
  }
}

BOOST_AUTO_TEST_CASE(an_encoding_that_is_none_is_refused_by_name) {
  const auto result = RunLocal(Options("int9+delta"));
  BOOST_TEST(absl::IsInvalidArgument(result.status()));
  BOOST_TEST(result.status().message() == "encoding is 'int9+delta': unknown word 'int9'; did you mean 'int8'?");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
