#include "tests/support/sim.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "actors/compute.h"
#include "actors/network.h"
#include "actors/status.h"
#include "caf/scheduler/test_coordinator.hpp"
#include "caf/send.hpp"

namespace troupe::testing {
namespace {

Block Copied(const Block& block) {
  return block.empty() ? Block() : Block::Copy(block.data(), block.size());
}

/// As it is after a wire: nothing is shared with the sender.
Frame Copied(const Frame& frame) {
  Frame copy{frame.type, Copied(frame.head), {}};
  for (const Block& block : frame.bulk) copy.bulk.push_back(Copied(block));
  return copy;
}

std::string Name(NodeId node) {
  return absl::StrCat("node ", static_cast<uint32_t>(node));
}

}   // namespace

class SimNetwork final : public Network {
 public:
  SimNetwork(Sim& sim, NodeId node) : sim_(sim), node_(node) {}
  void Locate(NodeId, std::vector<std::string>) override {}
  void Request(const Address& to, Frame frame, Lane lane, Duration timeout, Reply reply) override {
    sim_.Send(node_, to, frame, lane, timeout, std::move(reply));
  }
  void Serve(ActorId actor, Handler handler) override { sim_.node(node_).handlers[actor] = std::move(handler); }
  void Withdraw(ActorId actor) override { sim_.node(node_).handlers.erase(actor); }

 private:
  Sim& sim_;
  const NodeId node_;
};

class SimCompute final : public Compute {
 public:
  SimCompute(Sim& sim, NodeId node) : sim_(sim), node_(node) {}
  void Submit(Priority, std::function<void()> work) override { sim_.Submit(node_, std::move(work)); }
  int threads() const override { return 1; }

 private:
  Sim& sim_;
  const NodeId node_;
};

/// What an actor holds to answer a request; dropped without an answer it says so, as the link does.
class Sim::Ticket {
 public:
  Ticket(Sim& sim, uint64_t call, NodeId node) : sim_(sim), call_(call), node_(node) {}
  ~Ticket() { Give(absl::UnavailableError("the actor ended without an answer")); }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  void Give(const absl::StatusOr<Frame>& answer) {
    if (!std::exchange(given_, true)) sim_.Answer(call_, node_, answer);
  }

