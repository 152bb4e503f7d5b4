// Made-up data of the shapes people train on, the same for the same seed everywhere: ctr (sparse click log, libsvm), dense (30 numbers and a label),
// clusters (stretched groups), ratings, text.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace troupe {

struct GenerateOptions {
  std::string kind;   ///< ctr | dense | clusters | ratings | text
  uint64_t rows = 0;
  uint64_t seed = 1;
  std::string
      uri;   ///< file to write; the extension decides the format: .svm/.libsvm (ctr, dense), .csv, .parquet (dense, clusters, ratings), .txt (text); .gz/.zst
  int threads = 2;
  uint64_t first = 0;                             ///< number of the first row: rows after a training file's, of the same seed, are new data of the same kind
  const std::atomic<bool>* cancelled = nullptr;   ///< set from outside: stop, and leave no file
};

struct GenerateReport {
  uint64_t rows = 0;
  uint64_t bytes = 0;
  uint64_t nonzeros = 0;   ///< ctr: entries written
};

std::vector<std::string> GeneratorKinds();
/// Writes the whole file, or nothing: to a temporary name beside it, then renamed. The bytes of a file do not depend on `threads`.
/// Errors  InvalidArgument: unknown kind, rows = 0, an extension that the kind does not have. ResourceExhausted: "PATH: no space left on device".
/// Cancelled.
absl::StatusOr<GenerateReport> Generate(const GenerateOptions& options);

}   // namespace troupe
