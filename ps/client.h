// The writers' end of the parameter server, inside the actor that owns it: sends each writer's pushes and pulls to every shard, holds pushes until they are
// stable, and after any loss finds out what a shard still has and sends the rest again, or asks its owner to recompute what it no longer holds. When ranges
// have moved (Pushed::kMoved), it learns the new map, deals what it holds and asks for by that one, and goes on; its owner hears nothing of it.
//
// walk of a push:  owner's job: Router::Push -> Client::Push (numbers it) -- mailbox or RPC --> shard actor (de-duplicates, applies, answers) -> Client (drops
// what is stable)
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "actors/patience.h"
#include "caf/event_based_actor.hpp"
#include "ps/consistency.h"
#include "ps/encoding/key_lists.h"
#include "ps/messages.h"
#include "ps/router.h"

namespace troupe {

struct ClientOptions {
  /// Bytes of pushes held because they are not stable; beyond half of it snapshots are asked for, beyond it the oldest answered ones are let go (a shard that
  /// then loses them makes their writer recompute).
  size_t held_bytes_max = 64 << 20;
  /// Pushes of one writer to one shard that are under way at once.
  uint32_t pushes_in_flight_max = 4;
  /// The same for the messages of big pulls.
  uint32_t pulls_in_flight_max = 8;
  /// After a fault a shard is asked again after this time.
  std::chrono::milliseconds retry{20};
  /// A fault that lasts longer than this is final: Unavailable.
  std::chrono::milliseconds patience{120'000};
  /// Writers may leave rounds out (backup workers), or go on behind a predecessor (ShardOptions::writers_go_on): a shard may then have had more of it than the
  /// writer builds on.
  bool rounds_left_out = false;
};

/// Which pull of a writer: rising.
using PullNumber = uint64_t;

class Client {
 public:
  /// Pulls of one writer that may be under way at once.
  static constexpr size_t kPullsMax = 16;

  /// What the owner is told. Called in the owner's context, never from within a call of the client's.
  struct Events {
    /// Everything after `clock` has to be pushed (again), beginning with the next round; what was under way is forgotten. The answer to Start, and after a
    /// shard came back without pushes that are no longer held.
    std::function<void(WriterId, Round clock)> begin_after;
    /// The answer to Pull, for Router::Gather.
    std::function<void(WriterId, PullNumber, std::vector<Block> values)> pulled;
    /// May be empty. One message of a big pull has come: true where that is all that is wanted of it, and `pulled` then has an empty block in its place. After
    /// a fault a message may come again.
    std::function<bool(WriterId, PullNumber, uint32_t shard, size_t message, std::span<const Block> values)> piece = nullptr;
    /// More of the writer's pushes are answered: acked() has grown.
    std::function<void(WriterId)> acked;
    /// May be empty: then it is final. A shard has refused a message of the push of `round` as malformed, or for a number that is not finite; nothing of that
    /// message counts, what else there is of the round does.
    std::function<void(WriterId, Round round, const absl::Status&)> refused = nullptr;
    /// Final: the job cannot go on.
    std::function<void(absl::Status)> failed;
  };

  Client(caf::event_based_actor* self, std::vector<ShardActor> shards, std::shared_ptr<const Router> router, ClientOptions options, Events events);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Asks all shards what they have of the writer; ends in begin_after. Also to begin anew.
  void Start(WriterId writer);
  /// The writer is somebody else's now: what of it is held or under way is forgotten, and nothing is told of it until it is started again.
  void Leave(WriterId writer);
  /// False from Start (also one of the client's own, after a loss) until begin_after: neither Push nor Pull may be called.
  bool ready(WriterId writer) const;
  /// The writer's round, with at most one push a table; rounds rise. `combine`: it stays here until the next Pull, and leaves with it, unless the lane has
  /// something under way; only for an owner that calls Pull right after.
  void Push(WriterId writer, Round round, RoutedPush push, bool combine = false);
  /// Rows as they are before `round`, after all that the writer has pushed before this call; at most kPullsMax at a time a writer. `pull` is kept until the
  /// answer. Messages of the pull with the highest priority go out first, of equal ones those of the first: a small one overtakes a big one between two of its
  /// messages.
  PullNumber Pull(WriterId writer, Round round, std::shared_ptr<const RoutedPull> pull, int priority = 0);
  /// The pull's answer is not wanted any more: what of it was not sent stays here. Nothing happens where it is over.
  void Cancel(WriterId writer, PullNumber number);
  size_t pulls_under_way(WriterId writer) const;
  /// The last round of which any shard has something, as Start has learned: behind it nothing is known to any of them.
  Round furthest(WriterId writer) const;
  /// Rounds up to here have been answered by every shard.
  Round acked(WriterId writer) const;
  /// Rounds up to here no shard will want again.
  Round stable(WriterId writer) const;
  /// While Events::pulled is told: every writer's rounds up to here are in the rows of this shard (Pulled::clock).
  Round pulled_clock(WriterId writer, uint32_t shard) const;
  /// What the writer pushes of rounds up to here comes too late at every shard (backup workers).
  Round closed(WriterId writer) const;
  /// Rounds pushed and not answered by every shard.
  size_t rounds_in_flight(WriterId writer) const;
  /// To be called every 20 ms or so: asks broken shards again (Open), and four times a second idle ones whether they still have what is not stable
  /// (every two seconds: what is).
  void Tick();
  size_t held_bytes() const { return held_bytes_; }
  /// Nothing is sent any more, what is held neither; to be followed by no other call.
  void End() { failed_ = true; }

