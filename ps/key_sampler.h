// Keys drawn by a distribution: negatives for embeddings, candidates for a softmax, probes. A pure function of the distribution and the random numbers.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/random.h"
#include "ps/types.h"

namespace troupe {

/// Immutable; any thread may draw with a Random of its own.
class KeySampler {
 public:
  /// Each key of [begin, end) alike. InvalidArgument: the range is empty.
  static absl::StatusOr<KeySampler> Uniform(Key begin, Key end);
  /// Key begin + r with probability log((r + 2) / (r + 1)) / log(n + 1): keys that are ranks by falling frequency, none of which was counted. InvalidArgument:
  /// the range is empty.  Source: Jean, Cho, Memisevic, Bengio, "On Using Very Large Target Vocabulary for Neural Machine Translation", ACL 2015 (and what
  /// candidate samplers call log-uniform).
  static absl::StatusOr<KeySampler> LogUniform(Key begin, Key end);
  /// keys[i] with probability proportional to weights[i]^power: counts and 0.75 are word2vec's negatives. Memory: 20 bytes a key; a draw costs two looks at it.
  /// InvalidArgument: lengths differ, a key is there twice, a weight is negative or not finite, power is not finite, all weights are 0, 2^32 - 1 keys or more.
  /// Sources: Vose, "A Linear Algorithm for Generating Random Numbers with a Given Distribution", IEEE TSE 1991; Mikolov et al., NIPS 2013.
  static absl::StatusOr<KeySampler> Weighted(std::vector<Key> keys, std::span<const double> weights, double power = 1);

  Key Draw(Random& random) const;
  /// One draw after the other; keys may come several times.
  void Draw(Random& random, std::span<Key> out) const {
    for (Key& key : out) key = Draw(random);
  }
  /// Of one draw to give `key`: what importance weights and corrected logits need. 0: never. Cost: of Weighted a binary search.
  double Probability(Key key) const;

 private:
  enum class Kind : uint8_t { kUniform, kLogUniform, kWeighted };
  KeySampler(Kind kind, Key begin, uint64_t n) : kind_(kind), begin_(begin), n_(n) {}

  Kind kind_;
  Key begin_ = 0;
  uint64_t n_ = 0;
  // Vose's alias table: column i gives keys_[i] for the share keep_[i] of its draws, else keys_[alias_[i]].
  std::vector<Key> keys_;   // rising
  std::vector<float> keep_;
  std::vector<uint32_t> alias_;
  std::vector<float> probability_;
};

/// Draws from a pool that is drawn anew when each of its keys has been used `uses` times, in random order each time: as many rows travel as without it in the
/// `uses`th part of draws, and over the long run every key comes as often. Draws near each other are not independent.
/// Source: Renz-Wieland, Gemulla, Kaoudi, Markl, "NuPS: A Parameter Server for Machine Learning with Non-Uniform Parameter Access", SIGMOD 2022 (sample reuse).
class ReusedSampler {
 public:
  /// pool > 0, uses > 0.
  ReusedSampler(KeySampler sampler, uint32_t pool, uint32_t uses, uint64_t seed);
  Key Draw();
  /// The keys that the next draws come from: to be pulled, or intended, together.
  std::span<const Key> pool() const { return pool_; }
  /// Draws until pool() is another.
  uint64_t left() const { return uint64_t{uses_ - used_} * pool_.size() - next_; }

 private:
  void Refill();

  KeySampler sampler_;
  Random random_;
  uint32_t uses_, used_ = 0;
  size_t next_ = 0;
  std::vector<Key> pool_;
};

}   // namespace troupe
