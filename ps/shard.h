// One shard of the parameter server: its ranges of every table, the ledger of what has arrived, the rounds that wait for their last writer. Pure: no clock, no
// I/O, no threads; the shard actor moves messages in and out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/call.h"
#include "ps/consistency.h"
#include "ps/cut.h"
#include "ps/encoding/key_lists.h"
#include "ps/ledger.h"
#include "ps/messages.h"
#include "ps/pulled_rows.h"
#include "ps/range_map.h"
#include "ps/round_sum.h"
#include "ps/row_tier.h"
#include "ps/shard_view.h"
#include "ps/snapshot.h"
#include "ps/table.h"

namespace troupe {

struct ShardOptions {
  std::vector<TableSpec> tables;
  uint32_t shard = 0;
  uint32_t shards = 1;
  uint32_t writers = 1;
  Consistencies consistency;
  /// A writer that comes back need not make its predecessor's pushes again (a TableSet): it goes on behind whatever any shard has of it.
  bool writers_go_on = false;
  /// The shard shares its process with its writers: what it has applied dies with them or not at all, so it is stable at once and needs no snapshots.
  bool stable_when_applied = false;
  /// For tables with memory_max.
  TierFactory tiers = nullptr;
};

/// At least one of each, a consistency only for tables that are there, and writers that are waited for. InvalidArgument says which.
absl::Status Validate(const ShardOptions& options);

class Shard {
 public:
  static constexpr size_t kViewsMax = 16;
  static absl::StatusOr<Shard> Make(ShardOptions options);

  /// Applies a push, keeps what is for tables in rounds (BSP) until its round is complete, recognises what is known, and drops what comes too late (backup
  /// workers). InvalidArgument: malformed (shapes, ranges, keys, not finite). Unavailable: it comes before what it is to come after. Nothing has changed then.
  /// Keys that it refers to and that are not known are answered kNeedKeys; a push by an older map kMoved (by a newer one: Unavailable).
  /// ResourceExhausted: it needs rows that are not in memory, and the tier takes none to make room (BSP: pushes that wait may still bring some). DataLoss: as
  /// usable().
  absl::StatusOr<Pushed> OnPush(const Push& push);
  /// May `pull` be answered now, as far as rounds go? What bounds of delay say is the actor's business: there are no clocks here.
  bool Ready(const Pull& pull) const;
  /// The shortest bound of delay among the tables of `pull`; 0: none.
  std::chrono::milliseconds DelayBound(const Pull& pull) const;
  /// Remembers the keys of `pull`, or gives it those that it refers to (where they are not known: to be answered needs_keys, as it stands).
  void FillKeys(Pull& pull);
  /// The rows. InvalidArgument: malformed. NotFound: of a view that is not there. By an older map: Pulled::moved (by a newer one: Unavailable).
  absl::StatusOr<Pulled> OnPull(const Pull& pull);
  absl::StatusOr<Opened> OnOpen(const Open& open) const;
  absl::Status OnAssign(const Assign& assign);
  /// A call that begins: its rows must not change until it is done, unless it is of a view. Errors as RunningCall::Start; NotFound: of a view that is not
  /// there.
  absl::StatusOr<RunningCall> StartCall(const Call& call) const;

  /// A cut and its view (cut.h). Where the shard stands; from here on a push must not be given to it that does not pass. Errors as CutGate::Hold; Unavailable:
  /// there are kViewsMax views already.
  absl::StatusOr<Prepared> OnPrepare(const Prepare& prepare);
  /// Goes on to the cut's clocks. Errors as CutGate::Aim.
  absl::Status OnFreeze(const Freeze& freeze);
  /// May this push be given to the shard now? Those that the shard knows already may always.
  bool Passes(const Push& push) const;
  /// Keeps all tables as the cut's view, when they stand at its clocks. Cost: O(ranges).
  bool MakeView(uint64_t cut);
  /// The same for a cut that somebody else has made: it is `clocks` (Round[], by writer) where the shard stands. Internal: it does not. Unavailable: there are
  /// kViewsMax views already.
  absl::Status KeepView(uint64_t cut, const Block& clocks);
  bool HasView(uint64_t cut) const { return views_.contains(cut); }
  /// Holds nothing back for this cut any more, unless it is one of a move that the shard has agreed to.
  void EndCut(uint64_t cut);
  void DropView(uint64_t cut) { views_.erase(cut); }
  bool HoldsFor(uint64_t cut) const { return gate_.holds(cut); }
  /// The cut that it holds pushes back for; 0: none.
  uint64_t cut() const { return gate_.cut(); }

