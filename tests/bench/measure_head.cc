// What the head of a cluster costs with many idle nodes: starts a head as a process of its own, plays the nodes over one TCP link, and prints for each number
// of them how many messages travel and how much of a core the head takes. Then a job of one worker a node begins, and one worker after the other is lost: how
// long the head takes for each, with all messages. usage: measure_head TROUPE SECONDS NODES...      TROUPE: the command, of this or an earlier version
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <string>
#include <thread>

#include "actors/caf_status.h"
#include "actors/cluster/cluster_link.h"
#include "actors/cluster/programs.h"
#include "actors/cluster/wire.h"
#include "actors/storage/scratch_folder.h"
#include "caf/event_based_actor.hpp"
#include "tests/actors/cluster/member.h"

namespace troupe {
namespace {

using Seconds = std::chrono::duration<double>;

/// `troupe node --head`, until the end of this object.
struct HeadProcess {
  HeadProcess(const char* program, const std::string& state) {
    int pipe_ends[2];
    if (::pipe(pipe_ends) != 0) std::exit(1);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
    std::vector<std::string> words{program, "node", "--head", "--listen", "127.0.0.1:0", "--state", state};
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    if (::posix_spawn(&pid, program, &actions, nullptr, argv.data(), environ) != 0) {
      std::fprintf(stderr, "%s cannot be started\n", program);
      std::exit(1);
    }
    posix_spawn_file_actions_destroy(&actions);
    ::close(pipe_ends[1]);
    FILE* out = ::fdopen(pipe_ends[0], "r");
    char line[256] = "";
    if (std::fgets(line, sizeof line, out) == nullptr || std::sscanf(line, "listening on %255s", place) != 1) {
      std::fprintf(stderr, "no head: %s\n", line);
      std::exit(1);
    }
  }
  ~HeadProcess() {
    ::kill(pid, SIGTERM);
    ::waitpid(pid, nullptr, 0);
  }
  double CpuSeconds() const {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string word;
    double ticks = 0;
    for (int i = 1; i <= 15 && stat >> word; ++i) {
      if (i >= 14) ticks += std::atof(word.c_str());
    }
    return ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
  pid_t pid = 0;
  char place[256] = "";
};

class Nodes {
 public:
  Nodes(ClusterLink& link, uint32_t count) : link_(link) {
    for (uint32_t i = 1; i <= count; ++i) members_.emplace_back(i, 4);
    actor_ = link.system().actors().spawn<caf::hidden>([this](caf::event_based_actor* self) -> caf::behavior {
      self_ = self;
      return {[](const Thunk& thunk) { thunk.run(); }};
    });
  }
  ~Nodes() { link_.system().Stop(actor_); }
  void Begin(Seconds within) {
    for (size_t i = 0; i < members_.size(); ++i) {
      System::Deliver(actor_, Thunk{[this, i] { Report(i); }});
      std::this_thread::sleep_for(within / static_cast<double>(members_.size()));
    }
  }
  void End(const ProcessId& id) {
    System::Deliver(actor_, Thunk{[this, id] {
                      for (size_t i = 0; i < members_.size(); ++i) {
                        if (!members_[i].Runs(id)) continue;
                        members_[i].End(id, -9);
                        Report(i);
                      }
                    }});
  }
  std::atomic<uint64_t> reports{0}, errors{0};

 private:
  void Report(size_t i) {
    ++reports;
    self_->request(link_.head(), caf::infinite, members_[i].MakeReport())
        .then(
            [this, i, number = members_[i].number](const Orders& orders) {
              if (number != members_[i].number) return;
              members_[i].Obey(orders);
              Report(i);
            },
            [this, i, number = members_[i].number](const caf::error&) {
              ++errors;
              if (number == members_[i].number) Report(i);
            });
  }
  ClusterLink& link_;
  caf::actor actor_;
  caf::event_based_actor* self_ = nullptr;
  std::deque<testing::Member> members_;
};

/// As many clients as there are nodes, each of which asks for something that is not there as often as a node reports: what a message costs however little is
/// done for it.
class Askers {
 public:
  Askers(ClusterLink& link, uint32_t count) : link_(link), count_(count) {
    actor_ = link.system().actors().spawn<caf::hidden>([this](caf::event_based_actor* self) -> caf::behavior {
      self_ = self;
      return {[](const Thunk& thunk) { thunk.run(); }};
    });
  }
  ~Askers() { link_.system().Stop(actor_); }
  void Begin(Seconds within) {
    for (uint32_t i = 0; i < count_; ++i) {
      System::Deliver(actor_, Thunk{[this] { Ask(); }});
      std::this_thread::sleep_for(within / static_cast<double>(count_));
    }
  }
  std::atomic<uint64_t> asked{0};

