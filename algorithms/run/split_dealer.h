// Which worker of a job works on which splits: pure. Splits go to workers that come, from workers that are lost or fall behind; where it can, a move waits
// until the next worker has read as far as the present one works, so that the round in between is no longer than others.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "algorithms/run/messages.h"

namespace troupe {

struct SplitDealerOptions {
  uint32_t splits = 1;
  uint32_t workers = 1;   ///< that there may be
  uint32_t first = 1;     ///< of these, that begin with the splits; the others may come
  bool move = true;       ///< false: each keeps what it has
  /// Between two phases splits move without a word to their workers. false: a worker says what later pushes of the split depend on, and splits move in phases
  /// that push only.
  bool at_once = true;
  /// Who has not answered for so long is lost, until it answers again; who could not be asked, after `away_max`. One that has not yet answered at all has
  /// `start_max`. A worker that lives and is taken for lost costs BSP its exactness, so there is time for one that is only short of processors; one that has
  /// ended cannot be asked.
  std::chrono::milliseconds absent_after{10'000};
  std::chrono::milliseconds away_max{1'000};
  std::chrono::milliseconds start_max{30'000};
  /// A batch that takes longer than this, and than stuck_factor times a usual one, is made by another worker as well.
  std::chrono::milliseconds stuck_min{10'000};
  int stuck_factor = 8;
  /// A worker whose batches take longer than this, and than this many times the median, is given fewer splits.
  std::chrono::milliseconds slow_min{10};
  double slow_factor = 2;
  /// A split that has moved stays for so long.
  std::chrono::milliseconds stay{1'000};
};

class SplitDealer {
 public:
  using Time = std::chrono::steady_clock::time_point;

  SplitDealer(const SplitDealerOptions& options, Time now);

  /// The next phase begins. `prepare`: a split moves when its next worker is prepared (others wait for its batches).
  void Begin(bool prepare, Time now);
  /// The last phase begins again: what was done stands until its worker says otherwise.
  void BeginAgain(Time now);

  /// What the worker is to do, and the share's number: rises when a split comes or goes.
  std::vector<SplitTask> ShareOf(uint32_t worker) const;
  uint64_t NumberOf(uint32_t worker) const { return workers_[worker].number; }

  void OnReport(uint32_t worker, const PhaseReport& report, Time now);
  /// The worker could not be asked.
  void OnError(uint32_t worker, Time now);
  /// The node of the worker is drained (or, with false, is not any more, or the worker is another process): it is given nothing, and its splits move to others.
  void SetLeaving(uint32_t worker, bool leaving) { workers_[worker].leaving = leaving; }
  /// Does nothing get better by its staying? It knows that it has no split that is not done, or nobody is there to take any, or nothing moves in this phase.
  bool MayLeave(uint32_t worker, Time now) const;
  /// Whoever asks has stood still itself: nobody is late for it.
  void Excuse(Time now);
  /// Time has passed: looks who is lost, who is stuck, and who has too much.
  void Look(Time now);

  /// Is the phase done? Are all splits of this worker?
  bool done() const;
  bool DoneOf(uint32_t worker) const;
  bool Absent(uint32_t worker, Time now) const;
  /// By split: what its present worker said last.
  const std::vector<SplitReport>& reports() const { return reports_; }
  uint32_t WorkerOf(uint32_t split) const { return splits_[split].worker; }

  uint64_t moved() const { return moved_; }   ///< splits that were let go by one worker for another
  uint64_t taken() const { return taken_; }   ///< and that were taken from a lost or stuck one
  /// What was decided since the last call, a line each.
  std::vector<std::string> TakeNotes();

 private:
  struct Split {
    uint32_t worker = 0;
    std::optional<uint32_t> next;         // is to have it
    std::optional<uint64_t> letting_go;   // the number of the first share of `worker` without it
    std::optional<SplitReport> so_far;    // of the worker before, until this one has heard
    uint64_t given = 0;                   // number of the first share of `worker` with it
    std::optional<SplitReport> ended;     // the report with which it was done in this phase
    std::optional<Time> moved;
    bool rescued = false;   // in this phase, from a slow or stuck worker
  };
  struct Worker {
    std::optional<Time> answered, away;        // the last time; since when it cannot be asked
    uint64_t number = 1, heard = 0;            // of its share, and of that which it has answered
    std::chrono::microseconds batch_time{0};   // 0: not known
    std::chrono::milliseconds working{0};      // at one batch, as it said last: also of a split that it is to let go
    std::optional<Time> idle;
    bool stuck = false, leaving = false;
  };

  void Give(uint32_t split, uint32_t to, std::optional<SplitReport> so_far);
  void TakeOver(uint32_t split, uint32_t to, const std::string& why, Time now);
  void CancelMove(Split& split);
  void DropAbsent(Time now);
  void HelpStuck(Time now);
  void Balance(Time now, bool at_once);
  struct Load {
    bool there = true, takes = true, leaves = false;
    uint32_t splits = 0;   // not done, that it has or will have
    double cost = 1;       // how many times as long as usual a batch takes it
    /// That a round takes it, in usual batches, with `more` splits.
    double Time(int more) const { return (static_cast<double>(splits) + more) * cost; }
  };
  std::vector<Load> Loads(Time now) const;
  /// Where one split more would be done soonest; nothing: nobody takes any.
  static std::optional<uint32_t> Best(const std::vector<Load>& loads, uint32_t but);
  std::chrono::microseconds MedianTime() const;
  std::string WhyAbsent(uint32_t worker, Time now) const;
  void Note(std::string line) { notes_.push_back(std::move(line)); }

  const SplitDealerOptions options_;
  const Time started_;
  bool prepare_ = true;
  std::vector<Split> splits_;
  std::vector<SplitReport> reports_;
  std::vector<Worker> workers_;
  uint64_t moved_ = 0, taken_ = 0;
  std::vector<std::string> notes_;
};

}   // namespace troupe
