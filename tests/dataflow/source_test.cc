#include "dataflow/source.h"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

#include <sys/resource.h>
#include <sys/stat.h>

#include "actors/text.h"
#include "tests/dataflow/data_folder.h"

namespace troupe {
namespace {

using testing::DataFolder;
using testing::Gzip;
using testing::Zstd;

std::string ErrorOf(const SourceOptions& options) {
  const auto source = OpenSource(options);
  if (!source.ok()) return std::string(Message(source.status()));
  for (uint64_t i = 0; i < (*source)->pieces(); ++i) {
    if (const auto block = (*source)->Read(i); !block.ok()) return std::string(Message(block.status()));
  }
  return "none";
}

std::string ErrorIn(const std::string& uri) {
  return ErrorOf(SourceOptions{.uri = uri});
}

absl::StatusCode CodeOf(const SourceOptions& options) {
  return OpenSource(options).status().code();
}

// All rows, as text: "LABEL FEATURE:VALUE ...\n".
std::string RowsOf(const SourceOptions& options) {
  const auto source = OpenSource(options);
  if (!source.ok()) return std::string(Message(source.status()));
  std::string text;
  for (uint64_t i = 0; i < (*source)->pieces(); ++i) {
    const auto block = (*source)->Read(i);
    if (!block.ok()) return std::string(Message(block.status()));
    BOOST_TEST((*block)->piece == i);
    for (size_t r = 0; r < (*block)->rows; ++r) {
      text += (*block)->labels.empty() ? "-" : Exact((*block)->labels[r]);
      if ((*block)->is_dense()) {
        for (const float value : (*block)->row_dense(r)) text += " " + Exact(value);
      } else {
        const SparseRow row = (*block)->sparse.row(r);
        for (size_t e = 0; e < row.size(); ++e) {
          text += " " + std::to_string(row.feature(e)) + ":" + Exact(row.value(e));
        }
      }
      text += "\n";
    }
  }
  return text;
}

std::string RowsIn(const std::string& uri) {
  return RowsOf(SourceOptions{.uri = uri});
}

const Schema kModel{.format = "csv", .label = "y", .columns = {"b", "a"}};

}   // namespace

BOOST_AUTO_TEST_SUITE(SourceSuite)

BOOST_AUTO_TEST_CASE(files_are_read_by_their_extension_or_by_the_format_given) {
  const DataFolder folder;
  const std::string svm = "1 1:2\n0 3:1\n";
  for (const std::string name : {"a.svm", "a.libsvm"}) {
    BOOST_TEST(RowsIn(folder.Write(name, svm)) == svm);
    BOOST_TEST(RowsIn("file:" + folder.At(name)) == svm);
    BOOST_TEST(RowsIn("file://" + folder.At(name)) == svm);
    BOOST_TEST(RowsIn(folder.Write(name + ".gz", Gzip(svm))) == svm);
    BOOST_TEST(RowsIn(folder.Write(name + ".zst", Zstd(svm))) == svm);
  }
  BOOST_TEST(RowsOf({.uri = folder.Write("a9a", svm), .format = "libsvm"}) == svm);
  BOOST_TEST(RowsOf({.uri = folder.Write("a9a.gz", Gzip(svm)), .format = "libsvm"}) == svm);
  BOOST_TEST(RowsIn(folder.Write("a.csv", "x,label,y\n1,0,2\n3,1,4\n")) == "0 1 2\n1 3 4\n");
  BOOST_TEST(RowsIn(folder.Write("a.csv.gz", Gzip("\xef\xbb\xbfx,label,y\r\n1,0,2\r\n3,1,4"))) == "0 1 2\n1 3 4\n");
}

BOOST_AUTO_TEST_CASE(a_folder_is_its_files_in_the_order_of_their_names) {
  const DataFolder folder;
  folder.Write("d/b.svm", "1 2:1\n");
  folder.Write("d/a.svm", "1 1:1");
  folder.Write("d/c.libsvm.gz", Gzip("1 3:1\n"));
  folder.Write("d/.hidden.svm", "x");
  folder.Write("d/_part.svm", "x");
  folder.Write("d/README.md", "x");
  folder.Write("d/sub.svm/deep.svm", "x");
  BOOST_TEST(RowsIn(folder.At("d")) == "1 1:1\n1 2:1\n1 3:1\n");
  BOOST_TEST(RowsIn(folder.At("d/")) == "1 1:1\n1 2:1\n1 3:1\n");
  folder.Write("d/x.csv", "x,label\n1,1\n");
  BOOST_TEST(ErrorIn(folder.At("d")) == folder.At("d") + ": folder holds 'a.svm' and 'x.csv', expected files of one format (or --format)");
  BOOST_TEST(RowsOf({.uri = folder.At("d"), .format = "libsvm"}) == "1 1:1\n1 2:1\n1 3:1\n");
  folder.Write("e/part-0", "1 1:1\n");
  folder.Write("e/part-1", "0 1:1\n");
  folder.Write("e/_SUCCESS", "");
  BOOST_TEST(RowsOf({.uri = folder.At("e"), .format = "libsvm"}) == "1 1:1\n0 1:1\n");
}

BOOST_AUTO_TEST_CASE(what_is_not_there_or_unknown_is_refused) {
  const DataFolder folder;
  const std::string missing = folder.At("none.svm");
  BOOST_TEST(ErrorIn(missing) == missing + ": no such file or directory");
  BOOST_TEST((CodeOf({.uri = missing}) == absl::StatusCode::kNotFound));
  const std::string beyond = folder.Write("file.svm", "1 1:1\n") + "/a.svm";
  BOOST_TEST(ErrorIn(beyond) == beyond + ": no such file or directory");
  std::filesystem::create_directory(folder.At("empty"));
  BOOST_TEST(ErrorIn(folder.At("empty")) == folder.At("empty") + ": folder holds no data files, expected .svm, .libsvm, .csv or .parquet");
  BOOST_TEST((CodeOf({.uri = folder.At("empty")}) == absl::StatusCode::kNotFound));
  folder.Write("notes/a.md", "x");
  BOOST_TEST(ErrorIn(folder.At("notes")) == folder.At("notes") + ": folder holds no data files, expected .svm, .libsvm, .csv or .parquet");
  for (const std::string name : {"a.dat", "a.dat.gz", "a.parquet.gz", "gz", ".gz"}) {
    const std::string path = folder.Write(name, "1 1:1\n");
    BOOST_TEST(ErrorIn(path) == path + ": unknown format, expected .svm .libsvm .csv .parquet (or --format)");
  }
  BOOST_TEST(ErrorOf({.uri = folder.At("a.dat"), .format = "libsvn"}) == "unknown format 'libsvn'; did you mean 'libsvm'?");
  BOOST_TEST(ErrorIn("") != "none");
  BOOST_TEST(ErrorIn("s3://bucket/a.svm") != "none");
  BOOST_TEST((CodeOf({.uri = "s3://bucket/a.svm"}) == absl::StatusCode::kInvalidArgument));
  BOOST_TEST(ErrorOf({.uri = "/dev/null", .format = "libsvm"}) == "/dev/null: is not a regular file");
}

BOOST_AUTO_TEST_CASE(a_file_that_may_not_be_read_is_refused, *boost::unit_test::precondition([](auto) { return ::geteuid() != 0; })) {
  const DataFolder folder;
  const std::string path = folder.Write("a.svm", "1 1:1\n");
  ::chmod(path.c_str(), 0);
  BOOST_TEST(ErrorIn(path) == path + ": cannot be read: Permission denied");
}

BOOST_AUTO_TEST_CASE(a_data_set_without_rows_is_refused) {
  const DataFolder folder;
  for (const std::string name : {"a.svm", "a.csv", "a.svm.gz", "a.csv.zst"}) {
    const std::string path = folder.Write(name, "");
    BOOST_TEST(ErrorIn(path) == path + ": file is empty, expected rows");
    BOOST_TEST((CodeOf({.uri = path}) == absl::StatusCode::kInvalidArgument));
  }
  const auto empty = [&](const std::string& path) { BOOST_TEST(ErrorIn(path) == path + ": file is empty, expected rows"); };
  empty(folder.Write("b.svm.gz", Gzip("")));
  empty(folder.Write("b.csv.zst", Zstd("")));
  const auto no_rows = [&](const std::string& path) { BOOST_TEST(ErrorIn(path) == path + ": no rows"); };
  no_rows(folder.Write("c.svm", "\n\r\n  \t\n"));
  no_rows(folder.Write("c.svm", "# 1 1:1\n # x\n"));
  no_rows(folder.Write("c.svm", "\xef\xbb\xbf"));
  no_rows(folder.Write("c.csv", "\n\r\n"));
  no_rows(folder.Write("c.csv", "x,label\n"));
  no_rows(folder.Write("c.csv", "x,label"));
  no_rows(folder.Write("c.csv", "x,label\n\n\n"));
  folder.Write("d/a.svm", "1 1:1\n");
  folder.Write("d/b.svm", "");
  BOOST_TEST(ErrorIn(folder.At("d")) == folder.At("d/b.svm") + ": file is empty, expected rows");
  BOOST_TEST(RowsIn(folder.Write("e.svm", std::string(300000, '\n') + "1 1:1")) == "1 1:1\n");
}

BOOST_AUTO_TEST_CASE(a_cut_or_damaged_compressed_file_is_found_when_it_is_opened) {
  const DataFolder folder;
  std::string text;
  for (int i = 0; i < 20000; ++i) text += "1 " + std::to_string(i + 1) + ":" + std::to_string(i % 97) + "\n";
  const std::string gz = Gzip(text);
  const std::string zst = Zstd(text);
  for (const size_t size : {size_t{1}, size_t{5}, size_t{1000}, gz.size() / 2, gz.size() - 8, gz.size() - 1}) {
    const std::string path = folder.Write("a.svm.gz", gz.substr(0, size));
    BOOST_TEST(ErrorIn(path) == path + ": gzip stream is cut short after " + std::to_string(size) + " bytes, expected its end");
  }
  for (const size_t size : {size_t{1}, size_t{5}, size_t{1000}, zst.size() / 2, zst.size() - 1}) {
    const std::string path = folder.Write("a.svm.zst", zst.substr(0, size));
    BOOST_TEST(ErrorIn(path) == path + ": zstd stream is cut short after " + std::to_string(size) + " bytes, expected its end");
  }
  const std::string second = folder.Write("b.svm.gz", gz + gz.substr(0, 100));
  BOOST_TEST(ErrorIn(second) == second + ": gzip stream is cut short after " + std::to_string(gz.size() + 100) + " bytes, expected its end");

  std::string path = folder.Write("c.svm.gz", gz + "garbage");
  BOOST_TEST(ErrorIn(path) == path + ": byte " + std::to_string(gz.size()) + " lies behind the end of the gzip stream, expected nothing");
  path = folder.Write("c.svm.zst", zst + "garbage");
  BOOST_TEST(ErrorIn(path) == path + ": byte " + std::to_string(zst.size()) + " lies behind the end of the zstd stream, expected nothing");
  path = folder.Write("d.svm.gz", "1 1:1\n");
  BOOST_TEST(ErrorIn(path) == path + ": does not start as a gzip stream");
  path = folder.Write("d.svm.zst", "1 1:1\n");
  BOOST_TEST(ErrorIn(path) == path + ": does not start as a zstd stream");

  std::string damaged = gz;
  damaged[gz.size() / 2] = static_cast<char>(damaged[gz.size() / 2] ^ 0x55);
  path = folder.Write("e.svm.gz", damaged);
  BOOST_TEST(ErrorIn(path).starts_with(path + ": gzip stream is damaged before byte "), ErrorIn(path));
  damaged = gz;
  damaged[gz.size() - 6] = static_cast<char>(damaged[gz.size() - 6] ^ 1);   // the checksum
  path = folder.Write("e.svm.gz", damaged);
  BOOST_TEST(ErrorIn(path).ends_with(": incorrect data check"), ErrorIn(path));
  damaged = zst;
  damaged[zst.size() / 2] = static_cast<char>(damaged[zst.size() / 2] ^ 0x55);
  path = folder.Write("e.svm.zst", damaged);
  BOOST_TEST(ErrorIn(path) != "none");
}

BOOST_AUTO_TEST_CASE(a_full_disk_while_decompressing_is_resource_exhausted) {
  const DataFolder folder;
  const std::string path = folder.Write("a.svm.gz", Gzip("1 1:1\n" + std::string(1 << 20, '\n')));
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit;
  ::getrlimit(RLIMIT_FSIZE, &old_limit);
  rlimit limit = old_limit;
  limit.rlim_cur = 300000;
  ::setrlimit(RLIMIT_FSIZE, &limit);
  const absl::Status status = OpenSource({.uri = path}).status();
  ::setrlimit(RLIMIT_FSIZE, &old_limit);
  std::signal(SIGXFSZ, old_handler);
  BOOST_TEST((status.code() == absl::StatusCode::kResourceExhausted), status);
  BOOST_TEST(std::string(Message(status)).starts_with(path + ": cannot be decompressed in "), status);
}

BOOST_AUTO_TEST_CASE(decompressed_text_is_handed_on_by_descriptor) {
  const DataFolder folder;
  folder.Write("d/a.svm", "1 1:1\n");
  folder.Write("d/b.svm.gz", Gzip("1 2:1\n"));
  folder.Write("d/c.svm.zst", Zstd("1 3:1\n"));
  auto parent = *OpenSource({.uri = folder.At("d")});
  BOOST_TEST(parent->spool_fds().size() == 2u);
  const SourceOptions options{.uri = folder.At("d"), .spool_fds = parent->spool_fds()};
  folder.Write("d/b.svm.gz", "no longer gzip");   // is not looked at again
  folder.Write("d/c.svm.zst", "no longer zstd");
  BOOST_TEST(RowsOf(options) == "1 1:1\n1 2:1\n1 3:1\n");
  const auto child = *OpenSource(options);
  parent.reset();
  BOOST_TEST((*child->Read(child->pieces() - 1))->sparse.row(0).feature(0) == 3u);
  BOOST_TEST(OpenSource({.uri = folder.At("d/a.svm")}).value()->spool_fds().empty());
  const std::string closed = ErrorOf({.uri = folder.At("d/b.svm.gz"), .spool_fds = {9999}});
  BOOST_TEST(closed == folder.At("d/b.svm.gz") + ": inherited descriptor 9999 of its text: Bad file descriptor");
}

BOOST_AUTO_TEST_CASE(errors_in_text_name_path_and_line) {
  const DataFolder folder;
  std::string text;
  for (int i = 0; i < 40000; ++i) text += "1 1:1 2:0.5\n";
  const std::string path = folder.Write("a.svm", text + "1 0:1\n" + text);
  for (const uint32_t splits : {1u, 4u, 1000u}) BOOST_TEST(ErrorOf({.uri = path, .splits = splits}) == path + ":40001: index is 0, expected >= 1");
  const std::string cut = folder.Write("b.svm.gz", Gzip("1 1:1\r\n\r\n0 3:"));
  BOOST_TEST(ErrorIn(cut) == cut + ":3: '3:' is not INDEX:VALUE");
  const std::string csv = folder.Write("a.csv", "x,label\n1,1\n\nParis,0\n");
  BOOST_TEST(ErrorIn(csv) == csv + ":4: column 'x' is 'Paris', expected a number");
  BOOST_TEST(ErrorIn(folder.Write("a.csv", "x,label\n1,1\n1,2\n")) == csv + ":3: label is '2', expected 0 or 1");
  folder.Write("d/a.svm", "1 1:1\n");
  folder.Write("d/b.svm", "1 1:1\nx\n");
  BOOST_TEST(ErrorIn(folder.At("d")) == folder.At("d/b.svm") + ":2: label is 'x', expected 0 or 1");
  BOOST_TEST(RowsOf({.uri = folder.At("d"), .skip_bad_rows = true}) == "1 1:1\n1 1:1\n");
}

BOOST_AUTO_TEST_CASE(splits_change_the_pieces_but_not_the_rows) {
  const DataFolder folder;
  std::string svm;
  std::string csv = "a,label,b\n";
  for (int i = 1; i < 5000; ++i) {
    svm += std::to_string(i % 2) + " " + std::to_string(i) + ":0.5\n";
    csv += std::to_string(i) + "," + std::to_string(i % 2) + ",0.5\n";
  }
  for (const std::string& path : {folder.Write("a.svm", svm), folder.Write("a.csv", csv)}) {
    const std::string rows = RowsIn(path);
    BOOST_TEST(OpenSource({.uri = path, .splits = 4}).value()->pieces() >= 32u);
    for (const uint32_t splits : {2u, 7u, 100u}) BOOST_TEST((RowsOf({.uri = path, .splits = splits}) == rows));
  }
}

BOOST_AUTO_TEST_CASE(csv_columns_are_found_by_name) {
  const DataFolder folder;
  const std::string path = folder.Write("a.csv", "a,b,y,label\n1,2,0,1\n3,4,1,0\n");
  BOOST_TEST(RowsIn(path) == "1 1 2 0\n0 3 4 1\n");
  BOOST_TEST(RowsOf({.uri = path, .label = "y"}) == "0 1 2 1\n1 3 4 0\n");
  BOOST_TEST(RowsOf({.uri = path, .label_kind = LabelKind::kNone}) == "- 1 2 0 1\n- 3 4 1 0\n");
  BOOST_TEST(RowsOf({.uri = path, .label = "y", .label_kind = LabelKind::kNone}) == "- 1 2 1\n- 3 4 0\n");
  BOOST_TEST(ErrorOf({.uri = path, .label = "z"}) == path + ": no column 'z', expected one of: a, b, y, label");
  const Schema schema = (*OpenSource({.uri = path, .label = "y"}))->schema();
  BOOST_TEST((schema == Schema{.format = "csv", .label = "y", .columns = {"a", "b", "label"}}));
  const std::string plain = folder.Write("b.csv", "a,b\n1,2\n");
  BOOST_TEST(ErrorIn(plain) == plain + ": no column 'label', expected one of: a, b");
  const std::string alone = folder.Write("c.csv", "label\n1\n");
  BOOST_TEST(ErrorIn(alone) == alone + ": no columns besides 'label', expected features");
  const std::string twice = folder.Write("d.csv", "a,a,label\n1,2,1\n");
  BOOST_TEST(ErrorIn(twice) == twice + ":1: column 'a' stands twice");
}

BOOST_AUTO_TEST_CASE(csv_columns_of_a_model_are_taken_in_its_order) {
  const DataFolder folder;
  const std::string path = folder.Write("a.csv", "city,a,y,b,extra\nParis,1,0,2,7\n\"Lyon, x\",3,1,4,8\n");
  BOOST_TEST(RowsOf({.uri = path, .expected = kModel}) == "0 2 1\n1 4 3\n");
  BOOST_TEST(RowsOf({.uri = path, .label_kind = LabelKind::kNone, .expected = kModel}) == "- 2 1\n- 4 3\n");
  const std::string unlabelled = folder.Write("b.csv", "b,a\n1,2\n");
  BOOST_TEST(RowsOf({.uri = unlabelled, .label_kind = LabelKind::kNone, .expected = kModel}) == "- 1 2\n");
  BOOST_TEST(ErrorOf({.uri = unlabelled, .expected = kModel}) == unlabelled + ": no column 'y', expected one of: b, a");
  const std::string less = folder.Write("c.csv", "y,b\n1,2\n");
  BOOST_TEST(ErrorOf({.uri = less, .expected = kModel}) == less + ": no column 'a', which the model needs");
}

BOOST_AUTO_TEST_CASE(data_of_another_kind_than_the_models_is_refused) {
  const DataFolder folder;
  const std::string svm = folder.Write("a.svm", "1 1:1\n");
  const std::string csv = folder.Write("a.csv", "a,label\n1,1\n");
  BOOST_TEST(ErrorOf({.uri = svm, .expected = kModel}) == svm + ": format is libsvm, expected csv, which the model was trained on");
  const Schema sparse{.format = "libsvm", .label = "", .columns = {}};
  BOOST_TEST(ErrorOf({.uri = csv, .expected = sparse}) == csv + ": format is csv, expected libsvm, which the model was trained on");
  BOOST_TEST(RowsOf({.uri = svm, .expected = sparse}) == "1 1:1\n");
}

BOOST_AUTO_TEST_CASE(csv_files_of_a_folder_have_the_same_columns) {
  const DataFolder folder;
  folder.Write("d/a.csv", "a,b,label\n1,2,0\n");
  folder.Write("d/b.csv", "label,b,a\n1,4,3\n");
  BOOST_TEST(RowsIn(folder.At("d")) == "0 1 2\n1 3 4\n");
  folder.Write("d/c.csv", "label,b,a,c\n1,4,3,5\n");
  BOOST_TEST(ErrorIn(folder.At("d")) == folder.At("d/c.csv") + ": column 'c' is not in " + folder.At("d/a.csv"));
  folder.Write("d/c.csv", "label,b\n1,4\n");
  BOOST_TEST(ErrorIn(folder.At("d")) == folder.At("d/c.csv") + ": no column 'a', which " + folder.At("d/a.csv") + " has");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
