// What a checkpoint costs those who train: rows/s and the longest push over windows with one and without, in turns; beside the pause of a shard that serialises
// its state itself, before it goes on (Shard::Save), which is what a checkpoint was. usage: measure_checkpoints FOLDER [MIB [SECONDS [TURNS [RANGES]]]] 1024
// MiB of rows, half of them dense; windows of 60 s; 1 turn; 512 ranges a table
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/ask.h"
#include "actors/random.h"
#include "ps/router.h"
#include "ps/shard_actor.h"

namespace troupe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kWidth = 64, kRowsAPush = 1'000;

double Since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}
double Median(std::vector<double> numbers) {
  std::nth_element(numbers.begin(), numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2), numbers.end());
  return numbers[numbers.size() / 2];
}
template <class T>
T Get(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
  std::exit(1);
}

struct Window {
  double rows_per_s = 0, longest_ms = 0, snapshot_s = 0;
  uint64_t bytes = 0;
};

class Bench {
 public:
  Bench(std::string folder, uint64_t rows, uint32_t ranges) : folder_(std::move(folder)), rows_(rows) {
    tables_ = {{.name = "dense", .width = kWidth, .rows = rows, .rule = "sgd", .rule_options = {}, .ranges = ranges},
               {.name = "sparse", .width = kWidth, .rows = {}, .rule = "sgd", .rule_options = {}, .ranges = ranges}};
    router_ = std::make_unique<Router>(tables_, 1);
    last_.resize(router_->slots());
    options_ = {.tables = tables_, .shard = 0, .shards = 1, .writers = 1, .consistency = Consistency{.kind = Consistency::Kind::kAsp}};
    options_.stable_when_applied = true;
    shard_ = Get(SpawnShard(system_, {.shard = options_, .snapshot_uri = {}, .snapshot_interval = {}, .restore_uri = {}}));
  }

  /// Every row once.
  void Fill() {
    for (Key first = 0; first < rows_; first += kRowsAPush) {
      std::vector<Key> keys;
      for (Key key = first; key < std::min<Key>(rows_, first + kRowsAPush); ++key) keys.push_back(key);
      Push(keys);
    }
  }

  /// `checkpoint`: after a quarter of it.
  Window Run(double seconds, bool checkpoint) {
    Window window;
    std::future<void> taking;
    const auto begin = Clock::now();
    uint64_t rows = 0;
    while (Since(begin) < seconds) {
      if (checkpoint && !taking.valid() && Since(begin) > seconds / 4) {
        taking = std::async(std::launch::async, [&] {
          const auto asked = Clock::now();
          const std::string uri = absl::StrCat(folder_, "/shard-0.", ++checkpoints_, ".snapshot");
          const TakeSnapshot request{.uri = uri, .at = 0, .in_parts = true, .base = {}};
          window.bytes = Get(Ask<SnapshotTaken>(system_, shard_, request, std::chrono::minutes(5))).bytes;
          window.snapshot_s = Since(asked);
        });
      }
      std::vector<Key> keys(kRowsAPush);
      for (Key& key : keys) key = random_.Below(rows_);
      std::sort(keys.begin(), keys.end());
      keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
      const auto pushing = Clock::now();
      rows += Push(keys);
      window.longest_ms = std::max(window.longest_ms, 1e3 * Since(pushing));
    }
    window.rows_per_s = static_cast<double>(rows) / Since(begin);
    if (taking.valid()) taking.get();
    return window;
  }

  /// The time of a shard like this one that serialises all of its rows.
  double SaveSeconds() {
    Shard alone = Get(Shard::Make(options_));
    Fresh();
    for (Key first = 0; first < rows_; first += kRowsAPush) {
      std::vector<Key> keys;
      for (Key key = first; key < std::min<Key>(rows_, first + kRowsAPush); ++key) keys.push_back(key);
      Get(alone.OnPush(Message(keys)));
    }
    const auto begin = Clock::now();
    uint64_t bytes = 0;
    for (const SnapshotSection& section : alone.Save()) bytes += section.bytes.size();
    return bytes > 0 ? Since(begin) : 0;
  }

