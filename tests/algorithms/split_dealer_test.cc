// Who works on which splits: workers that come, go, stand still, are slow, and what they say too late.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "actors/random.h"
#include "algorithms/run/split_dealer.h"

namespace troupe {
namespace {

using std::chrono::milliseconds;
using State = SplitReport::State;
using Splits = std::vector<uint32_t>;

/// Workers that do what they are told, when they are asked.
struct Job {
  explicit Job(SplitDealerOptions options) : dealer(Shorter(options), now), workers(options.workers) {}
  static SplitDealerOptions Shorter(SplitDealerOptions options) {
    options.absent_after = milliseconds(3'000);
    options.stuck_min = milliseconds(2'000);
    return options;
  }

  struct Work {
    bool mine = false, preparing = false;
    uint64_t batches = 0;
    Numbers sum;
  };
  struct Worker {
    std::map<uint32_t, Work> splits;
    std::map<uint32_t, SplitReport> let_go;
    milliseconds batch{100}, working{0};

    /// Another process in its place.
    void Forget() {
      splits.clear();
      let_go.clear();
    }
  };

  /// The worker hears of its share and answers.
  void Ask(uint32_t index) {
    Worker& worker = workers[index];
    PhaseReport report{.run = 1, .share_number = dealer.NumberOf(index), .splits = {}};
    std::map<uint32_t, SplitTask> share;
    for (const SplitTask& task : dealer.ShareOf(index)) share[task.split] = task;
    for (auto it = worker.splits.begin(); it != worker.splits.end();) {
      if (share.contains(it->first)) {
        ++it;
        continue;
      }
      if (it->second.mine) {
        worker.let_go[it->first] = {.split = it->first,
                                    .state = State::kLetGo,
                                    .batches = it->second.batches,
                                    .clock = MakeRound(1, it->second.batches),
                                    .sum = it->second.sum,
                                    .collected = {}};
      }
      it = worker.splits.erase(it);
    }
    for (const auto& [split, task] : share) {
      Work& work = worker.splits[split];
      if (task.prepare) {
        work.preparing = true;
        continue;
      }
      worker.let_go.erase(split);
      if (std::exchange(work.mine, true)) continue;
      work.preparing = false;
      work.batches = task.so_far ? task.so_far->batches : 0;
      if (task.so_far) work.sum = task.so_far->sum;
    }
    for (const auto& [split, work] : worker.splits) {
      const State state = !work.mine ? State::kPrepared : work.batches >= batches ? State::kDone : State::kRunning;
      report.splits.push_back(
          {.split = split, .state = state, .batches = work.batches, .batch_time = worker.batch, .working = worker.working, .sum = work.sum, .collected = {}});
    }
    for (const auto& [split, last] : worker.let_go) report.splits.push_back(last);
    dealer.OnReport(index, report, now);
  }
  void AskAll(std::vector<uint32_t> silent = {}) {
    for (uint32_t worker = 0; worker < workers.size(); ++worker) {
      if (std::ranges::find(silent, worker) == silent.end()) Ask(worker);
    }
  }
  /// 100 ms: each split that has a worker gets on by a batch.
  void Pass(std::vector<uint32_t> silent = {}) {
    now += milliseconds(100);
    for (uint32_t worker = 0; worker < workers.size(); ++worker) {
      if (std::ranges::find(silent, worker) != silent.end()) continue;
      for (auto& [split, work] : workers[worker].splits) {
        if (!work.mine || work.batches >= batches) continue;
        ++work.batches;
        work.sum.resize(1);
        work.sum[0] += 1;
      }
    }
    AskAll(silent);
    dealer.Look(now);
  }
  void PassFor(milliseconds time, std::vector<uint32_t> silent = {}) {
    for (milliseconds passed{0}; passed < time; passed += milliseconds(100)) Pass(silent);
  }
  Splits Of(uint32_t worker) const {
    Splits splits;
    for (const SplitTask& task : dealer.ShareOf(worker)) {
      if (!task.prepare) splits.push_back(task.split);
    }
    return splits;
  }
  /// Every split has exactly one worker that is told to work on it, or none while it moves.
  void CheckEachHasOne() const {
    std::map<uint32_t, int> told;
    for (uint32_t worker = 0; worker < workers.size(); ++worker) {
      for (const uint32_t split : Of(worker)) ++told[split];
    }
    for (const auto& [split, times] : told) BOOST_TEST(times == 1, "split " << split << " is given to " << times);
  }

  SplitDealer::Time now{};
  SplitDealer dealer;
  std::vector<Worker> workers;
  uint64_t batches = UINT64_MAX;   // of each split
};

BOOST_AUTO_TEST_SUITE(Dealing)

BOOST_AUTO_TEST_CASE(splits_begin_dealt_in_turn_and_stay_with_equal_workers) {
  Job job({.splits = 5, .workers = 2, .first = 2});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(10'000));
  BOOST_TEST((job.Of(0) == Splits{0, 2, 4}));
  BOOST_TEST((job.Of(1) == Splits{1, 3}));
  BOOST_TEST(job.dealer.moved() + job.dealer.taken() == 0u);
}

BOOST_AUTO_TEST_CASE(workers_that_come_get_their_share_once_they_are_prepared_and_what_was_counted_goes_with_it) {
  Job job({.splits = 8, .workers = 4, .first = 2});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(5'000), {2, 3});
  BOOST_TEST(job.Of(0).size() == 4u);
  job.Pass();
  job.CheckEachHasOne();
  BOOST_TEST(job.Of(0).size() == 4u);   // the new ones prepare
  BOOST_TEST(job.dealer.ShareOf(2).size() == 2u);
  BOOST_TEST(job.dealer.ShareOf(2)[0].prepare);
  BOOST_TEST(job.dealer.ShareOf(2)[0].behind >= 50u);
  job.PassFor(milliseconds(500));
  for (uint32_t worker = 0; worker < 4; ++worker) BOOST_TEST(job.Of(worker).size() == 2u);
  job.CheckEachHasOne();
  BOOST_TEST(job.dealer.moved() == 4u);
  for (const auto& worker : job.workers) {
    for (const auto& [split, work] : worker.splits) BOOST_TEST(work.sum[0] == static_cast<double>(work.batches), "split " << split);
  }
  job.batches = 60;
  job.PassFor(milliseconds(3'000));
  BOOST_TEST(job.dealer.done());
  for (const SplitReport& report : job.dealer.reports()) BOOST_TEST(report.sum[0] == 60);
}

BOOST_AUTO_TEST_CASE(what_a_lost_worker_had_goes_to_the_others_and_comes_back_with_it) {
  Job job({.splits = 4, .workers = 2, .first = 2});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(500));
  job.PassFor(milliseconds(2'900), {1});
  BOOST_TEST(job.Of(0).size() == 2u);
  job.PassFor(milliseconds(400), {1});
  BOOST_TEST(job.Of(0).size() == 4u);
  BOOST_TEST(job.dealer.taken() == 2u);
  job.workers[1].Forget();
  job.PassFor(milliseconds(3'000));
  BOOST_TEST(job.Of(0).size() == 2u);
  BOOST_TEST(job.Of(1).size() == 2u);
  job.CheckEachHasOne();
}

BOOST_AUTO_TEST_CASE(one_that_cannot_be_asked_is_lost_sooner) {
  Job job({.splits = 2, .workers = 2, .first = 2});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(500));
  for (int i = 0; i < 12; ++i) {
    job.dealer.OnError(1, job.now);
    job.Pass({1});
  }
  BOOST_TEST(job.Of(0).size() == 2u);
  job.Pass();   // it was only slow, and lets go of what it is not to have
  BOOST_TEST(job.workers[1].splits.count(0) == 0u);
}

BOOST_AUTO_TEST_CASE(who_has_stood_still_itself_takes_nobody_for_lost) {
  Job job({.splits = 2, .workers = 2, .first = 2});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(500));
  job.dealer.OnError(1, job.now);
  job.now += milliseconds(200'000);
  job.dealer.Excuse(job.now);
  job.Ask(0);
  job.dealer.Look(job.now);
  BOOST_TEST(job.Of(1).size() == 1u);
  BOOST_TEST(job.dealer.taken() == 0u);
}

BOOST_AUTO_TEST_CASE(a_worker_that_has_not_begun_has_longer) {
  Job job({.splits = 2, .workers = 2, .first = 2});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(29'000), {1});
  BOOST_TEST(job.Of(1).size() == 1u);
  job.PassFor(milliseconds(2'000), {1});
  BOOST_TEST(job.Of(0).size() == 2u);
}

BOOST_AUTO_TEST_CASE(nobody_takes_anything_where_nobody_is_there_or_splits_stay) {
  Job job({.splits = 2, .workers = 2, .first = 2});
  job.dealer.Begin(true, job.now);
  job.Pass();
  job.PassFor(milliseconds(60'000), {0, 1});
  BOOST_TEST((job.Of(0) == Splits{0}));
  BOOST_TEST((job.Of(1) == Splits{1}));
  Job still({.splits = 2, .workers = 2, .first = 1, .move = false});
  still.dealer.Begin(true, still.now);
  still.PassFor(milliseconds(60'000), {0});
  BOOST_TEST((still.Of(0) == Splits{0, 1}));
}

BOOST_AUTO_TEST_CASE(a_batch_that_does_not_end_is_made_by_another_worker_as_well) {
  Job job({.splits = 2, .workers = 3, .first = 2});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(500));
  job.workers[1].working = milliseconds(1'900);
  job.Pass();
  BOOST_TEST((job.Of(1) == Splits{1}));
  job.workers[1].working = milliseconds(2'100);
  job.Pass();
  BOOST_TEST((job.Of(2) == Splits{1}));
  job.PassFor(milliseconds(5'000));   // as long as it stands, it gets nothing else
  BOOST_TEST(job.Of(1).empty());
  BOOST_TEST(job.dealer.taken() == 1u);
}

BOOST_AUTO_TEST_CASE(a_slow_worker_has_fewer_splits) {
  Job job({.splits = 8, .workers = 4, .first = 4});
  job.workers[3].batch = milliseconds(400);
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(10'000));
  BOOST_TEST(job.Of(3).empty());   // three splits of a fast one take 3, one of its own 4
  for (uint32_t worker = 0; worker < 3; ++worker) BOOST_TEST(job.Of(worker).size() >= 2u);
  const uint64_t moved = job.dealer.moved();
  job.PassFor(milliseconds(8'000));
  BOOST_TEST(job.dealer.moved() == moved);
}

BOOST_AUTO_TEST_CASE(who_is_done_takes_from_who_is_not) {
  Job job({.splits = 4, .workers = 2, .first = 2});
  job.batches = 100;
  job.dealer.Begin(true, job.now);
  job.Pass();
  for (auto& [split, work] : job.workers[0].splits) work.batches = 100;
  job.PassFor(milliseconds(500));
  BOOST_TEST(job.dealer.moved() == 1u);
  BOOST_TEST(job.Of(0).size() == 3u);
  job.PassFor(milliseconds(10'000));
  BOOST_TEST(job.dealer.done());
}

BOOST_AUTO_TEST_CASE(a_move_whose_next_worker_is_lost_ends_as_if_it_had_never_begun) {
  Job job({.splits = 4, .workers = 2, .first = 1});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(500), {1});
  job.Pass();
  BOOST_TEST(job.dealer.ShareOf(1).size() == 2u);
  job.PassFor(milliseconds(4'000), {1});
  BOOST_TEST(job.Of(0).size() == 4u);
  BOOST_TEST(job.dealer.ShareOf(1).empty());
  BOOST_TEST(job.dealer.moved() == 0u);
}

BOOST_AUTO_TEST_CASE(what_was_done_stands_when_a_phase_is_asked_for_again) {
  Job job({.splits = 4, .workers = 2, .first = 2});
  job.batches = 3;
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(1'000));
  BOOST_TEST(job.dealer.done());
  job.dealer.BeginAgain(job.now);
  BOOST_TEST(!job.dealer.done());
  job.PassFor(milliseconds(4'000), {1});
  BOOST_TEST(!job.Of(0).empty());
  const auto share = job.dealer.ShareOf(0);
  job.Pass({1});
  BOOST_TEST(job.dealer.done());
  BOOST_TEST(job.Of(0).size() == 4u);
}

BOOST_AUTO_TEST_CASE(the_next_phase_is_dealt_anew_at_once) {
  Job job({.splits = 4, .workers = 4, .first = 1});
  job.batches = 3;
  job.dealer.Begin(false, job.now);
  job.PassFor(milliseconds(500), {1, 2, 3});
  job.AskAll();
  BOOST_TEST(job.dealer.done());
  job.dealer.Begin(true, job.now);
  for (uint32_t worker = 0; worker < 4; ++worker) BOOST_TEST(job.Of(worker).size() == 1u);
}

BOOST_AUTO_TEST_CASE(whoever_leaves_hands_over_what_is_not_done_one_after_the_other_is_prepared_and_is_given_nothing) {
  Job job({.splits = 6, .workers = 3, .first = 3});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(500));
  BOOST_TEST(!job.dealer.MayLeave(1, job.now));
  job.dealer.SetLeaving(1, true);
  job.dealer.Look(job.now);
  BOOST_TEST(job.Of(1).size() == 2u);   // until the others are prepared
  job.PassFor(milliseconds(400));
  BOOST_TEST(job.Of(1).empty());
  BOOST_TEST(job.Of(0).size() == 3u);
  BOOST_TEST(job.Of(2).size() == 3u);
  BOOST_TEST(job.dealer.moved() == 2u);
  BOOST_TEST(job.dealer.taken() == 0u);
  BOOST_TEST(job.dealer.MayLeave(1, job.now));
  job.CheckEachHasOne();
  job.dealer.Begin(true, job.now);   // nothing in the next phase either
  job.PassFor(milliseconds(3'000));
  BOOST_TEST(job.dealer.ShareOf(1).empty());
  job.workers[1].Forget();   // another process takes its place
  job.dealer.SetLeaving(1, false);
  job.PassFor(milliseconds(3'000));
  BOOST_TEST(job.Of(1).size() == 2u);
}

BOOST_AUTO_TEST_CASE(whoever_leaves_hands_over_however_many_splits_it_has) {
  Job job({.splits = 60, .workers = 2, .first = 2});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(500));
  job.dealer.SetLeaving(0, true);
  job.PassFor(milliseconds(500));
  BOOST_TEST(job.Of(0).empty());
  BOOST_TEST(job.Of(1).size() == 60u);
  BOOST_TEST(job.dealer.MayLeave(0, job.now));
}

BOOST_AUTO_TEST_CASE(whoever_leaves_between_two_phases_may_when_it_has_heard_of_it) {
  Job job({.splits = 4, .workers = 2, .first = 2});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(500));
  job.dealer.SetLeaving(0, true);
  job.dealer.Begin(true, job.now);
  BOOST_TEST(job.Of(0).empty());
  BOOST_TEST(!job.dealer.MayLeave(0, job.now));
  job.Ask(0);
  BOOST_TEST(job.dealer.MayLeave(0, job.now));
  Job still({.splits = 4, .workers = 2, .first = 2, .at_once = false});
  still.dealer.Begin(false, still.now);   // nothing moves, so there is nothing to wait for
  still.dealer.SetLeaving(0, true);
  still.PassFor(milliseconds(500));
  BOOST_TEST(still.Of(0).size() == 2u);
  BOOST_TEST(still.dealer.MayLeave(0, still.now));
}

BOOST_AUTO_TEST_CASE(whoever_leaves_and_has_nobody_to_hand_over_to_may_leave_at_once) {
  Job job({.splits = 4, .workers = 2, .first = 2});
  job.dealer.Begin(true, job.now);
  job.PassFor(milliseconds(500));
  job.dealer.SetLeaving(0, true);
  job.dealer.SetLeaving(1, true);
  job.PassFor(milliseconds(500));
  BOOST_TEST(job.Of(0).size() == 2u);
  BOOST_TEST(job.Of(1).size() == 2u);
  BOOST_TEST(job.dealer.MayLeave(0, job.now));
  job.dealer.SetLeaving(1, false);
  BOOST_TEST(!job.dealer.MayLeave(0, job.now));
  job.Pass();
  job.dealer.SetLeaving(1, true);   // in the middle of the move to it
  job.dealer.SetLeaving(0, false);
  job.PassFor(milliseconds(1'000));
  BOOST_TEST(job.Of(0).size() == 4u);
  job.CheckEachHasOne();
}

BOOST_AUTO_TEST_CASE(whatever_happens_each_split_has_one_worker_and_is_done_in_the_end) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    SplitDealerOptions options{.splits = static_cast<uint32_t>(1 + random.Below(12)), .workers = static_cast<uint32_t>(1 + random.Below(6))};
    options.first = 1 + static_cast<uint32_t>(random.Below(options.workers));
    Job job(options);
    job.batches = 50;
    for (auto& worker : job.workers) worker.batch = milliseconds(50 + random.Below(400));
    for (int phase = 0; phase < 3; ++phase) {
      job.dealer.Begin(random.Below(2) == 0, job.now);
      for (auto& worker : job.workers) worker.Forget();
      std::vector<uint32_t> silent;
      for (int step = 0; step < 2'000 && !job.dealer.done(); ++step) {
        if (random.Below(20) == 0) {
          silent.clear();
          for (uint32_t worker = 0; worker < options.workers && step < 500; ++worker) {
            if (random.Below(2) == 0) silent.push_back(worker);
          }
        }
        if (random.Below(30) == 0) job.dealer.SetLeaving(static_cast<uint32_t>(random.Below(options.workers)), random.Below(2) == 0);
        if (random.Below(40) == 0) job.workers[random.Below(options.workers)].Forget();
        if (random.Below(30) == 0) job.workers[random.Below(options.workers)].working = milliseconds(random.Below(4'000));
        job.Pass(silent);
        job.CheckEachHasOne();
      }
      BOOST_TEST(job.dealer.done(), "seed " << seed << ", phase " << phase);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
