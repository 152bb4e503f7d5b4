// Which head is asked, when those that are asked do not lead, do not answer, or say something else.
#include "actors/cluster/head_finder.h"

#include <boost/test/unit_test.hpp>
#include <deque>
#include <utility>

#include "actors/cluster/messages.h"

namespace troupe {
namespace {

using Places = std::vector<std::string>;

/// Keeps what it is told, and requests until they are answered.
struct FakeNetwork final : Network {
  void Locate(NodeId node, std::vector<std::string> places) override { located.emplace_back(node, std::move(places)); }
  void Request(const Address&, Frame, Lane, Duration, Reply reply) override { waiting.push_back(std::move(reply)); }
  void Serve(ActorId actor, Handler) override { served = actor; }
  void Withdraw(ActorId actor) override { withdrawn = actor; }
  std::vector<std::pair<NodeId, Places>> located;
  std::deque<Reply> waiting;
  ActorId served{}, withdrawn{};
};

struct Fixture {
  explicit Fixture(Places places = {"tcp:a:1", "tcp:b:1", "tcp:c:1"}) {
    auto owned = std::make_unique<FakeNetwork>();
    fake = owned.get();
    finder = std::make_unique<HeadFinder>(std::move(owned), std::move(places));
  }
  void Ask(NodeId node = kHeadNode) {
    finder->Request({node, Incarnation{}, kHeadActor}, Frame{}, Network::Lane::kControl, Network::Duration(1000),
                    [this](absl::StatusOr<Frame> answer) { answers.push_back(answer.status()); });
  }
  void Answer(absl::StatusOr<Frame> answer) {
    const auto reply = std::move(fake->waiting.front());
    fake->waiting.pop_front();
    reply(std::move(answer));
  }
  Places Now() const { return fake->located.back().second; }
  FakeNetwork* fake = nullptr;
  std::unique_ptr<HeadFinder> finder;
  std::vector<absl::Status> answers;
};

}   // namespace

BOOST_AUTO_TEST_SUITE(HeadFinderSuite)

BOOST_AUTO_TEST_CASE(the_first_is_asked_until_it_fails_and_then_the_next_in_turn) {
  Fixture heads;
  BOOST_TEST((heads.Now() == Places{"tcp:a:1", "tcp:b:1", "tcp:c:1"}));
  heads.Ask();
  heads.Answer(Frame{});
  BOOST_TEST(heads.fake->located.size() == 1u);
  heads.Ask();
  heads.Answer(absl::UnavailableError("lost the connection to node 0"));
  BOOST_TEST((heads.Now() == Places{"tcp:b:1", "tcp:c:1", "tcp:a:1"}));
  heads.Ask();
  heads.Answer(absl::DeadlineExceededError("node 0 gave no answer within 2000 ms"));
  BOOST_TEST((heads.Now() == Places{"tcp:c:1", "tcp:a:1", "tcp:b:1"}));
  BOOST_TEST((heads.answers[0].ok() && absl::IsUnavailable(heads.answers[1]) && absl::IsDeadlineExceeded(heads.answers[2])));   // passed on
}

BOOST_AUTO_TEST_CASE(a_standby_says_who_leads_and_that_one_is_asked) {
  Fixture heads;
  heads.Ask();
  heads.Answer(NotTheLeader("c:1"));
  BOOST_TEST(heads.answers[0].message() == "not the leader: c:1");
  BOOST_TEST((heads.Now() == Places{"tcp:c:1", "tcp:a:1", "tcp:b:1"}));
  heads.Ask();
  heads.Answer(NotTheLeader("elsewhere:1"));   // a head that this process was not told of
  BOOST_TEST((heads.Now() == Places{"tcp:a:1", "tcp:b:1", "tcp:c:1"}));
  heads.Ask();
  heads.Answer(NotTheLeader(""));
  BOOST_TEST(heads.answers[2].message() == "not the leader: nobody leads yet");
  BOOST_TEST((heads.Now() == Places{"tcp:b:1", "tcp:c:1", "tcp:a:1"}));
}

BOOST_AUTO_TEST_CASE(of_many_that_fail_together_one_goes_on) {
  Fixture heads;
  for (int i = 0; i < 5; ++i) heads.Ask();
  for (int i = 0; i < 5; ++i) heads.Answer(absl::UnavailableError("lost the connection to node 0"));
  BOOST_TEST(heads.fake->located.size() == 2u);
  BOOST_TEST((heads.Now() == Places{"tcp:b:1", "tcp:c:1", "tcp:a:1"}));
}

BOOST_AUTO_TEST_CASE(what_another_head_would_say_too_and_what_other_nodes_say_changes_nothing) {
  Fixture heads;
  for (const absl::Status& status : {absl::NotFoundError("there is no job 7"), absl::UnauthenticatedError("token"), absl::CancelledError("stopped")}) {
    heads.Ask();
    heads.Answer(status);
  }
  heads.Ask(NodeId{7});
  heads.Answer(absl::UnavailableError("lost the connection to node 7"));
  BOOST_TEST(heads.fake->located.size() == 1u);
  heads.finder->Locate(NodeId{7}, {"tcp:d:1"});
  BOOST_TEST((heads.fake->located.back().first == NodeId{7} && heads.Now() == Places{"tcp:d:1"}));
  heads.finder->Serve(ActorId{3}, nullptr);
  heads.finder->Withdraw(ActorId{4});
  BOOST_TEST((heads.fake->served == ActorId{3} && heads.fake->withdrawn == ActorId{4}));
}

BOOST_AUTO_TEST_CASE(a_single_head_is_asked_again_where_it_is) {
  Fixture heads({"tcp:a:1"});
  heads.Ask();
  heads.Answer(absl::UnavailableError("lost the connection to node 0"));
  BOOST_TEST(heads.fake->located.size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
