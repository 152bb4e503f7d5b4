// Proxies and exposed actors, each against a network that notes what it is given. Both together: proxy_pair_test.cc.
#include "actors/proxy.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <string>
#include <vector>

#include "caf/send.hpp"
#include "tests/support/ask_later.h"
#include "tests/support/speaker.h"
#include "tests/support/virtual_system.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::AskLater;
using testing::Count;
using testing::Counted;
using testing::Later;
using testing::Said;
using testing::Say;
using testing::Speaker;
using testing::TextFrame;
using testing::TextOf;

constexpr Address kThere{NodeId{7}, Incarnation{3}, ActorId{5}};

/// What was asked of it and who is served, for the test to answer and to call.
struct NotedNetwork final : Network {
  struct Asked {
    Address to;
    Frame frame;
    Lane lane;
    Duration timeout;
    Reply reply;
  };
  std::vector<Asked> asked;
  std::map<ActorId, Handler> served;

  void Locate(NodeId, std::vector<std::string>) override {}
  void Request(const Address& to, Frame frame, Lane lane, Duration timeout, Reply reply) override {
    asked.push_back({to, std::move(frame), lane, timeout, std::move(reply)});
  }
  void Serve(ActorId actor, Handler handler) override { served[actor] = std::move(handler); }
  void Withdraw(ActorId actor) override { served.erase(actor); }
};

struct Fixture : testing::VirtualSystem {
  NotedNetwork* network = new NotedNetwork;
  std::vector<std::string> heard;
  std::vector<caf::actor> actors;

  Fixture() { system().SetNetwork(std::unique_ptr<Network>(network)); }
  ~Fixture() {
    network->asked.clear();
    network->served.clear();
    for (const caf::actor& actor : actors) caf::anon_send_exit(actor, caf::exit_reason::kill);
    Settle();
  }
  Speaker Proxy(milliseconds timeout = seconds(10)) {
    const auto proxy = SpawnProxy<Speaker>(system(), {.to = kThere, .timeout = timeout});
    actors.push_back(caf::actor_cast<caf::actor>(proxy));
    return proxy;
  }
  template <class Reply, class Request>
  Later<Reply> Ask(const Speaker& proxy, Request request) {
    auto later = AskLater<Reply>(system(), proxy, std::move(request));
    Settle();
    return later;
  }
  void Reply(size_t i, absl::StatusOr<Frame> answer) {
    network->asked.at(i).reply(std::move(answer));
    Settle();
  }
  /// An exposed speaker.
  Speaker Exposed(absl::Status refusal = absl::OkStatus()) {
    const Speaker speaker = testing::SpawnSpeaker(system(), &heard, std::move(refusal));
    actors.push_back(caf::actor_cast<caf::actor>(speaker));
    Expose(system(), kThere.actor, speaker);
    return speaker;
  }
  /// A frame from the network to it.
  std::shared_ptr<std::vector<absl::StatusOr<Frame>>> Arrive(Frame frame) {
    auto replies = std::make_shared<std::vector<absl::StatusOr<Frame>>>();
    network->served.at(kThere.actor)(std::move(frame), [replies](absl::StatusOr<Frame> reply) { replies->push_back(std::move(reply)); });
    Settle();
    return replies;
  }
};

BOOST_FIXTURE_TEST_SUITE(ProxySuite, Fixture)

BOOST_AUTO_TEST_CASE(a_request_goes_to_the_address_and_its_reply_to_the_asker) {
  const auto said = Ask<Said>(Proxy(milliseconds(1234)), Say{"hello"});
  BOOST_TEST_REQUIRE(network->asked.size() == 1u);
  const auto& asked = network->asked[0];
  BOOST_TEST((asked.to == kThere));
  BOOST_TEST(asked.frame.type == Codec<Say>::kType);
  BOOST_TEST(TextOf(asked.frame) == "hello");
  BOOST_TEST((asked.timeout == milliseconds(1234)));
  BOOST_TEST(!*said);
  Reply(0, TextFrame(Codec<Said>::kType, "hello to you"));
  BOOST_TEST_REQUIRE(said->value().ok());
  BOOST_TEST((**said)->text == "hello to you");
}

BOOST_AUTO_TEST_CASE(every_asker_gets_its_own_reply_in_whatever_order_they_come) {
  const Speaker proxy = Proxy();
  const auto a = Ask<Said>(proxy, Say{"a"});
  const auto b = Ask<Counted>(proxy, Count{"bb"});
  const auto c = Ask<Said>(proxy, Say{"c"});
  Reply(2, TextFrame(Codec<Said>::kType, "c!"));
  Reply(1, Codec<Counted>::Encode({2}));
  BOOST_TEST(!*a);
  Reply(0, TextFrame(Codec<Said>::kType, "a!"));
  BOOST_TEST((*a)->value().text == "a!");
  BOOST_TEST((*b)->value().letters == 2u);
  BOOST_TEST((*c)->value().text == "c!");
}

BOOST_AUTO_TEST_CASE(frames_of_kBulkBytes_and_more_take_the_bulk_lane) {
  const Speaker proxy = Proxy();
  for (const size_t size : {size_t{0}, size_t{1}, kBulkBytes - 1, kBulkBytes, kBulkBytes + 1, 5 * kBulkBytes}) {
    Ask<Said>(proxy, Say{std::string(size, 'x')});
    const bool bulk = network->asked.back().lane == Network::Lane::kBulk;
    BOOST_TEST(bulk == (size >= kBulkBytes), "size " << size);
  }
}

