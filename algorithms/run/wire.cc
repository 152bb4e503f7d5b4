#include "algorithms/run/wire.h"

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/wire.h"
#include "algorithms/run/run.capnp.h"
#include "ps/wire.h"

namespace troupe {
namespace {

std::string Text(capnp::Text::Reader text) {
  return {text.cStr(), text.size()};
}

void Fill(wire::PhaseRecord::Builder to, const PhaseRecord& from) {
  to.setNumber(from.number);
  to.setEpoch(from.epoch);
  to.setName(from.phase.name);
  auto arguments = to.initArguments(static_cast<unsigned>(from.phase.arguments.size()));
  for (unsigned i = 0; i < arguments.size(); ++i) arguments.set(i, from.phase.arguments[i]);
  to.setShuffle(from.phase.shuffle);
  to.setBatchRows(from.phase.batch_rows);
  to.setPushes(from.phase.pushes);
  if (!from.phase.change) return;
  const Block change = EncodeFunctionCall(*from.phase.change);
  to.setChange(kj::arrayPtr(reinterpret_cast<const kj::byte*>(change.data()), change.size()));
}
absl::StatusOr<PhaseRecord> Read(wire::PhaseRecord::Reader from) {
  PhaseRecord to{.number = from.getNumber(), .epoch = from.getEpoch(), .phase = {.name = Text(from.getName())}};
  for (double argument : from.getArguments()) to.phase.arguments.push_back(argument);
  to.phase.shuffle = from.getShuffle();
  to.phase.batch_rows = from.getBatchRows();
  to.phase.pushes = from.getPushes();
  if (from.getChange().size() > 0) {
    TROUPE_TRY(to.phase.change, DecodeFunctionCall(Block::Copy(from.getChange().begin(), from.getChange().size())));
  }
  return to;
}

void Fill(capnp::List<wire::WorkerJob::Place>::Builder to, const std::vector<ShardPlace>& from) {
  for (unsigned i = 0; i < to.size(); ++i) {
    to[i].setNode(static_cast<uint32_t>(from[i].node));
    auto places = to[i].initPlaces(static_cast<unsigned>(from[i].places.size()));
    for (unsigned j = 0; j < places.size(); ++j) places.set(j, from[i].places[j]);
    to[i].setActor(static_cast<uint32_t>(from[i].actor));
  }
}
std::vector<ShardPlace> Read(capnp::List<wire::WorkerJob::Place>::Reader from) {
  std::vector<ShardPlace> to;
  for (auto one : from) {
    to.push_back({NodeId{one.getNode()}, {}, ActorId{one.getActor()}});
    for (auto place : one.getPlaces()) to.back().places.push_back(Text(place));
  }
  return to;
}

void Fill(wire::SplitReport::Builder to, const SplitReport& from) {
  to.setSplit(from.split);
  to.setState(static_cast<uint8_t>(from.state));
  to.setRows(from.rows);
  to.setNonzeros(from.nonzeros);
  to.setBadRows(from.bad_rows);
  to.setBytes(from.bytes);
  to.setBytesTotal(from.bytes_total);
  to.setPulled(from.pulled);
  to.setCopied(from.copied);
  to.setBatches(from.batches);
  to.setClock(from.clock);
  to.setBatchTimeUs(static_cast<uint64_t>(from.batch_time.count()));
  to.setWorkingMs(static_cast<uint64_t>(from.working.count()));
  to.setComplete(from.complete);
}
/// Without its numbers, which are in the bulk.
absl::StatusOr<SplitReport> Read(wire::SplitReport::Reader from) {
  if (from.getState() > static_cast<uint8_t>(SplitReport::State::kPrepared)) {
    return absl::InvalidArgumentError(absl::StrCat("split report: state is ", int{from.getState()}));
  }
  return SplitReport{.split = from.getSplit(),
                     .state = static_cast<SplitReport::State>(from.getState()),
                     .rows = from.getRows(),
                     .nonzeros = from.getNonzeros(),
                     .bad_rows = from.getBadRows(),
                     .bytes = from.getBytes(),
                     .bytes_total = from.getBytesTotal(),
                     .pulled = from.getPulled(),
                     .copied = from.getCopied(),
                     .batches = from.getBatches(),
                     .clock = from.getClock(),
                     .batch_time = std::chrono::microseconds(from.getBatchTimeUs()),
                     .working = std::chrono::milliseconds(from.getWorkingMs()),
                     .complete = from.getComplete(),
                     .sum = {},
                     .collected = {}};
}

/// The numbers of reports, one behind the other: sums, their lengths, what was collected, its lengths, what is kept, its lengths in words.
std::vector<Block> NumbersOf(const std::vector<const SplitReport*>& reports) {
  std::vector<double> sums, collected;
  std::vector<uint64_t> sum_lengths, collected_lengths, kept, kept_lengths;
  for (const SplitReport* report : reports) {
    sums.insert(sums.end(), report->sum.begin(), report->sum.end());
    sum_lengths.push_back(report->sum.size());
    collected.insert(collected.end(), report->collected.begin(), report->collected.end());
    collected_lengths.push_back(report->collected.size());
    const auto words = report->kept.As<uint64_t>();
    kept.insert(kept.end(), words.begin(), words.end());
    kept_lengths.push_back(words.size());
  }
  return {Block::Adopt(std::move(sums)), Block::Adopt(std::move(sum_lengths)), Block::Adopt(std::move(collected)), Block::Adopt(std::move(collected_lengths)),
          Block::Adopt(std::move(kept)), Block::Adopt(std::move(kept_lengths))};
}
/// `what`: the message, for errors.
absl::Status TakeNumbers(const std::vector<Block>& bulk, const std::vector<SplitReport*>& reports, absl::string_view what) {
  const auto refuse = [what](absl::string_view why) { return absl::InvalidArgumentError(absl::StrCat(what, ": ", why)); };
  bool whole = bulk.size() == 6;
  for (size_t i = 0; whole && i < bulk.size(); ++i) whole = i == 0 || i == 2 ? bulk[i].IsArrayOf<double>() : bulk[i].IsArrayOf<uint64_t>();
  if (!whole) return refuse("arrays are missing, cut or not aligned");
  for (const size_t column : {0, 2}) {
    auto numbers = bulk[column].As<double>();
    const auto lengths = bulk[column + 1].As<uint64_t>();
    if (lengths.size() != reports.size()) return refuse("lengths do not fit its splits");
    for (size_t i = 0; i < lengths.size(); ++i) {
      if (lengths[i] > numbers.size()) return refuse("fewer numbers than its lengths say");
      const auto mine = numbers.first(lengths[i]);
      (column == 0 ? reports[i]->sum : reports[i]->collected).assign(mine.begin(), mine.end());
      numbers = numbers.subspan(lengths[i]);
    }
  }
  auto kept = bulk[4].As<uint64_t>();
  const auto lengths = bulk[5].As<uint64_t>();
  if (lengths.size() != reports.size()) return refuse("lengths do not fit its splits");
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] > kept.size()) return refuse("fewer words are kept than its lengths say");
    const auto mine = kept.first(lengths[i]);
    if (!mine.empty()) reports[i]->kept = Block::Adopt(std::vector<uint64_t>(mine.begin(), mine.end()));
    kept = kept.subspan(lengths[i]);
  }
  return absl::OkStatus();
}

}   // namespace

