// Arrow's and Parquet's errors, returned or thrown, as ours: one line that starts with the file.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "arrow/status.h"

namespace troupe {

inline std::string OneLine(std::string text) {
  return absl::StrReplaceAll(text, {{"\r", ""}, {"\n", " "}});
}

inline absl::Status NotParquet(const std::string& path, std::string reason) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": not a whole Parquet file: ", OneLine(std::move(reason))));
}

/// f(), which returns a Status or StatusOr of ours; what is thrown inside becomes NotParquet.
template <class F>
auto CatchParquet(const std::string& path, F&& f) -> decltype(f()) {
  try {
    return f();
  } catch (const std::exception& error) {   // parquet::ParquetException, std::bad_alloc for the sizes in a broken file
    return NotParquet(path, error.what());
  }
}

}   // namespace troupe