 private:
  struct Held {
    ::troupe::Push message;
    size_t bytes;
  };
  struct Lane {   // one writer at one shard
    bool live = false;
    uint64_t generation = 0;   // answers of an older one are ignored
    std::deque<Held> held;     // rising rounds
    size_t unsent = 0;         // index into held
    uint32_t in_flight = 0;
    Network::Lane network = Network::Lane::kControl;   // that all pushes in flight take
    Round clock = 0, stable = 0, closed = 0;
    uint32_t pieces_in_flight = 0;   // of all pulls
    Round pulled_clock = 0;          // of the pull that was answered last
    bool combine = false;
    Patience broken;
    bool checking = false;
    KeyLists known;   // hashes of the lists of keys that the shard should remember
  };
  struct PullingLane {   // a pull at one shard
    bool over = false;
    size_t sent = 0, answered = 0;   // messages
    Round clock = 0;                 // the least of all answers
    std::vector<Block> values;       // by message
  };
  struct Pulling {
    PullNumber number;
    uint32_t slot;   // no other has it now
    int priority;
    Round round;
    Round after;                               // the writer's own rounds that it is to see
    std::shared_ptr<const RoutedPull> asked;   // by the owner
    std::shared_ptr<const RoutedPull> pull;    // what is sent: the same, or dealt again by the stream's map
    std::vector<PullingLane> lanes;
  };
  struct Stream {
    std::vector<Lane> lanes;      // by shard
    std::vector<Sequence> last;   // by slot: the writer's last push
    Round sent = 0;               // last round given to Push
    std::deque<Round> rounds;     // given and not acked by all
    std::vector<Pulling> pulls;   // in the order in which their messages go out
    PullNumber last_pull = 0;
    size_t starting = 0;   // lanes whose Open is under way in Start
    Round start_clock = 0, furthest = 0;
    MapEpoch epoch = 0;   // the map by which all of its messages are dealt
    bool left = false;
  };

  Open OpenOf(WriterId writer, uint32_t shard) const;
  void SendOpen(WriterId writer, uint32_t shard);
  void SendCheck(WriterId writer, uint32_t shard);
  void CheckIdle(WriterId writer, uint32_t shard);
  void OnOpened(WriterId writer, uint32_t shard, const Opened& opened);
  /// To the message `chunk` of the push of `round`.
  void OnPushed(WriterId writer, uint32_t shard, Round round, uint32_t chunk, const Pushed& pushed);
  void OnPulled(WriterId writer, uint32_t shard, PullNumber number, size_t piece, const Pulled& pulled);
  void OnPullFault(WriterId writer, uint32_t shard, PullNumber number, const absl::Status& status);
  void OnFault(WriterId writer, uint32_t shard, const absl::Status& status);
  void Pump(WriterId writer, uint32_t shard);
  /// The shard has this map of the ranges. False: it is the stream's; else the stream begins again with a newer one, or asks the shard again later.
  bool OnEpoch(WriterId writer, uint32_t shard, MapEpoch epoch);
  /// From `shard`, which has told of `wanted` or is as good as any.
  void FetchMap(uint32_t shard, MapEpoch wanted);
  /// The map is not to be had now: every lane begins again, and hears of it where it is known.
  void AskAgainForMap(const absl::Status& why);
  /// Deals all that the writer holds and asks for by the router's map, and asks each shard what it has.
  void DealAgain(WriterId writer);
  /// A round as all lanes hold it.
  struct HeldRound {
    RoutedPush push;
    Round round, previous;
  };
  /// All held rounds, taken from the lanes; without those up to the last that some lane has let go of.
  std::vector<HeldRound> TakeHeld(Stream& stream);
  void Hold(Stream& stream, WriterId writer, HeldRound held);
  bool Continues(const Lane& lane, const Opened& opened) const;
  void SendPush(WriterId writer, uint32_t shard, bool with_pull);
  void OnPushFault(WriterId writer, uint32_t shard, Round round, uint32_t chunk, const absl::Status& status);
  void Empty(Stream& stream, Lane& lane, Held& refused);
  void DropHeld(Lane& lane, size_t count);
  void ReleaseStable(Lane& lane);
  void UpdateAcked(WriterId writer);
  /// The least that any lane of the writer has; 0: no such writer.
  Round OfAll(WriterId writer, Round Lane::*of) const;
  /// The pull whose message goes to this shard next, or nullptr.
  static Pulling* NextPull(Stream& stream, uint32_t shard);
  static bool Waits(const Stream& stream, uint32_t shard);
  /// Its next message.
  ::troupe::Pull PullMessage(Stream& stream, Pulling& pulling, WriterId writer, uint32_t shard) const;
  void SendPull(Pulling& pulling, WriterId writer, uint32_t shard);
  /// The answers to what was dealt again, as answers to what the owner asked.
  absl::StatusOr<std::vector<Block>> AsAsked(WriterId writer, const Pulling& pulling, std::span<const Block> values) const;

  struct Retry {
    std::chrono::steady_clock::time_point at;
    WriterId writer;
    uint32_t shard;
    uint64_t generation;
  };
  caf::event_based_actor* self_;
  std::vector<ShardActor> shards_;
  std::shared_ptr<const Router> router_;
  ClientOptions options_;
  Events events_;
  std::map<WriterId, Stream> streams_;
  std::vector<Retry> retries_;
  std::chrono::steady_clock::time_point checked_at_{};
  uint64_t checks_ = 0;
  size_t held_bytes_ = 0;
  bool fetching_ = false;       // the map
  MapEpoch wanted_epoch_ = 0;   // the newest that a shard has told of
  bool failed_ = false;
};

}   // namespace troupe