Frame Codec<Attach>::Encode(const Attach& m) {
  return {kType,
          EncodeHead<wire::Attach>([&](wire::Attach::Builder to) {
            to.setNode(static_cast<uint32_t>(m.node));
            to.setIncarnation(static_cast<uint64_t>(m.incarnation));
            auto places = to.initPlaces(static_cast<unsigned>(m.places.size()));
            for (unsigned i = 0; i < places.size(); ++i) places.set(i, m.places[i]);
          }),
          {}};
}
absl::StatusOr<Attach> Codec<Attach>::Decode(const Frame& frame) {
  Attach m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Attach>(frame.head, [&](wire::Attach::Reader from) {
    m.node = NodeId{from.getNode()};
    m.incarnation = Incarnation{from.getIncarnation()};
    for (auto place : from.getPlaces()) m.places.push_back(Text(place));
  }));
  return m;
}
Frame Codec<Attached>::Encode(const Attached&) {
  return {kType, EncodeHead<wire::Attached>([](wire::Attached::Builder) {}), {}};
}
absl::StatusOr<Attached> Codec<Attached>::Decode(const Frame&) {
  return Attached{};
}
Frame Codec<Locations>::Encode(const Locations& m) {
  return {kType, EncodeHead<wire::Locations>([&](wire::Locations::Builder to) { Fill(to.initNodes(static_cast<unsigned>(m.nodes.size())), m.nodes); }), {}};
}
absl::StatusOr<Locations> Codec<Locations>::Decode(const Frame& frame) {
  Locations m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Locations>(frame.head, [&](wire::Locations::Reader from) { m.nodes = Read(from.getNodes()); }));
  return m;
}
Frame Codec<Located>::Encode(const Located&) {
  return {kType, EncodeHead<wire::Located>([](wire::Located::Builder) {}), {}};
}
absl::StatusOr<Located> Codec<Located>::Decode(const Frame&) {
  return Located{};
}

