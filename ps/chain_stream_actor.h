// What a member of a chain tells the one behind it: every change, in order, and to one that joins first the state, in parts. In the context of the member's
// actor (chain_member_actor.h), which is told what the other one has.
//
// A state is given while changes go on. Part 0, what a shard has but for its ranges, is taken behind change n0; each further part, a slice of ranges, behind a
// change nk >= n(k-1), and changes behind nk go out when part k is in place. Invariant: when the joiner has been told change m, what is in place of its state
// is what this member's shard was behind change m. So there is no copy of the whole state anywhere, nobody waits for longer than a slice takes to be
// serialised, and what changes meanwhile is kept only until the slice under way is in place.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <utility>
#include <variant>
#include <vector>

#include "actors/system.h"
#include "caf/event_based_actor.hpp"
#include "ps/chain/messages.h"
#include "ps/shard_actor.h"

namespace troupe {

struct ChainStreamOptions {
  std::chrono::milliseconds request_timeout{10'000};
  std::chrono::milliseconds retry{20};
  /// Rows of a slice: what its shard serialises while nobody is served.
  uint64_t slice_bytes = 8 << 20;
  /// Changes kept for one that joins, beyond which whoever makes them is to wait (lags()).
  uint64_t backlog_bytes_max = 256 << 20;
};

class ChainStream {
 public:
  using Change = decltype(Forward::change);
  struct Events {
    /// The next member has all changes up to here, or more of the state; or whoever waits need not wait any more (lags()). Never called from within a call.
    std::function<void(uint64_t through)> has;
    /// Up to which change has this member itself for good what it has? What one that joins has is held here as well until then, for that may not have it for
    /// good; and it does not count as one that has caught up. Null: all.
    std::function<uint64_t()> kept = nullptr;
  };

  ChainStream(caf::event_based_actor* self, System& system, ChainStreamOptions options, Events events)
      : self_(self), system_(system), options_(options), events_(std::move(events)) {}
  ChainStream(const ChainStream&) = delete;
  ChainStream& operator=(const ChainStream&) = delete;

  /// Nobody is behind this member: nothing is kept.
  void End();
  /// The next member of the chain. What was not acknowledged goes (again) to it, by this epoch; it may be read when it has all up to change `last`.
  void ToMember(const ChainMember& to, uint64_t epoch, uint64_t last);
  /// Joins behind this member, whose shard stands behind change `last`: is given its state first. One that joins already goes on.
  void ToJoiner(const ChainMember& to, uint64_t view, const ShardActor& shard, uint64_t last);

  /// The next change; nothing happens where nobody is behind. Not `ready`: its place; it goes out when Fill has come. The shard is to be told it by the handler
  /// that calls this.
  void Add(uint64_t number, const Change& change, bool ready = true);
  void Fill(uint64_t number, const Change& change);

  /// Lets go of what the next member has, and this one has for good: also when Events::kept has risen.
  void Trim();

  bool active() const { return to_.has_value(); }
  /// It is a member, or has all parts of the state.
  bool has_state() const { return active() && parts_.empty(); }
  /// One that joins has the state, and all that was acknowledged without it.
  bool caught_up() const { return has_state() && (sent_.empty() || sent_.front().number > mark_) && (!events_.kept || events_.kept() >= mark_); }
  /// The last change that it has (and, where it joins, this member for good), where `last` is the last one there is.
  uint64_t has(uint64_t last) const { return sent_.empty() ? last : sent_.front().number - 1; }
  /// One that joins is too far behind: what changes has to wait for it.
  bool lags() const { return lags_; }

 private:
  struct Sent {
    uint64_t number;
    Change change;
    size_t bytes;
    bool ready;
  };
  struct Part {
    StatePart of;
    bool made = false, goes = false;
    std::vector<Adopt> pieces = {};
    size_t sent = 0, answered = 0;
    size_t bytes = 0;   // under way
  };

  void Turn(const ChainMember& to);
  void Keep(Sent sent);
  void DropAll();
  Sent* Find(uint64_t number);
  void SendAll();
  void SendOne(const Sent& sent);
  void SendAlign(uint64_t epoch, uint64_t number);
  void OnForwarded(uint64_t through);
  void OnChangeFault(uint64_t number);
  void BeginState();
  void AskPart();
  void MakePart(uint64_t attempt, const ShardState& state, uint32_t next);
  void Advance();
  void SendPieces();
  void SendPiece(size_t piece);
  void OnPiece(size_t piece);
  /// Begins the state anew where one that lags has not been heard for as long as a request may take.
  bool BeginsAnew();
  /// After `retry`, unless `of` (turn_, attempt_) is another one by then.
  template <class Do>
  void Later(uint64_t ChainStream::*of, Do&& what);

  caf::event_based_actor* self_;
  System& system_;
  const ChainStreamOptions options_;
  const Events events_;
  std::optional<ChainMember> to_;
  bool joins_ = false;
  ChainPeerActor peer_;
  uint64_t targets_ = 0;    // goes up with every other `to_`
  uint64_t turn_ = 0;       // goes up when all that is under way counts as not sent
  uint64_t tag_ = 0;        // Forward::epoch
  uint64_t last_ = 0;       // the last change there is
  std::deque<Sent> sent_;   // changes that it has not acknowledged, or this member has not for good: consecutive numbers
  uint64_t next_ = 0;       // the first of them that was not sent in this turn; earlier ones may be in again_
  std::set<uint64_t> again_;
  uint64_t heard_ = 0;     // in this turn: it has all up to here
  size_t under_way_ = 0;   // changes
  bool waits_ = false;     // to send again
  uint64_t kept_bytes_ = 0;
  bool lags_ = false;
  std::chrono::steady_clock::time_point heard_at_{};
  // Of one that joins.
  ShardActor shard_;
  uint64_t view_ = 0, attempt_ = 0;
  std::deque<Part> parts_;   // not in place yet: the first goes out, the one behind it is being made. Invariant: one at least until all are in place.
  uint32_t next_range_ = 0;
  uint64_t mark_ = 0;   // the last change that was acknowledged without it
};

}   // namespace troupe
