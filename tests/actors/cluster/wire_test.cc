// Every message of a cluster and every record of its head: there and back with every field set, and bytes that are none.
#include "actors/cluster/wire.h"

#include <boost/test/unit_test.hpp>
#include <cstring>

#include "actors/random.h"

namespace troupe {
namespace {

const std::string kOdd("odd: \xc3\xa9\n\"\xff");   // texts on the wire are bytes without a zero among them
const std::map<std::string, std::string> kLabels{{"zone", "a"}, {"", ""}, {kOdd, kOdd}};
const ProcessId kId{7, kOdd, 3};
const std::map<std::string, uint32_t> kCounts{{"gpu", ~uint32_t{0}}, {kOdd, 0}};
const ProcessNeeds kNeeds{~uint32_t{0}, ~uint64_t{0}, kLabels, {"apart", "", kOdd}, ~uint64_t{0}, kCounts};
const ProcessOrder kOrder{.id = kId, .needs = kNeeds, .program = "hash", .arguments = {"a", "", kOdd}, .environment = {"A=b"}, .folder = "/f"};
const NodeCapacity kCapacity{16, uint64_t{1} << 40, uint64_t{1} << 41, kLabels, kCounts, kOdd};
const ClaimedProcess kClaimed{kId, ProcessState::kEnded, -9, "reason", "node", "before"};
const JobSpec kSpec{.name = "name",
                    .queue = "night",
                    .program = "hash",
                    .arguments = {"x", kOdd},
                    .environment = {"A=b", "C="},
                    .folder = "/g",
                    .needs = kNeeds,
                    .attempts = 9,
                    .time_limit = std::chrono::milliseconds(123'456'789),
                    .priority = -7};
const JobStatus kJob{7, kSpec, JobState::kStopped, -15, "why", 4, 1, -2, int64_t{1} << 60, {kClaimed, kClaimed}};
const NodeStatus kNode{NodeId{0xfffffff0}, Incarnation{5}, "name", "host", NodeState::kLeft, "reason", kCapacity, 3, 4, 5, 6, kCounts, -7};
const QueueStatus kQueue{kOdd, 2, ~uint64_t{0}, 3, 4};

bool Same(const ProcessOrder& a, const ProcessOrder& b) {
  return std::tie(a.id, a.needs, a.program, a.arguments, a.environment, a.folder, a.hand_over_max) ==
         std::tie(b.id, b.needs, b.program, b.arguments, b.environment, b.folder, b.hand_over_max);
}
bool Same(const ClaimedProcess& a, const ClaimedProcess& b) {
  return std::tie(a.id, a.state, a.code, a.reason, a.node, a.before, a.leaves) == std::tie(b.id, b.state, b.code, b.reason, b.node, b.before, b.leaves);
}
bool Same(const ProcessReport& a, const ProcessReport& b) {
  return std::tie(a.id, a.needs, a.state, a.code, a.reason, a.cannot_start) == std::tie(b.id, b.needs, b.state, b.code, b.reason, b.cannot_start);
}
bool Same(const JobSpec& a, const JobSpec& b) {
  return std::tie(a.name, a.queue, a.program, a.arguments, a.environment, a.folder, a.needs, a.attempts, a.time_limit, a.priority) ==
         std::tie(b.name, b.queue, b.program, b.arguments, b.environment, b.folder, b.needs, b.attempts, b.time_limit, b.priority);
}
bool Same(const NodeStatus& a, const NodeStatus& b) {
  return std::tie(a.node, a.incarnation, a.name, a.host, a.state, a.reason, a.capacity, a.cores_used, a.memory_used, a.processes, a.disk_used,
                  a.accelerators_used, a.since_ms) == std::tie(b.node, b.incarnation, b.name, b.host, b.state, b.reason, b.capacity, b.cores_used,
                                                               b.memory_used, b.processes, b.disk_used, b.accelerators_used, b.since_ms);
}
bool Same(const QueueStatus& a, const QueueStatus& b) {
  return std::tie(a.name, a.weight, a.cores, a.running, a.waiting) == std::tie(b.name, b.weight, b.cores, b.running, b.waiting);
}
bool Same(const JobStatus& a, const JobStatus& b);
template <class T>
bool Same(const std::vector<T>& a, const std::vector<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const T& x, const T& y) { return Same(x, y); });
}
bool Same(const JobStatus& a, const JobStatus& b) {
  return std::tie(a.job, a.state, a.code, a.reason, a.attempt, a.submitted_ms, a.started_ms, a.ended_ms) ==
             std::tie(b.job, b.state, b.code, b.reason, b.attempt, b.submitted_ms, b.started_ms, b.ended_ms) &&
         Same(a.spec, b.spec) && Same(a.processes, b.processes);
}
bool Same(const Block& a, const Block& b) {
  return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
const Block kBytes = Block::Copy("some bytes", 10);

/// There and back; then with its bytes cut and changed, which must be a message or InvalidArgument.
template <class Message>
Message Back(const Message& message) {
  const Frame frame = Codec<Message>::Encode(message);
  BOOST_TEST(frame.type == Codec<Message>::kType);
  for (size_t size = 0; size < frame.head.size(); size += 8) {
    const auto cut = Codec<Message>::Decode({frame.type, Block::Copy(frame.head.data(), size), frame.bulk});
    BOOST_TEST((cut.ok() || absl::IsInvalidArgument(cut.status())), cut.status().ToString());
  }
  Random random(5);
  for (int i = 0; i < 3000; ++i) {
    BlockBuilder changed(frame.head.size());
    std::memcpy(changed.data(), frame.head.data(), frame.head.size());
    for (uint64_t n = random.Below(4) + 1; n-- > 0;) changed.data()[random.Below(frame.head.size())] ^= static_cast<std::byte>(random.Next());
    const auto decoded = Codec<Message>::Decode({frame.type, std::move(changed).Finish(), frame.bulk});
    if (!decoded.ok()) {
      BOOST_TEST(absl::IsInvalidArgument(decoded.status()), decoded.status().ToString());
    } else {   // what can be read can be said again
      BOOST_TEST(Codec<Message>::Decode(Codec<Message>::Encode(*decoded)).ok());
    }
  }
  if (!frame.bulk.empty()) {
    BOOST_TEST(absl::IsInvalidArgument(Codec<Message>::Decode({frame.type, frame.head, {}}).status()));
    BOOST_TEST(absl::IsInvalidArgument(Codec<Message>::Decode({frame.type, frame.head, {kBytes, kBytes}}).status()));
  }
  auto back = Codec<Message>::Decode(frame);
  BOOST_REQUIRE_MESSAGE(back.ok(), back.status().ToString());
  return *std::move(back);
}

}   // namespace

