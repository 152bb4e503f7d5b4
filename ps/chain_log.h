// Which of a chain's changes its last member has in its log, where shards log what they are told (docs/decisions/0039). Bookkeeping alone: the member
// (chain_member_actor.h) has its shard begin and end a log, and says here what the shard has answered.
#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "absl/status/status.h"

namespace troupe {

class ChainLog {
 public:
  /// A log that has been asked for. What is answered counts as long as it is kept, by the shard that was asked.
  struct Begun {
    uint64_t epoch;     // which it is named after
    uint64_t through;   // the last change that the shard had been told: in the log's first snapshot
    uint64_t shard;     // as shard()
  };

  /// False: nothing is logged, and what a shard has been told it has.
  explicit ChainLog(bool on) : on_(on) {}

  bool on() const { return on_; }
  /// The shard keeps a log, or is beginning one.
  bool kept() const { return epoch_ != 0; }
  /// Which log: the epoch that it is named after; 0: none.
  uint64_t epoch() const { return epoch_; }
  /// The shard has been asked and has not answered.
  bool begins() const { return begins_; }
  /// Why nothing more comes into it: then nothing more is acknowledged.
  const absl::Status& failed() const { return failed_; }
  /// Another number for every other shard.
  uint64_t shard() const { return shard_; }

  /// This member is the last one, in `epoch` > 0. Nullopt: it keeps a log already.
  std::optional<Begun> Begin(uint64_t epoch, uint64_t through);
  /// The log that has failed is asked for once more, with all changes through `through` in another first snapshot.
  Begun BeginAgain(uint64_t through);
  /// The shard's answer to either; it has failed all the same where Fail has come since it was asked. False: of a log that is not kept any more.
  bool OnBegun(const Begun& begun, const absl::Status& status);
  /// This member is not the last one. True: the shard is to end its log.
  bool End();
  void Fail(const absl::Status& why);
  /// The shard is another one, which has been told nothing.
  void OnOtherShard();

  /// The shard is being told `change`; changes come in order.
  void Tell(uint64_t change);
  /// The shard that is shard `of` has answered it: it is in the log where there is one.
  void OnTold(uint64_t change, uint64_t of);
  /// Through which change whoever comes in this member's place would find all, where `last` is the last one and those through `acknowledged` are known to be
  /// somewhere.
  uint64_t Through(uint64_t last, uint64_t acknowledged) const;

 private:
  const bool on_;
  uint64_t epoch_ = 0;   // 0: no log
  bool begins_ = false;
  bool begun_ = false;   // its first snapshot is there
  absl::Status failed_;
  bool failed_since_ = false;   // it was asked for
  std::set<uint64_t> open_;     // changes that the shard has been told and has not answered
  uint64_t shard_ = 0;
};

}   // namespace troupe
