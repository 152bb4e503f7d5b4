// WaitingList beside a plain list of all who wait.
#include "actors/cluster/waiting_list.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "actors/random.h"

namespace troupe {
namespace {

using namespace std::chrono_literals;
using Numbers = std::vector<int>;

Clock::Time At(int64_t ms) {
  return Clock::Time(1h + std::chrono::milliseconds(ms));
}

}   // namespace

BOOST_AUTO_TEST_SUITE(WaitingListSuite)

BOOST_AUTO_TEST_CASE(those_who_wait_for_a_topic_are_taken_once_in_their_order) {
  WaitingList<int> list;
  Numbers told;
  for (int i = 0; i < 4; ++i) list.Wait(i % 2, At(10), [&told, i] { told.push_back(i); });
  BOOST_TEST(list.Take(7).empty());
  for (const auto& answer : list.Take(1)) answer();
  BOOST_TEST(told == (Numbers{1, 3}), boost::test_tools::per_element());
  BOOST_TEST(list.Take(1).empty());
  BOOST_TEST(list.size() == 2u);
  BOOST_TEST(list.TakeExpired(At(9)).empty());
  for (const auto& answer : list.TakeExpired(At(10))) answer();
  BOOST_TEST(told == (Numbers{1, 3, 0, 2}), boost::test_tools::per_element());
  BOOST_TEST(list.size() == 0u);
}

BOOST_AUTO_TEST_CASE(it_answers_whom_a_plain_list_would_answer) {
  struct Plain {
    int topic;
    int64_t until;
    int number;
  };
  Random random(12);
  WaitingList<int> list;
  std::vector<Plain> plain;
  int64_t now = 0;
  size_t by_topic = 0, by_time = 0;
  Numbers* telling = nullptr;
  for (int i = 0; i < 5000; ++i) {
    Numbers told, expected;
    const int topic = static_cast<int>(random.Below(20));
    const uint64_t what = random.Below(4);
    telling = &told;
    if (what < 2) {
      const int64_t until = now + static_cast<int64_t>(random.Below(200));
      plain.push_back({topic, until, i});
      list.Wait(topic, At(until), [i, &telling] { telling->push_back(i); });
      continue;
    }
    if (what == 3) now += static_cast<int64_t>(random.Below(40));
    const auto answers = what == 2 ? list.Take(topic) : list.TakeExpired(At(now));
    for (const auto& answer : answers) answer();
    std::erase_if(plain, [&](const Plain& one) {
      const bool gone = what == 2 ? one.topic == topic : one.until <= now;
      if (gone) expected.push_back(one.number);
      return gone;
    });
    (what == 2 ? by_topic : by_time) += told.size();
    if (what == 3) {   // by their deadlines
      std::sort(told.begin(), told.end());
      std::sort(expected.begin(), expected.end());
    }
    BOOST_TEST(told == expected, boost::test_tools::per_element());
    BOOST_TEST(list.size() == plain.size());
  }
  BOOST_TEST((by_topic > 100 && by_time > 100), by_topic << " " << by_time);
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
