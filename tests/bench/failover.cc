// How long a range takes no pushes after the process of its shard is killed: from kill -9 to the next push that is acknowledged, sent after it.
// failover [REPLICATION [KILLS [FOLDER]]]: with a folder the shards log there what they acknowledge, as a named table's do.
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "actors/ask.h"
#include "actors/random.h"
#include "algorithms/run/process_cluster.h"
#include "ps/messages.h"

namespace troupe {
namespace {

using Clock = std::chrono::steady_clock;
constexpr uint32_t kRows = 250'000;   // of 4 floats: 4 MB a shard

Push PushOf(Round ordinal, uint32_t range) {
  Push push;
  push.writer = WriterId{0};
  push.round = MakeRound(1, ordinal);
  push.previous = ordinal == 1 ? kFirstRound : MakeRound(1, ordinal - 1);
  const Sequence sequence = push.round << 8, before = ordinal == 1 ? 0 : push.previous << 8;
  push.parts = Block::Adopt(std::vector<PushPart>{
      {.table = 0, .range = range, .sequence = sequence, .previous = before, .first = uint64_t{range} * kRows / 2, .count = 1, .dense = 1, .nonzeros = 1}});
  push.values = Block::Adopt(std::vector<float>(4, 1.0F));
  return push;
}

/// The children whose command line says `shard INDEX` or `shard INDEX/N`.
std::vector<pid_t> HoldersOf(uint32_t shard) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    if (entry.path().filename().string().find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream stat(entry.path() / "stat"), line(entry.path() / "cmdline");
    std::string text((std::istreambuf_iterator<char>(stat)), {}), command((std::istreambuf_iterator<char>(line)), {});
    const size_t end = text.rfind(')');
    int parent = 0;
    char state = 0;
    if (end == std::string::npos || std::sscanf(text.c_str() + end + 1, " %c %d", &state, &parent) != 2 || parent != ::getpid() || state == 'Z') continue;
    std::vector<std::string> words;
    for (size_t at = 0; at < command.size(); at += words.back().size() + 1) words.emplace_back(command.c_str() + at);
    if (words.size() > 2 && words[1] == "shard" && words[2].substr(0, words[2].find('/')) == std::to_string(shard))
      found.push_back(std::stoi(entry.path().filename().string()));
  }
  return found;
}

/// One writer at one shard.
struct Writer {
  Cluster& cluster;
  uint32_t shard, range;
  Round next = 1;

  /// The next push, until it is acknowledged; what the shard has lost is pushed again first.
  void PushOne() {
    for (;;) {
      const auto pushed = Ask<Pushed>(cluster.system(), cluster.shards()[shard], PushOf(next, range));
      if (pushed.ok() && pushed->outcome == Pushed::Outcome::kApplied && next >= last) {
        ++next;
        last = next;
        return;
      }
      if (pushed.ok() && pushed->outcome == Pushed::Outcome::kApplied) {
        ++next;
        continue;
      }
      if (!pushed.ok() && !IsRetryable(pushed.status())) {
        std::fprintf(stderr, "%s\n", pushed.status().ToString().c_str());
        std::_Exit(1);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const auto opened = Ask<Opened>(cluster.system(), cluster.shards()[shard], Open{WriterId{0}});
      if (opened.ok()) next = OrdinalOf(opened->clock) + 1;
      if (next > last) last = next;
    }
  }
  Round last = 1;
};

int Run(uint32_t replication, int kills, const std::string& log_folder) {
  ProcessOptions options;
  options.restart.intensity = 1'000'000;
  ClusterOptions cluster;
  cluster.shards = 2;
  cluster.replication = replication;
  cluster.log_folder = log_folder;
  TableSpec table;
  table.name = "w";
  table.rows = kRows;
  table.width = 4;
  table.rule = "sgd";
  table.ranges = 2;
  cluster.tables = {table};
  cluster.consistency = Consistency{.kind = Consistency::Kind::kAsp};
  cluster.worker.algorithm = "naive_bayes";
  cluster.worker.shards = 2;
  cluster.worker.source.uri = "generate:ctr?rows=10&seed=1";
  const auto made = MakeProcessCluster(options, cluster);
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", made.status().ToString().c_str());
    return 1;
  }
  std::vector<Writer> writers;
  for (uint32_t shard = 0; shard < 2; ++shard) writers.push_back({.cluster = **made, .shard = shard, .range = shard});
  for (Writer& writer : writers) writer.PushOne();
  Random random(1);
  std::vector<double> milliseconds;
  for (int kill_number = 0; kill_number < kills; ++kill_number) {
    Writer& writer = writers[random.Below(2)];
    std::vector<pid_t> holders, before;
    do {   // all are back, and have been for long enough to join; and something has changed
      before = HoldersOf(writer.shard);
      for (const auto end = Clock::now() + std::chrono::milliseconds(1'500); Clock::now() < end;) writer.PushOne();
      holders = HoldersOf(writer.shard);
    } while (holders.size() < replication || holders != before);
    ::kill(holders[random.Below(holders.size())], SIGKILL);
    const auto killed = Clock::now();
    writer.PushOne();
    milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - killed).count());
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  const auto at = [&](double share) { return milliseconds[static_cast<size_t>(share * static_cast<double>(milliseconds.size() - 1))]; };
  std::printf("replication %u, %zu kills: from kill -9 to the next push acknowledged: median %.1f ms, p99 %.1f ms, longest %.1f ms\n", replication,
              milliseconds.size(), at(0.5), at(0.99), milliseconds.back());
  return 0;
}

}   // namespace
}   // namespace troupe

int main(int argc, char** argv) {
  if (argc > 2 && (std::strcmp(argv[1], "shard") == 0 || std::strcmp(argv[1], "worker") == 0)) return troupe::RunExecutor(argc, argv);
  return troupe::Run(argc > 1 ? static_cast<uint32_t>(std::atoi(argv[1])) : 2, argc > 2 ? std::atoi(argv[2]) : 20, argc > 3 ? argv[3] : "");
}
