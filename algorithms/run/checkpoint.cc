#include "algorithms/run/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/partition.h"
#include "ps/reshard.h"
#include "ps/snapshot_places.h"

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

absl::Status WriteCheckpoint(Storage& storage, const std::string& folder, const Checkpoint& checkpoint, uint32_t places, uint64_t kept_id) {
  std::vector<SnapshotSection> sections;
  const uint64_t numbers[] = {checkpoint.id, checkpoint.shards, checkpoint.phases, checkpoint.data_epochs, checkpoint.rows, checkpoint.nonzeros};
  sections.push_back({"job", Block::Copy(numbers, sizeof(numbers))});
  for (const auto& [name, value] : checkpoint.identity) sections.push_back({absl::StrCat("identity/", name), TextBlock(value)});
  if (checkpoint.driver) sections.push_back({"driver", Block::Copy(std::span<const double>(*checkpoint.driver))});
  sections.push_back({"files", TextBlock(absl::StrJoin(checkpoint.files, "\n"))});
  TROUPE_RETURN_IF_ERROR(WriteSnapshot(storage, FileUri(folder), sections, true));
  std::set<std::string, std::less<>> needed(checkpoint.files.begin(), checkpoint.files.end());
  for (uint32_t place = 0; place < places; ++place) {
    for (const uint64_t id : {checkpoint.id, kept_id}) needed.emplace(FileName(SnapshotUri(folder, id, place)));
  }
  TROUPE_TRY(std::vector<std::string> names, storage.List(folder));
  for (const std::string& name : names) {
    if (!name.starts_with("shard-") || !name.ends_with(".snapshot")) continue;
    if (!needed.contains(name)) TROUPE_RETURN_IF_ERROR(storage.Remove(absl::StrCat(folder, "/", name)));
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
      uint64_t numbers[6];
      if (section.bytes.size() != sizeof(numbers)) break;
      std::memcpy(numbers, section.bytes.data(), sizeof(numbers));
      checkpoint.id = numbers[0];
      checkpoint.shards = static_cast<uint32_t>(numbers[1]);
      checkpoint.phases = numbers[2];
      checkpoint.data_epochs = numbers[3];
      checkpoint.rows = numbers[4];
      checkpoint.nonzeros = numbers[5];
      complete = true;
    } else if (section.name.starts_with("identity/")) {
      checkpoint.identity[section.name.substr(9)] = text;
    } else if (section.name == "files") {
      checkpoint.files = absl::StrSplit(text, '\n', absl::SkipEmpty());
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

absl::StatusOr<Checkpoint> ReshardCheckpoint(Storage& storage, const std::string& folder, const Checkpoint& checkpoint, std::span<const TableSpec> tables,
                                             bool in_rounds, uint32_t shards) {
  std::vector<std::vector<SnapshotSection>> states;
  for (uint32_t place = 0; place < PlacesOf(tables, checkpoint.shards); ++place) {
    TROUPE_TRY(std::vector<SnapshotSection> state, ReadPlaces(storage, SnapshotUri(folder, checkpoint.id, place)));
    states.push_back(std::move(state));
  }
  auto dealt = Reshard(tables, in_rounds, states, shards);
  if (!dealt.ok()) return WithContext(dealt.status(), folder);
  Checkpoint other = checkpoint;
  ++other.id;
  other.shards = shards;
  std::set<std::string> files;
  for (uint32_t place = 0; place < dealt->size(); ++place) {
    TROUPE_RETURN_IF_ERROR(WriteSnapshot(storage, SnapshotUri(folder, other.id, place), (*dealt)[place], true));
    TROUPE_TRY(const std::vector<std::string> needed, FilesOf((*dealt)[place]));
    files.insert(needed.begin(), needed.end());
  }
  other.files.assign(files.begin(), files.end());
  TROUPE_RETURN_IF_ERROR(WriteCheckpoint(storage, folder, other, static_cast<uint32_t>(dealt->size()), other.id));
  return other;
}

}   // namespace troupe