  /// A move of ranges (relocation_actor.h): Stand, until StandsAt; SaveLeaving; TakeIn; Settle. Where it has agreed (OnTakeIn), so has its snapshot.
  const RangeMap& map() const { return map_; }
  bool Has(uint32_t table, uint32_t range) const { return map_.ShardOf(table, range) == options_.shard; }
  /// Errors as CutGate::Aim. InvalidArgument: no map of this job. FailedPrecondition: not the map after this one, or a table that moves has memory_max.
  absl::Status OnStand(const Stand& stand);
  bool StandsAt(uint64_t cut) const { return move_ && move_->cut == cut && gate_.holds(cut) && gate_.Reached(applied_.clocks()); }
  /// The ranges that leave, and what is applied of whom in them.
  std::vector<SnapshotSection> SaveLeaving() const;
  /// `sections`: of all who give; those of ranges that come here are taken in. Unavailable: it does not stand at this cut. InvalidArgument: sections missing or
  /// damaged. Nothing has changed then. It may be repeated.
  absl::Status OnTakeIn(uint64_t cut, const std::vector<SnapshotSection>& sections);
  /// The cut of a move that it has agreed to; 0: none.
  uint64_t in_doubt() const { return move_ && move_->agreed ? move_->cut : 0; }
  /// The move is over. With `commit` the next map holds; what has come of rounds that were dealt by the old one, and is not applied, is gone: its writers have
  /// it. FailedPrecondition: a commit of what this shard has not agreed to.
  absl::Status OnSettle(const Settle& settle);
  /// Unavailable, where loads are asked for, which is how a move begins: rounds that the last one has sent back to their writers are not applied again yet.
  /// (Moves that follow too fast would else send them back for ever.)
  absl::StatusOr<Ranges> OnAskRanges(const AskRanges& ask) const;

  /// Every writer's rounds up to here have been applied.
  Round applied() const;
  Round min_clock() const { return arrived_.min_clock(); }
  Round clock(uint32_t writer) const { return arrived_.clock(writer); }
  const std::vector<Round>& clocks() const { return arrived_.clocks(); }
  /// Goes up whenever a push or an assignment changes something: is a new snapshot worth it?
  uint64_t version() const { return version_; }
  /// Entries of batches behind all pushes applied, each push once.
  uint64_t nonzeros() const { return nonzeros_; }
  /// And behind what came too late.
  uint64_t late_nonzeros() const { return late_nonzeros_; }
  /// An error where a table's tier has lost rows: what has been read of the shard since may lack them, and it takes nothing any more.
  absl::Status usable() const;
  const std::vector<Table>& tables() const { return tables_; }
  const ShardOptions& options() const { return options_; }

