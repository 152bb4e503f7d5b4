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
#include "ps/round_sum.h"
#include "ps/snapshot.h"
#include "ps/table.h"

namespace troupe {

struct ShardOptions {
  std::vector<TableSpec> tables;
  uint32_t shard = 0;
  uint32_t shards = 1;
  uint32_t writers = 1;
  Consistency consistency;
  /// The shard shares its process with its writers: what it has applied dies with them or not at all, so it is stable at once and needs no snapshots.
  bool stable_when_applied = false;
};

class Shard {
 public:
  static constexpr size_t kViewsMax = 16;
  static absl::StatusOr<Shard> Make(ShardOptions options);

  /// Applies a push, keeps it until its round is complete (BSP), or recognises it as known. InvalidArgument: malformed (shapes, ranges, keys, not finite).
  /// Unavailable: it comes before what it is to come after. Nothing has changed then. Keys that it refers to and that are not known are answered kNeedKeys.
  absl::StatusOr<Pushed> OnPush(const Push& push);
  /// May `pull` be answered now?
  bool Ready(const Pull& pull) const;
  /// Remembers the keys of `pull`, or gives it those that it refers to (where they are not known: to be answered needs_keys, as it stands).
  void FillKeys(Pull& pull);
  /// The rows. InvalidArgument: malformed. NotFound: of a view that is not there.
  absl::StatusOr<Pulled> OnPull(const Pull& pull) const;
  absl::StatusOr<Opened> OnOpen(const Open& open) const;
  absl::Status OnAssign(const Assign& assign);
  /// A call that begins: its rows must not change until it is done. Errors as RunningCall::Start.
  absl::StatusOr<RunningCall> StartCall(const Call& call) const { return RunningCall::Start(call.call, tables_); }

  /// A cut and its view (cut.h). Where the shard stands; from here on a push must not be given to it that does not pass. Errors as CutGate::Hold; Unavailable:
  /// there are kViewsMax views already.
  absl::StatusOr<Prepared> OnPrepare(const Prepare& prepare);
  /// Goes on to the cut's clocks. Errors as CutGate::Aim.
  absl::Status OnFreeze(const Freeze& freeze);
  /// May this push be given to the shard now? Those that the shard knows already may always.
  bool Passes(const Push& push) const;
  /// Keeps all tables as the cut's view, when they stand at its clocks. Cost: O(ranges).
  bool MakeView(uint64_t cut);
  bool HasView(uint64_t cut) const { return views_.contains(cut); }
  /// Holds nothing back for this cut any more.
  void EndCut(uint64_t cut);
  void DropView(uint64_t cut) { views_.erase(cut); }
  bool HoldsFor(uint64_t cut) const { return gate_.holds(cut); }
  /// The cut that it holds pushes back for; 0: none.
  uint64_t cut() const { return gate_.cut(); }

  /// Every writer's rounds up to here have been applied.
  Round applied() const;
  Round min_clock() const { return arrived_.min_clock(); }
  /// Goes up whenever a push or an assignment changes something: is a new snapshot worth it?
  uint64_t version() const { return version_; }
  /// Entries of batches behind all pushes applied, each push once.
  uint64_t nonzeros() const { return nonzeros_; }
  const std::vector<Table>& tables() const { return tables_; }
  const ShardOptions& options() const { return options_; }

  /// Everything in one cut: values, rule state, what is applied of whom. What waits in unfinished rounds is not part of it: its writers hold it.
  std::vector<SnapshotSection> Save() const;
  /// InvalidArgument or DataLoss: sections missing, cut, or of other tables, writers or shards.
  absl::Status Load(const std::vector<SnapshotSection>& sections);
  /// The writers' clocks that a snapshot made now covers, and what is told when it has become durable.
  std::vector<Round> AppliedClocks() const { return applied_.clocks(); }
  void SetStable(const std::vector<Round>& clocks);

  /// BSP: stop applying after this round so that a snapshot can be taken exactly there. False: it has been passed. Else nothing to do.
  bool HoldAfter(Round round);
  /// Everything up to this round has been applied.
  bool Reached(Round round) const { return arrived_.min_clock() >= round && (waiting_.empty() || waiting_.begin()->first > round); }
  void Resume();

 private:
  explicit Shard(ShardOptions options);
  bool bsp() const { return options_.consistency.kind == Consistency::Kind::kBsp; }
  uint32_t Slot(uint32_t table, uint32_t range) const { return first_slot_[table] + range; }
  /// Everything that may be wrong with a push: what has passed can be applied.
  absl::Status Check(const Push& push);
  absl::StatusOr<Pushed> OnWholePush(const Push& push);
  /// Calls use(table, rows, parts) for the parts of each table.
  template <class Use>
  void ByTable(const Push& push, Use&& use);
  void ApplyNow(const Push& push);
  absl::Status CheckChange(const Push& push) const;
  void ApplyChange(const Push& push);
  void ApplyCompleteRounds();
  void ApplyRound(const std::map<uint32_t, std::vector<Push>>& pushes);
  Pushed Answer(uint32_t writer, Pushed::Outcome outcome) const;
  /// A range in a snapshot: its bytes; nothing for a branch's that is blank; or which earlier table shares it.
  Block SaveRange(const Table& table, uint32_t range) const;
  absl::Status LoadRange(uint32_t number, uint32_t range, const Block& bytes);

  ShardOptions options_;
  std::vector<Table> tables_;
  std::vector<RowsIn> rows_;                                         // of ByTable
  uint64_t rounds_over_ = 0;                                         // BSP: rounds applied; else: rounds that writers ended. Where schedules stand
  std::vector<RoundSum> sums_;                                       // by table: the round that is being applied
  std::vector<uint32_t> first_slot_;                                 // by table
  Ledger arrived_{0, 0};                                             // what pushes are compared with
  Ledger applied_{0, 0};                                             // what tables hold; differs from arrived_ only under BSP
  std::vector<uint32_t> chunks_;                                     // by writer: messages of its unfinished round that have arrived here
  std::map<Round, std::map<uint32_t, std::vector<Push>>> waiting_;   // BSP: round -> writer -> its messages. Invariant: all > applied()
  std::vector<KeyLists> key_lists_;                                  // by writer
  std::vector<Round> begun_;                                         // by writer, not under BSP: the newest round of which anything is applied, >= its clock
  CutGate gate_;
  std::map<uint64_t, std::vector<Table>> views_;   // by cut
  Round hold_after_ = 0;
  Round last_round_ = 0;   // the last one applied under BSP
  uint64_t version_ = 0;
  uint64_t nonzeros_ = 0;
};

}   // namespace troupe
