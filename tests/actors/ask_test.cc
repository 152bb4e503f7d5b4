// Ask: replies, the actor's own errors, actors that have ended or say nothing.
#include "actors/ask.h"

#include <boost/test/unit_test.hpp>
#include <string>

#include "caf/event_based_actor.hpp"
#include "caf/typed_response_promise.hpp"

namespace troupe {
namespace {

struct Question {
  int number = 0;
};
struct Reply {
  int number = 0;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Question)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Reply)

namespace troupe {
namespace {

/// Doubles small numbers, refuses negative ones, never answers 100.
caf::behavior Doubler(caf::event_based_actor* self) {
  return {[self](const Question& question) -> caf::result<Reply> {
    if (question.number < 0) return ToError(absl::InvalidArgumentError("number is negative"));
    if (question.number == 100) return self->make_response_promise<caf::typed_response_promise<Reply>>();
    return Reply{2 * question.number};
  }};
}

struct Fixture {
  System system{{.compute_threads = 1}};
  caf::actor doubler = system.actors().spawn(Doubler);
  ~Fixture() { system.Stop(doubler); }
};

BOOST_FIXTURE_TEST_SUITE(AskTest, Fixture)

BOOST_AUTO_TEST_CASE(the_reply_comes_back) {
  const auto reply = Ask<Reply>(system, doubler, Question{21});
  BOOST_REQUIRE(reply.ok());
  BOOST_TEST(reply->number == 42);
}

BOOST_AUTO_TEST_CASE(an_error_keeps_its_code_and_message) {
  const auto reply = Ask<Reply>(system, doubler, Question{-1});
  BOOST_TEST(absl::IsInvalidArgument(reply.status()));
  BOOST_TEST(std::string(reply.status().message()) == "number is negative");
}

BOOST_AUTO_TEST_CASE(silence_ends_with_the_time) {
  BOOST_TEST(absl::IsDeadlineExceeded(Ask<Reply>(system, doubler, Question{100}, std::chrono::milliseconds(1)).status()));
}

BOOST_AUTO_TEST_CASE(an_actor_that_has_ended_is_unavailable) {
  system.Stop(doubler);
  BOOST_TEST(absl::IsUnavailable(Ask<Reply>(system, doubler, Question{1}).status()));
}

BOOST_AUTO_TEST_CASE(whoever_may_be_cancelled_gets_replies_and_errors_all_the_same) {
  std::atomic<bool> cancelled = false;
  const auto limit = std::chrono::seconds(10);
  BOOST_TEST(AskUnless<Reply>(system, doubler, Question{21}, limit, &cancelled)->number == 42);
  BOOST_TEST(AskUnless<Reply>(system, doubler, Question{21}, limit, nullptr)->number == 42);
  BOOST_TEST(absl::IsInvalidArgument(AskUnless<Reply>(system, doubler, Question{-1}, limit, &cancelled).status()));
  BOOST_TEST(absl::IsDeadlineExceeded(AskUnless<Reply>(system, doubler, Question{100}, std::chrono::milliseconds(1), &cancelled).status()));
  cancelled = true;
  BOOST_TEST(absl::IsCancelled(AskUnless<Reply>(system, doubler, Question{100}, std::chrono::hours(1), &cancelled).status()));
  system.Stop(doubler);
  BOOST_TEST(absl::IsUnavailable(Ask<Reply>(system, doubler, Question{1}).status()));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
