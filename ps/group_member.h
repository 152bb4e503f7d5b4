// One worker's share in the tables that the workers keep: the gradients of its own writers, added up round by round, become its part of an all-reduce; what
// comes out is the round's push to its copy of the tables, a Shard of one writer that stands behind the job's shards (partition.h). Pure.
//
//   writers of this worker --Push--> GroupMember: their sum --ReduceMessage--> the other members, and back --Push of writer 0--> copy: rule applied once
//
// Every member takes part in every round, with zeros where its writers have no batch left; a round in which nobody has one ends the phase. So the copies see
// the same pushes in the same order and have the same bits, state and clock.
//
// Where a member is replaced, the round that is being added up begins anew, for all of them: each keeps what it has given to it until the round is over.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/all_reduce.h"
#include "ps/messages.h"
#include "ps/partition.h"
#include "ps/table_spec.h"

namespace troupe {

struct GroupMemberOptions {
  std::vector<TableSpec> tables;   ///< all of the job; those that workers keep are meant
  uint32_t shards = 1;
  uint32_t member = 0, members = 1;
  std::vector<uint32_t> writers = {};   ///< this member's, in the order in which they are added up
};

class GroupMember {
 public:
  /// What is to be sent.
  struct Effects {
    std::vector<AllReduce::Outgoing> messages;   ///< to other members
    std::vector<Push> rounds;                    ///< to the copy, in this order
  };

  /// InvalidArgument: no writers, or as AllReduce::Make.
  static absl::StatusOr<GroupMember> Make(GroupMemberOptions options);

  /// Where the copy stands, as it says of its writer 0: everything up to there counts as pushed by all writers. First of all; and, between Stop and Go, after
  /// the copy was replaced by another's: one that is further, or, before anybody was told of its own, any.
  void Begin(const Opened& copy);
  /// Nothing is added up from here on, and what has been of the round after over() is forgotten, but for what this member's writers have pushed. So it stands
  /// at the beginning.
  void Stop();
  /// All members of the group have stopped and stand at the same round: what they send from here on is of turn 0, 1, ... anew.
  void Go(Effects& effects);
  /// What one of this member's writers pushes, once; known and missing messages are answered as by a shard. nullopt: the end of a phase, to be answered by
  /// AnswerTo(writer) when over() >= its round: when all members' writers have ended it.
  /// InvalidArgument: malformed, another member's writer, or a gradient that is not finite where the table refuses those. Nothing has changed then.
  absl::StatusOr<std::optional<Pushed>> OnPush(const Push& push, Effects& effects);
  /// Not between Stop and Go. Errors as AllReduce::Receive.
  absl::Status OnMessage(const ReduceMessage& message, Effects& effects);
  absl::StatusOr<Opened> OnOpen(const Open& open) const;
  Pushed AnswerTo(uint32_t writer) const;

  /// What is wrong with a round that the copy has refused with `refused`: the sum of finite numbers may be too large for a float.
  absl::Status Explain(const Push& round, const absl::Status& refused) const;

  /// All rounds up to here are over at this member.
  Round over() const { return over_; }
  /// This member's numbers of a round are on their way, and others are missing: what of. Empty: nothing is missing.
  std::string WaitsFor() const;

 private:
  struct Kept {
    uint32_t table;
    Partition partition;
    AllReduce reduce;
    SpareArrays arrays;
    std::optional<AllReduce::Sum> sum;   // of the round, where it is here and another table's is not
  };
  struct Contribution {
    std::vector<std::shared_ptr<std::vector<float>>> values;   // by kept table, rows x width; null: zeros
    uint64_t nonzeros = 0;
  };
  struct Given {   // this member's part of a round
    std::vector<std::shared_ptr<std::vector<float>>> values;
    ReduceCounts counts;
  };
  struct Writer {
    Round clock = kFirstRound;   // all of its rounds up to here have arrived
    Round ending = 0;            // the end of a phase that has arrived
    Round half = 0;              // its unfinished round, and how many messages of it have arrived
    uint32_t chunks = 0;
  };

  explicit GroupMember(GroupMemberOptions options) : options_(std::move(options)) {}
  const TableSpec& SpecOf(const Kept& kept) const { return options_.tables[kept.table]; }
  /// The index of a table among the kept ones.
  std::optional<size_t> IndexOf(uint32_t table) const;
  absl::Status Check(const Push& push) const;
  void AddTo(Contribution& contribution, const Push& push);
  /// Does whatever can be done now.
  void Advance(Effects& effects);
  bool Contribute(Effects& effects);
  /// This member's part of the round, once all of its writers have pushed theirs.
  bool AddUpOwn();
  void EndWriters();
  void EndRound(Effects& effects);

  GroupMemberOptions options_;
  std::vector<Kept> kept_;
  std::map<uint32_t, Writer> writers_;
  std::map<Round, std::map<uint32_t, Contribution>> contributions_;   // of rounds after over_, by writer
  std::optional<Given> given_;                                        // to the round after over_; null: a writer's part is still missing
  bool running_ = false;                                              // between Go and Stop
  Round over_ = kFirstRound;
  Sequence last_ = 0;   // of the pushes to the copy
};

}   // namespace troupe
