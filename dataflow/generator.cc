// Threads make blocks of rows and write them in order.
#include "dataflow/generator.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "absl/strings/str_join.h"
#include "actors/status.h"
#include "actors/text.h"
#include "dataflow/generated/generated_rows.h"
#include "dataflow/output_file.h"
#include "dataflow/parquet_plugin.h"

namespace troupe {
namespace {

constexpr uint64_t kBlockRows = 10000;

/// Lets threads act in the order of their turns. The first error ends all further ones.
class Turns {
 public:
  explicit Turns(const std::atomic<bool>* cancelled) : cancelled_(cancelled) {}
  /// Runs `act` after that of turn - 1 has ended. False: something has failed.
  template <class F>
  bool Take(uint64_t turn, F&& act) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return next_ == turn || !status_.ok(); });
    if (!status_.ok()) return false;
    lock.unlock();
    const absl::Status status = cancelled_ != nullptr && *cancelled_ ? absl::CancelledError("stopped by a signal") : act();
    lock.lock();
    ++next_;
    status_.Update(status);
    changed_.notify_all();
    return status_.ok();
  }
  const absl::Status& status() const { return status_; }

 private:
  const std::atomic<bool>* const cancelled_;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t next_ = 0;
  absl::Status status_;
};

/// Calls work(block, first row, rows, turns) for every block from `threads` threads. work returns false to stop.
template <class F>
absl::Status ForEachBlock(const GenerateOptions& options, const F& work) {
  const uint64_t blocks = (options.rows + kBlockRows - 1) / kBlockRows;
  const uint64_t threads = std::min(blocks, static_cast<uint64_t>(std::max(options.threads, 1)));
  std::atomic<uint64_t> next = 0;
  Turns turns(options.cancelled);
  {
    std::vector<std::jthread> workers;
    for (uint64_t t = 0; t < threads; ++t) {
      workers.emplace_back([&] {
        auto state = work();   // a thread's own buffers
        for (uint64_t block = next++; block < blocks; block = next++) {
          const uint64_t first = block * kBlockRows, n = std::min(kBlockRows, options.rows - first);
          if (!state(block, options.first + first, n, &turns)) return;
        }
      });
    }
  }
  return turns.status();
}

absl::Status WriteText(const GenerateOptions& options, const GeneratedRows& rows, const FileExtension& extension, OutputFile* file,
                       std::atomic<uint64_t>* nonzeros) {
  return ForEachBlock(options, [&] {
    return [&, text = std::make_unique<TextBuffer>()](uint64_t block, uint64_t first, uint64_t n, Turns* turns) {
      text->Clear();
      if (block == 0) rows.AppendHeader(extension.format, text.get());
      *nonzeros += rows.AppendText(extension.format, first, n, text.get());
      if (extension.compression == Compression::kNone) return turns->Take(block, [&] { return file->Write(text->view()); });
      const std::string compressed = Compress(text->view(), extension.compression);
      return turns->Take(block, [&] { return file->Write(compressed); });
    };
  });
}

absl::Status WriteParquet(const GenerateOptions& options, const GeneratedRows& rows, OutputFile* file) {
  TROUPE_TRY(const std::unique_ptr<ColumnWriter> writer, OpenParquetWriter(file, rows.columns()));
  TROUPE_RETURN_IF_ERROR(ForEachBlock(options, [&] {
    return [&, table = std::vector<float>()](uint64_t block, uint64_t first, uint64_t n, Turns* turns) mutable {
      table.resize(n * rows.columns().size());
      rows.FillTable(first, n, table.data());
      return turns->Take(block, [&] { return writer->Write(table); });
    };
  }));
  return writer->Finish();
}

absl::Status CheckExtension(const GenerateOptions& options, const GeneratedRows& rows, const FileExtension& extension) {
  const std::vector<std::string> formats = rows.formats();
  if (std::find(formats.begin(), formats.end(), extension.format) == formats.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.uri, ": ", options.kind, " cannot be written as '", extension.format, "', expected one of: ", absl::StrJoin(formats, ", ")));
  }
  if (extension.format == ".parquet" && extension.compression != Compression::kNone) {
    return absl::InvalidArgumentError(options.uri + ": Parquet is compressed in itself, expected .parquet without .gz or .zst");
  }
  return absl::OkStatus();
}

}   // namespace

std::vector<std::string> GeneratorKinds() {
  return GeneratedKinds();
}

absl::StatusOr<GenerateReport> Generate(const GenerateOptions& options) {
  const std::vector<std::string> kinds = GeneratedKinds();
  if (std::find(kinds.begin(), kinds.end(), options.kind) == kinds.end()) return absl::InvalidArgumentError(UnknownName("kind", options.kind, kinds));
  if (options.rows == 0) return absl::InvalidArgumentError("rows is 0, expected >= 1");
  const FileExtension extension = ExtensionOf(options.uri);
  const std::unique_ptr<GeneratedRows> rows = MakeGeneratedRows(options.kind, options.seed);
  TROUPE_RETURN_IF_ERROR(CheckExtension(options, *rows, extension));
  TROUPE_TRY(const std::unique_ptr<OutputFile> file, OutputFile::Open(options.uri));
  std::atomic<uint64_t> nonzeros = 0;
  TROUPE_RETURN_IF_ERROR(extension.format == ".parquet" ? WriteParquet(options, *rows, file.get())
                                                        : WriteText(options, *rows, extension, file.get(), &nonzeros));
  TROUPE_RETURN_IF_ERROR(file->Commit());
  return GenerateReport{.rows = options.rows, .bytes = file->bytes(), .nonzeros = nonzeros};
}

}   // namespace troupe
