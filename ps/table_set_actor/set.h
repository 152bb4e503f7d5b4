// What the parts of a TableSet have in common: its actor's state, and what the threads that call it share with the actor.
//
//   table_set_actor.cc   the actor, which owns the client; a set's beginning and end
//   calls.cc             TableSet and TableRef: calls that wait for the actor
//   copies.cc            rows that are kept at this end
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/progress.h"
#include "actors/storage/scratch_folder.h"
#include "actors/system.h"
#include "caf/event_based_actor.hpp"
#include "caf/stateful_actor.hpp"
#include "ps/client.h"
#include "ps/fetched_rows.h"
#include "ps/router.h"
#include "ps/table_set_actor.h"

namespace troupe {

/// What becomes of a push, for those who wait for it.
struct Pushing::Outcome {
  explicit Outcome(std::shared_ptr<Progress> progress) : changed(std::move(progress)) {}
  std::mutex mutex;
  ProgressCondition changed;
  std::optional<absl::Status> status;

  bool over() {
    std::lock_guard lock(mutex);
    return status.has_value();
  }
  bool WaitUntil(Progress::Time end) {
    std::unique_lock lock(mutex);
    return changed.WaitUntil(lock, end, [this] { return status.has_value(); });
  }
};

namespace table_set {

inline absl::Status TooLong(std::chrono::milliseconds limit) {
  return absl::DeadlineExceededError(absl::StrCat("the shards gave no answer within ", limit.count(), " ms"));
}

/// Of a push's outcome; whatever becomes of who should give it, it is given.
class Promise {
 public:
  explicit Promise(std::shared_ptr<Progress> progress) : outcome_(std::make_shared<Pushing::Outcome>(std::move(progress))) {}
  ~Promise() { Give(absl::UnavailableError("the set of tables has ended before the push was acknowledged")); }
  const std::shared_ptr<Pushing::Outcome>& outcome() const { return outcome_; }
  void Give(const absl::Status& status) {
    std::lock_guard lock(outcome_->mutex);
    if (outcome_->status) return;
    outcome_->status = status;
    outcome_->changed.NotifyAll();
  }

 private:
  const std::shared_ptr<Pushing::Outcome> outcome_;
};

/// Of the requests of a pull, and their answers.
inline size_t LongestOf(const RoutedPull& pull) {
  size_t longest = 0;
  for (const RoutedPull::Share& share : pull.shards) longest = std::max({longest, share.keys.size(), size_t{share.floats} * sizeof(float)});
  return longest;
}

/// A pull, from its call to its last row.
struct PullCall {
  PullCall(std::shared_ptr<const RoutedPull> routed, std::shared_ptr<Progress> progress) : pull(std::move(routed)), changed(std::move(progress)) {}
  const std::shared_ptr<const RoutedPull> pull;
  int priority = 0;
  /// Of a dense table: reads a message as it comes, in the actor, while the next ones are under way.
  std::function<absl::Status(uint32_t shard, size_t message, std::span<const Block> values)> read;
  /// Told in the actor's context that it is over, where nobody waits for it.
  std::function<void(const PullCall&)> over_by;
  PullNumber number = 0;   // the actor's: while it is under way

  std::mutex mutex;   // also held while `read` writes to the caller's memory
  ProgressCondition changed;
  bool left = false;           // by a caller that has waited long enough
  absl::Status read_status;    // the first error of `read`
  std::vector<Block> values;   // all, where they are read together
  std::optional<absl::Status> over;

  ~PullCall() {
    if (!over) End(absl::UnavailableError("the set of tables has ended"));
  }
  template <class Change>
  void Tell(Change&& change) {
    std::lock_guard lock(mutex);
    change();
    changed.NotifyAll();
  }
  void End(const absl::Status& status, std::vector<Block> blocks = {}) {
    Tell([&] {
      values = std::move(blocks);
      over = status;
    });
    if (over_by) over_by(*this);
  }
};

/// What the set has of one table at this end, shared by the threads that pull and the actor that fetches.
struct Copies {
  std::mutex mutex;
  std::condition_variable over;   // a fetch is
  FetchedRows rows;

  Copies(const TableSpec& spec, const TableReplicas& options) : rows(spec.width, options.bytes_max, options.staleness) {}
  static FetchedRows::Time Now() { return std::chrono::steady_clock::now().time_since_epoch(); }
};

struct SetState {
  static inline const char* name = "table_set";
  WriterId me{};
  std::unique_ptr<Client> client;
  absl::Status failure;
  bool begun = false;   // the client has been there
  Round round = kFirstRound;
  struct Push {
    Round round;
    size_t bytes;
    std::shared_ptr<Promise> done;
    absl::Status status = {};   // of what a shard has refused
    bool flush = false;         // tells the first error before it
  };
  std::deque<Push> pushes;                                 // under way, rising rounds
  std::map<PullNumber, std::shared_ptr<PullCall>> pulls;   // under way
  std::deque<std::shared_ptr<PullCall>> queued;            // the next ones, by falling priority
  std::deque<std::function<void()>> waiting;               // for the client's beginning
  absl::Status first_error;                                // of pushes since the last flush
  size_t pulls_max = Client::kPullsMax;                    // under way at once
  std::function<void(size_t)> release;                     // bytes of pushes that are over
  std::vector<std::shared_ptr<Copies>> copies;             // by table; null: none

