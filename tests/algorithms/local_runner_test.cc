// The oracle itself: what a round is, against the same steps written out; and real data.
#include "algorithms/run/local_runner.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>

#include "actors/text.h"
#include "algorithms/run/read_rows.h"
#include "algorithms/run/scorer.h"
#include "dataflow/split_reader.h"
#include "tests/algorithms/memory_source.h"

namespace troupe {
namespace {

using testing::LearnableRows;
using testing::MemorySource;

BOOST_AUTO_TEST_SUITE(LocalRunnerSuite)

BOOST_AUTO_TEST_CASE(a_round_is_the_mean_gradient_of_one_batch_of_every_split_that_still_has_one) {
  // 50 rows in pieces of 10 over 3 splits (1, 2 and 2 pieces), batches of 8: split 0 drops out after 2 rounds, the others go on. Plain SGD, in doubles.
  const auto source = std::make_shared<MemorySource>(LearnableRows(Task::kRegression, true, 50, 1), 10);
  const auto result = RunLocal({.algorithm = "linear_regression",
                                .params = {{"rule", "sgd"}, {"learning_rate", "0.05"}, {"batch_size", "8"}},
                                .source = source,
                                .splits = 3,
                                .seed = 5,
                                .epochs = 2});
  BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  std::vector<double> w(13);
  for (uint64_t epoch = 0; epoch < 2; ++epoch) {
    double loss = 0;
    std::vector<std::unique_ptr<SplitReader>> readers;
    for (uint32_t s = 0; s < 3; ++s) {
      readers.push_back(std::make_unique<SplitReader>(source, nullptr, SplitOptions{.split = s, .splits = 3, .batch_rows = 8, .seed = 5}));
      BOOST_REQUIRE(readers[s]->Seek(epoch, 0).ok());
    }
    for (int left = 3; left > 0;) {
      std::vector<double> sum(13);
      left = 0;
      for (const auto& reader : readers) {
        const auto batch = *reader->Next();
        if (!batch) continue;
        ++left;
        for (size_t i = 0; i < batch->rows(); ++i) {
          double m = w[0];
          for (size_t c = 0; c < 12; ++c) m += w[c + 1] * double{batch->dense(i)[c]};
          const double d = m - double{batch->label(i)};
          loss += d * d / 2;
          sum[0] += d / static_cast<double>(batch->rows());
          for (size_t c = 0; c < 12; ++c) sum[c + 1] += d * double{batch->dense(i)[c]} / static_cast<double>(batch->rows());
        }
      }
      for (size_t j = 0; left > 0 && j < 13; ++j) w[j] -= 0.05 * sum[j] / left;
    }
    BOOST_TEST(result->reports[epoch].value == loss / 50, boost::test_tools::tolerance(1e-4));
  }
  const auto model = *MakeModel(*result);
  for (size_t j = 0; j < 13; ++j) BOOST_TEST(std::abs(double{model->Direct(0)[j]} - w[j]) < 1e-5);
  BOOST_TEST(result->rows == 100);
  BOOST_TEST(result->nonzeros_read == 1200);
  BOOST_TEST(result->nonzeros_pushed == 1200);
}

BOOST_AUTO_TEST_CASE(penalties_spare_the_intercept) {
  const auto source = std::make_shared<MemorySource>(LearnableRows(Task::kBinary, false, 200, 1), 50);
  const auto result = RunLocal({.algorithm = "logistic_regression", .params = {{"l1", "1000"}}, .source = source, .epochs = 2});
  BOOST_REQUIRE(result.ok());
  const auto model = *MakeModel(*result);
  float intercept = 0;
  const Key key = 0;
  model->Lookup(0, {&key, 1}, &intercept);
  BOOST_TEST(intercept != 0);
  for (size_t f = 1; f < model->Direct(0).size(); ++f) BOOST_TEST(model->Direct(0)[f] == 0);
}

BOOST_AUTO_TEST_CASE(a_bad_piece_ends_the_run_with_its_error) {
  const auto source = std::make_shared<MemorySource>(LearnableRows(Task::kBinary, false, 100, 1), 10, true, 9);
  BOOST_TEST(Message(RunLocal({.algorithm = "logistic_regression", .source = source, .splits = 4}).status()) == "memory:9: bad");
}

BOOST_AUTO_TEST_CASE(given_rows_are_read_in_the_columns_of_the_data) {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("troupe_read_rows_" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  const auto storage = MakeLocalStorage();
  const auto write = [&](const std::string& name, const std::string& text) {
    TROUPE_CHECK(storage->Write((folder / name).string(), {Block::Copy(text.data(), text.size())}, false).ok());
    return (folder / name).string();
  };
  const std::string csv = write("start.csv", "b,extra,a\n1,2,3\n4,5,6\n"), svm = write("start.svm", "0 2:5\n1 1:1 4:2\n");
  const auto dense = ReadAllRows(csv, {"parquet", "", {"a", "b"}});
  BOOST_REQUIRE_MESSAGE(dense.ok(), dense.status().ToString());
  BOOST_TEST((*dense == std::vector<std::vector<float>>{{3, 1}, {6, 4}}));
  const auto sparse = ReadAllRows(svm, {"libsvm", "", {}});
  BOOST_REQUIRE_MESSAGE(sparse.ok(), sparse.status().ToString());
  BOOST_TEST((*sparse == std::vector<std::vector<float>>{{0, 5, 0, 0}, {1, 0, 0, 2}}));
  BOOST_TEST(!ReadAllRows(csv, {"libsvm", "", {}}).ok());
  BOOST_TEST(!ReadAllRows(csv, {"csv", "", {"a", "c"}}).ok());
  BOOST_TEST(absl::IsNotFound(ReadAllRows((folder / "none.csv").string(), {"csv", "", {"a"}}).status()));
  const auto source = std::make_shared<MemorySource>(std::vector<testing::TestRow>{{0, {{2, 5.0f}}, {}}, {0, {{1, 1.0f}, {4, 2.0f}}, {}}}, 1, false);
  const auto result = RunLocal({.algorithm = "k_means", .params = {{"k", "2"}, {"init", svm}}, .source = source});
  BOOST_TEST(result.ok(), result.status().ToString());
  BOOST_TEST(Message(RunLocal({.algorithm = "k_means", .params = {{"k", "3"}, {"init", svm}}, .source = source}).status()) == svm + ": 2 rows, expected k = 3");
  std::filesystem::remove_all(folder);
}

BOOST_AUTO_TEST_CASE(adult_reaches_the_known_quality_with_the_defaults) {
  const auto folder = std::filesystem::path(TROUPE_SOURCE_FOLDER) / "../shared/data/a9a";
  if (!std::filesystem::exists(folder)) {
    BOOST_TEST_MESSAGE("skipped: no ../shared/data/a9a beside the checkout");
    return;
  }
  const auto open = [&folder](const char* name, uint32_t splits) {
    SourceOptions options;
    options.uri = (folder / name).string();
    options.format = "libsvm";
    options.splits = splits;
    return OpenSource(options);
  };
  const auto train = open("a9a_123d_train.libsvm.gz", 4), test = open("a9a_123d_test.libsvm.gz", 1);
  BOOST_REQUIRE_MESSAGE(train.ok() && test.ok(), train.status().ToString());
  const auto result = RunLocal({.algorithm = "logistic_regression", .source = *train, .splits = 4, .epochs = 20});
  BOOST_REQUIRE_MESSAGE(result.ok(), result.status().ToString());
  const auto model = *MakeModel(*result);
  const auto scored = Score(model->predictor(), Task::kBinary, {.source = *test});
  BOOST_REQUIRE(scored.ok());
  BOOST_TEST(scored->rows == 16281);
  BOOST_TEST(scored->metrics.at(0).second >= 0.901);
  BOOST_TEST(scored->metrics.at(1).second <= 0.327);
  BOOST_TEST_MESSAGE("a9a: AUC " << scored->metrics.at(0).second << ", log loss " << scored->metrics.at(1).second);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