 private:
  void Ask() {
    ++asked;
    const auto again = [this] { self_->delayed_send(self_, ReportHold(count_), Thunk{[this] { Ask(); }}); };
    self_->request(link_.head(), caf::infinite, ReadOutput{.id = {1, "driver", 1}})
        .then([again](const Output&) { again(); }, [again](const caf::error&) { again(); });
  }
  ClusterLink& link_;
  const uint32_t count_;
  caf::actor actor_;
  caf::event_based_actor* self_ = nullptr;
};

/// CPU seconds of the head for each of what `count` counts, for so long.
struct Cost {
  double rate = 0, cpu = 0;   // of counted things a second, and the share of a core
};
Cost MeasureFor(double seconds, const HeadProcess& head, const std::atomic<uint64_t>& count) {
  std::this_thread::sleep_for(std::chrono::seconds(2));
  const uint64_t first = count;
  const double cpu = head.CpuSeconds();
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(Seconds(seconds));
  const double passed = Seconds(std::chrono::steady_clock::now() - begin).count();
  return {static_cast<double>(count - first) / passed, (head.CpuSeconds() - cpu) / passed};
}

/// The driver of a job of one worker a node. Returns the seconds that one worker's loss and its replacement take, the median of `losses`; and how long all
/// workers take to start.
struct JobTimes {
  double start = 0, replace = 0;
};
JobTimes RunJob(ClusterLink& link, Nodes& nodes, uint32_t workers, int losses) {
  const Block bytes = Block::Copy("#!/bin/true\n", 12);
  const std::string hash = HashOfBytes(bytes);
  JobSpec spec;
  spec.program = hash;
  if (!link.AskHead<ProgramPut>(PutProgram{hash, bytes.size(), 0, bytes}).ok()) return {};
  const auto job = link.AskHead<Submitted>(Submit{"measure", spec});
  if (!job.ok()) return {};
  std::map<std::string, ProcessOrder> wanted;
  for (uint32_t i = 0; i < workers; ++i) {
    const std::string name = "worker " + std::to_string(i);
    wanted[name].id = {job->job, name, 1};
    wanted[name].needs.cores = 1;
    wanted[name].needs.apart = {"worker"};
  }
  uint64_t seen = 0, number = 0;
  const auto until_all_run = [&] {
    const auto begin = std::chrono::steady_clock::now();
    for (;;) {
      Claim claim{.job = job->job, .attempt = 1, .wanted = {}, .seen = seen, .number = ++number};
      for (const auto& [name, order] : wanted) claim.wanted.push_back(order);
      const auto claimed = link.AskHead<Claimed>(claim);
      if (!claimed.ok()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));   // its driver is about to begin
        continue;
      }
      seen = claimed->version;
      size_t running = 0;
      for (const ClaimedProcess& process : claimed->processes) {
        running += process.state == ProcessState::kRunning;
        if (process.state == ProcessState::kEnded) ++wanted[process.id.name].id.incarnation;
      }
      if (running == workers) return Seconds(std::chrono::steady_clock::now() - begin).count();
    }
  };
  JobTimes times;
  times.start = until_all_run();
  std::vector<double> each;
  for (int i = 0; i < losses; ++i) {
    const ProcessOrder& victim = wanted["worker " + std::to_string(static_cast<uint32_t>(i) % workers)];
    nodes.End(victim.id);
    const uint64_t before = victim.id.incarnation;
    double spent = 0;
    while (victim.id.incarnation == before) spent += until_all_run();   // until the loss has been heard and made good
    each.push_back(spent);
  }
  std::sort(each.begin(), each.end());
  times.replace = each[each.size() / 2];
  return times;
}

int Main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: measure_head TROUPE SECONDS NODES...\n");
    return 2;
  }
  std::printf("%6s %14s %18s %16s %14s %18s %8s %12s %14s %8s\n", "nodes", "reports a s", "messages a node,s", "head, % of core", "us a report",
              "us a bare request", "ratio", "job starts s", "replaced, ms", "errors");
  for (int i = 3; i < argc; ++i) {
    const auto count = static_cast<uint32_t>(std::atoi(argv[i]));
    const auto scratch = ScratchFolder::Make("");
    if (!scratch.ok()) return 1;
    const HeadProcess head(argv[1], scratch->path());
    const auto link = ClusterLink::Open({.address = {head.place, ""}});
    if (!link.ok()) {
      std::fprintf(stderr, "%s\n", link.status().ToString().c_str());
      return 1;
    }
    Cost bare;
    {
      Askers askers(**link, count);
      askers.Begin(Seconds(1));
      bare = MeasureFor(std::atof(argv[2]), head, askers.asked);
    }
    Nodes nodes(**link, count);
    nodes.Begin(Seconds(1));
    const Cost cost = MeasureFor(std::atof(argv[2]), head, nodes.reports);
    const JobTimes times = RunJob(**link, nodes, count, 11);
    std::printf("%6u %14.0f %18.2f %16.2f %14.1f %18.1f %8.2f %12.3f %14.1f %8llu\n", count, cost.rate, 2 * cost.rate / count, 100 * cost.cpu,
                1e6 * cost.cpu / cost.rate, 1e6 * bare.cpu / bare.rate, cost.cpu / cost.rate / (bare.cpu / bare.rate), times.start, 1e3 * times.replace,
                static_cast<unsigned long long>(nodes.errors));
    std::fflush(stdout);
  }
  return 0;
}

}   // namespace
}   // namespace troupe

int main(int argc, char** argv) {
  return troupe::Main(argc, argv);
}
