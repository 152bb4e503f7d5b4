// Generated data: the same for any number of threads and from any row on, the same as a file and as a source, of the shapes that it promises.
#include "dataflow/generator.h"

#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <set>
#include <thread>

#include "actors/text.h"
#include "dataflow/generated/distributions.h"
#include "dataflow/generated_source.h"
#include "dataflow/parquet_plugin.h"
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

SourceOptions Options(const std::string& uri, LabelKind kind = LabelKind::kBinary, uint32_t splits = 1) {
  SourceOptions options;
  options.uri = uri;
  options.label_kind = kind;
  options.splits = splits;
  return options;
}

struct GeneratorFixture : DataFolder {
  std::string Generated(const std::string& kind, const std::string& name, uint64_t rows, uint64_t seed = 7, int threads = 2, uint64_t first = 0) {
    auto report = Generate({.kind = kind, .rows = rows, .seed = seed, .uri = At(name), .threads = threads, .first = first});
    BOOST_REQUIRE_MESSAGE(report.ok(), report.status());
    BOOST_TEST(report->rows == rows);
    BOOST_TEST(report->bytes == std::filesystem::file_size(At(name)));
    return Slurp(At(name));
  }
  std::string Error(GenerateOptions options) {
    const auto report = Generate(options);
    BOOST_TEST((report.status().code() == absl::StatusCode::kInvalidArgument), report.status());
    return std::string(Message(report.status()));
  }
  std::shared_ptr<const Source> Open(const std::string& uri, LabelKind kind = LabelKind::kBinary) {
    auto source = OpenSource(Options(uri, kind, 2));
    BOOST_REQUIRE_MESSAGE(source.ok(), source.status());
    return *source;
  }
};

/// All rows of a source as one block.
RowBlock ReadAll(const Source& source) {
  RowBlock all;
  for (uint64_t i = 0; i < source.pieces(); ++i) {
    const auto piece = source.Read(i);
    BOOST_REQUIRE_MESSAGE(piece.ok(), piece.status());
    const RowBlock& block = **piece;
    all.rows += block.rows;
    all.columns = block.columns;
    all.labels.insert(all.labels.end(), block.labels.begin(), block.labels.end());
    all.dense.insert(all.dense.end(), block.dense.begin(), block.dense.end());
    for (size_t r = 0; !block.is_dense() && r < block.rows; ++r) {
      const SparseRow row = block.sparse.row(r);
      for (size_t i = 0; i < row.size(); ++i) all.sparse.Add(row.feature(i), row.value(i));
      all.sparse.EndRow();
    }
  }
  return all;
}

std::string ErrorOf(const std::string& uri) {
  const auto source = OpenSource(Options(uri));
  BOOST_TEST((source.status().code() == absl::StatusCode::kInvalidArgument), source.status());
  return std::string(Message(source.status()));
}

size_t Lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

}   // namespace

BOOST_FIXTURE_TEST_SUITE(GeneratorSuite, GeneratorFixture)

BOOST_AUTO_TEST_CASE(files_do_not_depend_on_threads_and_any_part_can_be_made_alone) {
  const std::vector<std::pair<std::string, std::string>> files = {{"ctr", ".svm"},      {"dense", ".svm"},   {"dense", ".csv"}, {"dense", ".parquet"},
                                                                  {"clusters", ".csv"}, {"ratings", ".csv"}, {"text", ".txt"}};
  for (const auto& [kind, format] : files) {
    const std::string whole = Generated(kind, "one" + format, 25000, 7, 1);
    BOOST_TEST((whole == Generated(kind, "three" + format, 25000, 7, 3)), kind << format);
    BOOST_TEST((whole != Generated(kind, "other" + format, 25000, 8, 2)), kind << format);
    if (format == ".parquet") continue;
    const std::string start = Generated(kind, "start" + format, 12345), rest = Generated(kind, "rest" + format, 25000 - 12345, 7, 2, 12345);
    const size_t header = format == ".csv" ? rest.find('\n') + 1 : 0;
    BOOST_TEST((whole == start + rest.substr(header)), kind << format);
    BOOST_TEST(Lines(whole) == 25000 + (header > 0 ? 1 : 0));
  }
}

