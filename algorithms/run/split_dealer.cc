#include "algorithms/run/split_dealer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace troupe {
namespace {

// What a move must save of the time that the slower of two workers takes.
constexpr double kGain = 0.95;
// What a batch costs at a worker that leaves, in usual ones.
constexpr double kLeaving = 1e6;
// So long after its last split what is known of a worker's pace counts.
constexpr std::chrono::seconds kForgetAfter{10};

}   // namespace

SplitDealer::SplitDealer(const SplitDealerOptions& options, Time now)
    : options_(options), started_(now), splits_(options.splits), reports_(options.splits), workers_(options.workers) {
  for (uint32_t split = 0; split < options.splits; ++split) {
    splits_[split].worker = split % std::max(1u, options.first);
    reports_[split].split = split;
  }
}

void SplitDealer::Begin(bool prepare, Time now) {
  prepare_ = prepare;
  for (uint32_t i = 0; i < options_.splits; ++i) {
    Split& split = splits_[i];
    if (split.next && options_.at_once) Give(i, *split.next, {});
    if (split.next && !prepare) CancelMove(split);
    if (options_.at_once) split.so_far.reset();
    split.ended.reset();
    split.rescued = false;
    reports_[i] = {.split = i, .sum = {}, .collected = {}};
  }
  for (Worker& worker : workers_) worker.stuck = false;
  if (!options_.move) return;
  DropAbsent(now);
  if (options_.at_once) Balance(now, /*at_once=*/true);
}

void SplitDealer::BeginAgain(Time now) {
  for (uint32_t i = 0; i < options_.splits; ++i) {
    if (splits_[i].next) CancelMove(splits_[i]);
    reports_[i].state = SplitReport::State::kRunning;
  }
  if (options_.move) DropAbsent(now);
}

std::vector<SplitTask> SplitDealer::ShareOf(uint32_t worker) const {
  std::vector<SplitTask> share;
  for (uint32_t i = 0; i < options_.splits; ++i) {
    const Split& split = splits_[i];
    if (split.worker == worker && !split.letting_go) {
      share.push_back({.split = i, .so_far = split.so_far});
    } else if (split.next == worker) {
      share.push_back({.split = i, .prepare = true, .behind = reports_[i].batches});
    }
  }
  return share;
}

/// The split is the worker's from now on.
void SplitDealer::Give(uint32_t index, uint32_t to, std::optional<SplitReport> so_far) {
  Split& split = splits_[index];
  ++workers_[split.worker].number;
  split.worker = to;
  split.next.reset();
  split.letting_go.reset();
  split.so_far = std::move(so_far);
  split.given = ++workers_[to].number;
  reports_[index].state = SplitReport::State::kRunning;
}

void SplitDealer::CancelMove(Split& split) {
  ++workers_[*split.next].number;
  ++workers_[split.worker].number;
  split.next.reset();
  split.letting_go.reset();
}

void SplitDealer::OnReport(uint32_t worker, const PhaseReport& report, Time now) {
  Worker& from = workers_[worker];
  from.answered = now;
  from.away.reset();
  from.heard = report.share_number;
  std::map<uint32_t, const SplitReport*> told;
  for (const SplitReport& split : report.splits) {
    if (split.split < options_.splits) told[split.split] = &split;
  }
  std::chrono::microseconds sum{0};
  int batches = 0;
  from.working = std::chrono::milliseconds(0);
  for (const SplitReport& split : report.splits) from.working = std::max(from.working, split.working);
  for (uint32_t i = 0; i < options_.splits; ++i) {
    Split& split = splits_[i];
    const auto it = told.find(i);
    const SplitReport* of = it == told.end() ? nullptr : it->second;
    if (split.next == worker && split.worker != worker && !split.letting_go && of != nullptr && of->state == SplitReport::State::kPrepared) {
      split.letting_go = ++workers_[split.worker].number;
      continue;
    }
    if (split.worker != worker) continue;
    if (split.letting_go && report.share_number >= *split.letting_go && (of == nullptr || of->state == SplitReport::State::kLetGo)) {
      // One that knows nothing of it is another process in the worker's place.
      if (of != nullptr) reports_[i] = *of;
      Note(absl::StrCat("split ", i, " moves from worker ", worker, " to worker ", *split.next));
      ++moved_;
      split.moved = now;
      Give(i, *split.next, of == nullptr ? std::nullopt : std::optional(*of));
      continue;
    }
    if (of == nullptr || (of->state != SplitReport::State::kRunning && of->state != SplitReport::State::kDone)) continue;
    if (report.share_number < split.given) continue;   // of the time before
    split.so_far.reset();
    reports_[i] = *of;
    if (of->has_ended()) split.ended = *of;
    if (of->batch_time.count() > 0) {
      sum += of->batch_time;
      ++batches;
    }
  }
  if (batches > 0) from.batch_time = sum / batches;
}

