// The file formats: each registers itself in its own file, sources/<name>_source.cc, which is all that a new one takes.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataflow/source.h"

namespace troupe {

struct Format {
  std::string name;                      ///< as in --format
  std::vector<std::string> extensions;   ///< with the dot
  bool text = true;                      ///< may also be named .gz or .zst, which are decompressed by their extension
  bool named_columns = true;             ///< false: features have numbers only, as in libsvm
  int place = 100;                       ///< where it stands in messages that list the formats
  /// Opens files of the format, one or more, in the order of the rows. Paths as the user gave them, for messages.
  std::function<absl::StatusOr<std::shared_ptr<const Source>>(const SourceOptions&, std::vector<std::string> paths)> open;
};

/// Call it from an initialiser of the format's file: `const bool registered = RegisterFormat({...});`. Always true.
bool RegisterFormat(Format format);
/// In the order of their places.
std::span<const Format> Formats();
/// By name, or null.
const Format* FindFormat(std::string_view name);
/// By the extension (before .gz or .zst where it is a text format), or null.
const Format* FormatOfPath(std::string_view path);

}   // namespace troupe
