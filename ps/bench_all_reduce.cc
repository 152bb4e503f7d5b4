#include "ps/bench_all_reduce.h"

#include <time.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "actors/check.h"
#include "ps/all_reduce.h"

namespace troupe {
namespace {

constexpr uint32_t kMembers = 4;
constexpr uint64_t kFloats = 10'000'000;
constexpr int kRuns = 9;

/// In this thread's own time.
double Seconds(const std::function<void()>& work) {
  timespec begin, end;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  work();
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  return static_cast<double>(end.tv_sec - begin.tv_sec) + 1e-9 * static_cast<double>(end.tv_nsec - begin.tv_nsec);
}

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

std::vector<AllReduce> Group(KeptBy topology) {
  std::vector<AllReduce> members;
  for (uint32_t i = 0; i < kMembers; ++i) {
    auto member = AllReduce::Make({.topology = topology, .member = i, .members = kMembers, .floats = kFloats});
    TROUPE_CHECK(member.ok());
    members.push_back(std::move(*member));
  }
  return members;
}

/// One turn, messages in the order in which they are sent.
void Turn(std::vector<AllReduce>& members, const std::vector<std::shared_ptr<const std::vector<float>>>& arrays, std::vector<AllReduce::Sum>& sums) {
  std::vector<AllReduce::Outgoing> out;
  std::deque<AllReduce::Outgoing> flying;
  absl::Status status;
  const auto send = [&] {
    for (AllReduce::Outgoing& one : out) flying.push_back(std::move(one));
    out.clear();
  };
  for (uint32_t i = 0; i < kMembers; ++i) {
    status.Update(members[i].Contribute(arrays[i], {1, 0}, out));
    send();
  }
  while (!flying.empty()) {
    const AllReduce::Outgoing next = std::move(flying.front());
    flying.pop_front();
    status.Update(members[next.to].Receive(next.message, out));
    send();
  }
  TROUPE_CHECK(status.ok());
  for (AllReduce& member : members) {
    auto sum = member.Take();
    TROUPE_CHECK(sum.has_value());
    sums.push_back(std::move(*sum));
  }
}

}   // namespace

std::vector<BenchRow> BenchAllReduce() {
  std::vector<std::shared_ptr<const std::vector<float>>> arrays;
  for (uint32_t i = 0; i < kMembers; ++i) arrays.push_back(std::make_shared<const std::vector<float>>(kFloats, static_cast<float>(1 << i)));
  std::vector<std::vector<float>> plain(kMembers, std::vector<float>(kFloats));
  std::vector<AllReduce> ring = Group(KeptBy::kRing), tree = Group(KeptBy::kTree);
  std::vector<double> of_ring, of_tree, limit;
  for (int run = 0; run < kRuns; ++run) {
    for (const bool is_ring : {true, false}) {
      std::vector<AllReduce>& members = is_ring ? ring : tree;
      std::vector<AllReduce::Sum> sums;
      (is_ring ? of_ring : of_tree).push_back(Seconds([&] { Turn(members, arrays, sums); }));
      for (AllReduce::Sum& sum : sums) TROUPE_CHECK((*sum.values)[static_cast<size_t>(run) * 1'000'003 % kFloats] == 15);
    }
    limit.push_back(Seconds([&] {
      float* sum = plain[0].data();
      const float *a = arrays[0]->data(), *b = arrays[1]->data(), *c = arrays[2]->data(), *d = arrays[3]->data();
      for (uint64_t i = 0; i < kFloats; ++i) sum[i] = a[i] + b[i] + c[i] + d[i];
      for (uint32_t i = 1; i < kMembers; ++i) std::memcpy(plain[i].data(), sum, kFloats * sizeof(float));
      asm volatile("" : : "r"(plain.data()) : "memory");
    }));
  }
  const double gigabytes = kFloats * sizeof(float) * 1e-9, best = Median(limit);
  const auto row = [&](const char* name, std::vector<double> seconds) {
    const double mine = Median(std::move(seconds));
    return BenchRow{name, gigabytes / mine, "GB/s", gigabytes / best, best / mine};
  };
  return {row("all-reduce of 40 MB among 4 members, ring; limit: one sum, three copies", of_ring),
          row("all-reduce of 40 MB among 4 members, tree; limit: one sum, three copies", of_tree)};
}

}   // namespace troupe