BOOST_AUTO_TEST_CASE(a_click_log_has_the_shape_that_it_promises) {
  const uint64_t rows = 20000;
  const std::string text = Generated("ctr", "ctr.svm", rows);
  const RowBlock all = ReadAll(*Open(At("ctr.svm")));
  BOOST_TEST(all.rows == rows);
  const double bytes = static_cast<double>(text.size()) / rows, entries = static_cast<double>(all.sparse.entries()) / rows;
  BOOST_TEST(bytes > 340);
  BOOST_TEST(bytes < 360);
  BOOST_TEST(entries > 38.9);
  BOOST_TEST(entries <= 39);
  double positives = 0;
  for (const float label : all.labels) positives += label;
  BOOST_TEST(positives / rows > 0.28);
  BOOST_TEST(positives / rows < 0.40);
  for (size_t r = 0; r < rows; ++r) {
    const SparseRow row = all.sparse.row(r);
    for (size_t i = 0; i < row.size(); ++i) {
      const bool numeric = i < 13;
      const Feature feature = row.feature(i);
      if (numeric ? feature != i + 1 : (feature < 14 || feature >= (1 << 20) || feature <= row.feature(i - 1))) BOOST_FAIL("row " << r);
      if (!numeric && row.value(i) != 1) BOOST_FAIL("row " << r);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_source_gives_the_rows_of_the_file) {
  const auto report = Generate({.kind = "ctr", .rows = 5000, .seed = 3, .uri = At("ctr.svm")});
  const RowBlock file = ReadAll(*Open(At("ctr.svm"))), direct = ReadAll(*Open("generate:ctr?rows=5000&seed=3"));
  BOOST_TEST(file.labels == direct.labels);
  BOOST_TEST((file.sparse == direct.sparse));
  BOOST_TEST(report->nonzeros == file.sparse.entries());
  for (const std::string name : {"d.csv", "d.parquet"}) {
    Generated("dense", name, 3000, 3);
    const auto from_file = Open(At(name)), generated = Open("generate:dense?seed=3&rows=3000");
    BOOST_TEST(ReadAll(*from_file).dense == ReadAll(*generated).dense);
    BOOST_TEST(ReadAll(*from_file).labels == ReadAll(*generated).labels);
    BOOST_TEST(from_file->schema().columns == generated->schema().columns);
    BOOST_TEST(from_file->schema().label == generated->schema().label);
  }
  Generated("dense", "d.svm", 3000, 3);
  const RowBlock sparse = ReadAll(*Open(At("d.svm"))), dense = ReadAll(*Open("generate:dense?seed=3&rows=3000"));
  BOOST_TEST_REQUIRE(sparse.sparse.rows() == 3000u);
  for (size_t r = 0; r < 3000; ++r) {
    const SparseRow row = sparse.sparse.row(r);
    BOOST_TEST_REQUIRE(row.size() == dense.columns);
    for (size_t i = 0; i < row.size(); ++i) BOOST_TEST_REQUIRE(row.value(i) == dense.row_dense(r)[i]);
  }
  Generated("clusters", "c.parquet", 3000, 3);
  BOOST_TEST(ReadAll(*Open(At("c.parquet"), LabelKind::kNone)).dense == ReadAll(*Open("generate:clusters?seed=3&rows=3000", LabelKind::kNone)).dense);
}

BOOST_AUTO_TEST_CASE(compressed_files_hold_the_same_text) {
  Generated("ctr", "plain.svm", 15000);
  const RowBlock plain = ReadAll(*Open(At("plain.svm")));
  for (const std::string name : {"a.svm.gz", "a.svm.zst"}) {
    BOOST_TEST(Generated("ctr", name, 15000).size() < 0.5 * static_cast<double>(std::filesystem::file_size(At("plain.svm"))));
    BOOST_TEST((ReadAll(*Open(At(name))).sparse == plain.sparse));
  }
}

BOOST_AUTO_TEST_CASE(rows_after_a_training_set_come_from_the_same_model) {
  const RowBlock all = ReadAll(*Open("generate:ctr?rows=3000&seed=5")), rest = ReadAll(*Open("generate:ctr?rows=1000&seed=5&first=2000"));
  BOOST_TEST(std::vector<float>(all.labels.begin() + 2000, all.labels.end()) == rest.labels);
  for (size_t r = 0; r < 1000; ++r) {
    const SparseRow a = all.sparse.row(2000 + r), b = rest.sparse.row(r);
    BOOST_TEST_REQUIRE(a.size() == b.size());
    for (size_t i = 0; i < a.size(); ++i) BOOST_TEST_REQUIRE((a.feature(i) == b.feature(i) && a.value(i) == b.value(i)));
  }
}

BOOST_AUTO_TEST_CASE(a_source_takes_columns_by_name_and_labels_where_they_are_wanted) {
  SourceOptions options = Options("generate:dense?rows=10", LabelKind::kNone);
  BOOST_TEST((*OpenSource(options))->schema().columns.size() == 31u);   // as in a file: nobody says which one is the label
  options.label = "label";
  BOOST_TEST((*OpenSource(options))->schema().columns.size() == 30u);
  BOOST_TEST((*(*OpenSource(options))->Read(0))->labels.empty());
  options.label_kind = LabelKind::kBinary;
  options.expected = Schema{.format = "parquet", .label = "label", .columns = {"f3", "f1"}};
  const auto narrow = *(*OpenSource(options))->Read(0), wide = *Open("generate:dense?rows=10")->Read(0);
  BOOST_TEST(narrow->columns == 2u);
  BOOST_TEST(narrow->row_dense(9)[0] == wide->row_dense(9)[3]);
  BOOST_TEST(narrow->row_dense(9)[1] == wide->row_dense(9)[1]);
  BOOST_TEST(narrow->labels == wide->labels);
  BOOST_TEST((*(*OpenSource(Options("generate:ctr?rows=10", LabelKind::kNone)))->Read(0))->labels.empty());
}

BOOST_AUTO_TEST_CASE(a_small_source_still_has_pieces_for_its_splits) {
  const auto source = *OpenSource(Options("generate:ctr?rows=100000", LabelKind::kBinary, 8));
  BOOST_TEST(source->pieces() >= 32u);
  BOOST_TEST(source->rows().value() == 100000u);
  BOOST_TEST(source->bytes() == 35000000u);
}

BOOST_AUTO_TEST_CASE(ratings_and_text_look_as_they_should) {
  std::istringstream ratings(Generated("ratings", "r.csv", 20000));
  std::string line;
  std::getline(ratings, line);
  BOOST_TEST(line == "user,item,rating");
  double sum = 0;
  std::set<unsigned long> users;
  while (std::getline(ratings, line)) {
    unsigned long user = 0, item = 0;
    double rating = 0;
    BOOST_REQUIRE(std::sscanf(line.c_str(), "%lu,%lu,%lf", &user, &item, &rating) == 3);
    if (user >= 100000 || item >= 20000 || rating < 0.5 || rating > 5) BOOST_FAIL(line);
    users.insert(user);
    sum += rating;
  }
  BOOST_TEST(std::fabs(sum / 20000 - 3) < 0.2);
  BOOST_TEST(users.size() > 2000u);
  const std::string text = Generated("text", "t.txt", 1000);
  BOOST_TEST(std::count(text.begin(), text.end(), ' ') == 9000);
  BOOST_TEST(Generated("ratings", "r.parquet", 1000).starts_with("PAR1"));
}

BOOST_AUTO_TEST_CASE(normal_numbers_have_the_moments_of_a_normal_distribution) {
  Random random(1);
  std::vector<float> x(400001);
  NormalTable::Get().Fill(&random, x.size(), x.data());
  std::array<double, 5> moment{};
  double beyond_two = 0;
  for (const double value : x) {
    for (int k = 1; k <= 4; ++k) moment[static_cast<size_t>(k)] += std::pow(value, k) / static_cast<double>(x.size());
    beyond_two += std::fabs(value) > 2;
  }
  BOOST_TEST(std::fabs(moment[1]) < 0.01);
  BOOST_TEST(std::fabs(moment[2] - 1) < 0.01);
  BOOST_TEST(std::fabs(moment[3]) < 0.03);
  BOOST_TEST(std::fabs(moment[4] - 3) < 0.06);
  BOOST_TEST(std::fabs(beyond_two / static_cast<double>(x.size()) - 0.0455) < 0.002);
}

BOOST_AUTO_TEST_CASE(zipf_ranks_have_their_probabilities) {
  const ZipfTable table(1.25, 200000, true), closed(1.2, 3, false);
  Random random(2);
  const size_t draws = 400000;
  std::map<uint32_t, double> share;
  for (size_t i = 0; i < draws; ++i) share[table.Draw(static_cast<uint32_t>(random.Next()))] += 1.0 / draws;
  const double zeta = 4.595111825;   // zeta(1.25)
  for (const uint32_t rank : {0u, 1u, 2u, 9u}) BOOST_TEST(std::fabs(share[rank] - std::pow(rank + 1, -1.25) / zeta) < 0.003);
  BOOST_TEST(std::fabs(share[199999] - 0.0412) < 0.002);   // the endless rest
  BOOST_TEST(share.rbegin()->first == 199999u);
  BOOST_TEST(closed.Draw(0) == 0u);
  BOOST_TEST(closed.Draw(UINT32_MAX) == 2u);
}

BOOST_AUTO_TEST_CASE(wrong_requests_are_refused) {
  const std::string svm = At("a.svm");
  BOOST_TEST(Error({.kind = "cttr", .rows = 1, .uri = svm}) == "unknown kind 'cttr'; did you mean 'ctr'?");
  BOOST_TEST(Error({.kind = "ctr", .rows = 0, .uri = svm}) == "rows is 0, expected >= 1");
  BOOST_TEST(Error({.kind = "ctr", .rows = 1, .uri = At("a.csv")}) == At("a.csv") + ": ctr cannot be written as '.csv', expected one of: .svm, .libsvm");
  BOOST_TEST(Error({.kind = "text", .rows = 1, .uri = At("a")}) == At("a") + ": text cannot be written as '', expected one of: .txt");
  BOOST_TEST(Error({.kind = "dense", .rows = 1, .uri = At("a.parquet.gz")}) ==
             At("a.parquet.gz") + ": Parquet is compressed in itself, expected .parquet without .gz or .zst");
  BOOST_TEST(Message(Generate({.kind = "ctr", .rows = 1, .uri = At("none/a.svm")}).status()) == At("none/a.svm") + ": no such folder");
  BOOST_TEST(std::filesystem::is_empty(path()));
}

BOOST_AUTO_TEST_CASE(wrong_sources_are_refused) {
  BOOST_TEST(ErrorOf("generate:cttr?rows=1") == "generate:cttr?rows=1: unknown kind 'cttr'; did you mean 'ctr'?");
  BOOST_TEST(ErrorOf("generate:ctr") == "generate:ctr: rows is 0, expected >= 1");
  BOOST_TEST(ErrorOf("generate:ctr?row=1") == "generate:ctr?row=1: unknown parameter 'row'; did you mean 'rows'?");
  BOOST_TEST(ErrorOf("generate:ctr?rows=x1") == "generate:ctr?rows=x1: rows is 'x1', expected a whole number");
  BOOST_TEST(ErrorOf("generate:ctr?rows") == "generate:ctr?rows: rows is '', expected a whole number");
  BOOST_TEST(ErrorOf("generate:ctr?rows=2&first=18446744073709551615") == "generate:ctr?rows=2&first=18446744073709551615: first + rows is beyond 2^64");
  BOOST_TEST(ErrorOf("generate:text?rows=1") == "generate:text?rows=1: text cannot be trained on, expected ctr, dense or clusters");
  BOOST_TEST(ErrorOf("generate:ratings?rows=1") == "generate:ratings?rows=1: ratings cannot be trained on, expected ctr, dense or clusters");
  BOOST_TEST(ErrorOf("generate:clusters?rows=1").starts_with("generate:clusters?rows=1: no column 'label', expected one of: f0, f1"));
  SourceOptions options = Options("generate:dense?rows=9");
  options.label = "f0";
  BOOST_TEST(Message((*OpenSource(options))->Read(0).status()).starts_with("generate:dense?rows=9: row 1: f0 is "));
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_reported_and_leaves_nothing) {
  for (const auto& [kind, name] : std::map<std::string, std::string>{{"ctr", "full.svm"}, {"dense", "full.parquet"}, {"text", "full.txt.gz"}}) {
    std::filesystem::create_symlink("/dev/full", At(name));
    const auto report = Generate({.kind = kind, .rows = 30000, .uri = At(name), .threads = 3});
    BOOST_TEST(Message(report.status()) == At(name) + ": no space left on device");
    BOOST_TEST((report.status().code() == absl::StatusCode::kResourceExhausted));
    std::filesystem::remove(At(name));
  }
  BOOST_TEST(std::filesystem::is_empty(path()));
}

BOOST_AUTO_TEST_CASE(a_run_that_is_stopped_leaves_nothing) {
  const std::atomic<bool> stop = true;
  for (const auto& [kind, name] : std::map<std::string, std::string>{{"ctr", "a.svm"}, {"dense", "a.parquet"}, {"text", "a.txt.zst"}}) {
    const auto report = Generate({.kind = kind, .rows = 50000, .uri = At(name), .threads = 3, .cancelled = &stop});
    BOOST_TEST((report.status().code() == absl::StatusCode::kCancelled));
  }
  BOOST_TEST(std::filesystem::is_empty(path()));
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
