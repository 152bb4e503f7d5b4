// Who takes the place of a process that holds a shard, and that is to leave its node, which is drained or has more than others: one more process of the shard
// begins on another node, and when it has joined the shard's chain, the leaving one ends. So a chain has no member less at any time. Processes are numbered:
// first the places that are supervised, which hold processes from the start; behind them one more for each shard, which is idle at first. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

namespace troupe {

class HandOvers {
 public:
  struct Life {
    uint32_t process = 0;
    uint64_t incarnation = 0;
    bool operator==(const Life&) const = default;
  };
  static constexpr int kTriesMax = 3;   ///< heirs of one process; where all of them end before they have joined, it ends when its time is over, as without

  HandOvers(uint32_t places, uint32_t shards);

  /// The process that holds the place.
  uint32_t HolderOf(uint32_t place) const { return holders_[place]; }
  /// `leaving`, which holds `shard`, is to leave its node. Returns the process to be started, if any (Starts follows). Told again, or where those before it
  /// have had all their heirs in vain, it has kTriesMax of its own. Nothing happens where it has ended (Ended, Replace).
  std::optional<uint32_t> Leaves(uint32_t shard, const Life& leaving);
  /// The process that Leaves, Ended or Replace have named begins as this life.
  void Starts(uint32_t shard, uint64_t incarnation);
  /// A shard's chain has changed. Returns who is to be ended, once each.
  std::optional<Life> ChainChanged(uint32_t shard, const std::function<bool(const Life&)>& is_member);
  /// Any life of a process of the shard has ended. Returns the process to be started (Starts follows).
  std::optional<uint32_t> Ended(uint32_t shard, const Life& life);
  struct Replaced {
    std::optional<uint32_t> heir = {};     ///< it runs already, and holds the place from now on; nothing: the holder's next life is to be started
    std::optional<uint32_t> begins = {};   ///< the next heir, to be started (Starts follows)
  };
  /// This life of the process that held the place has ended, and somebody is to take it.
  Replaced Replace(uint32_t place, uint32_t shard, uint64_t incarnation);

 private:
  struct Shard {
    uint32_t idle;              // the process without a place; or the heir
    std::deque<Life> leaving;   // the first of them has the heir, or none while kTriesMax are used up
    std::optional<Life> heir;   // as long as it lives. incarnation 0: it is about to be started
    bool told = false;          // the first one is ended
    int tries = 0;
  };
  std::optional<uint32_t> Begin(Shard& shard);
  std::vector<uint32_t> holders_;   // by place
  std::vector<Shard> shards_;
  std::map<uint32_t, uint64_t> over_;   // by process: the last life that has ended
};

}   // namespace troupe