 private:
  void Fresh() {
    round_ = 0;
    last_.assign(last_.size(), 0);
  }
  troupe::Push Message(const std::vector<Key>& keys) {
    std::vector<TablePush> tables(2);
    for (uint32_t t = 0; t < 2; ++t) {
      tables[t].table = t;
      tables[t].keys = keys;
      tables[t].values.assign(keys.size() * kWidth, 1e-3F);
      tables[t].nonzeros.assign(keys.size(), 1);
    }
    RoutedPush routed = router_->Push(std::move(tables));
    const Round before = round_ == 0 ? kFirstRound : MakeRound(1, round_), round = MakeRound(1, ++round_);
    RoutedPush::Chunk& chunk = routed.shards[0][0];
    for (PushPart& part : chunk.parts) {
      part.sequence = round << 8;
      part.previous = std::exchange(last_[router_->Slot(part.table, part.range)], part.sequence);
    }
    return {
        .writer = WriterId{0}, .round = round, .previous = before, .parts = Block::Adopt(std::move(chunk.parts)), .keys = chunk.keys, .values = chunk.values};
  }
  /// Its rows, of both tables.
  uint64_t Push(const std::vector<Key>& keys) {
    const Pushed pushed = Get(Ask<Pushed>(system_, shard_, Message(keys), std::chrono::minutes(5)));
    if (pushed.outcome != Pushed::Outcome::kApplied) std::abort();
    return 2 * keys.size();
  }

  const std::string folder_;
  const uint64_t rows_;
  std::vector<TableSpec> tables_;
  ShardOptions options_;
  std::unique_ptr<Router> router_;
  std::vector<Sequence> last_;
  uint64_t round_ = 0, checkpoints_ = 0;
  Random random_{1};
  System system_{{.compute_threads = 2}};
  ShardActor shard_;
};

}   // namespace
}   // namespace troupe

int main(int argc, char** argv) {
  using namespace troupe;
  if (argc < 2) {
    std::fprintf(stderr, "usage: measure_checkpoints FOLDER [MIB [SECONDS [TURNS [RANGES]]]]\n");
    return 2;
  }
  const uint64_t mib = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1024;
  const double seconds = argc > 3 ? std::atof(argv[3]) : 60;
  const int turns = argc > 4 ? std::atoi(argv[4]) : 1;
  const uint64_t rows = (mib << 20) / 2 / (kWidth * sizeof(float));
  const auto ranges = static_cast<uint32_t>(argc > 5 ? std::atoi(argv[5]) : 512);
  Bench bench(argv[1], rows, ranges);
  bench.Fill();
  std::vector<double> calm, busy, calm_ms, busy_ms;
  for (int turn = 0; turn < turns; ++turn) {
    const Window without = bench.Run(seconds, false), with = bench.Run(seconds, true);
    std::printf("turn %d: without %.0f rows/s, longest push %.1f ms; with %.0f rows/s, longest push %.1f ms, %.0f MB in %.1f s\n", turn + 1, without.rows_per_s,
                without.longest_ms, with.rows_per_s, with.longest_ms, static_cast<double>(with.bytes) / 1e6, with.snapshot_s);
    std::fflush(stdout);
    calm.push_back(without.rows_per_s);
    busy.push_back(with.rows_per_s);
    calm_ms.push_back(without.longest_ms);
    busy_ms.push_back(with.longest_ms);
  }
  std::printf(
      "%llu MiB, %u ranges a table, windows of %.0f s: %.0f rows/s with a checkpoint, %.0f without, ratio %.3f; longest push %.0f ms, %.0f without, %.0f if "
      "the shard "
      "serialised its state itself\n",
      static_cast<unsigned long long>(mib), ranges, seconds, Median(busy), Median(calm), Median(busy) / Median(calm), Median(busy_ms), Median(calm_ms),
      1e3 * bench.SaveSeconds());
  return 0;
}