BOOST_AUTO_TEST_SUITE(ClusterWireSuite)

BOOST_AUTO_TEST_CASE(reports_and_orders_come_back) {
  const Report report{.node = NodeId{9},
                      .incarnation = Incarnation{8},
                      .number = 7,
                      .name = "name",
                      .host = "host",
                      .places = {"tcp:a:1", ""},
                      .capacity = kCapacity,
                      .leaving = true,
                      .seen = 6,
                      .generation = 5,
                      .processes = {{kId, kNeeds, ProcessState::kEnded, -9, kOdd, true}}};
  const Report r = Back(report);
  BOOST_TEST((std::tie(r.node, r.incarnation, r.number, r.name, r.host, r.places, r.capacity, r.leaving, r.seen, r.generation) ==
              std::tie(report.node, report.incarnation, report.number, report.name, report.host, report.places, report.capacity, report.leaving, report.seen,
                       report.generation)));
  BOOST_TEST(Same(r.processes, report.processes));
  for (const auto verdict : {Orders::Verdict::kMember, Orders::Verdict::kRejoin, Orders::Verdict::kLeft}) {
    const Orders orders{
        .verdict = verdict, .generation = 4, .incarnation = Incarnation{3}, .version = 2, .unchanged = true, .keep = {kId, kId}, .start = {kOrder, kOrder}};
    const Orders o = Back(orders);
    BOOST_TEST((std::tie(o.verdict, o.generation, o.incarnation, o.version, o.unchanged, o.keep) ==
                std::tie(orders.verdict, orders.generation, orders.incarnation, orders.version, orders.unchanged, orders.keep)));
    BOOST_TEST(Same(o.start, orders.start));
  }
}

BOOST_AUTO_TEST_CASE(claims_come_back) {
  const Endpoint endpoint{.place = "tcp:a:1", .network = "n", .token = kOdd, .about = "w\t1\n"};
  const Claim c = Back(Claim{.job = 1, .attempt = 2, .wanted = {kOrder, kOrder}, .seen = 3, .number = 4, .endpoint = endpoint});
  BOOST_TEST((c.endpoint == endpoint));
  BOOST_TEST((!c.same_endpoint && Back(Claim{.job = 1, .wanted = {}, .same_endpoint = true}).same_endpoint));
  BOOST_TEST((Back(endpoint) == endpoint));
  BOOST_TEST(Back(FindEndpoint{7}).job == 7u);
  BOOST_TEST((c.job == 1 && c.attempt == 2 && c.seen == 3 && c.number == 4 && Same(c.wanted, {kOrder, kOrder})));
  for (const auto state : {ProcessState::kWaiting, ProcessState::kPlaced, ProcessState::kRunning, ProcessState::kEnded}) {
    ClaimedProcess claimed = kClaimed;
    claimed.state = state;
    const Claimed d = Back(Claimed{.version = 4, .processes = {claimed, claimed}});
    BOOST_TEST((d.version == 4 && Same(d.processes, {claimed, claimed})));
  }
}