bool SplitDealer::Absent(uint32_t worker, Time now) const {
  const Worker& of = workers_[worker];
  if (!of.answered) return now - started_ > options_.start_max;
  return now - *of.answered > options_.absent_after || (of.away && now - *of.away > options_.away_max);
}

std::string SplitDealer::WhyAbsent(uint32_t worker, Time now) const {
  const Worker& of = workers_[worker];
  const auto seconds = [now](Time since) { return std::chrono::duration<double>(now - since) / std::chrono::seconds(1); };
  if (!of.answered) return absl::StrCat("has not begun within ", std::lround(seconds(started_)), " s");
  if (of.away) return "cannot be reached";
  return absl::StrCat("has not answered for ", std::lround(seconds(*of.answered)), " s");
}

void SplitDealer::OnError(uint32_t worker, Time now) {
  if (!workers_[worker].away) workers_[worker].away = now;
}

std::chrono::microseconds SplitDealer::MedianTime() const {
  std::vector<std::chrono::microseconds> times;
  for (const Worker& worker : workers_) {
    if (worker.batch_time.count() > 0) times.push_back(worker.batch_time);
  }
  if (times.empty()) return std::chrono::microseconds(0);
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>((times.size() - 1) / 2);   // of two the faster one
  std::ranges::nth_element(times, middle);
  return *middle;
}

void SplitDealer::Excuse(Time now) {
  for (Worker& worker : workers_) {
    if (worker.answered) worker.answered = now;
    worker.away.reset();
    worker.working = std::chrono::milliseconds(0);
  }
  for (SplitReport& report : reports_) report.working = std::chrono::milliseconds(0);
}

std::vector<SplitDealer::Load> SplitDealer::Loads(Time now) const {
  std::vector<Load> loads(workers_.size());
  const auto median = MedianTime();
  for (uint32_t worker = 0; worker < options_.workers; ++worker) {
    Load& load = loads[worker];
    load.there = !Absent(worker, now);
    load.leaves = workers_[worker].leaving;
    load.takes = load.there && workers_[worker].answered && !workers_[worker].away && !workers_[worker].stuck && !load.leaves;
    const auto own = workers_[worker].batch_time;
    const double ratio = median.count() == 0 ? 1 : static_cast<double>(own.count()) / static_cast<double>(median.count());
    if (ratio > options_.slow_factor && own > options_.slow_min) load.cost = ratio;
    if (load.leaves) load.cost = kLeaving;
  }
  for (uint32_t i = 0; i < options_.splits; ++i) {
    if (!reports_[i].has_ended()) ++loads[splits_[i].next.value_or(splits_[i].worker)].splits;
  }
  return loads;
}

std::optional<uint32_t> SplitDealer::Best(const std::vector<Load>& loads, uint32_t but) {
  std::optional<uint32_t> best;
  for (uint32_t worker = 0; worker < loads.size(); ++worker) {
    if (worker != but && loads[worker].takes && (!best || loads[worker].Time(1) < loads[*best].Time(1))) best = worker;
  }
  return best;
}

void SplitDealer::TakeOver(uint32_t index, uint32_t to, const std::string& why, Time now) {
  Split& split = splits_[index];
  Note(absl::StrCat("split ", index, " goes to worker ", to, ": worker ", split.worker, " ", why));
  ++taken_;
  split.moved = now;
  if (split.next && *split.next != to) ++workers_[*split.next].number;
  Give(index, to, split.ended);
}

void SplitDealer::DropAbsent(Time now) {
  std::vector<Load> loads = Loads(now);
  for (uint32_t i = 0; i < options_.splits; ++i) {
    Split& split = splits_[i];
    if (split.next && (!loads[*split.next].there || loads[*split.next].leaves)) CancelMove(split);
    if (loads[split.worker].there) continue;
    const std::optional<uint32_t> to = split.next ? split.next : Best(loads, split.worker);
    if (!to) return;
    if (!split.next) ++loads[*to].splits;
    TakeOver(i, *to, WhyAbsent(split.worker, now), now);
  }
}

