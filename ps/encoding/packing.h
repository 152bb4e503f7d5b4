// The arrays of a message as they travel between processes, and back: nothing is lost, anything malformed is refused. Pure; called by the codecs (ps/wire.h).
//
// parts   a table after the other. Its number; the number of its keys (they travel as differences and say which parts there are, but for those without
//         rows, which follow) or of its parts; for each part what does not follow from the one before it. Variable-length numbers.
// keys    first the tables whose keys travel as differences: over all ranges at once, for there they are small; the receiver deals them to the ranges again.
//         Then the other keys as they are.
// values  as the runs say.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ps/messages.h"

namespace troupe {

struct Packed {
  Block parts, keys, values;
  Packing packing;   ///< how: what the message wants, as far as its arrays allow it
};

/// Parts and keys travel as they are where the message's packing has no ranges, values where it has no runs.
Packed Pack(const Push& push);
Packed Pack(const Pull& pull);
/// Parts, keys, values and packing of the message, as they were. What is not an array of its kind, or does not belong together, the shard finds.
/// The memory made is at most 100 times what has come. InvalidArgument: cut, of an unknown code, more or less than the message says.
absl::Status Unpack(const Packed& packed, Push& push);
absl::Status Unpack(const Packed& packed, Pull& pull);

Block PackRuns(const Block& values, std::span<const ValueRun> runs);
absl::StatusOr<Block> UnpackRuns(const Block& bytes, std::span<const ValueRun> runs);

}   // namespace troupe
