// Gather over targets that answer as the test says, in virtual time: order, retries, patience, asking on.
#include "actors/gather.h"

#include <boost/test/unit_test.hpp>
#include <deque>
#include <string>

#include "caf/event_based_actor.hpp"
#include "caf/send.hpp"
#include "caf/typed_response_promise.hpp"
#include "tests/support/virtual_system.h"

namespace troupe {
namespace {

struct Question {
  size_t target = 0;
};
struct Answer {
  int number = 0;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Question)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Answer)

namespace troupe {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Target = caf::typed_actor<caf::replies_to<Question>::with<Answer>>;
using Promise = caf::typed_response_promise<Answer>;

struct Asked {
  std::vector<milliseconds> at;
  std::deque<absl::Status> errors;   // answered first, one a question
  bool silent = false;               // keeps the promises
  int number = 0;                    // else the answer: number, number + 1, ...
  std::vector<Promise> promises;
};

struct Fixture : testing::VirtualSystem {
  std::vector<Asked> asked;
  std::vector<Target> targets;
  int done = 0;
  absl::StatusOr<std::vector<Answer>> result = absl::UnknownError("not done");

  void Make(size_t n) {
    asked.resize(n);
    for (size_t i = 0; i < n; ++i) {
      asked[i].number = static_cast<int>(100 * i);
      const caf::actor target = system().actors().spawn<caf::hidden>([this, i](caf::event_based_actor* self) -> caf::behavior {
        return {[this, i, self](const Question& question) { return OnQuestion(self, asked[i], i, question); }, [](const Thunk& thunk) { thunk.run(); }};
      });
      targets.push_back(caf::actor_cast<Target>(target));
    }
  }
  caf::result<Answer> OnQuestion(caf::event_based_actor* self, Asked& target, size_t i, const Question& question) {
    BOOST_TEST(question.target == i);
    target.at.push_back(passed());
    if (!target.errors.empty()) {
      const absl::Status error = target.errors.front();
      target.errors.pop_front();
      return ToError(error);
    }
    if (target.silent) return target.promises.emplace_back(self->make_response_promise<Promise>());
    return Answer{target.number++};
  }
  void Start(GatherOptions options = {}) {
    Gather<Answer>(
        system(), targets, [](size_t i) { return Question{i}; }, options,
        [this](absl::StatusOr<std::vector<Answer>> all) {
          ++done;
          result = std::move(all);
        });
  }
  /// A silent target answers what it was asked first.
  void AnswerNow(size_t i, int number) {
    System::Deliver(targets[i], Thunk{[this, i, number] { asked[i].promises[0].deliver(Answer{number}); }});   // a promise is kept by its actor only
    Settle();
  }
  std::vector<int> Numbers() const {
    std::vector<int> numbers;
    for (const Answer& answer : *result) numbers.push_back(answer.number);
    return numbers;
  }
  ~Fixture() {
    asked.clear();
    for (const Target& target : targets) caf::anon_send_exit(target, caf::exit_reason::kill);
    Settle();
  }
};

using Times = std::vector<milliseconds>;
using Ints = std::vector<int>;

BOOST_FIXTURE_TEST_SUITE(GatherSuite, Fixture)

BOOST_AUTO_TEST_CASE(without_targets_it_is_done_at_once) {
  Start();
  BOOST_TEST(done == 1);
  BOOST_TEST_REQUIRE(result.ok());
  BOOST_TEST(result->empty());
}

BOOST_AUTO_TEST_CASE(it_is_done_once_with_all_replies_in_the_targets_order_whenever_they_came) {
  Make(3);
  for (Asked& target : asked) target.silent = true;
  Start();
  Settle();
  for (const size_t i : {2, 0, 1}) {
    BOOST_TEST(done == 0);
    AnswerNow(i, static_cast<int>(i));
  }
  BOOST_TEST(done == 1);
  BOOST_TEST_REQUIRE(result.ok());
  BOOST_TEST((Numbers() == Ints{0, 1, 2}));
}

BOOST_AUTO_TEST_CASE(a_target_that_could_not_answer_is_asked_again_a_while_later) {
  Make(2);
  asked[1].errors = {absl::UnavailableError(""), absl::DeadlineExceededError(""), absl::CancelledError("")};
  Start({.retry = milliseconds(20)});
  Advance(milliseconds(59));
  BOOST_TEST(done == 0);
  Advance(milliseconds(1));
  BOOST_TEST(done == 1);
  BOOST_TEST_REQUIRE(result.ok());
  BOOST_TEST((Numbers() == Ints{0, 100}));
  BOOST_TEST((asked[0].at == Times{milliseconds(0)}));
  BOOST_TEST((asked[1].at == Times{milliseconds(0), milliseconds(20), milliseconds(40), milliseconds(60)}));
}

BOOST_AUTO_TEST_CASE(a_target_that_has_ended_is_one_that_could_not_answer) {
  Make(1);
  caf::anon_send_exit(targets[0], caf::exit_reason::kill);
  Settle();
  Start({.retry = milliseconds(20), .patience = milliseconds(100)});
  Advance(seconds(1));
  BOOST_TEST(done == 1);
  BOOST_TEST(absl::IsUnavailable(result.status()), result.status().ToString());
}

BOOST_AUTO_TEST_CASE(patience_ends_with_the_last_error) {
  Make(2);
  asked[1].errors.assign(1000, absl::UnavailableError("away"));
  asked[1].errors[6] = absl::DeadlineExceededError("still away");
  Start({.retry = milliseconds(20), .patience = milliseconds(100)});
  Advance(milliseconds(119));
  BOOST_TEST(done == 0);
  Advance(milliseconds(1));   // the first attempt more than `patience` after the first error
  BOOST_TEST(done == 1);
  BOOST_TEST(result.status().ToString() == "DEADLINE_EXCEEDED: still away");
  Advance(seconds(10));
  BOOST_TEST(asked[1].at.size() == 7u);
  BOOST_TEST(done == 1);
}

BOOST_AUTO_TEST_CASE(any_other_error_is_final_at_once_and_nobody_is_asked_again) {
  Make(3);
  asked[0].errors.assign(1000, absl::UnavailableError("away"));
  asked[1].errors = {absl::InvalidArgumentError("row 7: bad")};
  asked[2].silent = true;
  Start();
  Settle();
  BOOST_TEST(done == 1);
  BOOST_TEST(result.status().ToString() == "INVALID_ARGUMENT: row 7: bad");
  AnswerNow(2, 1);
  Advance(seconds(10));
  BOOST_TEST(done == 1);
  for (const Asked& target : asked) BOOST_TEST(target.at.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_target_that_ends_with_the_question_is_given_up_after_its_silence) {
  Make(1);
  asked[0].silent = true;
  Start({.patience = milliseconds(100), .silence = seconds(10)});
  Settle();
  asked[0].promises.clear();   // dropped without an answer
  Advance(milliseconds(9'999));
  BOOST_TEST(asked[0].at.size() == 1u);
  Advance(milliseconds(1));
  BOOST_TEST(asked[0].at.size() == 2u);   // whoever asks may have stood still
  asked[0].promises.clear();
  Advance(milliseconds(9'999));
  BOOST_TEST(done == 0);
  Advance(milliseconds(1));
  BOOST_TEST(done == 1);
  BOOST_TEST(absl::IsDeadlineExceeded(result.status()), result.status());
}

BOOST_AUTO_TEST_CASE(whoever_asks_and_has_stood_still_for_long_asks_again) {
  Make(1);
  asked[0].silent = true;
  Start();
  Settle();
  Jump(seconds(3'600));
  BOOST_TEST(done == 0);
  BOOST_TEST_REQUIRE(asked[0].promises.size() == 2u);
  asked[0].promises.erase(asked[0].promises.begin());   // nobody listens to that one any more
  AnswerNow(0, 3);
  BOOST_TEST(done == 1);
  BOOST_TEST_REQUIRE(result.ok(), result.status());
  BOOST_TEST((Numbers() == Ints{3}));
}

BOOST_AUTO_TEST_CASE(a_gatherer_that_is_stopped_never_calls_back) {
  Make(1);
  asked[0].silent = true;
  auto alive = std::make_shared<int>(0);
  const caf::actor gatherer = Gather<Answer>(
      system(), targets, [alive](size_t i) { return Question{i}; }, {}, [this](const auto&) { ++done; });
  Settle();
  BOOST_TEST(alive.use_count() == 2);
  system().Stop(gatherer);
  Settle();
  AnswerNow(0, 7);
  Advance(seconds(200));
  BOOST_TEST(done == 0);
  BOOST_TEST(alive.use_count() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