void SplitDealer::HelpStuck(Time now) {
  const auto median = MedianTime();
  const auto limit = std::max<std::chrono::microseconds>(options_.stuck_min, options_.stuck_factor * median);
  for (Worker& worker : workers_) worker.stuck = median.count() > 0 && worker.working > limit;
  std::vector<Load> loads = Loads(now);
  for (uint32_t i = 0; i < options_.splits; ++i) {
    Split& split = splits_[i];
    const SplitReport& report = reports_[i];
    if (!workers_[split.worker].stuck || split.rescued || report.state != SplitReport::State::kRunning || report.working <= limit) continue;
    const std::optional<uint32_t> to = Best(loads, split.worker);
    if (!to) return;
    ++loads[*to].splits;
    split.rescued = true;
    TakeOver(i, *to, absl::StrCat("has worked on one batch for ", report.working.count(), " ms"), now);
  }
}

void SplitDealer::Balance(Time now, bool at_once) {
  std::vector<Load> loads = Loads(now);
  for (uint32_t worker = 0; worker < options_.workers; ++worker) {
    Worker& of = workers_[worker];
    if (loads[worker].splits > 0) {
      of.idle.reset();
    } else if (!of.idle) {
      of.idle = now;
    } else if (now - *of.idle > kForgetAfter) {
      of.batch_time = std::chrono::microseconds(0);
    }
  }
  for (uint32_t moves = 0; moves < options_.splits; ++moves) {
    uint32_t from = 0;
    for (uint32_t worker = 1; worker < options_.workers; ++worker) {
      if (loads[worker].Time(0) > loads[from].Time(0)) from = worker;
    }
    const std::optional<uint32_t> to = Best(loads, from);
    const bool leaves = loads[from].leaves && loads[from].splits > 0, slow = loads[from].cost > 1 && !leaves;
    if (!to || (!leaves && std::max(loads[from].Time(-1), loads[*to].Time(1)) >= kGain * loads[from].Time(0))) return;
    std::optional<uint32_t> chosen;
    for (uint32_t i = 0; i < options_.splits; ++i) {
      const Split& split = splits_[i];
      if (split.worker != from || split.next || reports_[i].has_ended() || (slow && split.rescued)) continue;
      if (!at_once && !leaves && split.moved && now - *split.moved < options_.stay) continue;
      if (!chosen || reports_[i].batches < reports_[*chosen].batches) chosen = i;   // the one with the most left
    }
    if (!chosen) return;
    --loads[from].splits;
    ++loads[*to].splits;
    Split& split = splits_[*chosen];
    if (at_once) {
      Note(absl::StrCat("split ", *chosen, " goes from worker ", from, " to worker ", *to));
      ++moved_;
      Give(*chosen, *to, {});
      continue;
    }
    split.rescued = split.rescued || slow;
    split.next = *to;
    ++workers_[*to].number;
    if (!prepare_) split.letting_go = ++workers_[from].number;
  }
}

void SplitDealer::Look(Time now) {
  if (!options_.move) return;
  DropAbsent(now);
  HelpStuck(now);
  if (options_.at_once || prepare_) Balance(now, /*at_once=*/false);
}

bool SplitDealer::done() const {
  return std::ranges::all_of(reports_, [](const SplitReport& report) { return report.has_ended(); });
}

bool SplitDealer::DoneOf(uint32_t worker) const {
  for (uint32_t i = 0; i < options_.splits; ++i) {
    if (splits_[i].next == worker || (splits_[i].worker == worker && !reports_[i].has_ended())) return false;
  }
  return true;
}

bool SplitDealer::MayLeave(uint32_t worker, Time now) const {
  if (!options_.at_once && !prepare_) return true;   // nothing moves in such a phase
  const Worker& of = workers_[worker];
  if (DoneOf(worker) && of.heard >= of.number) return true;
  for (uint32_t other = 0; other < options_.workers; ++other) {
    if (workers_[other].answered && !workers_[other].leaving && !Absent(other, now)) return false;
  }
  return true;
}

std::vector<std::string> SplitDealer::TakeNotes() {
  return std::exchange(notes_, {});
}

}   // namespace troupe
