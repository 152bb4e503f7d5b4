// The list of formats, filled before main() starts.
#include "dataflow/format.h"

#include <algorithm>

#include "dataflow/internal/spool.h"

namespace troupe {
namespace {

std::vector<Format>& Registered() {
  static std::vector<Format> formats;
  return formats;
}

}   // namespace

bool RegisterFormat(Format format) {
  std::vector<Format>& formats = Registered();
  const auto after = std::find_if(formats.begin(), formats.end(), [&](const Format& other) { return other.place > format.place; });
  formats.insert(after, std::move(format));
  return true;
}

std::span<const Format> Formats() {
  return Registered();
}

const Format* FindFormat(std::string_view name) {
  for (const Format& format : Registered()) {
    if (format.name == name) return &format;
  }
  return nullptr;
}

const Format* FormatOfPath(std::string_view path) {
  for (const Format& format : Registered()) {
    const std::string_view name = format.text ? internal::WithoutCompression(path) : path;
    for (const std::string& extension : format.extensions) {
      if (name.ends_with(extension)) return &format;
    }
  }
  return nullptr;
}

}   // namespace troupe
