// Parts of a shard's state on their way to another process: cut into pieces that fit a message, and put together again. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/chain/messages.h"
#include "ps/shard_actor.h"
#include "ps/snapshot.h"

namespace troupe {

/// At least one piece, none with more than `piece_bytes`. The pieces refer to the state's blocks, nothing is copied. A slice is a state in which nothing waits.
std::vector<Adopt> CutState(const ShardState& state, const StatePart& of, size_t piece_bytes = 4 << 20);

class StateAssembly {
 public:
  static constexpr uint64_t kBytesMax = uint64_t{1} << 40;   ///< of all sections
  static constexpr uint32_t kPiecesMax = 1 << 22;

  explicit StateAssembly(const Adopt& first) : of_(first.of), pieces_(first.pieces) {}
  const StatePart& of() const { return of_; }
  /// In any order; one that comes twice counts once. InvalidArgument: it is not of this part, or does not fit what has come.
  absl::Status Take(const Adopt& piece);
  bool whole() const { return came_ == pieces_; }
  /// When it is whole. InvalidArgument: a section lacks bytes, or what waits cannot be read.
  absl::StatusOr<ShardState> Finish() &&;

 private:
  struct Section {
    std::string name;
    uint64_t size = 0, came = 0;
    Block only;                               // a section in one piece
    std::optional<BlockBuilder> bytes = {};   // else
  };
  StatePart of_;
  uint32_t pieces_, came_ = 0;
  uint64_t bytes_ = 0;
  std::vector<bool> seen_;
  std::map<uint32_t, Section> sections_;
};

}   // namespace troupe
