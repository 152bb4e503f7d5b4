#include "ps/chain/state_transfer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/wire.h"

namespace troupe {
namespace {

/// A push that waits: its head, then its arrays.
constexpr char kWaiting[] = "waiting/";

std::vector<SnapshotSection> AllSections(const ShardState& state) {
  std::vector<SnapshotSection> all = state.sections;
  for (size_t i = 0; i < state.waiting.size(); ++i) {
    Frame frame = Codec<Push>::Encode(state.waiting[i]);
    all.push_back({absl::StrCat(kWaiting, "head"), std::move(frame.head)});
    for (Block& block : frame.bulk) all.push_back({absl::StrCat(kWaiting, "array"), std::move(block)});
  }
  return all;
}

}   // namespace

std::vector<Adopt> CutState(const ShardState& state, const StatePart& of, size_t piece_bytes) {
  std::vector<Adopt> pieces;
  uint32_t section = 0;
  for (const SnapshotSection& each : AllSections(state)) {
    size_t offset = 0;
    do {   // an empty section is one piece as well
      const size_t bytes = std::min(piece_bytes, each.bytes.size() - offset);
      pieces.push_back({.of = of,
                        .piece = static_cast<uint32_t>(pieces.size()),
                        .section = section,
                        .name = each.name,
                        .size = each.bytes.size(),
                        .offset = offset,
                        .bytes = each.bytes.Slice(offset, bytes)});
      offset += bytes;
    } while (offset < each.bytes.size());
    ++section;
  }
  for (Adopt& piece : pieces) piece.pieces = static_cast<uint32_t>(pieces.size());
  return pieces;
}

absl::Status StateAssembly::Take(const Adopt& piece) {
  const auto wrong = [&](const char* what) {
    return absl::InvalidArgumentError(absl::StrCat("piece ", piece.piece, " of ", piece.pieces, " of a shard's state: ", what));
  };
  if (piece.of != of_ || piece.pieces != pieces_) return wrong("it is of another part");
  if (pieces_ > kPiecesMax || piece.piece >= pieces_) return wrong("there are not that many");
  if (piece.size > kBytesMax || piece.offset > piece.size || piece.bytes.size() > piece.size - piece.offset) return wrong("it lies outside its section");
  seen_.resize(pieces_);
  if (seen_[piece.piece]) return absl::OkStatus();
  const auto [it, fresh] = sections_.try_emplace(piece.section);
  Section& section = it->second;
  if (fresh) {
    if (bytes_ + piece.size > kBytesMax) return wrong("the state is too large");
    bytes_ += piece.size;
    section.name = piece.name;
    section.size = piece.size;
  }
  if (section.name != piece.name || section.size != piece.size) return wrong("its section is called otherwise, or has another size");
  if (piece.bytes.size() == piece.size) {
    section.only = piece.bytes;
  } else {
    if (!section.bytes) section.bytes.emplace(section.size);
    std::memcpy(section.bytes->data() + piece.offset, piece.bytes.data(), piece.bytes.size());
  }
  section.came += piece.bytes.size();
  seen_[piece.piece] = true;
  ++came_;
  return absl::OkStatus();
}

absl::StatusOr<ShardState> StateAssembly::Finish() && {
  ShardState state;
  std::optional<Frame> waiting;
  const auto add_waiting = [&]() -> absl::Status {
    if (!waiting) return absl::OkStatus();
    TROUPE_TRY(Push push, Codec<Push>::Decode(*waiting));
    state.waiting.push_back(std::move(push));
    waiting.reset();
    return absl::OkStatus();
  };
  for (auto& [number, section] : sections_) {
    if (section.came != section.size) return absl::InvalidArgumentError(absl::StrCat("a shard's state: section '", section.name, "' is incomplete"));
    Block bytes = section.bytes ? std::move(*section.bytes).Finish() : std::move(section.only);
    if (section.name == absl::StrCat(kWaiting, "head")) {
      TROUPE_RETURN_IF_ERROR(add_waiting());
      waiting = Frame{Codec<Push>::kType, std::move(bytes), {}};
    } else if (section.name == absl::StrCat(kWaiting, "array")) {
      if (!waiting) return absl::InvalidArgumentError("a shard's state: a push that waits has no head");
      waiting->bulk.push_back(std::move(bytes));
    } else {
      state.sections.push_back({section.name, std::move(bytes)});
    }
  }
  TROUPE_RETURN_IF_ERROR(add_waiting());
  return state;
}

}   // namespace troupe
