// Who waits for news of what, and until when: pure. Whoever has news is found without a look at all who wait.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "actors/clock.h"

namespace troupe {

/// Topic: what there may be news of; ordered.
template <class Topic>
class WaitingList {
 public:
  using Answer = std::function<void()>;

  /// O(log n), n: how many wait.
  void Wait(const Topic& topic, Clock::Time until, Answer answer) {
    const uint64_t number = ++last_;
    by_topic_[{topic, number}] = {until, std::move(answer)};
    deadlines_.insert({until, number, topic});
  }
  /// Those who wait for it, the first first; they wait no more. O(log n) and those.
  std::vector<Answer> Take(const Topic& topic) {
    std::vector<Answer> answers;
    auto it = by_topic_.lower_bound({topic, 0});
    while (it != by_topic_.end() && it->first.first == topic) {
      deadlines_.erase({it->second.until, it->first.second, topic});
      answers.push_back(std::move(it->second.answer));
      it = by_topic_.erase(it);
    }
    return answers;
  }
  /// Those who have waited long enough, likewise, by their deadlines.
  std::vector<Answer> TakeExpired(Clock::Time now) {
    std::vector<Answer> answers;
    while (!deadlines_.empty() && std::get<0>(*deadlines_.begin()) <= now) {
      const auto [until, number, topic] = *deadlines_.begin();
      deadlines_.erase(deadlines_.begin());
      const auto it = by_topic_.find({topic, number});
      answers.push_back(std::move(it->second.answer));
      by_topic_.erase(it);
    }
    return answers;
  }
  size_t size() const { return by_topic_.size(); }

 private:
  struct Waiter {
    Clock::Time until{};
    Answer answer;
  };
  // Invariant: both hold the same waiters.
  std::map<std::pair<Topic, uint64_t>, Waiter> by_topic_;
  std::set<std::tuple<Clock::Time, uint64_t, Topic>> deadlines_;
  uint64_t last_ = 0;
};

}   // namespace troupe