  /// Everything in one cut: values, rule state, what is applied of whom. What waits in unfinished rounds is not part of it: its writers hold it.
  std::vector<SnapshotSection> Save() const;
  /// A state for another process, in slices that are taken while this shard goes on. First SaveForReplica: all but the ranges of tables without limits; what
  /// waits (Waiting) is to be pushed to a shard that has loaded it. From there on that shard is told whatever this one is told, and takes each slice right
  /// behind the change that this one saved it behind (TakeSlice). Invariant: what a change makes of a range of a table without limits depends on nothing but
  /// that range, the same range of the table's branches, and what is not in ranges; so it does not matter what the other shard's ranges were before their slice
  /// came.
  std::vector<SnapshotSection> SaveForReplica() const;
  /// How far each writer is in an unfinished round: what Save lacks where the rest of such rounds follows (a log), not their beginning.
  SnapshotSection SaveHalves() const;
  /// Not under BSP: the newest round of each writer of which anything is applied.
  const std::vector<Round>& begun() const { return begun_; }
  /// Ranges first .. end - 1 of all tables without limits, as far as they are here. Not while HoldsRounds.
  std::vector<SnapshotSection> SaveSlice(uint32_t first, uint32_t end) const;
  /// From range `first` on, so many that their rows take `bytes`: the end of a slice, at most ranges().
  uint32_t SliceEnd(uint32_t first, uint64_t bytes) const;
  /// Of the table without limits that has most of them.
  uint32_t ranges() const;
  /// In place of what these ranges were. InvalidArgument: cut, or of other tables; the shard is of no use then.
  absl::Status TakeSlice(const std::vector<SnapshotSection>& sections);
  /// A round is complete and not applied, for a snapshot or a cut: a shard that holds nothing back has other rows.
  bool HoldsRounds() const { return !waiting_.empty() && waiting_.begin()->first <= ended(); }
  /// XXH3 64 of what is applied of whom, and of the rows of a range: equal in shards that have been told the same. The range must be this shard's.
  struct Digest {
    uint64_t clocks = 0, rows = 0;
  };
  Digest DigestOf(uint32_t table, uint32_t range) const;
  /// Messages of unfinished rounds, as they came. BSP; else there are none.
  std::vector<Push> Waiting() const;
  /// The same, to be made range by range, also by another thread while this one goes on: ranges that are written to meanwhile are copied then. Tables with
  /// limits are saved at once. Cost: O(ranges), and their rows.
  ShardView View() const;
  /// Ranges that are to come in slices stay as they are. InvalidArgument or DataLoss: sections missing, cut, or of other tables, writers or shards.
  absl::Status Load(const std::vector<SnapshotSection>& sections);
  /// The writers' clocks that a snapshot made now covers, and what is told when it has become durable.
  std::vector<Round> AppliedClocks() const { return applied_.clocks(); }
  void SetStable(const std::vector<Round>& clocks);

  /// BSP: stop applying after this round so that a snapshot can be taken exactly there. False: it has been passed. Else nothing to do.
  bool HoldAfter(Round round);
  /// Everything up to this round has been applied.
  bool Reached(Round round) const { return ended() >= round && (waiting_.empty() || waiting_.begin()->first > round); }
  void Resume();

