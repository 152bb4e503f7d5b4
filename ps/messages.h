// The protocol of a shard, one struct a message. Arrays are Blocks: handed over in process, Data between processes.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actors/block.h"
#include "actors/network.h"
#include "caf/allowed_unsafe_message_type.hpp"
#include "caf/typed_actor.hpp"
#include "ps/encoding.h"
#include "ps/function_call.h"
#include "ps/types.h"

namespace troupe {

/// How the next floats of a message travel between processes; within one, and before and after the codec, they are plain.
struct ValueRun {
  ValueCode code = ValueCode::kFloat32;
  float scale = 1;
  uint64_t floats = 0;
  bool operator==(const ValueRun&) const = default;
};
/// How a message's arrays travel: encoding/packing.h. Empty: as they are.
struct Packing {
  std::vector<ValueRun> values;   ///< all floats, in their order; empty: as they are
  /// By table of the parts, in their order: the number of ranges that its keys are spread over, where they rise strictly within each and may travel as
  /// differences; 0: as they are.
  std::vector<uint32_t> ranges;
  bool empty() const { return values.empty() && ranges.empty(); }
};

/// One range's share of a push. Its keys and values are the next ones of the message's arrays. A dense share has no keys: it is rows [first, first + count).
struct PushPart {
  uint32_t table;
  uint32_t range;
  uint64_t sequence;   ///< of this push
  uint64_t previous;   ///< of the writer's previous push to this range, 0: none
  uint64_t first;      ///< dense: first row
  uint32_t count;      ///< rows
  uint32_t dense;      ///< 1 or 0
  uint64_t nonzeros;   ///< entries of the batch behind these rows: the ledger's unit
};
static_assert(sizeof(PushPart) == 48);

/// What one writer's batch changes at one shard. Applied at most once, in the writer's order.
struct Push {
  WriterId writer{};
  Round round = 0;
  Round previous = 0;            ///< the writer's round before this one: a gap is real and is answered kExpect
  bool round_over = true;        ///< false: further messages of this round follow (a big push in chunks)
  uint32_t chunk = 0;            ///< messages of this round before this one: a shard that has lost one of them answers kExpect
  bool wants_snapshot = false;   ///< the writer holds much that is not stable yet
  Block parts;                   ///< PushPart[]
  Block keys;                    ///< Key[]
  Block values;                  ///< float[], rows x width of their tables, in the order of the parts
  uint64_t keys_hash = 0;        ///< of `keys`: the shard remembers them by it; 0: it need not
  bool keys_kept = false;        ///< `keys` is empty: they are what the shard remembers by keys_hash
  Packing packing = {};
  /// Not applied before every writer's clock is at least this; Unavailable until then (the writer sends it again). Under BSP it is so in any case.
  Round after = 0;
  /// A function that changes rows, only where the round is over: applied once, after the round's gradients. BSP: in the order of the writers. Null: none.
  std::shared_ptr<const FunctionCall> change = nullptr;
  MapEpoch epoch = 0;                       ///< the map by which its round is dealt to shards; a shard with another one takes nothing of it
  uint64_t order = 0;                       ///< Pushed::order, of the answer that an earlier life of the shard has given; 0: none
  std::optional<Network::Lane> lane = {};   ///< that the writer's pushes before it take; does not travel
};

/// reply to Push
struct Pushed {
  enum class Outcome : uint8_t {
    kApplied,    ///< this round, or it had been before
    kExpect,     ///< there is a gap: the shard has this writer's rounds up to `clock` and wants the next ones
    kNeedKeys,   ///< the shard does not remember these keys: nothing has changed, the message is wanted with them
    kMoved,      ///< the shard has a newer map, `epoch`: nothing has changed, the round is wanted by that one (AskRanges)
  };
  Outcome outcome = Outcome::kApplied;
  Round clock = 0;    ///< all of this writer's rounds up to here have arrived
  Round stable = 0;   ///< and up to here they survive the shard's death
  Round closed = 0;   ///< with backup workers: what is pushed of rounds up to here comes too late
  MapEpoch epoch = 0;
  uint64_t order = 0;   ///< rises with the messages of all writers in the order in which they took effect; 0: this one had before
};

struct PullPart {
  uint32_t table;
  uint32_t range;
  uint64_t first;   ///< dense: first row
  uint32_t count;
  uint32_t dense;
};
static_assert(sizeof(PullPart) == 24);

/// Rows as they are before batch `round`, as the consistency demands. Waits at the shard, with a bound.
struct Pull {
  WriterId writer{};
  Round round = 0;
  Block parts;              ///< PullPart[]
  Block keys;               ///< Key[]
  uint64_t keys_hash = 0;   ///< as in Push
  bool keys_kept = false;
  uint32_t piece = 0;   ///< which message of which of the writer's pulls: it has one of each number waiting at a shard
  /// Bit t (63: and those behind it): rows of table t are asked for, here or at other shards: their consistency is what it waits for. 0: nothing is asked for,
  /// it only waits, for all.
  uint64_t tables = 0;
  Packing packing = {};
  /// The rows as they are in the view that Freeze made of this cut: `writer` and `round` do not matter, nothing waits. NotFound: the view has ended, or the
  /// shard was replaced. 0: the tables.
  uint64_t view = 0;
  MapEpoch epoch = 0;   ///< as in Push; not for a view, which stays as it was made
  /// Whole ranges may come as they lie there, a block each (Pulled::pieces).
  bool in_pieces = false;
  /// Not answered before this writer's own rounds up to here have arrived: for whoever may read elsewhere than it pushes (chain_view.h).
  Round after = 0;
  size_t answer_bytes = 0;   ///< of the values, where the writer knows: it chooses the lane, and does not travel
};
/// reply to Pull
struct Pulled {
  Block values = {};   ///< float[], in the order asked
  Packing packing = {};
  bool needs_keys = false;   ///< the shard does not remember these keys: there are no values
  /// Every writer's rounds up to here are in the rows (of tables in rounds: have arrived): how long a copy of them may serve. Of a view: 0.
  Round clock = 0;
  /// Not 0: the shard has a newer map, this one, and there are no values.
  MapEpoch moved = 0;
  /// In place of values, where the pull lets them: float[] of each of its parts, of which nothing was copied. Pushes that come meanwhile go to copies of their
  /// ranges.
  std::vector<Block> pieces = {};
};

/// A push and the next batch's pull in one message: one request and one reply a shard and batch.
struct PushPull {
  Push push;
  Pull pull;
  std::optional<Network::Lane> lane = {};   ///< as the push's
};
/// reply to PushPull; no values unless the push's outcome is kApplied
struct PushPulled {
  Pushed pushed;
  Pulled pulled;
};

/// A writer begins or comes back: what does the shard have of it?
struct Open {
  WriterId writer{};
  Round through = 0;   ///< the last round that the writer holds pushes of; 0: none
};
/// reply to Open
struct Opened {
  Round clock = 0;
  Round stable = 0;
  Block applied;   ///< uint64_t[]: last sequence of this writer by (table, range), tables in order, all ranges of each (0: none, or not this shard's)
  MapEpoch epoch = 0;
};

/// Sets rows without a rule; repeating it changes nothing. Answered when the shard's replacement would have them.
struct Assign {
  uint32_t table = 0;
  Block keys;
  Block values;
};
struct Assigned {};

/// Writes the shard's state to `uri` when all writers' rounds up to `at` have been applied (0: now); under BSP right after that round, and a shard that is past
/// it answers OutOfRange. A later request takes the place of one that waits. One in parts that comes again is answered as before, since others may refer to
/// what it has written; where another one was made in between, Aborted.
struct TakeSnapshot {
  std::string uri;
  Round at = 0;
  bool in_parts = false;   ///< large states as several files, named after `uri` (snapshot_places.h); else one file that has all
  /// With in_parts: an earlier snapshot in parts, whose files stay. Where the shard knows it still, ranges that have not changed since are not written again.
  std::string base = {};
};
struct SnapshotTaken {
  Round clock = 0;
  uint64_t bytes = 0;                    ///< that were written
  std::vector<std::string> files = {};   ///< names in the folder of `uri`: all that the snapshot is made of
};

/// Writes the rows as a model part to `uri`, when every writer's clock is at least `at`; Unavailable before that (a restored shard is catching up). `assigned`
/// is set first: what a shard that was replaced since may have forgotten.
struct SaveRows {
  std::string uri;
  Round at = 0;
  std::vector<Assign> assigned;
};
struct RowsSaved {
  uint64_t rows = 0;
  uint64_t nonzeros = 0;   ///< the ledger: entries behind all pushes applied
  uint64_t late = 0;       ///< and behind what came too late
  uint64_t dropped = 0;    ///< rows of gradients that came before their keys were admitted
  uint64_t evicted = 0;    ///< rows that were let go, by age or for lack of room
  MapEpoch epoch = 0;      ///< of the map whose ranges these are
};

/// A function that reads rows, over all that the shard has of its tables: as they are when every writer's clock is at least `at` (a writer that is to see what
/// a pull of its round sees asks for Consistency::Needs(round)); no push comes in between. Waits at the shard, with a bound. Repeating it is harmless.
struct Call {
  FunctionCall call;
  Round at = 0;
  std::vector<Assign> assigned;   ///< set first, as by SaveRows
  /// Not 0: the rows as they are in the view that Freeze made of this cut; `at` and `assigned` do not matter then. NotFound, as in Pull.
  uint64_t view = 0;
};
/// The merged part of consecutive ranges first .. first + size - 1. Its keys and numbers are the next ones of the message's arrays.
struct CalledPart {
  uint32_t first;
  uint32_t size;   ///< a power of two that divides `first`
  uint64_t keys, numbers;
};
static_assert(sizeof(CalledPart) == 24);

/// reply to Call
struct Called {
  Block parts;     ///< CalledPart[], by rising range
  Block keys;      ///< Key[]
  Block numbers;   ///< double[]
  MapEpoch epoch = 0;
};

/// A cut begins (cut.h): until Freeze is done, Release comes, or `hold` has passed, the shard applies no push of a round that it has nothing of yet. Such
/// pushes wait; pulls do not. Unavailable: it holds for another cut, or this one is over.
struct Prepare {
  uint64_t cut = 0;   ///< a number of its own, not 0
  std::chrono::milliseconds hold{0};
};
/// reply to Prepare
struct Prepared {
  Block clocks;   ///< Round[], by writer: the newest round of which anything is applied here
  MapEpoch epoch = 0;
};

/// Goes on to exactly `clocks`, keeps all tables as they are there as the view `cut` for `lease`, then goes on as before. DeadlineExceeded: not reached within
/// `wait`; Unavailable: the cut does not hold here. Nothing is held any more then. Repeating it is harmless.
struct Freeze {
  uint64_t cut = 0;
  Block clocks;   ///< Round[], by writer
  std::chrono::milliseconds wait{0}, lease{0};
};
/// reply to Freeze
struct Frozen {};

/// Ends what the shard holds or keeps for the cut.
struct Release {
  uint64_t cut = 0;
};
struct Released {};

/// Where are the ranges? And, where `loads` is set, what is done to those that are here.
struct AskRanges {
  bool loads = false;
};
/// Of one range of one table that the shard has. Counts since the shard began.
struct RangeLoad {
  uint32_t table, range;
  uint64_t pushed, pulled;   ///< rows
  uint64_t bytes;            ///< of its rows with their state
};
static_assert(sizeof(RangeLoad) == 32);
/// reply to AskRanges
struct Ranges {
  Block map;               ///< RangeMap
  Block loads;             ///< RangeLoad[]
  uint64_t in_doubt = 0;   ///< the cut of a move that the shard has agreed to and not heard the end of; 0: none
};

/// A move of ranges (range_map.h, relocation_actor.h), after Prepare: goes on to exactly `clocks` and stays there. The ranges that are here by the present map
/// and not by `map` are written to `uri`. DeadlineExceeded, Unavailable: as Freeze, and nothing is held any more. FailedPrecondition: what the shard has does
/// not move.
struct Stand {
  uint64_t cut = 0;
  Block clocks;   ///< Round[], by writer
  Block map;      ///< RangeMap, the next one
  std::string uri;
  std::chrono::milliseconds wait{0};   ///< for the clocks
  std::chrono::milliseconds hold{0};   ///< and then for TakeIn
};
/// reply to Stand
struct Standing {};

/// Reads the ranges that come here by the map of Stand, and agrees to it: from now on the shard, or its replacement, waits for Settle, however long it takes.
/// Unavailable: it does not stand at this cut. Repeating it is harmless.
struct TakeIn {
  uint64_t cut = 0;
  std::vector<std::string> uris;   ///< of the shards that give
};
/// reply to TakeIn
struct TakenIn {};

/// The move's end: the map of Stand holds from here on (`commit`), or nothing has happened. Answered when the shard's replacement would know it as well.
/// Repeating it is harmless.
struct Settle {
  uint64_t cut = 0;
  MapEpoch epoch = 0;   ///< of the map of Stand
  bool commit = false;
};
/// reply to Settle
struct Settled {};

using ShardActor =
    caf::typed_actor<caf::replies_to<Push>::with<Pushed>, caf::replies_to<Pull>::with<Pulled>, caf::replies_to<PushPull>::with<PushPulled>,
                     caf::replies_to<Open>::with<Opened>, caf::replies_to<Assign>::with<Assigned>, caf::replies_to<TakeSnapshot>::with<SnapshotTaken>,
                     caf::replies_to<SaveRows>::with<RowsSaved>, caf::replies_to<Call>::with<Called>, caf::replies_to<Prepare>::with<Prepared>,
                     caf::replies_to<Freeze>::with<Frozen>, caf::replies_to<Release>::with<Released>, caf::replies_to<AskRanges>::with<Ranges>,
                     caf::replies_to<Stand>::with<Standing>, caf::replies_to<TakeIn>::with<TakenIn>, caf::replies_to<Settle>::with<Settled>>;

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Push)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Pushed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Pull)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Pulled)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::PushPull)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::PushPulled)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Open)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Opened)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Assign)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Assigned)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::TakeSnapshot)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SnapshotTaken)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::SaveRows)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::RowsSaved)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Call)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Called)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Prepare)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Prepared)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Freeze)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Frozen)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Release)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Released)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::AskRanges)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Ranges)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Stand)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Standing)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::TakeIn)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::TakenIn)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Settle)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Settled)
