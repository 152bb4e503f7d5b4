#include "ps/bench_encoding.h"

#include <time.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/random.h"
#include "ps/encoding/compressor.h"
#include "ps/encoding/packing.h"
#include "ps/router.h"

namespace troupe {
namespace {

constexpr size_t kKeys = 10'000;
constexpr int kRepeats = 20, kRuns = 9;

/// The best of several runs, in this thread's own time, for each of kRepeats.
double Seconds(const std::function<void()>& work) {
  double best = 1e9;
  for (int run = 0; run < kRuns; ++run) {
    timespec begin, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    for (int i = 0; i < kRepeats; ++i) work();
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    best = std::min(best, static_cast<double>(end.tv_sec - begin.tv_sec) + 1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec));
  }
  return best / kRepeats;
}

TablePush SomePush() {
  Random random(1);
  TablePush push;
  while (push.keys.size() < kKeys) push.keys.push_back(random.Below(1'000'000));
  std::sort(push.keys.begin(), push.keys.end());
  push.keys.erase(std::unique(push.keys.begin(), push.keys.end()), push.keys.end());
  random.Shuffle(std::span(push.keys));
  for (size_t i = 0; i < push.keys.size(); ++i) push.values.push_back(static_cast<float>(random.Normal()));
  return push;
}

Push MessageOf(RoutedPush::Chunk chunk) {
  Push push;
  push.parts = Block::Adopt(std::move(chunk.parts));
  push.keys = std::move(chunk.keys);
  push.values = std::move(chunk.values);
  push.packing = std::move(chunk.packing);
  return push;
}

}   // namespace

std::vector<BenchRow> BenchEncodings() {
  std::vector<BenchRow> rows;
  const TablePush given = SomePush();
  const double keys = static_cast<double>(given.keys.size()) / 1e6;
  const double copy = Seconds([&] {
    const Block copied_keys = Block::Copy(std::span<const Key>(given.keys)), copied_values = Block::Copy(std::span<const float>(given.values));
    TROUPE_CHECK(!copied_keys.empty() && !copied_values.empty());
  });
  const auto add = [&](const std::string& name, double seconds) {
    rows.push_back({.name = name, .value = keys / seconds, .unit = "Mkeys/s", .limit = keys / copy, .ratio = copy / seconds});
  };
  for (const char* encoding : {"delta", "float16+delta", "int8+feedback+delta", "onebit+feedback+delta"}) {
    TableSpec spec;
    spec.name = "w";
    spec.rule = "sgd";
    spec.encoding = *ParseEncoding(encoding);
    const Router router({spec}, 1);
    Compressor compressor({spec}, 1, 0);
    TablePush push = given;
    if (!spec.encoding.exact()) {
      add(absl::StrCat("compress ", encoding), Seconds([&] {
            push.values = given.values;
            compressor.Compress({&push, 1}, {});
          }));
    }
    const Push message = MessageOf(router.Push({push}).shards[0][0]);
    add(absl::StrCat("pack ", encoding), Seconds([&] { TROUPE_CHECK(Pack(message).keys.size() > 0); }));
    const Packed packed = Pack(message);
    add(absl::StrCat("unpack ", encoding), Seconds([&] {
          Push unpacked;
          TROUPE_CHECK(Unpack(packed, unpacked).ok());
        }));
  }
  return rows;
}

}   // namespace troupe
