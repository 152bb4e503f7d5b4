// What a model folder says about itself: manifest.json, for people and for programs. Its last field is a checksum over all the text before it, so that an
// edited manifest is noticed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "dataflow/source.h"

namespace troupe {

struct Manifest {
  static constexpr int kFormat = 1;   // a reader refuses higher ones

  struct Table {
    std::string name;
    uint32_t width = 1;
    uint64_t rows = 0;
    bool operator==(const Table&) const = default;
  };
  struct Part {
    std::string name;   ///< file in the folder
    uint64_t bytes = 0;
    std::string checksum;   ///< of the file: XXH3 64, 16 hex digits
    bool operator==(const Part&) const = default;
  };

  std::string troupe_version;
  std::string algorithm;
  std::map<std::string, std::string> params;
  Schema schema;
  LabelKind labels = LabelKind::kNone;
  uint64_t seed = 1;
  int epochs = 1;
  std::string consistency = "bsp";
  std::string data;   ///< URI
  uint64_t rows = 0;
  std::vector<std::pair<std::string, double>> metrics;
  std::string created;         ///< UTC, ISO 8601
  std::vector<Table> tables;   ///< in the order of the algorithm's Blueprint
  std::vector<Part> parts;
  bool operator==(const Manifest&) const = default;
};

/// The text of manifest.json. Metrics that are not finite are left out (JSON has no word for them).
std::string ToJson(const Manifest& manifest);
/// Errors DataLoss: "checksum differs: cut or edited". FailedPrecondition: "model format is 2, expected at most 1: written by a newer version".
/// InvalidArgument: not a manifest of ours, or a field that is missing or of the wrong kind.
absl::StatusOr<Manifest> ParseManifest(std::string_view text);
/// Whether the text starts as ours do, whatever became of the rest.
bool LooksLikeManifest(std::string_view text);
/// 16 hex digits of XXH3 64.
std::string Checksum(const void* bytes, size_t size);

}   // namespace troupe
