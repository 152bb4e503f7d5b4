// A head in virtual time, by hand: with its store, its clock, and what the tests of it say all the time.
#pragma once

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "actors/cluster/head.h"
#include "tests/actors/cluster/member.h"

namespace troupe::testing {

using namespace std::chrono_literals;

inline ProcessId Driver(JobId job, uint64_t attempt = 1) {
  return {job, kDriverName, attempt};
}
inline ProcessId Worker(JobId job, int worker, uint64_t life = 1) {
  return {job, "worker " + std::to_string(worker), life};
}
inline ProcessOrder Wants(const ProcessId& id, uint32_t cores = 1, std::vector<std::string> apart = {}) {
  return {.id = id, .needs = {cores, 0, {}, std::move(apart)}, .program = "", .arguments = {}, .environment = {}, .folder = ""};
}

/// A head with its store and its clock.
struct HeadFixture {
  HeadFixture() { Restart(); }

  void Restart() {
    auto made = Head::Make(options, ++generation, records, now, Wall());
    BOOST_REQUIRE_MESSAGE(made.ok(), made.status().ToString());
    head.emplace(*std::move(made));
    claims.clear();
  }
  void Commit() {
    for (const Store::Change& change : head->TakeChanges()) {
      if (change.value)
        records[change.key] = *change.value;
      else
        records.erase(change.key);
    }
  }
  int64_t Wall() const { return now.time_since_epoch() / 1ms + wall_ahead; }
  absl::Status Send(Member& member) {
    const Report report = member.MakeReport();
    const absl::Status status = head->OnReport(report, now, Wall());
    if (!status.ok()) return status;
    Commit();
    member.Obey(head->OrdersFor(member.node, report.incarnation, report.seen));
    return status;
  }
  /// Everybody reports, again and again, for that long.
  void Run(Clock::Duration time, const std::vector<Member*>& members) {
    for (const Clock::Time end = now + time; now < end; now += 100ms) {
      for (Member* member : members) BOOST_TEST(Send(*member).ok());
      head->Tick(now, Wall());
      Commit();
    }
  }
  JobId SubmitSpec(JobSpec spec) {
    spec.program = "p";
    const auto submitted = head->OnSubmit({"request " + std::to_string(++requests), spec}, now, Wall());
    BOOST_REQUIRE_MESSAGE(submitted.ok(), submitted.status().ToString());
    Commit();
    return submitted->job;
  }
  JobId Submit(uint32_t cores = 1, const std::string& queue = "default", uint32_t attempts = 3, std::chrono::milliseconds time_limit = 0ms) {
    JobSpec spec;
    spec.queue = queue;
    spec.needs.cores = cores;
    spec.attempts = attempts;
    spec.time_limit = time_limit;
    return SubmitSpec(spec);
  }
  absl::Status Claim(JobId job, std::vector<ProcessOrder> wanted, uint64_t attempt = 1) {
    const absl::Status status = head->OnClaim({.job = job, .attempt = attempt, .wanted = std::move(wanted), .seen = 0, .number = ++claims[job]}, now, Wall());
    Commit();
    return status;
  }
  JobStatus Job(JobId job) {
    const auto inspected = head->OnInspect({job, 0});
    BOOST_REQUIRE_MESSAGE(inspected.ok(), inspected.status().ToString());
    return inspected->jobs.at(0);
  }
  NodeStatus Node(const Member& member) {
    const Inspected all = *head->OnInspect({});
    for (const NodeStatus& node : all.nodes) {
      if (node.node == member.node) return node;
    }
    BOOST_FAIL("no node " << member.name);
    return {};
  }
  ClaimedProcess Process(JobId job, const std::string& name) {
    for (const ClaimedProcess& process : Job(job).processes) {
      if (process.id.name == name) return process;
    }
    return {};
  }
  void CheckState(const Member& member, NodeState state) {
    BOOST_TEST(ToString(Node(member).state) == ToString(state), member.name << " is " << ToString(Node(member).state));
  }
  void CheckJob(JobId job, JobState state, const std::string& reason = "") {
    BOOST_TEST(ToString(Job(job).state) == std::string(ToString(state)));
    BOOST_TEST(Job(job).reason == reason);
  }

  HeadOptions options;
  uint64_t generation = 0;
  std::map<std::string, std::string> records;
  Clock::Time now{1000h};
  int64_t wall_ahead = 0;   // ms
  std::optional<Head> head;
  int requests = 0;
  std::map<JobId, uint64_t> claims;
};

}   // namespace troupe::testing
