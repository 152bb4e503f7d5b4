// Cuts (cut.h) of a shard with replicas whose tables go by no rounds: its first member holds pushes beyond the cut back before they have a place in the order
// of the chain. So the shards of all members are told the same as ever, none of them knows of the cut but for the view that it is to keep, and a member that is
// lost takes along nothing that anybody was promised. In the context of the member's actor (chain_member_actor.h).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "caf/event_based_actor.hpp"
#include "ps/cut.h"
#include "ps/messages.h"
#include "ps/shard_actor.h"

namespace troupe {

class ChainCut {
 public:
  template <class Reply>
  using Answer = std::function<void(absl::StatusOr<Reply>)>;
  /// Of the member around it.
  struct Chain {
    /// Asks its shard where it stands.
    std::function<void(Answer<ShardClocks>)> clocks;
    /// Tells the chain, behind all pushes that have passed, to keep a view; the answer comes when the last member has it.
    std::function<void(const Freeze&, Answer<Frozen>)> keep_view;
  };
  ChainCut(caf::event_based_actor* self, Chain chain) : self_(self), chain_(std::move(chain)) {}

  /// The shard's answers to these; errors as Shard::OnPrepare and OnFreeze.
  void OnPrepare(const Prepare& prepare, Answer<Prepared> answer);
  void OnFreeze(const Freeze& freeze, Answer<Frozen> answer);
  /// Holds nothing back for `cut` any more, whatever has become of it.
  void End(uint64_t cut);
  /// The chain is told to keep a view.
  void OnView(const Freeze& freeze);
  /// The chain has been told to keep a view of `cut`, which nobody has dropped yet. True once.
  bool TakeView(uint64_t cut) { return views_.erase(cut) > 0; }
  /// This member is not the first any more: who waits is told so, and asks another one.
  void Leave(const absl::Status& why);

  bool Passes(const Push& push) const;
  /// One of `take` and `refuse` is called, when the push passes or the member is not the first any more.
  void Keep(const Push& push, std::function<void()> take, std::function<void(const absl::Status&)> refuse);
  /// The shard's answer to a push that has passed.
  void OnPushed(WriterId writer, Round clock);

 private:
  struct Held {
    Push push;
    std::function<void()> take;
    std::function<void(const absl::Status&)> refuse;
  };
  struct Freezing {
    Freeze freeze;
    std::vector<Answer<Frozen>> answers;
  };
  void OnClocks(uint64_t cut, absl::StatusOr<ShardClocks> clocks);
  void FreezeIfReached();
  void AnswerFreezing(const absl::Status& why);
  void TakeHeld();
  void After(std::chrono::milliseconds time, std::function<void()> what);

  caf::event_based_actor* self_;
  const Chain chain_;
  uint64_t asking_ = 0;   // the cut for which the shard is being asked where it stands: nothing passes
  std::vector<Answer<Prepared>> preparing_;
  CutGate gate_;
  std::vector<Round> applied_;   // where the shard stands, while the gate holds
  std::optional<Freezing> freezing_;
  size_t views_under_way_ = 0;   // that not all of the chain have been told of: a chain that is behind is not asked for more and more of them
  std::deque<Held> held_;
  std::set<uint64_t> views_;   // until their lease ends
};

}   // namespace troupe