  ~SetState() {
    for (const auto& [number, pull] : pulls) pull->End(absl::UnavailableError("the set of tables has ended"));
    for (const auto& pull : queued) pull->End(absl::UnavailableError("the set of tables has ended"));
  }
};

struct SetTick {};
/// Runs in the actor's context, once the client is ready or the set has failed.
struct SetCall {
  std::function<void(SetState&)> run;
};
struct SetEnd {
  absl::Status why;
};

// --- table_set_actor.cc ---

/// The first `pushes` of those under way are over.
void End(SetState& state, size_t pushes, const absl::Status& status);
void AddPull(SetState& state, const std::shared_ptr<PullCall>& pull);
/// Nobody waits for it any more.
void LeavePull(SetState& state, const std::shared_ptr<PullCall>& pull);

// --- copies.cc ---

/// InvalidArgument: tables of which no copies can be kept.
absl::Status CheckReplicas(const TableSetOptions& options);

}   // namespace table_set

struct TableSet::Impl : std::enable_shared_from_this<TableSet::Impl> {
  System& system;
  TableSetOptions options;
  std::vector<ShardActor> shards;
  bool owns_shards = false;
  std::optional<WriterId> writer;   // of several; none: the only one
  ScratchFolder rows;               // of shards that spill and have no folder
  std::shared_ptr<const Router> router;
  /// Of the network to the shards; null: they are in this process, where the calling thread does their work anyway.
  const std::shared_ptr<Progress> progress;
  std::vector<std::shared_ptr<table_set::Copies>> copies;                                    // by table; null: none
  std::shared_ptr<std::atomic<size_t>> fetches = std::make_shared<std::atomic<size_t>>(0);   // under way
  caf::actor actor;

  std::mutex mutex;
  std::condition_variable released;
  size_t in_flight = 0;                                 // bytes
  std::deque<std::shared_ptr<Pushing::Outcome>> open;   // of pushes that may be under way, where pulls wait for them

  Impl(System& s, std::vector<ShardActor> actors, const TableSetOptions& o, std::shared_ptr<Progress> p);
  ~Impl();
  void Start();
  /// What a caller does of the network's work for messages of so many bytes: all for small ones, nothing for others. These the link thread sends and takes in
  /// while the caller goes on, or on a processor that another thread would use if the caller were busy with them.
  std::shared_ptr<Progress> ProgressOf(size_t bytes) const { return bytes < kBulkBytes ? progress : nullptr; }
  /// Runs `call` with the actor's state, once the client is ready. `bytes`: of its longest message, or the answer.
  void Do(std::function<void(table_set::SetState&)> call, size_t bytes = 0);

  // --- calls.cc ---

  /// Pushes of so many bytes are over.
  void Release(size_t bytes);
  Pushing Push(RoutedPush routed, bool flush = false);
  /// Until those that were made before are over, well or not.
  bool AwaitPushes(std::chrono::steady_clock::time_point end);
  /// Until the pull is over, or nobody waits for it any more.
  absl::Status Run(const std::shared_ptr<table_set::PullCall>& pull, const PullOptions& how);
  /// The rows of `keys` as shards have them, in their order. `memory` is what they come in.
  absl::StatusOr<std::vector<float>> Ask(uint32_t table, std::span<const Key> keys, const PullOptions& how, std::vector<float> memory = {});
  absl::StatusOr<FunctionValue> Call(const FunctionCall& call);

  // --- copies.cc ---

  /// Those rows of keys[i] for i in `positions` into `values`, and copies of the ones that are worth it.
  absl::Status AskInto(uint32_t table, std::span<const Key> keys, std::span<const uint32_t> positions, float* values, const PullOptions& how);
  /// The rows of `keys`, copies where there are some that are new enough. `values` is what they come in.
  absl::StatusOr<std::vector<float>> PullNear(uint32_t table, std::span<const Key> keys, const PullOptions& how, std::vector<float> values);
  /// In the background, unless enough is under way. Every fetch that has begun comes to its end, with the actor at the latest.
  void FetchRows(uint32_t table, std::vector<Key> keys);
  absl::Status Intend(uint32_t table, std::span<const Key> keys);
  /// Rows have been changed by a push that has been handed over, or by something that is done: nobody may see them as they were.
  void Changed(uint32_t table, std::span<const Key> keys);
  void AllChanged(uint32_t table);
};

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::table_set::SetTick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::table_set::SetCall)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::table_set::SetEnd)