Frame Codec<Leave>::Encode(const Leave&) {
  return {kType, EncodeHead<wire::Leave>([](wire::Leave::Builder) {}), {}};
}
absl::StatusOr<Leave> Codec<Leave>::Decode(const Frame&) {
  return Leave{};
}

Frame Codec<RunPhase>::Encode(const RunPhase& m) {
  std::vector<const SplitReport*> so_far;
  for (const SplitTask& task : m.share) {
    if (task.so_far) so_far.push_back(&*task.so_far);
  }
  return {kType, EncodeHead<wire::RunPhase>([&](wire::RunPhase::Builder to) {
            to.setRun(m.run);
            Fill(to.initCurrent(), m.current);
            auto earlier = to.initEarlier(static_cast<unsigned>(m.earlier.size()));
            for (unsigned i = 0; i < earlier.size(); ++i) Fill(earlier[i], m.earlier[i]);
            to.setWaitMs(static_cast<uint32_t>(m.wait.count()));
            to.setHold(m.hold);
            to.setShareNumber(m.share_number);
            auto share = to.initShare(static_cast<unsigned>(m.share.size()));
            for (unsigned i = 0; i < share.size(); ++i) {
              share[i].setSplit(m.share[i].split);
              share[i].setPrepare(m.share[i].prepare);
              share[i].setBehind(m.share[i].behind);
              share[i].setGoesOn(m.share[i].so_far.has_value());
              if (m.share[i].so_far) Fill(share[i].initSoFar(), *m.share[i].so_far);
            }
          }),
          NumbersOf(so_far)};
}
absl::StatusOr<RunPhase> Codec<RunPhase>::Decode(const Frame& frame) {
  RunPhase m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::RunPhase>(frame.head, [&](wire::RunPhase::Reader from) -> absl::Status {
    m.run = from.getRun();
    TROUPE_TRY(m.current, Read(from.getCurrent()));
    for (auto record : from.getEarlier()) {
      TROUPE_TRY(PhaseRecord earlier, Read(record));
      m.earlier.push_back(std::move(earlier));
    }
    m.wait = std::chrono::milliseconds(from.getWaitMs());
    m.hold = from.getHold();
    m.share_number = from.getShareNumber();
    for (auto task : from.getShare()) {
      m.share.push_back({.split = task.getSplit(), .prepare = task.getPrepare(), .behind = task.getBehind()});
      if (!task.getGoesOn()) continue;
      TROUPE_TRY(m.share.back().so_far, Read(task.getSoFar()));
    }
    return absl::OkStatus();
  }));
  std::vector<SplitReport*> so_far;
  for (SplitTask& task : m.share) {
    if (task.so_far) so_far.push_back(&*task.so_far);
  }
  TROUPE_RETURN_IF_ERROR(TakeNumbers(frame.bulk, so_far, "run phase"));
  if (m.current.phase.batch_rows == 0) return absl::InvalidArgumentError("run phase: batches of 0 rows");
  return m;
}

Frame Codec<PhaseReport>::Encode(const PhaseReport& m) {
  std::vector<const SplitReport*> all;
  for (const SplitReport& split : m.splits) all.push_back(&split);
  return {kType, EncodeHead<wire::PhaseReport>([&](wire::PhaseReport::Builder to) {
            to.setRun(m.run);
            to.setShareNumber(m.share_number);
            auto splits = to.initSplits(static_cast<unsigned>(m.splits.size()));
            for (unsigned i = 0; i < splits.size(); ++i) Fill(splits[i], m.splits[i]);
          }),
          NumbersOf(all)};
}
absl::StatusOr<PhaseReport> Codec<PhaseReport>::Decode(const Frame& frame) {
  PhaseReport m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::PhaseReport>(frame.head, [&](wire::PhaseReport::Reader from) -> absl::Status {
    m.run = from.getRun();
    m.share_number = from.getShareNumber();
    for (auto split : from.getSplits()) {
      TROUPE_TRY(SplitReport report, Read(split));
      m.splits.push_back(std::move(report));
    }
    return absl::OkStatus();
  }));
  std::vector<SplitReport*> all;
  for (SplitReport& split : m.splits) all.push_back(&split);
  TROUPE_RETURN_IF_ERROR(TakeNumbers(frame.bulk, all, "phase report"));
  return m;
}

