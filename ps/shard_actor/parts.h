// What the parts of a shard's actor have in common: its state, and what each part does for the others. Every function runs in the actor's context.
//
//   shard_actor.cc    what comes when: pushes, pulls, and after a loss
//   log.cc            acknowledged when it is on the disk
//   snapshots.cc      for its replacement, for checkpoints, for models
//   assigned_rows.cc  acknowledged when a snapshot has them
//   calls.cc          functions over its rows
//   cuts.cc           one moment of all shards
//   moves.cc          ranges that come and go
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/storage/file_lock.h"
#include "actors/storage/storage.h"
#include "actors/system.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "ps/catch_up.h"
#include "ps/cut.h"
#include "ps/messages.h"
#include "ps/push_log.h"
#include "ps/shard.h"
#include "ps/shard_actor.h"
#include "ps/snapshot_parts.h"

namespace troupe::shard_actor {

/// A snapshot that is being written by a compute job.
struct Writing {
  std::vector<Round> clocks;   // what it covers
  uint64_t version = 0;
  bool own = false;   // for the shard's own replacement
  absl::Status status;
  WrittenParts parts;   // of a snapshot in parts
  std::function<void(absl::Status)> done;
};

struct WaitingPull {
  uint64_t number;
  Pull pull;
  std::function<void(absl::StatusOr<Pulled>)> answer;
};

struct WaitingCall {
  uint64_t number;
  Call call;
  std::function<void(absl::StatusOr<Called>)> answer;
};

struct SnapshotWritten {
  std::shared_ptr<Writing> writing;
};
struct SnapshotTick {};
struct LogTick {};
struct LogSynced {
  std::shared_ptr<PushLog> log;
  std::vector<Round> clocks;   // what the log has now
  absl::Status status;
};
using PullKey = std::pair<uint32_t, uint32_t>;   // writer, piece
struct PullExpired {
  PullKey key;
  uint64_t number;
};
struct CatchUpExpired {};
struct CallExpired {
  uint64_t number;
};
struct CallGoesOn {};
struct HoldExpired {
  uint64_t cut;
};
struct FreezeExpired {
  uint64_t cut;
};
struct ViewExpired {
  uint64_t cut;
};
struct LeavingWritten {
  uint64_t cut;
  absl::Status status;
};
struct ArrivingRead {
  uint64_t cut;
  absl::StatusOr<std::vector<SnapshotSection>> sections;
  std::function<void(absl::StatusOr<TakenIn>)> answer;
};

}   // namespace troupe::shard_actor

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::SnapshotWritten)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::SnapshotTick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::LogTick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::LogSynced)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::PullExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::CatchUpExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::CallExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::CallGoesOn)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::HoldExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::FreezeExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::ViewExpired)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::LeavingWritten)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::shard_actor::ArrivingRead)

namespace troupe::shard_actor {

struct State {
  static inline const char* name = "shard";
  System* system = nullptr;
  ShardActorOptions options;
  std::optional<Shard> shard;
  absl::Status disk;   // that snapshots fail, once there were too many, or what ended the log: pushes are answered with it

  // What comes when.
  std::vector<std::chrono::steady_clock::time_point> heard;   // by writer: its last push, or the start
  std::map<PullKey, WaitingPull> pulls;                       // at most one each
  uint64_t pulls_seen = 0;
  std::optional<CatchUp> catch_up;             // pulls and pushes wait
  std::deque<std::function<void()>> changes;   // what came while a call runs and would change its rows
  struct HeldPush {
    Push push;
    std::function<void()> take;
    std::function<void(const absl::Status&)> refuse;
  };
  std::deque<HeldPush> beyond;   // pushes beyond the cut that is being made, in the order of their arrival

  // The log.
  std::shared_ptr<PushLog> log;                                     // null: none
  bool log_waits = false;                                           // to be begun again
  bool in_chain = false;                                            // which logs: others have what it is told, so it applies that whatever becomes of its log
  std::optional<std::function<void(const absl::Status&)>> begins;   // the log, which counts when its first snapshot is there: then it is called
  std::deque<std::function<void(const absl::Status&)>> unsynced;    // answers to what the log does not have yet
  size_t syncing = 0;                                               // how many of them wait for the sync under way

  // Snapshots.
  std::shared_ptr<Writing> writing;              // at most one at a time
  std::shared_ptr<const SnapshotRecord> parts;   // the last one in parts
  SnapshotTaken parts_taken;                     // what was answered for it, where this life has made it
  std::set<std::string> parts_before;            // URIs of those that it has made before
  uint64_t version_saved = 0;
  bool ticking = false, snapshots_needed = true;
  int failures = 0;   // in a row
  struct Held {
    TakeSnapshot request;
    std::vector<std::function<void(const absl::StatusOr<SnapshotTaken>&)>> answers;   // to all who asked for the same
  };
  std::optional<Held> held;                                                                    // waits for its round
  std::vector<std::function<void(const absl::Status&)>> unsaved;                               // answers to what the next one for its replacement has to have
  std::map<std::string, std::vector<std::function<void(absl::StatusOr<RowsSaved>)>>> saving;   // by URI: who asked for what is being written

  // Assigned rows.
  struct KeptFrom {
    uint64_t version;   // of the shard: a snapshot of this version or a later one has the rows
    std::function<void(const absl::Status&)> answer;
  };
  std::vector<KeptFrom> unkept;   // answers to assignments
  struct AssignedRows {
    Assign assign;
    uint64_t version;   // that has it
  };
  std::deque<AssignedRows> assigned;   // the last ones, in their order; as long as nothing else changes
  uint64_t assigned_through = 0;       // the version after the last of them

