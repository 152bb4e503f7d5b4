#include "ps/chain/epoch_files.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "actors/status.h"

namespace troupe {
namespace {

/// The number that follows `start` in a file's name, up to its end or to a point.
std::optional<uint64_t> NumberBehind(absl::string_view name, absl::string_view start) {
  uint64_t number = 0;
  if (!absl::ConsumePrefix(&name, start) || !absl::SimpleAtoi(name.substr(0, name.find('.')), &number)) return std::nullopt;
  return number;
}

struct Place {
  std::string folder, name;
};
Place PlaceOf(const std::string& uri) {
  const size_t slash = uri.rfind('/');
  return {uri.substr(0, slash), uri.substr(slash + 1)};
}

}   // namespace

std::string SnapshotOfEpoch(const std::string& uri, uint64_t epoch) {
  return absl::StrCat(uri, ".", epoch);
}

std::string LogOfEpoch(uint32_t shard, uint64_t epoch) {
  return absl::StrCat("shard-", shard, ".e", epoch);
}

absl::Status LookAnew(Storage& storage, const std::string& uri) {
  const std::string file = absl::StrCat(uri, ".look");
  const absl::Status written = storage.Write(file, {}, false);
  if (absl::IsResourceExhausted(written)) return absl::UnavailableError(written.message());
  TROUPE_RETURN_IF_ERROR(written);
  return storage.Remove(file);
}

absl::StatusOr<uint64_t> NewestEpoch(Storage& storage, const std::string& uri, uint64_t epoch) {
  const Place place = PlaceOf(uri);
  const absl::StatusOr<std::vector<std::string>> names = storage.List(place.folder);
  if (absl::IsNotFound(names.status())) return 0;
  TROUPE_RETURN_IF_ERROR(names.status());
  uint64_t newest = 0;
  for (const std::string& name : *names) {
    const std::optional<uint64_t> of = NumberBehind(name, absl::StrCat(place.name, "."));
    if (of && *of < epoch && name == absl::StrCat(place.name, ".", *of)) newest = std::max(newest, *of);   // and nothing that is being written
  }
  return newest;
}

void DropEarlierEpochs(Storage& storage, const std::string& uri, const std::string& folder, uint32_t shard, uint64_t epoch) {
  const auto drop = [&](const std::string& in, const std::string& start) {
    const absl::StatusOr<std::vector<std::string>> names = storage.List(in);
    if (!names.ok()) return;
    for (const std::string& name : *names) {
      const std::optional<uint64_t> of = NumberBehind(name, start);
      if (of && *of < epoch) storage.Remove(absl::StrCat(in, "/", name)).IgnoreError();
    }
  };
  const Place place = PlaceOf(uri);
  drop(folder, absl::StrCat("shard-", shard, ".e"));
  drop(place.folder, absl::StrCat(place.name, "."));
}

}   // namespace troupe
