// All-reduce: n members have an array of floats each, and every one of them gets the sum, turn after turn. A state machine without actors: an array or a
// message in, messages out. The array is cut into chunks that travel on their own, so that the links are busy all the time.
//
//   ring   chunk c starts at member c mod n; each member adds its own and hands it to the next (reduce-scatter), and when all have added theirs it goes round
//          once more (all-gather). A member sends 2 (n - 1) / n arrays, whatever n is.  Source: Patarasuk, Yuan, "Bandwidth optimal all-reduce algorithms for
//          clusters of workstations", J. Parallel Distrib. Comput. 69, 2009.
//   tree   member i has the children 2 i + 1 and 2 i + 2; sums go up to member 0, the result comes down. 2 log2(n) hops instead of 2 (n - 1), for small arrays;
//          an inner member sends up to 3 arrays.
//
// Every element is added up once, at one place after the other, and what comes out is handed on as it is: all members have the same bits. The order of the
// additions is fixed by n and the chunk (ring: c mod n, c mod n + 1, ...; tree: a member's own, then what its first child's subtree has, then its second's),
// not by when messages come.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/block.h"
#include "ps/internal/spare_arrays.h"
#include "ps/types.h"

namespace troupe {

/// What is added up beside the floats of a turn.
struct ReduceCounts {
  uint64_t writers = 0;    ///< who have a batch in the round
  uint64_t nonzeros = 0;   ///< entries of their batches behind the numbers
  bool operator==(const ReduceCounts&) const = default;
};

/// Part of the sum on its way from one member to another.
struct ReduceMessage {
  uint64_t group = 0;   ///< of which members (GroupView::number): not looked at here
  uint32_t table = 0;   ///< whose numbers: not looked at here
  uint32_t from = 0;    ///< the member that sends it
  uint64_t turn = 0;
  uint32_t chunk = 0;
  bool whole = false;   ///< all members' numbers are in it; else those of the sender and of whoever is behind it
  ReduceCounts counts = {};
  Block values = {};   ///< float[], the chunk's; empty: zeros
};

struct AllReduceOptions {
  KeptBy topology = KeptBy::kRing;   ///< kRing or kTree
  uint32_t member = 0, members = 1;
  uint64_t floats = 0;
  uint64_t chunk_floats_max = 256 << 10;
  /// A ring cuts the array into at least one chunk a member, but into none smaller than this.
  uint64_t chunk_floats_min = 1 << 10;
};

/// One member's side. Not thread-safe: its actor owns it.
class AllReduce {
 public:
  struct Outgoing {
    uint32_t to;   ///< member
    ReduceMessage message;
  };
  struct Sum {
    /// The options' floats; the taker's own for as long as it likes. What nobody refers to any more is used again for later turns.
    std::shared_ptr<std::vector<float>> values;
    ReduceCounts counts;
  };

  /// InvalidArgument: member >= members, no topology, a largest chunk of 0 floats.
  static absl::StatusOr<AllReduce> Make(const AllReduceOptions& options);

  /// This member's numbers of the current turn, once a turn; null: zeros. They are only read, and not to be changed while anybody refers to them: messages do.
  /// Appends what is to be sent.
  /// InvalidArgument: another number of floats. FailedPrecondition: it has given its numbers already. Nothing has changed then.
  absl::Status Contribute(std::shared_ptr<const std::vector<float>> values, const ReduceCounts& counts, std::vector<Outgoing>& out);
  /// A message for this member: of the current turn, of the next one (a member may be one turn ahead: it cannot be two, for it needs this one's numbers), or
  /// one that is known already, which changes nothing. Appends what is to be sent.
  /// InvalidArgument: not one that this member may get: unknown chunk or sender, of another size, from the future. Nothing has changed then.
  absl::Status Receive(const ReduceMessage& message, std::vector<Outgoing>& out);
  /// The sum, when all of it is here; the next turn begins with that. Its early messages count then.
  std::optional<Sum> Take();

  /// Begins anew with turn 0, as if nothing had come or gone: for all members at once, whose messages from before must not come to any of them any more.
  void Restart();

  uint64_t turn() const { return turn_; }
  uint32_t chunks() const { return chunks_; }
  bool contributed() const { return contributed_; }
  /// What the turn waits for, for people: "chunk 3 of member 2's". Empty: for nothing, or for this member's own numbers.
  std::string WaitsFor() const;

 private:
  /// Whom a chunk comes from and goes to, at this member.
  struct Links {
    std::array<uint32_t, 2> from{};   // whose partial sums are added, in this order
    uint32_t sources = 0;
    std::optional<uint32_t> to;            // gets the partial sum; none: it is whole here
    uint32_t whole_from = 0;               // who sends the whole one, if it is not whole here
    std::array<uint32_t, 2> spread_to{};   // who gets the whole one from here
    uint32_t spreads = 0;
  };
  struct Part {   // a partial sum that has come
    bool here = false;
    ReduceCounts counts;
    Block values;
  };
  struct Chunk {
    std::array<Part, 2> parts;   // by source
    bool whole = false;
    ReduceCounts counts;   // of the whole one
  };

  explicit AllReduce(const AllReduceOptions& options);
  Links LinksOf(uint32_t chunk) const;
  uint64_t Begin(uint32_t chunk) const;
  uint64_t SizeOf(uint32_t chunk) const { return Begin(chunk + 1) - Begin(chunk); }
  absl::Status Refuse(const ReduceMessage& message, const std::string& what) const;
  /// Adds up what has come of a chunk, when all that is to be added here is here.
  void Combine(uint32_t chunk, std::vector<Outgoing>& out);
  void Finish(uint32_t chunk, const ReduceCounts& counts, const Block& values, std::vector<Outgoing>& out);

  AllReduceOptions options_;
  uint32_t chunks_ = 0;
  uint64_t turn_ = 0;
  bool contributed_ = false;
  ReduceCounts own_counts_;
  std::shared_ptr<const std::vector<float>> own_;   // this member's numbers. Null: zeros
  std::shared_ptr<std::vector<float>> partial_;     // others' added to it; messages refer to its finished parts. Null: nothing is added up yet
  std::shared_ptr<std::vector<float>> sum_;         // of this turn; null: nothing is whole yet
  SpareArrays partials_, sums_;
  uint32_t finished_ = 0;                         // chunks that are whole
  std::array<std::vector<Chunk>, 2> chunks_of_;   // of the current turn and of the next, by the turn's last bit
};

}   // namespace troupe
