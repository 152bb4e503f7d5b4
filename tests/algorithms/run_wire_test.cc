// The workers' messages through their frames and back, and frames that are cut or garbage.
#include <boost/test/unit_test.hpp>

#include "actors/random.h"
#include "actors/text.h"
#include "algorithms/run/wire.h"

namespace troupe {
namespace {

RunPhase SomeRun() {
  RunPhase run;
  run.run = 4;
  run.current = {.number = 2, .epoch = 3, .phase = {.name = "step", .arguments = {1.5, -2}, .shuffle = false, .batch_rows = 77, .pushes = true}};
  run.earlier = {{.number = 1, .epoch = 2, .phase = {.name = "first", .arguments = {}, .shuffle = true, .batch_rows = 1, .pushes = true}}};
  run.wait = std::chrono::milliseconds(123);
  run.share_number = 5;
  run.share = {{.split = 3, .prepare = true, .behind = 6},
               {.split = 4,
                .so_far = SplitReport{.split = 4,
                                      .state = SplitReport::State::kLetGo,
                                      .clock = 7,
                                      .complete = true,
                                      .sum = {8, 9},
                                      .collected = {10},
                                      .kept = Block::Adopt(std::vector<uint64_t>{11, 12})}},
               {.split = 5}};
  return run;
}
PhaseReport SomeReport() {
  return {.run = 4,
          .share_number = 8,
          .splits = {{.split = 1,
                      .state = SplitReport::State::kDone,
                      .rows = 2,
                      .nonzeros = 3,
                      .bad_rows = 4,
                      .bytes = 5,
                      .bytes_total = 6,
                      .sum = {1, 2},
                      .collected = {}},
                     {.split = 9,
                      .state = SplitReport::State::kLetGo,
                      .rows = 7,
                      .nonzeros = 8,
                      .bad_rows = 9,
                      .bytes = 10,
                      .bytes_total = 11,
                      .pulled = 12,
                      .copied = 13,
                      .batches = 14,
                      .clock = 15,
                      .batch_time = std::chrono::microseconds(16),
                      .working = std::chrono::milliseconds(17),
                      .complete = true,
                      .sum = {},
                      .collected = {3, 4, 5}}}};
}
WorkerJob SomeJob() {
  WorkerJob job;
  job.options.algorithm = "k_means";
  job.options.params = {{"k", "3"}, {"init", "random"}};
  job.options.source = {
      .uri = "a.csv", .format = "csv", .label = "y", .label_kind = LabelKind::kReal, .expected = {}, .skip_bad_rows = true, .splits = 5, .spool_fds = {3, -1}};
  job.options.splits_total = 5;
  job.options.seed = 99;
  job.options.consistency = Consistency{.kind = Consistency::Kind::kAsp};
  job.options.cache_bytes = 12;
  job.options.held_bytes = 13;
  job.options.replicas = {.bytes_max = uint64_t{1} << 40, .staleness = 3};
  job.shards = {{NodeId{1}, {"unix:/a"}, ActorId{1}}, {NodeId{2}, {"unix:/b", "tcp:b:7"}, ActorId{3}}};
  return job;
}
/// Of a worker that keeps a table.
WorkerJob GroupedJob() {
  WorkerJob job = SomeJob();
  job.options.consistency = *ParseConsistencies("asp,w=ring");
  job.group = {.member = 1, .members = {{NodeId{3}, {"unix:/c"}, ActorId{2}}, {NodeId{4}, {"tcp:d:1"}, ActorId{2}}}, .copy = {}};
  job.group->copy.shard.tables = {{.name = "w", .rows = 5, .rule_options = {}}};
  job.group->copy.shard.consistency = job.options.consistency;
  job.group->copy.shard.stable_when_applied = true;
  job.group->copy.snapshot_uri = "file:/e";
  return job;
}

bool SameBytes(const Block& a, const Block& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

template <class Message>
void Damage(const Message& message) {
  const Frame whole = Codec<Message>::Encode(message);
  Random random(1);
  for (size_t i = 0; i < whole.head.size() + 500; ++i) {
    Frame frame = whole;
    std::vector<std::byte> bytes(whole.head.data(), whole.head.data() + whole.head.size());
    if (i < bytes.size()) {
      bytes.resize(i);
    } else {
      for (int n = 0; n < 3; ++n) bytes[random.Below(bytes.size())] = static_cast<std::byte>(random.Next());
    }
    frame.head = Block::Adopt(std::move(bytes));
    const auto decoded = Codec<Message>::Decode(frame);
    if (!decoded.ok()) BOOST_TEST(absl::IsInvalidArgument(decoded.status()));
  }
}

BOOST_AUTO_TEST_SUITE(RunWire)

BOOST_AUTO_TEST_CASE(a_phase_to_run_comes_out_as_it_went_in) {
  const RunPhase run = SomeRun();
  const auto decoded = Codec<RunPhase>::Decode(Codec<RunPhase>::Encode(run));
  BOOST_REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
  BOOST_TEST(decoded->run == 4U);
  BOOST_TEST(decoded->current.number == 2U);
  BOOST_TEST(decoded->current.epoch == 3U);
  BOOST_TEST((decoded->current.phase == run.current.phase));
  BOOST_REQUIRE(decoded->earlier.size() == 1U);
  BOOST_TEST((decoded->earlier[0].phase == run.earlier[0].phase));
  BOOST_TEST((decoded->wait == run.wait));
  BOOST_TEST(decoded->share_number == 5U);
  BOOST_REQUIRE(decoded->share.size() == 3U);
  BOOST_TEST(decoded->share[0].split == 3U);
  BOOST_TEST(decoded->share[0].prepare);
  BOOST_TEST(decoded->share[0].behind == 6U);
  BOOST_TEST(!decoded->share[0].so_far.has_value());
  BOOST_REQUIRE(decoded->share[1].so_far.has_value());
  BOOST_TEST(decoded->share[1].so_far->clock == 7U);
  BOOST_TEST(decoded->share[1].so_far->complete);
  BOOST_TEST((decoded->share[1].so_far->sum == Numbers{8, 9}));
  BOOST_TEST((decoded->share[1].so_far->collected == Numbers{10}));
  BOOST_REQUIRE(decoded->share[1].so_far->kept.size() == 16U);
  BOOST_TEST(decoded->share[1].so_far->kept.As<uint64_t>()[1] == 12U);
  BOOST_TEST(decoded->share[2].split == 5U);
}

BOOST_AUTO_TEST_CASE(a_report_comes_out_as_it_went_in) {
  const auto decoded = Codec<PhaseReport>::Decode(Codec<PhaseReport>::Encode(SomeReport()));
  BOOST_REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
  BOOST_TEST(decoded->run == 4U);
  BOOST_TEST(decoded->share_number == 8U);
  BOOST_REQUIRE(decoded->splits.size() == 2U);
  const SplitReport& split = decoded->splits[1];
  BOOST_TEST(split.split == 9U);
  BOOST_TEST((decoded->splits[0].state == SplitReport::State::kDone));
  BOOST_TEST((split.state == SplitReport::State::kLetGo));
  BOOST_TEST(split.batches == 14U);
  BOOST_TEST(split.clock == 15U);
  BOOST_TEST((split.batch_time == std::chrono::microseconds(16)));
  BOOST_TEST((split.working == std::chrono::milliseconds(17)));
  BOOST_TEST(split.complete);
  BOOST_TEST(split.rows == 7U);
  BOOST_TEST(split.nonzeros == 8U);
  BOOST_TEST(split.bad_rows == 9U);
  BOOST_TEST(split.bytes == 10U);
  BOOST_TEST(split.bytes_total == 11U);
  BOOST_TEST(split.pulled == 12U);
  BOOST_TEST(split.copied == 13U);
  BOOST_TEST((decoded->splits[0].sum == Numbers{1, 2}));
  BOOST_TEST((split.collected == Numbers{3, 4, 5}));
}

BOOST_AUTO_TEST_CASE(the_job_of_a_worker_that_keeps_a_table_comes_out_as_it_went_in) {
  const Block bytes = EncodeWorkerJob(GroupedJob());
  const auto decoded = DecodeWorkerJob(bytes);
  BOOST_REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
  BOOST_TEST(SameBytes(EncodeWorkerJob(*decoded), bytes));
  BOOST_REQUIRE(decoded->group.has_value());
  BOOST_TEST(decoded->group->member == 1u);
  BOOST_REQUIRE_EQUAL(decoded->group->members.size(), 2u);
  BOOST_TEST((decoded->group->members[1].node == NodeId{4}));
  BOOST_TEST(decoded->group->members[1].places.at(0) == "tcp:d:1");
  BOOST_TEST((decoded->group->members[1].actor == ActorId{2}));
  BOOST_REQUIRE_EQUAL(decoded->group->copy.shard.tables.size(), 1u);
  BOOST_TEST((decoded->group->copy.shard.tables[0].kept_by == KeptBy::kRing));
  BOOST_TEST(decoded->group->copy.shard.stable_when_applied);
  BOOST_TEST(decoded->group->copy.snapshot_uri == "file:/e");
  BOOST_TEST(!DecodeWorkerJob(EncodeWorkerJob(SomeJob()))->group.has_value());
}

BOOST_AUTO_TEST_CASE(a_workers_job_comes_out_as_it_went_in) {
  const WorkerJob job = SomeJob();
  const Block bytes = EncodeWorkerJob(job);
  const auto decoded = DecodeWorkerJob(bytes);
  BOOST_REQUIRE_MESSAGE(decoded.ok(), decoded.status().ToString());
  BOOST_TEST(SameBytes(EncodeWorkerJob(*decoded), bytes));
  const WorkerOptions& options = decoded->options;
  BOOST_TEST(options.algorithm == "k_means");
  BOOST_TEST((options.params == job.options.params));
  BOOST_TEST(options.source.uri == "a.csv");
  BOOST_TEST(options.source.format == "csv");
  BOOST_TEST(options.source.label == "y");
  BOOST_TEST((options.source.label_kind == LabelKind::kReal));
  BOOST_TEST(options.source.skip_bad_rows);
  BOOST_TEST(options.source.splits == 5U);
  BOOST_TEST((options.source.spool_fds == std::vector<int>{3, -1}));
  BOOST_TEST(options.seed == 99U);
  BOOST_TEST((options.consistency == job.options.consistency));
  BOOST_TEST(options.cache_bytes == 12U);
  BOOST_TEST(options.held_bytes == 13U);
  BOOST_TEST((options.replicas == job.options.replicas));
  BOOST_TEST(options.shards == 2U);
  BOOST_TEST((decoded->shards[1].places == std::vector<std::string>{"unix:/b", "tcp:b:7"}));
  BOOST_TEST(static_cast<uint32_t>(decoded->shards[1].actor) == 3U);
}

BOOST_AUTO_TEST_CASE(what_makes_no_sense_is_refused) {
  RunPhase run = SomeRun();
  run.current.phase.batch_rows = 0;
  BOOST_TEST(Message(Codec<RunPhase>::Decode(Codec<RunPhase>::Encode(run)).status()) == "run phase: batches of 0 rows");
  run = SomeRun();
  run.share[1].so_far->state = static_cast<SplitReport::State>(9);
  BOOST_TEST(Message(Codec<RunPhase>::Decode(Codec<RunPhase>::Encode(run)).status()) == "split report: state is 9");
  Frame asked = Codec<RunPhase>::Encode(SomeRun());
  asked.bulk[1] = Block::Adopt(std::vector<uint64_t>{});
  BOOST_TEST(Message(Codec<RunPhase>::Decode(asked).status()) == "run phase: lengths do not fit its splits");
  WorkerJob job = SomeJob();
  job.shards.clear();
  BOOST_TEST(Message(DecodeWorkerJob(EncodeWorkerJob(job)).status()) == "worker job: no shards");
  job = GroupedJob();
  job.group->member = 2;
  BOOST_TEST(Message(DecodeWorkerJob(EncodeWorkerJob(job)).status()) == "worker job: member is 2, expected < 2");
  Frame frame = Codec<PhaseReport>::Encode(SomeReport());
  frame.bulk[1] = Block::Adopt(std::vector<uint64_t>{1});
  BOOST_TEST(Message(Codec<PhaseReport>::Decode(frame).status()) == "phase report: lengths do not fit its splits");
  frame.bulk[1] = Block::Adopt(std::vector<uint64_t>{1, UINT64_MAX});
  BOOST_TEST(Message(Codec<PhaseReport>::Decode(frame).status()) == "phase report: fewer numbers than its lengths say");
  frame = Codec<PhaseReport>::Encode(SomeReport());
  frame.bulk[5] = Block::Adopt(std::vector<uint64_t>{1, 0});
  BOOST_TEST(Message(Codec<PhaseReport>::Decode(frame).status()) == "phase report: fewer words are kept than its lengths say");
  frame.bulk.pop_back();
  BOOST_TEST(Message(Codec<PhaseReport>::Decode(frame).status()) == "phase report: arrays are missing, cut or not aligned");
}

BOOST_AUTO_TEST_CASE(damaged_frames_are_refused) {
  Damage(SomeRun());
  Damage(SomeReport());
  const Block bytes = EncodeWorkerJob(GroupedJob());
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto cut = DecodeWorkerJob(Block::Copy(bytes.data(), size));
    if (!cut.ok()) BOOST_TEST(absl::IsInvalidArgument(cut.status()));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
