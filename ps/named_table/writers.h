// Which user of a named table is which of its writers. A shard knows a fixed number of writers, users come and go: each has a writer's number to itself as long
// as it says that it is there, and for a lease behind that. What it leaves may be in the middle of a round, which cuts would wait for: before anybody else gets
// its number, somebody has to end that round (settle it). Pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/types.h"

namespace troupe {

class TableWriters {
 public:
  using Time = std::chrono::steady_clock::time_point;
  TableWriters(uint32_t writers, std::chrono::milliseconds lease) : slots_(writers), lease_(lease) {}

  static constexpr uint64_t kNobody = 0, kGone = UINT64_MAX;   // no users

  /// The user's number: the one that it has, else one that is free. ResourceExhausted: none is.
  absl::StatusOr<WriterId> Open(uint64_t user, Time now);
  void Close(uint64_t user);
  /// Those whose users have left, or said nothing for their lease: they are nobody's from now on, until they are settled.
  std::vector<WriterId> Unsettled(Time now);
  /// All shards have had the same rounds of it: it is free.
  void Settled(WriterId writer);
  /// Goes up whenever a number is another user's.
  uint64_t version() const { return version_; }

  /// "7 0 12": the users by number, kNobody where it is free, kGone where it is to be settled.
  std::string Text() const;
  /// As it was; whoever had a number has it for a lease from now on. DataLoss: the text is none of Text's, or of more writers than there are.
  absl::Status Restore(std::string_view text, Time now);

 private:
  struct Slot {
    uint64_t user = kNobody;
    Time until{};   // of its lease
  };
  std::vector<Slot> slots_;
  const std::chrono::milliseconds lease_;
  uint64_t version_ = 0;
};

}   // namespace troupe
