#include "algorithms/run/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

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

constexpr std::string_view kState = "shard-", kHead = "checkpoint.";

Block TextBlock(const std::string& text) {
  return Block::Copy(text.data(), text.size());
}

/// The number of the checkpoint that a file belongs to, "shard-0.7.snapshot" and "checkpoint.7.troupe"; 0: none.
uint64_t IdOf(std::string_view name) {
  if (!name.starts_with(kState) && !name.starts_with(kHead)) return 0;
  const char* from = name.data() + name.find('.') + 1;
  uint64_t id = 0;
  std::from_chars(from, name.data() + name.size(), id);
  return id;
}

absl::StatusOr<Checkpoint> Read(Storage& storage, const std::string& uri) {
  TROUPE_TRY(std::vector<SnapshotSection> sections, ReadSnapshot(storage, uri));
  Checkpoint checkpoint;
  bool complete = false;
  for (const SnapshotSection& section : sections) {
    const std::string text(reinterpret_cast<const char*>(section.bytes.data()), section.bytes.size());
    if (section.name == "job") {
      uint64_t numbers[8];
      if (section.bytes.size() != sizeof(numbers)) break;
      std::memcpy(numbers, section.bytes.data(), sizeof(numbers));
      checkpoint.id = numbers[0];
      checkpoint.shards = static_cast<uint32_t>(numbers[1]);
      checkpoint.places = static_cast<uint32_t>(numbers[2]);
      checkpoint.clock = numbers[3];
      checkpoint.phases = numbers[4];
      checkpoint.data_epochs = numbers[5];
      checkpoint.rows = numbers[6];
      checkpoint.nonzeros = numbers[7];
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
  if (!complete) return absl::DataLossError(absl::StrCat(uri, ": no checkpoint of a run"));
  return checkpoint;
}

/// The checkpoints of a folder by the names in it, oldest first.
std::vector<uint64_t> IdsOf(const std::vector<std::string>& names) {
  std::vector<uint64_t> ids;
  for (const std::string& name : names) {
    if (name.starts_with(kHead) && IdOf(name) > 0) ids.push_back(IdOf(name));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::string Stand(Round clock) {
  if (clock <= kFirstRound) return "the beginning";
  if (OrdinalOf(clock) == 0) return absl::StrCat("the end of phase ", PhaseOf(clock) - 1);
  return absl::StrCat("round ", OrdinalOf(clock), " of phase ", PhaseOf(clock));
}

}   // namespace

std::string SnapshotUri(const std::string& folder, uint64_t id, uint32_t shard) {
  return absl::StrCat(folder, "/", Absl(kState), shard, ".", id, ".snapshot");
}
std::string CheckpointUri(const std::string& folder, uint64_t id) {
  return absl::StrCat(folder, "/", Absl(kHead), id, ".troupe");
}

absl::StatusOr<Checkpoint> ReadCheckpoint(Storage& storage, const std::string& folder) {
  TROUPE_TRY(const std::vector<std::string> names, storage.List(folder));
  const std::vector<uint64_t> ids = IdsOf(names);
  if (ids.empty()) return absl::NotFoundError(absl::StrCat(folder, ": no checkpoint"));
  return Read(storage, CheckpointUri(folder, ids.back()));
}

absl::Status CheckIdentity(const std::string& folder, const std::map<std::string, std::string>& found, const std::map<std::string, std::string>& expected) {
  for (const auto& [name, value] : expected) {
    const auto it = found.find(name);
    const std::string there = it == found.end() ? "not known" : it->second;
    if (there != value) return absl::InvalidArgumentError(absl::StrCat(folder, ": checkpoint of another run: ", name, " is ", there, ", expected ", value));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<uint64_t>> CheckpointFolder::ReadIds() {
  const auto names = storage_.List(folder_);
  if (absl::IsNotFound(names.status())) return std::vector<uint64_t>();
  TROUPE_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) next_id_ = std::max(next_id_, IdOf(name) + 1);
  return IdsOf(*names);
}

absl::Status CheckpointFolder::Begin() {
  return ReadIds().status();
}

absl::StatusOr<Checkpoint> CheckpointFolder::ReadOne(uint64_t id) {
  const std::string uri = CheckpointUri(folder_, id);
  TROUPE_TRY(Checkpoint checkpoint, Read(storage_, uri));
  if (checkpoint.id != id) return absl::DataLossError(absl::StrCat(uri, ": is checkpoint ", checkpoint.id, ", expected ", id));
  return checkpoint;
}

absl::Status CheckpointFolder::Verify(const Checkpoint& checkpoint, bool all) {
  for (const std::string& file : checkpoint.files) {
    const std::string uri = absl::StrCat(folder_, "/", file);
    TROUPE_TRY(const bool there, storage_.Exists(uri));
    if (!there) return absl::NotFoundError(absl::StrCat(uri, ": no such file or directory"));
  }
  for (uint32_t place = 0; all && place < checkpoint.places; ++place) {
    TROUPE_RETURN_IF_ERROR(ReadPlacedSnapshot(storage_, SnapshotUri(folder_, checkpoint.id, place)).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<CheckpointFolder::Found>> CheckpointFolder::Find(bool accept_loss) {
  TROUPE_TRY(const std::vector<uint64_t> ids, ReadIds());
  standing_.clear();
  std::optional<Found> found;
  absl::Status newest;      // what is wrong with it
  std::string newest_was;   // where it stood
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
    auto checkpoint = ReadOne(*id);
    absl::Status status = checkpoint.status();
    if (!found) {
      if (status.ok()) status = Verify(*checkpoint, accept_loss);
      if (!status.ok() && !accept_loss) return status;
      if (status.ok()) {
        found = Found{*checkpoint, {}};
        if (!newest.ok()) {
          found->lost = absl::StrCat("checkpoint ", ids.back(), " is not whole (", newest.message(), "): the run goes on from checkpoint ", *id, ", at ",
                                     Stand(checkpoint->clock), "; what came after it", newest_was, " is lost");
        }
      } else if (newest.ok()) {
        newest = status;
        if (checkpoint.ok()) newest_was = absl::StrCat(", up to ", Stand(checkpoint->clock), ",");
      }
    }
    if (status.ok()) standing_.insert(standing_.begin(), *std::move(checkpoint));   // an older one that is damaged is of no use
  }
  if (!found && !newest.ok()) return newest;
  if (found) restored_ = {found->checkpoint.files.begin(), found->checkpoint.files.end()};
  return found;
}

absl::Status CheckpointFolder::Write(const Checkpoint& checkpoint) {
  std::vector<SnapshotSection> sections;
  const uint64_t numbers[] = {checkpoint.id,     checkpoint.shards,      checkpoint.places, checkpoint.clock,
                              checkpoint.phases, checkpoint.data_epochs, checkpoint.rows,   checkpoint.nonzeros};
  sections.push_back({"job", Block::Copy(numbers, sizeof(numbers))});
  for (const auto& [name, value] : checkpoint.identity) sections.push_back({absl::StrCat("identity/", name), TextBlock(value)});
  if (checkpoint.driver) sections.push_back({"driver", Block::Copy(std::span<const double>(*checkpoint.driver))});
  sections.push_back({"files", TextBlock(absl::StrJoin(checkpoint.files, "\n"))});
  TROUPE_RETURN_IF_ERROR(WriteSnapshot(storage_, CheckpointUri(folder_, checkpoint.id), sections, true));
  next_id_ = std::max(next_id_, checkpoint.id + 1);
  standing_.push_back(checkpoint);
  if (standing_.size() > kept_) standing_.erase(standing_.begin(), standing_.end() - kept_);
  const absl::Status tidied = Tidy();
  return absl::IsUnavailable(tidied) ? absl::OkStatus() : tidied;   // what is left goes with the next one
}

absl::Status CheckpointFolder::Tidy() {
  std::set<std::string> needed = restored_;
  for (const Checkpoint& checkpoint : standing_) {
    needed.insert(checkpoint.files.begin(), checkpoint.files.end());
    needed.emplace(FileName(CheckpointUri(folder_, checkpoint.id)));
  }
  TROUPE_TRY(const std::vector<std::string> names, storage_.List(folder_));
  for (const std::string_view kind : {kHead, kState}) {   // first what refers, then what is referred to
    for (const std::string& name : names) {
      if (name.starts_with(kind) && IdOf(name) > 0 && !needed.contains(name)) TROUPE_RETURN_IF_ERROR(storage_.Remove(absl::StrCat(folder_, "/", name)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Checkpoint> CheckpointFolder::Reshard(const Checkpoint& checkpoint, std::span<const TableSpec> tables, bool in_rounds, uint32_t shards) {
  TROUPE_RETURN_IF_ERROR(Verify(checkpoint, true));   // what is written here takes the place of older ones, which may be all that is whole
  std::vector<std::vector<SnapshotSection>> states;
  for (uint32_t place = 0; place < checkpoint.places; ++place) {
    TROUPE_TRY(std::vector<SnapshotSection> state, ReadPlaces(storage_, SnapshotUri(folder_, checkpoint.id, place)));
    states.push_back(std::move(state));
  }
  auto dealt = troupe::Reshard(tables, in_rounds, states, shards);
  if (!dealt.ok()) return WithContext(dealt.status(), folder_);
  Checkpoint other = checkpoint;
  other.id = next_id_;
  other.shards = shards;
  other.places = static_cast<uint32_t>(dealt->size());
  std::set<std::string> files;
  for (uint32_t place = 0; place < other.places; ++place) {
    const std::string uri = SnapshotUri(folder_, other.id, place);
    TROUPE_RETURN_IF_ERROR(WriteSnapshot(storage_, uri, (*dealt)[place], true));
    TROUPE_TRY(const std::vector<std::string> needed, FilesOf((*dealt)[place]));
    files.insert(needed.begin(), needed.end());
    files.emplace(FileName(uri));
  }
  other.files.assign(files.begin(), files.end());
  restored_ = files;
  TROUPE_RETURN_IF_ERROR(Write(other));
  return other;
}

}   // namespace troupe
