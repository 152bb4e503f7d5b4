#include "dataflow/bench.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string_view>

#include "actors/status.h"
#include "dataflow/generator.h"
#include "dataflow/output_file.h"
#include "dataflow/source.h"

namespace troupe {
namespace {

constexpr int kRuns = 7;

/// This process's own time: what else runs on the machine does not count. Everything here works in one thread at a time.
double Now() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

using Work = std::function<absl::Status()>;

/// Medians of several runs of each, in turn, so that both meet the same machine. `bytes`: what one run works on.
absl::StatusOr<BenchRow> Compare(const std::string& name, double bytes, const Work& ours, const Work& plain) {
  std::vector<double> seconds[2];
  for (int run = 0; run < kRuns; ++run) {
    for (const bool is_plain : {false, true}) {
      const double start = Now();
      TROUPE_RETURN_IF_ERROR(is_plain ? plain() : ours());
      seconds[is_plain ? 1 : 0].push_back(Now() - start);
    }
  }
  for (auto& times : seconds) std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  const double our_seconds = seconds[0][kRuns / 2], plain_seconds = seconds[1][kRuns / 2];
  return BenchRow{.name = name, .value = bytes / our_seconds / 1e6, .unit = "MB/s", .limit = bytes / plain_seconds / 1e6, .ratio = plain_seconds / our_seconds};
}

/// The plain way to read a decimal number: digit by digit, then one multiplication by a power of ten.
inline const char* AddNumber(const char* p, double* sum) {
  static constexpr double kPowers[] = {1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15, 1e-16};
  const bool negative = *p == '-';
  p += negative;
  uint64_t digits = 0;
  for (; *p >= '0' && *p <= '9'; ++p) digits = digits * 10 + static_cast<uint64_t>(*p - '0');
  const char* point = p;
  if (*p == '.') {
    for (++p; *p >= '0' && *p <= '9'; ++p) digits = digits * 10 + static_cast<uint64_t>(*p - '0');
    ++point;
  }
  double value = static_cast<double>(digits) * kPowers[std::min<size_t>(static_cast<size_t>(p - point), 16)];
  if (*p == 'e') {
    double exponent = 0;
    p = AddNumber(p + 1, &exponent);
    if (exponent < 0 && exponent > -17) value *= kPowers[static_cast<int>(-exponent)];
  }
  *sum += negative ? -value : value;
  return p;
}

/// "label index:value index:value ...": everything parsed and added up, nothing kept.
double SumLibsvm(std::string_view text) {
  double sum = 0;
  uint64_t indices = 0;
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    p = AddNumber(p, &sum);
    while (*p == ' ') {
      uint64_t index = 0;
      for (++p; *p >= '0' && *p <= '9'; ++p) index = index * 10 + static_cast<uint64_t>(*p - '0');
      indices += index;
      p = AddNumber(p + 1, &sum);
    }
    ++p;
  }
  return sum + static_cast<double>(indices);
}

/// Numbers with one separator after each; the header's line is passed over.
double SumCsv(std::string_view text) {
  double sum = 0;
  for (const char *p = text.data() + text.find('\n') + 1, *end = text.data() + text.size(); p < end;) p = AddNumber(p, &sum) + 1;
  return sum;
}

/// A folder that is removed with all it holds.
class TemporaryFolder {
 public:
  absl::Status Make() {
    std::error_code error;
    std::string name = (std::filesystem::temp_directory_path(error) / "troupe-bench-XXXXXX").string();
    if (error || ::mkdtemp(name.data()) == nullptr) return absl::InternalError(name + ": no folder for temporary files can be made");
    path_ = name;
    return absl::OkStatus();
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  std::string At(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// All of a file; it ends with a newline, behind which the loops above do not look further than the string's own zero.
absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::string text(std::filesystem::file_size(path), '\0');
  std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file || std::fread(text.data(), 1, text.size(), file.get()) != text.size()) return absl::InternalError(path + ": cannot be read");
  return text;
}

absl::Status ReadPieces(const Source& source) {
  for (uint64_t i = 0; i < source.pieces(); ++i) {
    TROUPE_TRY(const auto block, source.Read(i));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Source>> MakeSource(const std::string& kind, uint64_t rows, const std::string& path) {
  GenerateOptions generate;
  generate.kind = kind;
  generate.rows = rows;
  generate.uri = path;
  TROUPE_RETURN_IF_ERROR(Generate(generate).status());
  SourceOptions options;
  options.uri = path;
  return OpenSource(options);
}

/// `sum` of the text is compared with nothing, only kept: otherwise the compiler would leave the loop out.
absl::StatusOr<BenchRow> BenchText(const std::string& name, const std::string& kind, uint64_t rows, const std::string& path, double (*sum)(std::string_view)) {
  TROUPE_TRY(const auto source, MakeSource(kind, rows, path));
  TROUPE_TRY(const std::string text, ReadText(path));
  volatile double kept = 0;
  return Compare(
      name, static_cast<double>(text.size()), [&] { return ReadPieces(*source); },
      [&] {
        kept = sum(text);
        return absl::OkStatus();
      });
}

absl::StatusOr<BenchRow> BenchParquet(uint64_t rows, const std::string& path) {
  TROUPE_TRY(const auto source, MakeSource("dense", rows, path));
  const size_t floats = rows * source->schema().columns.size();
  const std::vector<float> all(floats, 1);
  return Compare(
      "Parquet to dense blocks, one core; limit: copying the blocks", static_cast<double>(floats) * sizeof(float), [&] { return ReadPieces(*source); },
      [&] {
        for (uint64_t i = 0; i < source->pieces(); ++i) {
          const size_t first = floats * i / source->pieces(), last = floats * (i + 1) / source->pieces();
          volatile float kept = std::vector<float>(all.begin() + static_cast<ptrdiff_t>(first), all.begin() + static_cast<ptrdiff_t>(last)).back();
          (void)kept;
        }
        return absl::OkStatus();
      });
}

absl::StatusOr<BenchRow> BenchGenerate(uint64_t rows, const TemporaryFolder& folder) {
  GenerateOptions generate;
  generate.kind = "ctr";
  generate.rows = rows;
  generate.uri = folder.At("made.svm");
  generate.threads = 1;
  TROUPE_RETURN_IF_ERROR(Generate(generate).status());
  TROUPE_TRY(const std::string text, ReadText(generate.uri));
  return Compare(
      "click log made and written, one core; limit: writing the same text", static_cast<double>(text.size()), [&] { return Generate(generate).status(); },
      [&] {
        TROUPE_TRY(const auto file, OutputFile::Open(folder.At("copy.svm")));
        TROUPE_RETURN_IF_ERROR(file->Write(text));
        return file->Commit();
      });
}

}   // namespace

absl::StatusOr<std::vector<BenchRow>> BenchDataflow(bool full) {
  return BenchDataflowRows(full ? 500000 : 100000);
}

absl::StatusOr<std::vector<BenchRow>> BenchDataflowRows(uint64_t rows) {
  TemporaryFolder folder;
  TROUPE_RETURN_IF_ERROR(folder.Make());
  std::vector<BenchRow> table;
  TROUPE_TRY(table.emplace_back(),
             BenchText("libsvm to sparse blocks, one core; limit: parsing and summing only", "ctr", rows, folder.At("ctr.svm"), SumLibsvm));
  TROUPE_TRY(table.emplace_back(), BenchText("CSV to dense blocks, one core; limit: parsing and summing only", "dense", rows, folder.At("dense.csv"), SumCsv));
  TROUPE_TRY(table.emplace_back(), BenchParquet(2 * rows, folder.At("dense.parquet")));
  TROUPE_TRY(table.emplace_back(), BenchGenerate(rows, folder));
  return table;
}

}   // namespace troupe
