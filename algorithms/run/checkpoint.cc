#include "algorithms/run/checkpoint.h"

#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/snapshot.h"

namespace troupe {
namespace {

std::string FileUri(const std::string& folder) {
  return absl::StrCat(folder, "/checkpoint.troupe");
}
Block TextBlock(const std::string& text) {
  return Block::Copy(text.data(), text.size());
}

}   // namespace

std::string SnapshotUri(const std::string& folder, uint64_t id, uint32_t shard) {
  return absl::StrCat(folder, "/shard-", shard, ".", id, ".snapshot");
}

absl::Status WriteCheckpoint(Storage& storage, const std::string& folder, const Checkpoint& checkpoint, uint32_t shards, uint64_t kept_id) {
  std::vector<SnapshotSection> sections;
  const uint64_t numbers[] = {checkpoint.id, checkpoint.phases, checkpoint.data_epochs, checkpoint.rows, checkpoint.nonzeros};
  sections.push_back({"job", Block::Copy(numbers, sizeof(numbers))});
  for (const auto& [name, value] : checkpoint.identity) sections.push_back({absl::StrCat("identity/", name), TextBlock(value)});
  if (checkpoint.driver) sections.push_back({"driver", Block::Copy(std::span<const double>(*checkpoint.driver))});
  TROUPE_RETURN_IF_ERROR(WriteSnapshot(storage, FileUri(folder), sections, true));
  TROUPE_TRY(std::vector<std::string> names, storage.List(folder));
  for (const std::string& name : names) {
    if (!name.starts_with("shard-") || !name.ends_with(".snapshot")) continue;
    const std::string uri = absl::StrCat(folder, "/", name);
    bool needed = false;
    for (uint32_t shard = 0; shard < shards; ++shard)
      needed = needed || uri == SnapshotUri(folder, checkpoint.id, shard) || uri == SnapshotUri(folder, kept_id, shard);
    if (!needed) TROUPE_RETURN_IF_ERROR(storage.Remove(uri));
  }
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> ReadCheckpoint(Storage& storage, const std::string& folder) {
  TROUPE_TRY(std::vector<SnapshotSection> sections, ReadSnapshot(storage, FileUri(folder)));
  Checkpoint checkpoint;
  bool complete = false;
  for (const SnapshotSection& section : sections) {
    const std::string text(reinterpret_cast<const char*>(section.bytes.data()), section.bytes.size());
    if (section.name == "job") {
      uint64_t numbers[5];
      if (section.bytes.size() != sizeof(numbers)) break;
      std::memcpy(numbers, section.bytes.data(), sizeof(numbers));
      checkpoint.id = numbers[0];
      checkpoint.phases = numbers[1];
      checkpoint.data_epochs = numbers[2];
      checkpoint.rows = numbers[3];
      checkpoint.nonzeros = numbers[4];
      complete = true;
    } else if (section.name.starts_with("identity/")) {
      checkpoint.identity[section.name.substr(9)] = text;
    } else if (section.name == "driver") {
      checkpoint.driver.emplace(section.bytes.size() / sizeof(double));
      std::memcpy(checkpoint.driver->data(), section.bytes.data(), checkpoint.driver->size() * sizeof(double));
    }
  }
  if (!complete) return absl::DataLossError(absl::StrCat(FileUri(folder), ": no checkpoint of a run"));
  return checkpoint;
}

absl::Status CheckIdentity(const std::string& folder, const std::map<std::string, std::string>& found, const std::map<std::string, std::string>& expected) {
  for (const auto& [name, value] : expected) {
    const auto it = found.find(name);
    const std::string there = it == found.end() ? "not known" : it->second;
    if (there != value) return absl::InvalidArgumentError(absl::StrCat(folder, ": checkpoint of another run: ", name, " is ", there, ", expected ", value));
  }
  return absl::OkStatus();
}

}   // namespace troupe
