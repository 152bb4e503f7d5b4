// Which keys of a range have been touched often enough to get a row, in memory that does not grow: a counting Bloom filter whose counts are halved now and
// then, so that it forgets. All counters of a key lie in one cache line. Sources: Fan, Cao, Almeida, Broder, "Summary Cache", ToN 2000 (counting Bloom
// filters); Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", WEA 2007 (blocks); Einziger, Friedman, Manes, "TinyLFU", ToS 2017
// (halving).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ps/types.h"

namespace troupe::internal {

class Admission {
 public:
  /// Touches between two halvings.
  static constexpr uint32_t kWindow = 8192;
  static constexpr size_t kBytes = 64 << 10;

  explicit Admission(uint32_t after) : after_(after), counters_(kBytes) {}

  /// Counts one touch of each key, then says which have had `after` of them; no order of the keys plays a part.
  ///
  /// Error  Within a window never too late: a key is admitted at its n-th touch or, where others share all its counters, before. Measured with nothing but
  ///        fresh keys, of which the second touch would be wanted: 2.3 % of them at the first, at most 7 % (at the end of a window). Counts are halved (1
  ///        becomes 0) each kWindow touches of keys without rows: a key whose touches lie further apart is not admitted.
  void Touch(std::span<const Key> keys, bool* admitted);

  /// What there is, with empty blocks left out: of equal states equal bytes.
  void AppendTo(std::vector<std::byte>* bytes) const;
  /// Takes what AppendTo made off the front of `bytes`. False: it did not make them; nothing has changed then.
  bool Read(std::span<const std::byte>* bytes);

 private:
  static constexpr size_t kBlock = 64, kBlocks = kBytes / kBlock;

  uint32_t after_;
  uint32_t touches_ = 0;   // since the last halving. Invariant: < kWindow between calls
  std::vector<uint8_t> counters_;
};

}   // namespace troupe::internal