BOOST_AUTO_TEST_CASE(an_error_of_the_network_or_of_the_remote_actor_keeps_code_and_message) {
  const Speaker proxy = Proxy();
  for (int code = 1; code <= 16; ++code) {
    const absl::Status error(static_cast<absl::StatusCode>(code), "why " + std::to_string(code));
    const auto said = Ask<Said>(proxy, Say{"hello"});
    Reply(network->asked.size() - 1, error);
    BOOST_TEST((**said).status() == error);
  }
}

BOOST_AUTO_TEST_CASE(a_malformed_reply_is_the_codecs_error) {
  const auto said = Ask<Said>(Proxy(), Say{"hello"});
  Reply(0, TextFrame(Codec<Said>::kType, "#"));
  BOOST_TEST((**said).status().ToString() == "INVALID_ARGUMENT: malformed: '#'");
}

BOOST_AUTO_TEST_CASE(a_proxy_that_was_stopped_is_unavailable_and_late_replies_do_no_harm) {
  const Speaker proxy = Proxy();
  Ask<Said>(proxy, Say{"hello"});
  system().Stop(proxy);
  Settle();
  Reply(0, TextFrame(Codec<Said>::kType, "hello"));
  BOOST_TEST(absl::IsUnavailable((*Ask<Said>(proxy, Say{"again"}))->status()));
  BOOST_TEST(network->asked.size() == 1u);
}

BOOST_AUTO_TEST_CASE(an_exposed_actor_answers_each_of_its_messages_once) {
  Exposed();
  const auto said = Arrive(TextFrame(Codec<Say>::kType, "hello")), counted = Arrive(TextFrame(Codec<Count>::kType, "four"));
  BOOST_TEST_REQUIRE((said->size() == 1u && counted->size() == 1u));
  BOOST_TEST(said->at(0)->type == Codec<Said>::kType);
  BOOST_TEST(TextOf(*said->at(0)) == "hello!");
  BOOST_TEST(Codec<Counted>::Decode(*counted->at(0))->letters == 4u);
}

BOOST_AUTO_TEST_CASE(the_errors_of_an_exposed_actor_keep_code_and_message) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status error(static_cast<absl::StatusCode>(code), "why " + std::to_string(code));
    Exposed(error);
    const auto replies = Arrive(TextFrame(Codec<Say>::kType, "no"));
    BOOST_TEST((replies->at(0).status() == error));
  }
}

BOOST_AUTO_TEST_CASE(what_an_exposed_actor_does_not_understand_never_reaches_it) {
  Exposed();
  BOOST_TEST(Arrive(TextFrame(99, "hello"))->at(0).status().ToString() == "UNIMPLEMENTED: message type 99 is not understood by this actor");
  BOOST_TEST(Arrive(TextFrame(Codec<Said>::kType, "hello"))->at(0).status().code() == absl::StatusCode::kUnimplemented);   // a reply is no request
  BOOST_TEST(Arrive(TextFrame(Codec<Say>::kType, "#1"))->at(0).status().ToString() == "INVALID_ARGUMENT: malformed: '#1'");
  BOOST_TEST(heard.empty());
}

BOOST_AUTO_TEST_CASE(an_exposed_actor_that_has_ended_is_unavailable) {
  system().Stop(Exposed());
  Settle();
  BOOST_TEST(absl::IsUnavailable(Arrive(TextFrame(Codec<Say>::kType, "hello"))->at(0).status()));
}

BOOST_AUTO_TEST_CASE(an_exposed_actor_that_ends_over_a_request_in_its_mailbox_is_unavailable) {
  const Speaker speaker = Exposed();
  system().Stop(speaker);   // handled first
  const auto replies = Arrive(TextFrame(Codec<Say>::kType, "hello"));
  BOOST_TEST(absl::IsUnavailable(replies->at(0).status()));
  BOOST_TEST(heard.empty());
}

BOOST_AUTO_TEST_CASE(a_request_to_an_actor_that_says_nothing_ends_after_kAnswerMax) {
  std::vector<caf::typed_response_promise<Said>> kept;
  const Speaker silent = caf::actor_cast<Speaker>(system().actors().spawn([&kept](caf::event_based_actor* self) -> caf::behavior {
    return {[&kept, self](const Say&) -> caf::result<Said> {
              kept.push_back(self->make_response_promise<caf::typed_response_promise<Said>>());
              return kept.back();
            },
            [&kept](const Count& count) {   // answers one, in the actor's own context
              if (count.text != "none") kept.at(std::stoul(count.text)).deliver(Said{"after all"});
              return Counted{count.text.size()};
            }};
  }));
  actors.push_back(caf::actor_cast<caf::actor>(silent));
  Expose(system(), kThere.actor, silent);
  const auto first = Arrive(TextFrame(Codec<Say>::kType, "hello"));
  BOOST_TEST(Arrive(TextFrame(Codec<Count>::kType, "none"))->size() == 1u);
  Advance(Gateway::kAnswerMax / 2);
  const auto second = Arrive(TextFrame(Codec<Say>::kType, "and again"));
  Advance(Gateway::kAnswerMax / 2 - seconds(1));
  BOOST_TEST(first->empty());
  Advance(minutes(1) + seconds(1));
  BOOST_TEST_REQUIRE(first->size() == 1u);
  BOOST_TEST(absl::IsDeadlineExceeded(first->at(0).status()), first->at(0).status().ToString());
  BOOST_TEST(second->empty());
  Arrive(TextFrame(Codec<Count>::kType, "0"));   // too late
  Arrive(TextFrame(Codec<Count>::kType, "1"));
  BOOST_TEST(first->size() == 1u);
  BOOST_TEST_REQUIRE(second->size() == 1u);
  BOOST_TEST(TextOf(*second->at(0)) == "after all");
  Advance(3 * Gateway::kAnswerMax);   // nothing more comes of either
  BOOST_TEST((first->size() == 1u && second->size() == 1u));
  kept.clear();
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