  // Calls.
  std::deque<WaitingCall> calls;   // in the order of their arrival
  uint64_t calls_seen = 0;
  std::optional<RunningCall> running;   // at most one at a time
  std::function<void(absl::StatusOr<Called>)> running_answer;

  // Cuts and moves.
  struct Freezing {
    uint64_t cut;
    std::chrono::milliseconds lease;
    std::vector<std::function<void(absl::StatusOr<Frozen>)>> answers;
  };
  std::optional<Freezing> freezing;   // a cut that is not reached yet
  struct Leaving {
    uint64_t cut;
    std::string uri;
    caf::actor_clock::time_point until;   // then it is given up, unless the shard has agreed
    bool written = false;
    std::vector<std::function<void(absl::StatusOr<Standing>)>> answers;
  };
  std::optional<Leaving> leaving;   // of a move's cut that is reached: what is given away
};
using Self = caf::stateful_actor<State>;

inline constexpr char kLogSection[] = "log";   // of a snapshot: the number of the first file of the log that is not in it

// --- shard_actor.cc ---

/// Does `change` when no call is running: one result is of one state.
void WhenUnread(State& state, std::function<void()> change);
/// Those that wait and may be answered now.
void AnswerReadyPulls(Self* self);
/// After a round that was to be the last one for a while.
void Resume(Self* self);
/// Takes what the shard has come back without, as far as it is there in its order; the end of it lets pulls see the rows.
void GoOnCatchingUp(Self* self);
/// After a cut's clocks have become known, or it is over.
void TakeBeyond(Self* self);

// --- log.cc ---

/// Answers when all that the shard has been told is on the disk; at once where there is no log.
void WhenLogged(Self* self, std::function<void(const absl::Status&)> answer);
void OnSynced(Self* self, const LogSynced& synced);
std::string LogName(const ShardActorOptions& options);
/// What has been told is in this log from now on. `answer`: when the log has begun.
void OnKeepLog(Self* self, const KeepLog& keep, std::function<void(const absl::Status&)> answer);
/// With a snapshot; later, where one is being written now.
void BeginLog(Self* self);
/// The disk has failed the log or its snapshot: the log is begun again as soon as it can be. A chain's member asks for that itself.
void BeginLogLater(Self* self);
void OnLogTick(Self* self);
/// Everything that the log knows beyond the snapshot, which is there from the first day: it also says what the tables are.
absl::StatusOr<std::shared_ptr<PushLog>> OpenLog(Storage& storage, const ShardActorOptions& options, FileLock lock, uint64_t first, Shard& shard);

// --- snapshots.cc ---

/// For its own replacement.
void SnapshotForRestart(Self* self);
/// The same, of a log that begins, whatever there was before.
void SnapshotForLog(Self* self, std::function<void(const absl::Status&)> done);
/// The one that waits for its round, where that has come.
void TakeHeldSnapshot(Self* self);
void OnTakeSnapshot(Self* self, const TakeSnapshot& request, std::function<void(const absl::StatusOr<SnapshotTaken>&)> answer);
/// A snapshot for the shard's replacement, begun after now, before the answers are given. There is none to be written where there is no replacement.
void SaveForAnswers(Self* self);
/// The rows as they are now; a compute job writes them.
absl::Status OnSaveRows(Self* self, const SaveRows& request, std::function<void(absl::StatusOr<RowsSaved>)> answer);
void StartTicking(Self* self);
void OnKeepSnapshots(Self* self, const KeepSnapshots& keep);

// --- assigned_rows.cc ---

/// Those whose rows are in the last snapshot, or could not be written; for the others another one is begun.
void AnswerAssigned(Self* self, const Writing& written);
/// Nobody holds assigned rows for a replacement, so `answer` is given when a snapshot has them. Asked again it waits for the same one.
void KeepAssigned(Self* self, const Assign& assign, std::function<void(const absl::Status&)> answer);

// --- calls.cc ---

/// The next slice of the call that runs.
void GoOn(Self* self);
/// The first call that may see the rows now.
void StartReadyCall(Self* self);
void OnCall(Self* self, const Call& call, std::function<void(absl::StatusOr<Called>)> answer);
void OnCallExpired(Self* self, const CallExpired& expired);

// --- cuts.cc ---

/// What is answered to those who wait for a cut that is given up.
absl::Status Unreached(const State& state);
/// A cut is over, whatever has become of it.
void EndCut(Self* self, uint64_t cut);
/// Makes the view, or writes what leaves, where the shard has come to the cut.
void FreezeIfReached(Self* self);
absl::StatusOr<Prepared> OnPrepare(Self* self, const Prepare& prepare);
void OnFreeze(Self* self, const Freeze& freeze, std::function<void(absl::StatusOr<Frozen>)> answer);
absl::Status OnKeepView(Self* self, const KeepView& keep);
void OnHoldExpired(Self* self, const HoldExpired& expired);
void OnFreezeExpired(Self* self, const FreezeExpired& expired);

// --- moves.cc ---

/// Of a move that is given up.
void EndLeaving(Self* self, uint64_t cut);
/// Writes what leaves, once, when the shard stands where it is to stand.
void GiveIfReached(Self* self);
void OnLeavingWritten(Self* self, const LeavingWritten& written);
void OnStand(Self* self, const Stand& stand, std::function<void(absl::StatusOr<Standing>)> answer);
void OnArrivingRead(Self* self, const ArrivingRead& read);
void OnTakeIn(Self* self, const TakeIn& request, std::function<void(absl::StatusOr<TakenIn>)> answer);
void OnSettle(Self* self, const Settle& settle, std::function<void(absl::StatusOr<Settled>)> answer);

}   // namespace troupe::shard_actor
