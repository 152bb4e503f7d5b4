// How a table's pushes and pulls travel: fewer bytes for each number and key, fewer rows. What is lost is lost in one place (encoding/compressor.h, and Shard
// for what is pulled), the same on every host; packing the messages loses nothing (encoding/packing.h). Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace troupe {

/// Numbers as they travel. Bits each: 32, 16, 16, 8, 1.
enum class ValueCode : uint8_t {
  kFloat32,
  kFloat16,
  kBfloat16,
  kInt8,     ///< multiples of a scale, at most 127 of them
  kOneBit,   ///< the sign of a scale.  Seide et al., "1-Bit Stochastic Gradient Descent and its Application to Data-Parallel ...", Interspeech 2014
};

struct Encoding {
  /// Which rows of a push travel. The others are lost, or kept for a later push where there is feedback.
  enum class Filter : uint8_t {
    kNone,
    kTopK,        ///< the share `filter_number` of the rows, those of the largest norm.  Aji, Heafield, "Sparse Communication ...", EMNLP 2017
    kRandomK,     ///< that share, drawn at random; without feedback scaled up, so that the mean stays
    kThreshold,   ///< rows with an element of at least `filter_number`
    kKkt,         ///< rows that are not 0, and those whose gradient exceeds l1 - `filter_number`.  Li et al., "Scaling Distributed ML ...", OSDI 2014
  };
  ValueCode values = ValueCode::kFloat32;   ///< of pushes
  ValueCode pulled = ValueCode::kFloat32;   ///< of pulled rows: float32, float16 or bfloat16
  Filter filter = Filter::kNone;
  double filter_number = 0;
  /// What a push loses is added to the writer's next push of that key.  Karimireddy et al., "Error Feedback Fixes SignSGD ...", ICML 2019
  bool feedback = false;
  bool delta_keys = false;   ///< keys of sparse tables travel as differences
  bool key_cache = false;    ///< a list of keys that the shard has seen lately travels as its hash

  bool pushes_exact() const { return values == ValueCode::kFloat32 && filter == Filter::kNone; }
  bool exact() const { return pushes_exact() && pulled == ValueCode::kFloat32; }
  bool operator==(const Encoding&) const = default;
};

/// "none", or words joined by "+": float16, bfloat16, int8, onebit (pushes); pull_float16, pull_bfloat16; top_k:SHARE, random_k:SHARE, threshold:X, kkt:X;
/// feedback, delta, cache. "int8+feedback+delta". InvalidArgument: an unknown word (with the nearest), two of a kind, a number out of range, feedback of
/// nothing that is lost.
absl::StatusOr<Encoding> ParseEncoding(std::string_view text);
std::string ToString(const Encoding& encoding);

}   // namespace troupe