 private:
  Sim& sim_;
  const uint64_t call_;
  const NodeId node_;
  bool given_ = false;
};

Sim::Sim(uint64_t seed, const Faults& faults)
    : random_(seed), faults_(faults), storage_(MakeMemoryStorage()), now_(std::chrono::seconds(1)), limit_(now_ + std::chrono::hours(1)) {
  AddNode([](System&) { return std::vector<caf::actor>(); });
}

Sim::~Sim() {
  closing_ = true;
  calls_.clear();
  events_ = {};
  for (auto& node : nodes_) TakeDown(*node);
}

NodeId Sim::AddNode(Boot boot) {
  const NodeId id{static_cast<uint32_t>(nodes_.size())};
  nodes_.push_back(std::make_unique<Node>());
  Node& made = *nodes_.back();
  made.id = id;
  made.boot = std::move(boot);
  made.disk = std::make_unique<FaultyStorage>(storage_.get());
  BootNode(made);
  return id;
}

void Sim::BootNode(Node& node) {
  ++node.incarnation;
  node.system =
      std::make_unique<System>(System::Options{.node = node.id, .incarnation = Incarnation{node.incarnation}, .compute_threads = 0, .simulated = true});
  node.scheduler = &dynamic_cast<caf::scheduler::test_coordinator&>(node.system->actors().scheduler());
  node.scheduler->clock().current_time = now_ + node.ahead;
  node.system->SetNetwork(std::make_unique<SimNetwork>(*this, node.id));
  node.system->SetCompute(std::make_unique<SimCompute>(*this, node.id));
  node.system->SetStorage(std::make_unique<FaultyStorage>(node.disk.get()));
  // The process is there before its actors are.
  After(node.incarnation == 1 ? Duration(0) : Below(Duration(10'000)), [this, &node, incarnation = node.incarnation] {
    if (node.system == nullptr || node.incarnation != incarnation) return;
    auto actors = node.boot(*node.system);
    if (actors.ok()) {
      node.actors = std::move(*actors);
    } else if (failure_.ok()) {
      failure_ = actors.status();
    }
  });
}

void Sim::TakeDown(Node& node) {
  if (node.system == nullptr) return;
  std::unique_ptr<System> system = std::move(node.system);   // from here on the node is down for the others
  node.frozen_until = {};
  const std::deque<std::function<void()>> never_seen = std::exchange(node.held, {});
  std::vector<Network::Reply> awaited;
  for (auto call = calls_.begin(); call != calls_.end();) {
    if (call->second.from == node.id) {
      awaited.push_back(std::move(call->second.reply));
      call = calls_.erase(call);
    } else {
      ++call;
    }
  }
  awaited.clear();
  node.handlers.clear();
  node.jobs.clear();
  for (const caf::actor& actor : node.actors) caf::anon_send_exit(actor, caf::exit_reason::kill);
  node.actors.clear();
  while (node.scheduler->try_run_once() || node.scheduler->trigger_timeout()) {
  }
  node.jobs.clear();
  node.handlers.clear();
  node.scheduler = nullptr;
}

void Sim::Crash(NodeId id, Duration down) {
  Node& target = node(id);
  if (target.system == nullptr || target.stopped) return;
  ++crashes_;
  TakeDown(target);
  After(down, [this, &target] {
    if (target.stopped || target.system != nullptr) return;
    ++restarts_;
    BootNode(target);
  });
}

void Sim::Stop(NodeId id) {
  node(id).stopped = true;
  TakeDown(node(id));
}

void Sim::Freeze(NodeId id, Duration time) {
  Node& target = node(id);
  if (target.system == nullptr) return;
  target.frozen_until = std::max(target.frozen_until, now_ + time);
  After(time, [this, &target] { Thaw(target); });
}

void Sim::Thaw(Node& node) {
  while (node.system != nullptr && !IsFrozen(node) && !node.held.empty()) {
    const std::function<void()> first = std::move(node.held.front());
    node.held.pop_front();
    first();
  }
}

void Sim::AtNode(NodeId id, std::function<void()> what) {
  Node& at = node(id);
  if (IsFrozen(at) || !at.held.empty()) {
    at.held.push_back(std::move(what));
  } else {
    what();
  }
}

void Sim::Cut(NodeId a, NodeId b, Duration time, bool refused) {
  auto& cut = cuts_[std::minmax(a, b)];
  cut = {std::max(cut.first, now_ + time), refused};
}

void Sim::Lose(NodeId id, Duration time, double probability) {
  node(id).lossy = {now_ + time, probability};
}

void Sim::Late(NodeId id, Duration time, Duration by) {
  node(id).late = {now_ + time, by};
}

void Sim::StepClock(NodeId id, Duration by) {
  node(id).ahead += by;
}

void Sim::After(Duration delay, std::function<void()> event) {
  events_.push({now_ + delay, random_.Next(), std::move(event)});
}

// --- network ---

Sim::Duration Sim::Delay() {
  Duration limit = faults_.delay_max;
  if (faults_.slow > 0 && random_.Uniform() < faults_.slow) limit *= faults_.slow_factor;
  return Duration(1) + Below(limit);
}

Sim::Time Sim::ArrivalTime(NodeId from, NodeId to, Network::Lane lane, bool reply) {
  Time at = now_ + Delay();
  for (const NodeId end : {from, to}) {
    if (node(end).late.first > now_) at += node(end).late.second;
  }
  if (!faults_.ordered) return at;
  Time& last = last_arrival_[{from, to, lane, reply}];
  last = at = std::max(at, last + std::chrono::nanoseconds(1));
  return at;
}

bool Sim::IsLost(NodeId from, NodeId to) {
  for (const NodeId end : {from, to}) {
    if (node(end).lossy.first > now_ && random_.Uniform() < node(end).lossy.second) return true;
  }
  return faults_.drop > 0 && random_.Uniform() < faults_.drop;
}

bool Sim::IsCut(NodeId a, NodeId b) const {
  const auto cut = cuts_.find(std::minmax(a, b));
  return cut != cuts_.end() && cut->second.first > now_;
}

void Sim::Hash(NodeId from, NodeId to, const Frame& frame) {
  ++frames_;
  const auto add = [this](uint64_t word) { trace_ = Mix64(trace_ ^ word) + 0x9e3779b97f4a7c15u; };
  const auto add_bytes = [&add](const Block& block) {
    uint64_t sum = block.size();
    for (size_t i = 0; i < block.size(); ++i) sum = sum * 0x100000001b3u ^ static_cast<uint64_t>(block.data()[i]);
    add(sum);
  };
  add(static_cast<uint64_t>(now_.time_since_epoch().count()));
  add(static_cast<uint64_t>(from) << 32 | static_cast<uint64_t>(to));
  add(frame.type);
  add_bytes(frame.head);
  for (const Block& block : frame.bulk) add_bytes(block);
}

void Sim::Send(NodeId from, const Address& to, const Frame& frame, Network::Lane lane, Network::Duration timeout, Network::Reply reply) {
  if (closing_ || node(from).system == nullptr) return;   // of a node that is ending
  const uint64_t id = ++calls_made_;
  Node& target = node(to.node);
  calls_[id] = {.from = from, .to = to.node, .to_incarnation = target.incarnation, .lane = lane, .reply = std::move(reply)};
  After(timeout, [this, id, from] { AtNode(from, [this, id] { Finish(id, absl::DeadlineExceededError("no answer in time")); }); });
  const auto refuse = [this, id, &to] {
    After(Delay(), [this, id, to] { Finish(id, absl::UnavailableError(absl::StrCat("no connection to ", Name(to.node)))); });
  };
  if (target.system == nullptr) return refuse();
  if (IsCut(from, to.node)) {
    if (cuts_[std::minmax(from, to.node)].second) refuse();
    return;
  }
  const int copies = faults_.twice > 0 && random_.Uniform() < faults_.twice ? 2 : 1;
  if (IsLost(from, to.node)) return;
  auto sent = std::make_shared<const Frame>(Copied(frame));
  for (int i = 0; i < copies; ++i) {
    const Time at = ArrivalTime(from, to.node, lane, false);
    events_.push({at, random_.Next(), [this, id, to, incarnation = target.incarnation, sent] {
                    AtNode(to.node, [this, id, to, incarnation, sent] { Arrive(id, to, incarnation, *sent); });
                  }});
  }
}

void Sim::Arrive(uint64_t call, const Address& to, uint64_t incarnation, const Frame& frame) {
  Node& target = node(to.node);
  const auto sender = calls_.find(call);
  if (target.system == nullptr || target.incarnation != incarnation) {   // the connection broke with the process
    After(Delay(), [this, call, to] { Finish(call, absl::UnavailableError(absl::StrCat("lost the connection to ", Name(to.node)))); });
    return;
  }
  if (sender != calls_.end() && IsCut(sender->second.from, to.node)) return;
  if (to.incarnation != Incarnation{} && static_cast<uint64_t>(to.incarnation) != target.incarnation) {
    Answer(call, to.node, absl::UnavailableError(absl::StrCat(Name(to.node), " is another incarnation")));
    return;
  }
  const auto handler = target.handlers.find(to.actor);
  if (handler == target.handlers.end()) {
    Answer(call, to.node, absl::UnavailableError(absl::StrCat(Name(to.node), " has no actor ", static_cast<uint32_t>(to.actor))));
    return;
  }
  Hash(sender == calls_.end() ? NodeId{UINT32_MAX} : sender->second.from, to.node, frame);
  auto ticket = std::make_shared<Ticket>(*this, call, to.node);
  const Network::Handler serve = handler->second;
  serve(Copied(frame), [ticket](absl::StatusOr<Frame> answer) { ticket->Give(answer); });
}

void Sim::Answer(uint64_t id, NodeId from, const absl::StatusOr<Frame>& answer) {
  if (closing_) return;
  const auto call = calls_.find(id);
  if (call == calls_.end()) return;   // timed out, answered, or its sender is gone
  if (node(from).system == nullptr) {
    After(Delay(), [this, id, from] { Finish(id, absl::UnavailableError(absl::StrCat("lost the connection to ", Name(from)))); });
    return;
  }
  if (IsCut(from, call->second.from) || IsLost(from, call->second.from)) return;
  auto result = std::make_shared<absl::StatusOr<Frame>>(answer.ok() ? absl::StatusOr<Frame>(Copied(*answer)) : absl::StatusOr<Frame>(answer.status()));
  const Time at = ArrivalTime(from, call->second.from, call->second.lane, true);
  events_.push({at, random_.Next(), [this, id, from, result] {
                  const auto waiting = calls_.find(id);
                  if (waiting == calls_.end()) return;
                  AtNode(waiting->second.from, [this, id, from, result] {
                    const auto call = calls_.find(id);
                    if (call == calls_.end()) return;
                    if (result->ok()) Hash(from, call->second.from, **result);
                    Finish(id, std::move(*result));
                  });
                }});
}

void Sim::Finish(uint64_t id, absl::StatusOr<Frame> result) {
  const auto call = calls_.find(id);
  if (call == calls_.end()) return;
  const Network::Reply reply = std::move(call->second.reply);
  calls_.erase(call);
  reply(std::move(result));
}

// --- compute ---

void Sim::Submit(NodeId id, std::function<void()> work) {
  Node& at = node(id);
  if (closing_ || at.system == nullptr) return;
  const uint64_t job = ++jobs_made_;
  at.jobs[job] = std::move(work);
  Duration time = std::chrono::duration_cast<Duration>((faults_.compute_min + Duration(1) + Below(faults_.compute_max)) * at.pace);
  if (faults_.one_core) {
    at.busy_until = std::max(at.busy_until, now_) + time;
    time = std::chrono::duration_cast<Duration>(at.busy_until - now_);
  }
  After(time, [this, &at, job] {
    if (!at.jobs.contains(job)) return;   // the node fell meanwhile
    AtNode(at.id, [&at, job] {
      const auto found = at.jobs.find(job);
      if (found == at.jobs.end()) return;
      const std::function<void()> run = std::move(found->second);
      at.jobs.erase(found);
      run();
    });
  });
}

// --- faults ---

void Sim::StartFaults() {
  if (faults_.crashes_max > 0) After(Around(faults_.crash_every), [this] { CrashSometimes(); });
  if (faults_.cuts_max > 0) After(Around(faults_.cut_every), [this] { CutSometimes(); });
  if (faults_.disks_full_max > 0) After(Around(faults_.disk_full_every), [this] { FillDiskSometimes(); });
}

void Sim::CrashSometimes() {
  if (nodes_.size() > 1) Crash(NodeId{static_cast<uint32_t>(1 + random_.Below(nodes_.size() - 1))}, Below(faults_.down_max));
  if (crashes_ < static_cast<uint64_t>(faults_.crashes_max)) After(Around(faults_.crash_every), [this] { CrashSometimes(); });
}

void Sim::CutSometimes() {
  const NodeId a{static_cast<uint32_t>(random_.Below(nodes_.size()))}, b{static_cast<uint32_t>(random_.Below(nodes_.size()))};
  if (a != b) cuts_[std::minmax(a, b)] = {now_ + Below(faults_.cut_max), random_.Below(2) == 0};
  if (++cuts_made_ < faults_.cuts_max) After(Around(faults_.cut_every), [this] { CutSometimes(); });
}

void Sim::FillDiskSometimes() {
  Node& full = *nodes_[random_.Below(nodes_.size())];
  full.disk->FullAfter(random_.Below(2) == 0 ? 0 : random_.Below(1 << 16));
  After(Below(faults_.disk_full_max), [&full] { full.disk->Heal(); });
  if (++disks_filled_ < faults_.disks_full_max) After(Around(faults_.disk_full_every), [this] { FillDiskSometimes(); });
}

// --- time ---

bool Sim::RunOneJob() {
  std::vector<Node*> ready;
  for (const auto& node : nodes_) {
    if (node->system != nullptr && !IsFrozen(*node) && node->scheduler->has_job()) ready.push_back(node.get());
  }
  if (ready.empty()) return false;
  caf::scheduler::test_coordinator& scheduler = *ready[random_.Below(ready.size())]->scheduler;
  auto& jobs = scheduler.jobs;
  const auto chosen = jobs.begin() + static_cast<std::ptrdiff_t>(random_.Below(jobs.size()));
  std::rotate(jobs.begin(), chosen, chosen + 1);
  scheduler.run_once();
  return true;
}

absl::Status Sim::AdvanceTime() {
  Time next = Time::max();
  if (!events_.empty()) next = events_.top().at;
  for (const auto& node : nodes_) {
    if (node->system == nullptr || IsFrozen(*node)) continue;   // an event tells when it goes on
    const auto& schedule = node->scheduler->clock().schedule();
    if (!schedule.empty()) next = std::min(next, schedule.begin()->first - node->ahead);
  }
  if (next == Time::max()) return absl::DeadlineExceededError("nothing is left to do, and it is not done");
  if (next > limit_) return absl::DeadlineExceededError("no end within the virtual time limit");
  now_ = std::max(now_, next);
  for (const auto& node : nodes_) {
    if (node->system == nullptr || IsFrozen(*node)) continue;
    auto& clock = node->scheduler->clock();
    const Time own = now_ + node->ahead;
    if (clock.current_time <= own) clock.advance_time(std::chrono::duration_cast<caf::timespan>(own - clock.current_time));
  }
  while (!events_.empty() && events_.top().at <= now_) {
    const std::function<void()> run = events_.top().run;
    events_.pop();
    run();
  }
  return absl::OkStatus();
}

absl::Status Sim::Run(const std::function<bool()>& done) {
  while (!done()) {
    TROUPE_RETURN_IF_ERROR(failure_);
    if (!interrupted_.ok()) return std::exchange(interrupted_, absl::OkStatus());
    if (++steps_ > steps_max_) return absl::DeadlineExceededError(absl::StrCat("no end within ", steps_max_, " steps"));
    if (!RunOneJob()) TROUPE_RETURN_IF_ERROR(AdvanceTime());
  }
  return absl::OkStatus();
}

Faults AnyBadNetwork(Random& random) {
  Faults faults;
  faults.delay_max = std::chrono::microseconds(100 + random.Below(3'000));
  faults.ordered = random.Below(2) == 0;
  if (random.Below(2) == 0) faults.drop = 0.02 * random.Uniform();
  if (random.Below(2) == 0) faults.twice = 0.2 * random.Uniform();
  if (random.Below(2) == 0) faults.slow = 0.02;
  if (random.Below(2) == 0) {
    faults.cut_every = std::chrono::milliseconds(40);
    faults.cuts_max = 5;
  }
  return faults;
}

Faults AnyCrashes(Random& random) {
  Faults faults = AnyBadNetwork(random);
  faults.crash_every = std::chrono::milliseconds(5 + random.Below(60));
  faults.crashes_max = static_cast<int>(1 + random.Below(8));
  faults.down_max = std::chrono::milliseconds(1 + random.Below(100));
  return faults;
}

}   // namespace troupe::testing
