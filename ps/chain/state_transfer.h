// A shard's state on its way to another process: cut into pieces that fit a message, and put together again. Pure.
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

/// At least one piece, none with more than `piece_bytes`. The pieces refer to the state's blocks, nothing is copied.
std::vector<Adopt> CutState(const ShardState& state, uint64_t view, uint64_t number, size_t piece_bytes = 4 << 20);

class StateAssembly {
 public:
  static constexpr uint64_t kBytesMax = uint64_t{1} << 40;   ///< of all sections
  static constexpr uint32_t kPiecesMax = 1 << 22;

  explicit StateAssembly(const Adopt& first) : view_(first.view), number_(first.number), pieces_(first.pieces) {}
  uint64_t view() const { return view_; }
  uint64_t number() const { return number_; }
  /// In any order; one that comes twice counts once. InvalidArgument: it is not of this state, or does not fit what has come.
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
  uint64_t view_, number_;
  uint32_t pieces_, came_ = 0;
  uint64_t bytes_ = 0;
  std::vector<bool> seen_;
  std::map<uint32_t, Section> sections_;
};

}   // namespace troupe
