// How long pushes pause while a node of a cluster is drained whose processes hold shards. A job that pushes to random rows of its shards (dense, 64 floats a
// row, two processes a shard) and says once a second how long the longest push took; what its chains do is printed as it happens, with the time since the
// start.
//   troupe submit build/release/bin/measure_draining -- [MIB [SECONDS]]        1024 MiB over two shards; 40 s. Then: troupe drain NODE
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/ask.h"
#include "actors/random.h"
#include "algorithms/run/process_cluster.h"
#include "ps/messages.h"
#include "ps/router.h"

namespace troupe {
namespace {

using Clock = std::chrono::steady_clock;
constexpr uint32_t kWidth = 64, kShards = 2, kRowsAPush = 500;
const Clock::time_point kStart = Clock::now();

double Seconds() {
  return std::chrono::duration<double>(Clock::now() - kStart).count();
}
void Say(const std::string& line) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  std::printf("%7.3f s  %s\n", Seconds(), line.c_str());
  std::fflush(stdout);
}

int Run(uint64_t mib, double seconds) {
  const std::optional<NodeJob> job = JobOfThisProcess();
  if (!job) {
    std::fprintf(stderr, "measure_draining is a job of a cluster: troupe submit measure_draining\n");
    return 2;
  }
  const uint64_t rows = (mib << 20) / (kWidth * sizeof(float));
  ProcessOptions options;
  options.nodes = job;
  options.nodes->folder = absl::StrCat(std::filesystem::current_path().string(), "/.draining-", job->job);
  options.log = Say;
  ClusterOptions cluster;
  cluster.shards = kShards;
  cluster.replication = 2;
  cluster.tables = {{.name = "w", .width = kWidth, .rows = rows, .rule = "sgd", .rule_options = {}, .ranges = 1024}};
  cluster.consistency = Consistency{.kind = Consistency::Kind::kAsp};
  cluster.worker.algorithm = "naive_bayes";
  cluster.worker.shards = kShards;
  cluster.worker.source.uri = "generate:ctr?rows=10&seed=1";
  const auto made = MakeProcessCluster(options, cluster);
  if (!made.ok()) {
    std::fprintf(stderr, "%s\n", made.status().ToString().c_str());
    return 1;
  }
  const Router router(cluster.tables, kShards);
  std::vector<Sequence> last(router.slots());
  Random random(1);
  Round before = kFirstRound;
  double longest = 0, longest_of_all = 0;
  uint64_t pushes = 0;
  bool begun = false;   // the first pushes wait for the processes
  for (double said = 0; Seconds() < seconds;) {
    TablePush push{.table = 0, .keys = {}, .values = {}, .nonzeros = {}};
    for (uint32_t i = 0; i < kRowsAPush; ++i) push.keys.push_back(random.Below(rows));
    std::sort(push.keys.begin(), push.keys.end());
    push.keys.erase(std::unique(push.keys.begin(), push.keys.end()), push.keys.end());
    push.values.assign(push.keys.size() * kWidth, 1e-3F);
    push.nonzeros.assign(push.keys.size(), 1);
    RoutedPush routed = router.Push({std::move(push)});
    const Round round = before == kFirstRound ? MakeRound(1, 1) : before + 1;
    const auto pushing = Clock::now();
    for (uint32_t shard = 0; shard < kShards; ++shard) {
      RoutedPush::Chunk& chunk = routed.shards[shard][0];
      for (PushPart& part : chunk.parts) {
        part.sequence = round << 8;
        part.previous = std::exchange(last[router.Slot(part.table, part.range)], part.sequence);
      }
      const Push message{
          .writer = WriterId{0}, .round = round, .previous = before, .parts = Block::Adopt(std::move(chunk.parts)), .keys = chunk.keys, .values = chunk.values};
      for (;;) {   // the same again, until it is there
        const auto pushed = Ask<Pushed>((*made)->system(), (*made)->shards()[shard], message, std::chrono::seconds(20));
        if (pushed.ok() && pushed->outcome == Pushed::Outcome::kApplied) break;
        if (pushed.ok() || !IsRetryable(pushed.status())) {
          Say(absl::StrCat("a push failed: ", pushed.ok() ? "the shard expects another one" : pushed.status().ToString()));
          return 1;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    const double took = std::chrono::duration<double, std::milli>(Clock::now() - pushing).count();
    before = round;
    if (!begun) {
      begun = true;
      Say("pushes begin");
      continue;
    }
    longest = std::max(longest, took);
    longest_of_all = std::max(longest_of_all, took);
    ++pushes;
    if (Seconds() - said < 1) continue;
    said = Seconds();
    Say(absl::StrCat(pushes, " pushes, the longest of this second ", static_cast<int>(longest), " ms"));
    longest = 0;
  }
  Say(absl::StrCat("longest push ", static_cast<int>(longest_of_all), " ms of ", pushes));
  return 0;
}

}   // namespace
}   // namespace troupe

int main(int argc, char** argv) {
  if (argc > 2 && (std::strcmp(argv[1], "shard") == 0 || std::strcmp(argv[1], "worker") == 0)) return troupe::RunExecutor(argc, argv);
  return troupe::Run(argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1024, argc > 2 ? std::atof(argv[2]) : 40);
}