BOOST_AUTO_TEST_CASE(what_people_ask_and_are_told_comes_back) {
  const Submit s = Back(Submit{kOdd, kSpec});
  BOOST_TEST((s.request == kOdd && Same(s.spec, kSpec)));
  BOOST_TEST(Back(Submitted{~uint64_t{0}}).job == ~uint64_t{0});
  const Inspect i = Back(Inspect{5, 6});
  BOOST_TEST((i.job == 5 && i.seen == 6));
  const Inspected d =
      Back(Inspected{.version = 1, .generation = 2, .nodes = {kNode, kNode}, .jobs = {kJob, kJob}, .queues = {kQueue, kQueue}, .events = {"e", kOdd}});
  BOOST_TEST(Same(d.queues, {kQueue, kQueue}));
  BOOST_TEST(
      (d.version == 1 && d.generation == 2 && Same(d.nodes, {kNode, kNode}) && Same(d.jobs, {kJob, kJob}) && d.events == std::vector<std::string>{"e", kOdd}));
  BOOST_TEST(Back(StopJob{9}).job == 9u);
  for (const bool force : {false, true}) {
    const DrainNode n = Back(DrainNode{kOdd, force});
    BOOST_TEST((n.node == kOdd && n.force == force));
  }
  Back(Done{});
}

BOOST_AUTO_TEST_CASE(output_and_programs_come_back) {
  const ReadOutput r = Back(ReadOutput{kId, true, ~uint64_t{0}});
  BOOST_TEST((r.id == kId && r.errors && r.offset == ~uint64_t{0}));
  for (const Block& bytes : {kBytes, Block()}) {
    const Output o = Back(Output{bytes, true});
    BOOST_TEST((Same(o.bytes, bytes) && o.over));
    const PutProgram p = Back(PutProgram{"hash", 10, 20, bytes});
    BOOST_TEST((p.hash == "hash" && p.size == 10 && p.offset == 20 && Same(p.bytes, bytes)));
    const ProgramPart part = Back(ProgramPart{30, bytes});
    BOOST_TEST((part.size == 30 && Same(part.bytes, bytes)));
  }
  BOOST_TEST(Back(ProgramPut{40}).have == 40u);
  const GetProgram g = Back(GetProgram{kOdd, 50});
  BOOST_TEST((g.hash == kOdd && g.offset == 50));
}

BOOST_AUTO_TEST_CASE(records_come_back_and_bytes_that_are_none_are_data_loss) {
  const auto job = DecodeJobRecord(EncodeRecord(JobRecord{kJob, kOdd, {NodeId{1}, NodeId{~uint32_t{0}}}}));
  BOOST_REQUIRE(job.ok());
  BOOST_TEST((Same(job->status, kJob) && job->request == kOdd && job->driver_nodes == std::vector{NodeId{1}, NodeId{~uint32_t{0}}}));
  const auto node = DecodeNodeRecord(EncodeRecord(NodeRecord{kNode, {"tcp:a:1"}}));
  BOOST_REQUIRE(node.ok());
  BOOST_TEST((Same(node->status, kNode) && node->places == std::vector<std::string>{"tcp:a:1"}));
  for (const std::string& bytes : {std::string(), std::string("x"), std::string(64, '\xff'), EncodeRecord(NodeRecord{kNode, {}}).substr(0, 16)}) {
    BOOST_TEST(absl::IsDataLoss(DecodeJobRecord(bytes).status()));
    BOOST_TEST(absl::IsDataLoss(DecodeNodeRecord(bytes).status()));
  }
  const std::string record = EncodeRecord(JobRecord{kJob, "r", {}});
  Random random(6);
  for (int i = 0; i < 5000; ++i) {
    std::string changed = record;
    for (uint64_t n = random.Below(4) + 1; n-- > 0;) changed[random.Below(changed.size())] ^= static_cast<char>(random.Next());
    const auto decoded = DecodeJobRecord(changed);
    BOOST_TEST((decoded.ok() || absl::IsDataLoss(decoded.status())));
  }
}

BOOST_AUTO_TEST_CASE(a_state_that_nobody_knows_is_refused) {
  ClaimedProcess claimed = kClaimed;
  claimed.state = static_cast<ProcessState>(4);
  BOOST_TEST(absl::IsInvalidArgument(Codec<Claimed>::Decode(Codec<Claimed>::Encode({1, {claimed}})).status()));
  JobStatus job = kJob;
  job.state = static_cast<JobState>(5);
  BOOST_TEST(absl::IsInvalidArgument(Codec<Inspected>::Decode(Codec<Inspected>::Encode({.jobs = {job}})).status()));
  NodeStatus node = kNode;
  node.state = static_cast<NodeState>(6);
  BOOST_TEST(absl::IsInvalidArgument(Codec<Inspected>::Decode(Codec<Inspected>::Encode({.nodes = {node}})).status()));
  Orders orders;
  orders.verdict = static_cast<Orders::Verdict>(3);
  const auto decoded = Codec<Orders>::Decode(Codec<Orders>::Encode(orders));
  BOOST_TEST(decoded.status().message().find("a verdict is 3, expected at most 2") != std::string::npos, decoded.status().ToString());
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
