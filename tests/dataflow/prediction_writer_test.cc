// Predictions in each format, and files that are whole or not there.
#include "dataflow/prediction_writer.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "actors/text.h"
#include "dataflow/source.h"
#include "tests/dataflow/data_folder.h"

namespace troupe {
namespace {

using testing::DataFolder;

std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct PredictionFixture : DataFolder {
  std::string Written(const std::string& name, const std::vector<float>& predictions) {
    auto writer = PredictionWriter::Open(At(name));
    BOOST_REQUIRE_MESSAGE(writer.ok(), writer.status());
    BOOST_REQUIRE((*writer)->Write(predictions).ok());
    BOOST_REQUIRE((*writer)->Finish().ok());
    BOOST_TEST((*writer)->rows() == predictions.size());
    return Slurp(At(name));
  }
  std::string Error(const std::string& path, absl::StatusCode code) {
    const auto writer = PredictionWriter::Open(path);
    BOOST_TEST((writer.status().code() == code), writer.status());
    return std::string(Message(writer.status()));
  }
  size_t Files() const { return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path()), {})); }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(PredictionWriterSuite, PredictionFixture)

BOOST_AUTO_TEST_CASE(numbers_are_the_shortest_text_that_reads_back) {
  const float third = 1.0f / 3;
  BOOST_TEST(Written("p.txt", {0.5f, third, -1e-20f, 16777216, std::numeric_limits<float>::min()}) == "0.5\n0.33333334\n-1e-20\n16777216\n1.1754944e-38\n");
  BOOST_TEST(Written("p", {1}) == "1\n");
  BOOST_TEST(Written("p.csv", {1, 2.5f}) == "prediction\n1\n2.5\n");
  BOOST_TEST(Written("none.csv", {}) == "prediction\n");
  BOOST_TEST(Written("none", {}).empty());
}

BOOST_AUTO_TEST_CASE(compressed_and_parquet_files_read_back) {
  std::vector<float> predictions;
  for (int i = 0; i < 300000; ++i) predictions.push_back(static_cast<float>(i) / 7);   // several pieces of text
  for (const std::string name : {"p.csv.gz", "p.CSV.zst", "p.csv", "p.parquet"}) {
    Written(name, predictions);
    SourceOptions options;
    options.uri = At(name);
    options.format = name == "p.parquet" ? "" : "csv";
    options.label_kind = LabelKind::kNone;
    const auto source = OpenSource(options);
    BOOST_REQUIRE_MESSAGE(source.ok(), source.status());
    BOOST_TEST((*source)->schema().columns == std::vector<std::string>{"prediction"}, boost::test_tools::per_element());
    std::vector<float> read;
    for (uint64_t i = 0; i < (*source)->pieces(); ++i) {
      const auto block = *(*source)->Read(i);
      read.insert(read.end(), block->dense.begin(), block->dense.end());
    }
    BOOST_TEST((read == predictions), name);
  }
  BOOST_TEST(!Written("empty.gz", {}).empty());
}

BOOST_AUTO_TEST_CASE(a_file_that_is_not_finished_is_not_there) {
  for (const std::string name : {"p.txt", "p.parquet"}) {
    {
      auto writer = PredictionWriter::Open(At(name));
      BOOST_REQUIRE(writer.ok());
      BOOST_TEST((*writer)->Write(std::vector<float>(500000, 0.25f)).ok());
      BOOST_TEST(Files() == 1u);   // the temporary one
      BOOST_TEST(!std::filesystem::exists(At(name)));
    }
    BOOST_TEST(Files() == 0u);
  }
}

BOOST_AUTO_TEST_CASE(an_old_file_stays_until_the_new_one_is_whole) {
  Written("p", {1});
  {
    auto writer = *PredictionWriter::Open("file:" + At("p"));
    BOOST_TEST(writer->Write(std::vector<float>{2}).ok());
    BOOST_TEST(Slurp(At("p")) == "1\n");
    BOOST_TEST(writer->Finish().ok());
  }
  BOOST_TEST(Slurp(At("p")) == "2\n");
  BOOST_TEST(Files() == 1u);
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_reported) {
  auto writer = *PredictionWriter::Open("/dev/full");
  BOOST_TEST(writer->Write(std::vector<float>{1, 2}).ok());   // still in memory
  const absl::Status status = writer->Finish();
  BOOST_TEST((status.code() == absl::StatusCode::kResourceExhausted));
  BOOST_TEST(Message(status) == "/dev/full: no space left on device");
  auto large = *PredictionWriter::Open("/dev/full");
  BOOST_TEST(Message(large->Write(std::vector<float>(1000000, 0.1f))) == "/dev/full: no space left on device");
  std::filesystem::create_symlink("/dev/full", At("p.parquet"));
  auto parquet = PredictionWriter::Open(At("p.parquet"));
  absl::Status full = parquet.status();
  if (full.ok()) full = (*parquet)->Write(std::vector<float>(300000, 0.1f));
  BOOST_TEST(Message(full) == At("p.parquet") + ": no space left on device");
}

BOOST_AUTO_TEST_CASE(places_that_cannot_be_written_are_refused) {
  BOOST_TEST(Error(At("none/p"), absl::StatusCode::kNotFound) == At("none/p") + ": no such folder");
  BOOST_TEST(Error(path(), absl::StatusCode::kInvalidArgument) == path() + ": is a folder, expected a file to write");
  BOOST_TEST(Error(At("p") + "/", absl::StatusCode::kInvalidArgument) == At("p") + "/: is a folder, expected a file to write");
  Write("file", "x");
  BOOST_TEST(Error(At("file/p"), absl::StatusCode::kNotFound) == At("file/p") + ": a part of the path is not a folder");
  BOOST_TEST(Error(At("p.parquet.zst"), absl::StatusCode::kInvalidArgument) ==
             At("p.parquet.zst") + ": Parquet is compressed in itself, expected .parquet without .gz or .zst");
  BOOST_TEST(Error("s3://bucket/p", absl::StatusCode::kInvalidArgument).starts_with("s3://bucket/p"));
  BOOST_TEST(Error("/proc/none/p", absl::StatusCode::kNotFound) == "/proc/none/p: no such folder");
}

BOOST_AUTO_TEST_CASE(extensions) {
  BOOST_TEST(ExtensionOf("a.b/C.SVM.Gz").format == ".svm");
  BOOST_TEST((ExtensionOf("a.b/C.SVM.Gz").compression == Compression::kGzip));
  BOOST_TEST((ExtensionOf("x.zst").compression == Compression::kZstd));
  BOOST_TEST(ExtensionOf("x.zst").format == "");
  BOOST_TEST(ExtensionOf("a.b/c").format == "");
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
