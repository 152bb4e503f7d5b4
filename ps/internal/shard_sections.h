// The names of a shard's sections, in its snapshots and in what it gives to another shard.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "ps/table_spec.h"

namespace troupe::internal {

/// A range's rows.
inline constexpr char kRows[] = "table/";
inline std::string RangeName(const TableSpec& spec, uint32_t range) {
  return absl::StrCat(kRows, spec.name, "/", range);
}
/// What is applied of whom in a range: Sequence[], by writer.
inline std::string SequencesName(const TableSpec& spec, uint32_t range) {
  return absl::StrCat("sequences/", spec.name, "/", range);
}
/// Of a snapshot: the map of ranges, where it is not the first one.
inline constexpr char kMapSection[] = "map";
/// Of a state for a replica: HalfRound[], by writer.
inline constexpr char kHalvesSection[] = "halves";
inline constexpr char kOrderSection[] = "order";   // uint64_t: the last Pushed::order
struct HalfRound {
  uint64_t round;
  uint32_t chunks, zero;
};
/// Of a state for a replica: the ranges of tables without limits come in slices. Of a slice: which ranges it has.
inline constexpr char kSlicesSection[] = "slices", kSliceSection[] = "slice";
struct SliceBounds {
  uint32_t first, end;
};
/// Of a move that the shard has agreed to: the next map, its cut, and before the names of the sections that came, a word.
inline constexpr char kMoveSection[] = "move/map", kMoveCutSection[] = "move/cut", kArrived[] = "arrived/";

}   // namespace troupe::internal
