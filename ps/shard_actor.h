// The actor around a Shard: messages in, replies out, pulls that wait, snapshots on a timer.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "ps/messages.h"
#include "ps/shard.h"

namespace troupe {

struct ShardActorOptions {
  ShardOptions shard;
  /// Where the shard keeps its state for its own replacement; empty: nowhere (one process). A snapshot that is there when the actor starts is loaded.
  std::string snapshot_uri;
  std::chrono::milliseconds snapshot_interval{500};
  /// What to begin with when there is no snapshot at snapshot_uri: a checkpoint of an earlier run; empty: zeros.
  std::string restore_uri;
  /// What to begin with in place of any file: another shard's state, as Shard::Save has given it; null: the files.
  std::shared_ptr<const std::vector<SnapshotSection>> state = nullptr;
  /// A local folder for a log of what the shard is told, each push on the disk before it is answered (push_log.h); snapshot_uri then holds what the log does
  /// not go back to, and is written when the log has grown by `log_bytes_max`. Empty: none. Not for tables that go by rounds, or whose encoding leaves keys out
  /// ("cache"); rows that come with SaveRows or Call are not logged.
  std::string log_folder = {};
  /// The log's name there, whose snapshot must be at snapshot_uri; empty: "shard-N", which may be a new one.
  std::string log_name = {};
  uint64_t log_bytes_max = 256 << 20;
  /// For whoever has the log still open, which may be about to end.
  std::chrono::milliseconds log_patience{5'000};
  /// A log that its disk has failed is begun again so often, with a snapshot: there may be room by then.
  std::chrono::milliseconds log_retry{1'000};
  /// A pull that waits for other writers longer than this is answered DeadlineExceeded; its writer asks again.
  std::chrono::milliseconds pull_wait_max{8'000};
  /// In place of a shard that was lost: so long at most, from the start, pulls wait for writers to send again what the shard lacks (catch_up.h). 0: not at all.
  std::chrono::milliseconds catch_up_max{0};
  /// Where rows beyond a table's memory_max lie: a folder of this shard's own, emptied at the start and removed at the end (snapshots are what lasts), or
  /// "mem:...", which stands for a disk in memory. Empty: tables have no memory_max.
  std::string tier_folder = {};
};

/// For an actor of the same process that hands a shard's state on (chain_member_actor.h): sent to a ShardActor as messages of their own, which do not travel.
/// The state behind all changes that it has been sent before, without the ranges that come in slices. Unavailable: it is catching up.
struct AskState {};
/// reply to AskState
struct ShardState {
  std::vector<SnapshotSection> sections;   ///< Shard::SaveForReplica
  std::vector<Push> waiting;               ///< Shard::Waiting
};
/// Ranges from `first` on, of about `bytes`, behind all changes that it has been sent before. Unavailable: it holds rounds back now.
struct AskSlice {
  uint32_t first = 0;
  uint64_t bytes = 0;
};
/// reply to AskSlice
struct ShardSlice {
  std::vector<SnapshotSection> sections;   ///< Shard::SaveSlice
  uint32_t next = 0;                       ///< the first range that is not in it; 0: none is left
};
/// In place of what its ranges are. Errors as Shard::TakeSlice.
struct TakeSlice {
  std::vector<SnapshotSection> sections;
};
/// reply to TakeSlice
struct SliceTaken {};
/// The digest of a range behind all changes that it has been sent before. InvalidArgument: the range is not this shard's.
struct AskDigest {
  uint32_t table = 0, range = 0;
};
/// From now on its snapshots are written to `uri`, every `interval`; empty: it writes none. Has no answer. `needed`: pushes are refused where they cannot be
/// written; else others have the state as well.
struct KeepSnapshots {
  std::string uri;
  std::chrono::milliseconds interval{500};
  bool needed = true;
};

/// Where the shard stands behind all changes that it has been sent before: rounds, by writer.
struct AskClocks {};
struct ShardClocks {
  std::vector<Round> applied, begun;   ///< begun: the newest of which anything is applied
};
/// Keeps its tables as the view `cut` for `lease`; it stands at `clocks` (Round[], by writer). Answered Frozen. Errors as Shard::KeepView.
struct KeepView {
  uint64_t cut = 0;
  Block clocks;
  std::chrono::milliseconds lease{0};
};
/// What it is told from now on is in the log `name` in `folder` before it is answered, begun with a snapshot at `uri`; what it was told before is in that
/// snapshot. An empty name: it logs no more, and whoever waits for the log is answered. The reply comes when the log has begun. Errors: those of the disk, with
/// which later changes are refused as well, until it is told the same again and the disk has room: then the log goes on behind another snapshot, which also has
/// what was refused after it had been applied.
struct KeepLog {
  std::string uri, folder, name;
};
/// reply to KeepLog
struct LogKept {};

/// InvalidArgument: a shard of such tables cannot log what it is told (log_folder).
absl::Status ValidateLog(const ShardOptions& shard);

/// Loads state where there is some and spawns the actor. Errors as Shard::Make, ReadSnapshot, Shard::Load, DiskTiers.
absl::StatusOr<ShardActor> SpawnShard(System& system, const ShardActorOptions& options);

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::AskState)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::AskDigest)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Shard::Digest)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ShardState)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::AskSlice)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ShardSlice)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::TakeSlice)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SliceTaken)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::KeepSnapshots)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::AskClocks)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ShardClocks)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::KeepView)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::KeepLog)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::LogKept)
