// Who is in a group of members that may be replaced, as one of them knows it, and from where they all go on after a replacement. Pure.
//
// A member has an incarnation, which rises with every replacement. A *view* is the incarnations of all members, as far as they are known; members tell each
// other theirs (Greeting), and each takes the later one of every member. A new view stops whoever hears of it: from then on it takes no message of an earlier
// one. It begins to work in the view when all others have greeted it in the same view, and so have stopped as well. What they say of the round that they stand
// at is then final until all of them work again: some may be a round behind, and a replacement has nothing. They take the state of one that is furthest; that
// one's last round had everybody's numbers in it. So a round is either over for all of them or begins anew for all of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/types.h"

namespace troupe {

/// What a member says of itself and knows of the others.
struct Greeting {
  uint32_t member = 0;
  std::vector<uint64_t> incarnations = {};   ///< by member; 0: not known
  Round over = 0;                            ///< the rounds up to here are in its copy
  bool in_step = false;                      ///< it has what the group has: it began with the others, or has taken the state of one of them
  bool operator==(const Greeting&) const = default;
};

class GroupView {
 public:
  /// InvalidArgument: member >= members, or an incarnation of 0. A first incarnation is in step: all begin with the same state.
  static absl::StatusOr<GroupView> Make(uint32_t member, uint32_t members, uint64_t incarnation);

  /// Another member's greeting, at any time, perhaps twice. True: the view is a new one, nobody else is heard in it yet.
  /// InvalidArgument: of another number of members, or of no such member. Nothing has changed then.
  absl::StatusOr<bool> Hear(const Greeting& greeting);
  /// Its own state has come to `over`, or has become the group's.
  void Stand(Round over, bool in_step);
  /// What it says itself.
  Greeting Own() const;
  /// Rises with every new view. Two members that work in views of one number work in the same view.
  uint64_t number() const;
  /// Who has not greeted in this view, without itself.
  std::vector<uint32_t> Missing() const;
  /// When nobody is missing: whose state this member is to take; none: it has it. Where nobody is in step, all have been replaced and go on from what the
  /// furthest of them has kept on its disk.
  std::optional<uint32_t> Source() const;

 private:
  GroupView(uint32_t member, uint32_t members) : member_(member), incarnations_(members), heard_(members) {}

  struct Heard {
    Round over;
    bool in_step;
  };
  uint32_t member_;
  std::vector<uint64_t> incarnations_;
  std::vector<std::optional<Heard>> heard_;   // in this view; its own always
};

}   // namespace troupe