 private:
  explicit Shard(ShardOptions options);
  /// Rounds up to here have been ended by all writers, or by all but the slowest ones that need not be waited for.
  Round ended() const;
  /// Its round has been applied without it.
  bool Late(const Push& push) const { return options_.consistency.all.backup > 0 && push.round <= last_round_; }
  /// Calls use(table's consistency) for each table that the pull asks for anywhere; all of them where it asks for none and only waits.
  template <class Use>
  void ByConsistency(const Pull& pull, Use&& use) const;
  bool InRounds(uint32_t table) const { return consistency_[table].in_rounds(); }
  uint32_t Slot(uint32_t table, uint32_t range) const { return first_slot_[table] + range; }
  /// Everything that may be wrong with a push: what has passed can be applied.
  absl::Status Check(const Push& push);
  absl::StatusOr<Pushed> OnWholePush(const Push& push);
  /// Calls use(table, rows, parts) for those parts of each table that `keep` is true of.
  template <class Keep, class Use>
  void ByTable(const Push& push, Keep&& keep, Use&& use);
  void ApplyNow(const Push& push);
  void ApplyRows(Table& table, const Push& push, std::span<const RowsIn> rows, std::span<const PushPart* const> parts);
  absl::Status CheckChange(const Push& push) const;
  void ApplyChange(const Push& push);
  void ApplyCompleteRounds();
  /// Another round is over, of all writers or of one.
  void EndRound();
  void TellRounds(bool restored);
  void ApplyRound(Round round, std::map<uint32_t, std::vector<Push>>& pushes);
  Pushed Answer(uint32_t writer, Pushed::Outcome outcome) const;
  absl::Status Behind(MapEpoch epoch) const;
  /// The pieces of a pull that OnPull has checked, of `bytes` together; none where they have to be copied.
  absl::StatusOr<std::vector<Block>> Lend(const Pull& pull, uint64_t bytes);
  /// A range in a snapshot: its bytes; nothing for a branch's that is blank; or which earlier table shares it.
  Block SaveRange(const Table& table, uint32_t range) const;
  absl::Status NoView(uint64_t view) const;
  absl::Status TooManyViews() const;
  void AddView(uint64_t cut);
  /// nullopt: it has rows of its own.
  std::optional<Block> SaveWithoutRows(const Table& table, uint32_t range) const;
  /// Calls use(table, range) for what a slice has, earlier tables first.
  template <class Use>
  void EachOfSlice(uint32_t first, uint32_t end, Use&& use) const;
  absl::Status LoadRange(uint32_t number, uint32_t range, const Block& bytes);
  /// The tables have exactly the ranges of `map`.
  void FollowMap(const RangeMap& map);
  /// Calls use(table, range, leaves) for every range that moves by `next`, where this shard gives or gets it.
  template <class Use>
  void EachMoved(const RangeMap& next, Use&& use) const;
  absl::Status Movable(const RangeMap& next) const;
  absl::Status TakeSections(const std::vector<SnapshotSection>& sections);
  void DropArrived();
  void Commit();

  ShardOptions options_;
  std::vector<Table> tables_;
  std::vector<Consistency> consistency_;   // by table
  bool any_in_rounds_ = false;
  std::vector<RowsIn> rows_;             // of ByTable
  std::vector<const PushPart*> parts_;   // of ByTable, of the same parts
  PulledRows pulled_rows_;
  uint64_t rounds_over_ = 0;           // BSP: rounds applied; else: rounds that writers ended. Where schedules stand
  std::vector<RoundSum> sums_;         // by table: the round that is being applied
  std::vector<uint32_t> first_slot_;   // by table
  Ledger arrived_{0, 0};               // what pushes are compared with
  Ledger applied_{0, 0};               // what tables hold; differs from arrived_ only where tables go by rounds
  struct Half {
    Round round = 0;
    uint32_t chunks = 0;                  // messages of it that have arrived here
    std::vector<uint32_t> changed = {};   // tables that they have changed at once
  };
  std::vector<Half> halves_;                                         // by writer: its unfinished round
  std::map<Round, std::map<uint32_t, std::vector<Push>>> waiting_;   // for tables in rounds: round -> writer -> its messages. Invariant: all > last_round_
  std::vector<KeyLists> key_lists_;                                  // by writer
  std::vector<Round> begun_;                                         // by writer, not under BSP: the newest round of which anything is applied, >= its clock
  CutGate gate_;
  std::map<uint64_t, std::vector<std::optional<Table>>> views_;   // by cut; without the tables that have limits
  RangeMap map_;
  struct Move {
    uint64_t cut = 0;
    RangeMap map;
    bool agreed = false;
    std::vector<SnapshotSection> arrived = {};   // as they came, for the snapshot: their rows are in the tables, their sequences in the ledger
  };
  std::optional<Move> move_;                // from Stand to Settle
  std::vector<Round> sent_back_;            // by writer: what had arrived when the last move was committed; empty: no move yet
  std::vector<uint64_t> pushed_, pulled_;   // by slot: rows
  Round hold_after_ = 0;
  Round last_round_ = 0;   // the last one applied under BSP
  uint64_t version_ = 0;
  uint64_t order_ = 0;   // Pushed::order of the last message
  uint64_t nonzeros_ = 0, late_nonzeros_ = 0;
};

}   // namespace troupe
