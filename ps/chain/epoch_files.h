// What the last members of a chain leave for whoever begins it anew: each writes files of its own, named after the epoch since which it has been the last, so
// that none of them can write into another one's. The newest snapshot has all that was acknowledged, with its log where there is one.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "actors/storage/storage.h"

namespace troupe {

/// `uri`: how all snapshots of the shard begin.
std::string SnapshotOfEpoch(const std::string& uri, uint64_t epoch);
/// The name of a log (push_log.h).
std::string LogOfEpoch(uint32_t shard, uint64_t epoch);

/// What is listed from now on is what is there now, also where this host's view of a shared file system is some seconds old: it has been written to.
/// Unavailable: there is no room, which may come.
absl::Status LookAnew(Storage& storage, const std::string& uri);
/// The newest epoch before `epoch` that has left a snapshot; 0: there is none.
absl::StatusOr<uint64_t> NewestEpoch(Storage& storage, const std::string& uri, uint64_t epoch);
/// Removes snapshots and logs (in `folder`) of epochs before `epoch`, whose own snapshot is there. What cannot be removed stays for the next time.
void DropEarlierEpochs(Storage& storage, const std::string& uri, const std::string& folder, uint32_t shard, uint64_t epoch);

}   // namespace troupe