Block EncodeReplicaJob(const ReplicaJob& job) {
  return EncodeHead<wire::ReplicaJob>([&](wire::ReplicaJob::Builder to) {
    const Block shard = EncodeShardJob(job.shard);
    to.setShard(kj::arrayPtr(reinterpret_cast<const kj::byte*>(shard.data()), shard.size()));
    Fill(to.initPlaces(static_cast<unsigned>(job.places.size())), job.places);
  });
}
absl::StatusOr<ReplicaJob> DecodeReplicaJob(const Block& arguments) {
  ReplicaJob job;
  Block shard;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::ReplicaJob>(arguments, [&](wire::ReplicaJob::Reader from) {
    shard = Block::Copy(from.getShard().begin(), from.getShard().size());
    job.places = Read(from.getPlaces());
  }));
  TROUPE_TRY(job.shard, DecodeShardJob(shard));
  return job;
}

Block EncodeWorkerJob(const WorkerJob& job) {
  return EncodeHead<wire::WorkerJob>([&](wire::WorkerJob::Builder to) {
    const WorkerOptions& options = job.options;
    to.setAlgorithm(options.algorithm);
    auto params = to.initParams(static_cast<unsigned>(options.params.size()));
    unsigned i = 0;
    for (const auto& [name, value] : options.params) {
      params[i].setName(name);
      params[i++].setValue(value);
    }
    to.setUri(options.source.uri);
    to.setFormat(options.source.format);
    to.setLabel(options.source.label);
    to.setLabelKind(static_cast<uint8_t>(options.source.label_kind));
    to.setSkipBadRows(options.source.skip_bad_rows);
    auto fds = to.initSpoolFds(static_cast<unsigned>(options.source.spool_fds.size()));
    for (unsigned j = 0; j < fds.size(); ++j) fds.set(j, options.source.spool_fds[j]);
    to.setSplitsTotal(options.splits_total);
    to.setSeed(options.seed);
    to.setConsistency(ToString(options.consistency));
    to.setCacheBytes(options.cache_bytes);
    to.setHeldBytes(options.held_bytes);
    to.setReplicaBytes(options.replicas.bytes_max);
    to.setReplicaStaleness(options.replicas.staleness);
    Fill(to.initShards(static_cast<unsigned>(job.shards.size())), job.shards);
    to.setChained(job.chains.has_value());
    if (job.chains) Fill(to.initChains(static_cast<unsigned>(job.chains->size())), *job.chains);
    if (!job.group) return;
    Fill(to.initMembers(static_cast<unsigned>(job.group->members.size())), job.group->members);
    to.setMember(job.group->member);
    const Block copy = EncodeShardJob(job.group->copy);
    to.setCopy(kj::arrayPtr(reinterpret_cast<const kj::byte*>(copy.data()), copy.size()));
  });
}

absl::StatusOr<WorkerJob> DecodeWorkerJob(const Block& arguments) {
  WorkerJob job;
  std::string consistency;
  Block copy;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::WorkerJob>(arguments, [&](wire::WorkerJob::Reader from) {
    WorkerOptions& options = job.options;
    options.algorithm = Text(from.getAlgorithm());
    for (auto param : from.getParams()) options.params[Text(param.getName())] = Text(param.getValue());
    options.source.uri = Text(from.getUri());
    options.source.format = Text(from.getFormat());
    options.source.label = Text(from.getLabel());
    options.source.label_kind = static_cast<LabelKind>(from.getLabelKind());
    options.source.skip_bad_rows = from.getSkipBadRows();
    for (int fd : from.getSpoolFds()) options.source.spool_fds.push_back(fd);
    options.splits_total = from.getSplitsTotal();
    options.source.splits = options.splits_total;
    options.seed = from.getSeed();
    consistency = Text(from.getConsistency());
    options.cache_bytes = from.getCacheBytes();
    options.held_bytes = from.getHeldBytes();
    options.replicas = {.bytes_max = from.getReplicaBytes(), .staleness = from.getReplicaStaleness()};
    job.shards = Read(from.getShards());
    options.shards = static_cast<uint32_t>(job.shards.size());
    if (from.getChained()) job.chains = Read(from.getChains());
    if (from.getMembers().size() == 0) return;
    job.group = {.member = from.getMember(), .members = Read(from.getMembers()), .copy = {}};
    copy = Block::Copy(from.getCopy().begin(), from.getCopy().size());
  }));
  if (job.group) {
    TROUPE_TRY(job.group->copy, DecodeShardJob(copy));
    if (job.group->member >= job.group->members.size())
      return absl::InvalidArgumentError(absl::StrCat("worker job: member is ", job.group->member, ", expected < ", job.group->members.size()));
  }
  TROUPE_TRY(job.options.consistency, ParseConsistencies(consistency));
  if (job.shards.empty()) return absl::InvalidArgumentError("worker job: no shards");
  return job;
}

}   // namespace troupe
