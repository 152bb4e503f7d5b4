#include "actors/cluster/wire.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/cluster/cluster.capnp.h"
#include "actors/status.h"
#include "actors/wire.h"

namespace troupe {
namespace {

// Every struct has a Fill(builder, value) and a Read(reader) -> value; lists and maps are made of them.

std::string Read(capnp::Text::Reader text) {
  return {text.cStr(), text.size()};
}

template <class List>
void Fill(List to, const std::vector<std::string>& from) {
  for (unsigned i = 0; i < to.size(); ++i) to.set(i, from[i]);
}
std::vector<std::string> Read(capnp::List<capnp::Text>::Reader from) {
  std::vector<std::string> to;
  for (const auto text : from) to.push_back(Read(text));
  return to;
}

void Fill(capnp::List<wire::NameValue>::Builder to, const std::map<std::string, std::string>& from) {
  unsigned i = 0;
  for (const auto& [name, value] : from) {
    to[i].setName(name);
    to[i++].setValue(value);
  }
}
std::map<std::string, std::string> Read(capnp::List<wire::NameValue>::Reader from) {
  std::map<std::string, std::string> to;
  for (const auto entry : from) to[Read(entry.getName())] = Read(entry.getValue());
  return to;
}

void Fill(capnp::List<wire::NameCount>::Builder to, const std::map<std::string, uint32_t>& from) {
  unsigned i = 0;
  for (const auto& [name, count] : from) {
    to[i].setName(name);
    to[i++].setCount(count);
  }
}
std::map<std::string, uint32_t> Read(capnp::List<wire::NameCount>::Reader from) {
  std::map<std::string, uint32_t> to;
  for (const auto entry : from) to[Read(entry.getName())] = entry.getCount();
  return to;
}

/// An enum of ours from its number on the wire; `last`: its highest.
template <class Enum>
absl::StatusOr<Enum> ReadEnum(uint8_t value, Enum last, const char* what) {
  if (value > static_cast<uint8_t>(last)) {
    return absl::InvalidArgumentError(absl::StrCat(what, " is ", value, ", expected at most ", static_cast<int>(last)));
  }
  return static_cast<Enum>(value);
}

void Fill(wire::ProcessId::Builder to, const ProcessId& from) {
  to.setJob(from.job);
  to.setName(from.name);
  to.setIncarnation(from.incarnation);
}
ProcessId Read(wire::ProcessId::Reader from) {
  return {from.getJob(), Read(from.getName()), from.getIncarnation()};
}

void Fill(wire::Endpoint::Builder to, const Endpoint& from) {
  to.setPlace(from.place);
  to.setNetwork(from.network);
  to.setToken(from.token);
  to.setAbout(from.about);
}
Endpoint Read(wire::Endpoint::Reader from) {
  return {.place = Read(from.getPlace()), .network = Read(from.getNetwork()), .token = Read(from.getToken()), .about = Read(from.getAbout())};
}

void Fill(wire::ProcessNeeds::Builder to, const ProcessNeeds& from) {
  to.setCores(from.cores);
  to.setMemory(from.memory);
  Fill(to.initLabels(static_cast<unsigned>(from.labels.size())), from.labels);
  Fill(to.initApart(static_cast<unsigned>(from.apart.size())), from.apart);
  to.setDisk(from.disk);
  Fill(to.initAccelerators(static_cast<unsigned>(from.accelerators.size())), from.accelerators);
}
ProcessNeeds Read(wire::ProcessNeeds::Reader from) {
  return {from.getCores(), from.getMemory(), Read(from.getLabels()), Read(from.getApart()), from.getDisk(), Read(from.getAccelerators())};
}

void Fill(wire::ProcessOrder::Builder to, const ProcessOrder& from) {
  Fill(to.initId(), from.id);
  Fill(to.initNeeds(), from.needs);
  to.setProgram(from.program);
  Fill(to.initArguments(static_cast<unsigned>(from.arguments.size())), from.arguments);
  Fill(to.initEnvironment(static_cast<unsigned>(from.environment.size())), from.environment);
  to.setFolder(from.folder);
  to.setHandOverMaxMs(static_cast<uint64_t>(std::max<int64_t>(from.hand_over_max.count(), 0)));
  to.setPlacing(static_cast<uint8_t>(from.placing));
}
absl::StatusOr<ProcessOrder> Read(wire::ProcessOrder::Reader from) {
  if (from.getPlacing() > static_cast<uint8_t>(Placing::kSpare)) {
    return absl::InvalidArgumentError(absl::StrCat("process order: placing is ", int{from.getPlacing()}));
  }
  return ProcessOrder{.id = Read(from.getId()),
                      .needs = Read(from.getNeeds()),
                      .program = Read(from.getProgram()),
                      .arguments = Read(from.getArguments()),
                      .environment = Read(from.getEnvironment()),
                      .folder = Read(from.getFolder()),
                      .placing = static_cast<Placing>(from.getPlacing()),
                      .hand_over_max = std::chrono::milliseconds(static_cast<int64_t>(std::min<uint64_t>(from.getHandOverMaxMs(), 86'400'000)))};
}

void Fill(wire::ProcessReport::Builder to, const ProcessReport& from) {
  Fill(to.initId(), from.id);
  Fill(to.initNeeds(), from.needs);
  to.setState(static_cast<uint8_t>(from.state));
  to.setCode(from.code);
  to.setReason(from.reason);
  to.setCannotStart(from.cannot_start);
}
absl::StatusOr<ProcessReport> Read(wire::ProcessReport::Reader from) {
  ProcessReport to{.id = Read(from.getId()),
                   .needs = Read(from.getNeeds()),
                   .code = from.getCode(),
                   .reason = Read(from.getReason()),
                   .cannot_start = from.getCannotStart()};
  TROUPE_TRY(to.state, ReadEnum(from.getState(), ProcessState::kEnded, "a process's state"));
  return to;
}

void Fill(wire::ClaimedProcess::Builder to, const ClaimedProcess& from) {
  Fill(to.initId(), from.id);
  to.setState(static_cast<uint8_t>(from.state));
  to.setCode(from.code);
  to.setReason(from.reason);
  to.setNode(from.node);
  to.setBefore(from.before);
  to.setLeaves(from.leaves);
}
absl::StatusOr<ClaimedProcess> Read(wire::ClaimedProcess::Reader from) {
  ClaimedProcess to{.id = Read(from.getId()),
                    .code = from.getCode(),
                    .reason = Read(from.getReason()),
                    .node = Read(from.getNode()),
                    .before = Read(from.getBefore()),
                    .leaves = from.getLeaves()};
  TROUPE_TRY(to.state, ReadEnum(from.getState(), ProcessState::kEnded, "a process's state"));
  return to;
}

void Fill(wire::NodeCapacity::Builder to, const NodeCapacity& from) {
  to.setCores(from.cores);
  to.setMemory(from.memory);
  to.setDisk(from.disk);
  Fill(to.initLabels(static_cast<unsigned>(from.labels.size())), from.labels);
  Fill(to.initAccelerators(static_cast<unsigned>(from.accelerators.size())), from.accelerators);
  to.setMemoryKeptBy(from.memory_kept_by);
}
NodeCapacity Read(wire::NodeCapacity::Reader from) {
  return {from.getCores(), from.getMemory(), from.getDisk(), Read(from.getLabels()), Read(from.getAccelerators()), Read(from.getMemoryKeptBy())};
}

void Fill(wire::JobSpec::Builder to, const JobSpec& from) {
  to.setName(from.name);
  to.setQueue(from.queue);
  to.setProgram(from.program);
  Fill(to.initArguments(static_cast<unsigned>(from.arguments.size())), from.arguments);
  Fill(to.initEnvironment(static_cast<unsigned>(from.environment.size())), from.environment);
  to.setFolder(from.folder);
  Fill(to.initNeeds(), from.needs);
  to.setAttempts(from.attempts);
  to.setTimeLimitMs(static_cast<uint64_t>(from.time_limit.count()));
  to.setPriority(from.priority);
}
JobSpec Read(wire::JobSpec::Reader from) {
  return {.name = Read(from.getName()),
          .queue = Read(from.getQueue()),
          .program = Read(from.getProgram()),
          .arguments = Read(from.getArguments()),
          .environment = Read(from.getEnvironment()),
          .folder = Read(from.getFolder()),
          .needs = Read(from.getNeeds()),
          .attempts = from.getAttempts(),
          .time_limit = std::chrono::milliseconds(from.getTimeLimitMs()),
          .priority = from.getPriority()};
}

void Fill(wire::QueueStatus::Builder to, const QueueStatus& from) {
  to.setName(from.name);
  to.setWeight(from.weight);
  to.setCores(from.cores);
  to.setRunning(from.running);
  to.setWaiting(from.waiting);
}
QueueStatus Read(wire::QueueStatus::Reader from) {
  return {.name = Read(from.getName()), .weight = from.getWeight(), .cores = from.getCores(), .running = from.getRunning(), .waiting = from.getWaiting()};
}

void Fill(wire::JobStatus::Builder to, const JobStatus& from);
void Fill(wire::NodeStatus::Builder to, const NodeStatus& from);
absl::StatusOr<JobStatus> Read(wire::JobStatus::Reader from);
absl::StatusOr<NodeStatus> Read(wire::NodeStatus::Reader from);

template <class Value, class Builders>
void FillAll(Builders to, const std::vector<Value>& from) {
  for (unsigned i = 0; i < to.size(); ++i) Fill(to[i], from[i]);
}
/// Each by Read, which may fail.
template <class Value, class Readers>
absl::Status ReadAll(Readers from, std::vector<Value>& to) {
  for (const auto entry : from) {
    absl::StatusOr<Value> value = Read(entry);
    TROUPE_RETURN_IF_ERROR(value.status());
    to.push_back(*std::move(value));
  }
  return absl::OkStatus();
}

void Fill(wire::JobStatus::Builder to, const JobStatus& from) {
  to.setJob(from.job);
  Fill(to.initSpec(), from.spec);
  to.setState(static_cast<uint8_t>(from.state));
  to.setCode(from.code);
  to.setReason(from.reason);
  to.setAttempt(from.attempt);
  to.setSubmittedMs(from.submitted_ms);
  to.setStartedMs(from.started_ms);
  to.setEndedMs(from.ended_ms);
  to.setAbout(from.about);
  FillAll(to.initProcesses(static_cast<unsigned>(from.processes.size())), from.processes);
}
absl::StatusOr<JobStatus> Read(wire::JobStatus::Reader from) {
  JobStatus to{.job = from.getJob(),
               .spec = Read(from.getSpec()),
               .code = from.getCode(),
               .reason = Read(from.getReason()),
               .attempt = from.getAttempt(),
               .submitted_ms = from.getSubmittedMs(),
               .started_ms = from.getStartedMs(),
               .ended_ms = from.getEndedMs(),
               .about = Read(from.getAbout())};
  TROUPE_TRY(to.state, ReadEnum(from.getState(), JobState::kStopped, "a job's state"));
  TROUPE_RETURN_IF_ERROR(ReadAll(from.getProcesses(), to.processes));
  return to;
}

void Fill(wire::NodeStatus::Builder to, const NodeStatus& from) {
  to.setNode(static_cast<uint32_t>(from.node));
  to.setIncarnation(static_cast<uint64_t>(from.incarnation));
  to.setName(from.name);
  to.setHost(from.host);
  to.setState(static_cast<uint8_t>(from.state));
  to.setReason(from.reason);
  Fill(to.initCapacity(), from.capacity);
  to.setCoresUsed(from.cores_used);
  to.setMemoryUsed(from.memory_used);
  to.setProcesses(from.processes);
  to.setDiskUsed(from.disk_used);
  Fill(to.initAcceleratorsUsed(static_cast<unsigned>(from.accelerators_used.size())), from.accelerators_used);
  to.setSinceMs(from.since_ms);
}
absl::StatusOr<NodeStatus> Read(wire::NodeStatus::Reader from) {
  NodeStatus to{.node = NodeId{from.getNode()},
                .incarnation = Incarnation{from.getIncarnation()},
                .name = Read(from.getName()),
                .host = Read(from.getHost()),
                .reason = Read(from.getReason()),
                .capacity = Read(from.getCapacity()),
                .cores_used = from.getCoresUsed(),
                .memory_used = from.getMemoryUsed(),
                .processes = from.getProcesses(),
                .disk_used = from.getDiskUsed(),
                .accelerators_used = Read(from.getAcceleratorsUsed()),
                .since_ms = from.getSinceMs()};
  TROUPE_TRY(to.state, ReadEnum(from.getState(), NodeState::kLeft, "a node's state"));
  return to;
}

absl::StatusOr<Block> OnlyArray(const Frame& frame, const char* what) {
  if (frame.bulk.size() != 1) return absl::InvalidArgumentError(absl::StrCat(what, ": expected one array, the bytes"));
  return frame.bulk[0];
}

}   // namespace

Frame Codec<Report>::Encode(const Report& m) {
  return {kType,
          EncodeHead<wire::Report>([&](wire::Report::Builder to) {
            to.setNode(static_cast<uint32_t>(m.node));
            to.setIncarnation(static_cast<uint64_t>(m.incarnation));
            to.setNumber(m.number);
            to.setName(m.name);
            to.setHost(m.host);
            Fill(to.initPlaces(static_cast<unsigned>(m.places.size())), m.places);
            Fill(to.initCapacity(), m.capacity);
            to.setLeaving(m.leaving);
            to.setSeen(m.seen);
            to.setGeneration(m.generation);
            FillAll(to.initProcesses(static_cast<unsigned>(m.processes.size())), m.processes);
          }),
          {}};
}
absl::StatusOr<Report> Codec<Report>::Decode(const Frame& frame) {
  Report m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Report>(frame.head, [&](wire::Report::Reader from) {
    m.node = NodeId{from.getNode()};
    m.incarnation = Incarnation{from.getIncarnation()};
    m.number = from.getNumber();
    m.name = Read(from.getName());
    m.host = Read(from.getHost());
    m.places = Read(from.getPlaces());
    m.capacity = Read(from.getCapacity());
    m.leaving = from.getLeaving();
    m.seen = from.getSeen();
    m.generation = from.getGeneration();
    return ReadAll(from.getProcesses(), m.processes);
  }));
  return m;
}

Frame Codec<Orders>::Encode(const Orders& m) {
  return {kType,
          EncodeHead<wire::Orders>([&](wire::Orders::Builder to) {
            to.setVerdict(static_cast<uint8_t>(m.verdict));
            to.setGeneration(m.generation);
            to.setIncarnation(static_cast<uint64_t>(m.incarnation));
            to.setVersion(m.version);
            to.setUnchanged(m.unchanged);
            FillAll(to.initKeep(static_cast<unsigned>(m.keep.size())), m.keep);
            FillAll(to.initStart(static_cast<unsigned>(m.start.size())), m.start);
          }),
          {}};
}
absl::StatusOr<Orders> Codec<Orders>::Decode(const Frame& frame) {
  Orders m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Orders>(frame.head, [&](wire::Orders::Reader from) -> absl::Status {
    TROUPE_TRY(m.verdict, ReadEnum(from.getVerdict(), Orders::Verdict::kLeft, "a verdict"));
    m.generation = from.getGeneration();
    m.incarnation = Incarnation{from.getIncarnation()};
    m.version = from.getVersion();
    m.unchanged = from.getUnchanged();
    for (const auto id : from.getKeep()) m.keep.push_back(Read(id));
    for (const auto one : from.getStart()) {
      TROUPE_TRY(ProcessOrder order, Read(one));
      m.start.push_back(std::move(order));
    }
    return absl::OkStatus();
  }));
  return m;
}

Frame Codec<Claim>::Encode(const Claim& m) {
  return {kType,
          EncodeHead<wire::Claim>([&](wire::Claim::Builder to) {
            to.setJob(m.job);
            to.setAttempt(m.attempt);
            FillAll(to.initWanted(static_cast<unsigned>(m.wanted.size())), m.wanted);
            to.setSeen(m.seen);
            to.setNumber(m.number);
            Fill(to.initEndpoint(), m.endpoint);
            to.setSameEndpoint(m.same_endpoint);
          }),
          {}};
}
absl::StatusOr<Claim> Codec<Claim>::Decode(const Frame& frame) {
  Claim m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Claim>(frame.head, [&](wire::Claim::Reader from) -> absl::Status {
    m.job = from.getJob();
    m.attempt = from.getAttempt();
    for (const auto one : from.getWanted()) {
      TROUPE_TRY(ProcessOrder order, Read(one));
      m.wanted.push_back(std::move(order));
    }
    m.seen = from.getSeen();
    m.number = from.getNumber();
    m.endpoint = Read(from.getEndpoint());
    m.same_endpoint = from.getSameEndpoint();
    return absl::OkStatus();
  }));
  return m;
}

Frame Codec<Claimed>::Encode(const Claimed& m) {
  return {kType,
          EncodeHead<wire::Claimed>([&](wire::Claimed::Builder to) {
            to.setVersion(m.version);
            FillAll(to.initProcesses(static_cast<unsigned>(m.processes.size())), m.processes);
          }),
          {}};
}
absl::StatusOr<Claimed> Codec<Claimed>::Decode(const Frame& frame) {
  Claimed m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Claimed>(frame.head, [&](wire::Claimed::Reader from) {
    m.version = from.getVersion();
    return ReadAll(from.getProcesses(), m.processes);
  }));
  return m;
}

Frame Codec<Submit>::Encode(const Submit& m) {
  return {kType,
          EncodeHead<wire::Submit>([&](wire::Submit::Builder to) {
            to.setRequest(m.request);
            Fill(to.initSpec(), m.spec);
          }),
          {}};
}
absl::StatusOr<Submit> Codec<Submit>::Decode(const Frame& frame) {
  Submit m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Submit>(frame.head, [&](wire::Submit::Reader from) {
    m.request = Read(from.getRequest());
    m.spec = Read(from.getSpec());
  }));
  return m;
}

Frame Codec<Submitted>::Encode(const Submitted& m) {
  return {kType, EncodeHead<wire::Submitted>([&](wire::Submitted::Builder to) { to.setJob(m.job); }), {}};
}
absl::StatusOr<Submitted> Codec<Submitted>::Decode(const Frame& frame) {
  Submitted m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Submitted>(frame.head, [&](wire::Submitted::Reader from) { m.job = from.getJob(); }));
  return m;
}

Frame Codec<Inspect>::Encode(const Inspect& m) {
  return {kType,
          EncodeHead<wire::Inspect>([&](wire::Inspect::Builder to) {
            to.setJob(m.job);
            to.setSeen(m.seen);
          }),
          {}};
}
absl::StatusOr<Inspect> Codec<Inspect>::Decode(const Frame& frame) {
  Inspect m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Inspect>(frame.head, [&](wire::Inspect::Reader from) {
    m.job = from.getJob();
    m.seen = from.getSeen();
  }));
  return m;
}

Frame Codec<Inspected>::Encode(const Inspected& m) {
  return {kType,
          EncodeHead<wire::Inspected>([&](wire::Inspected::Builder to) {
            to.setVersion(m.version);
            to.setGeneration(m.generation);
            FillAll(to.initNodes(static_cast<unsigned>(m.nodes.size())), m.nodes);
            FillAll(to.initJobs(static_cast<unsigned>(m.jobs.size())), m.jobs);
            Fill(to.initEvents(static_cast<unsigned>(m.events.size())), m.events);
            FillAll(to.initQueues(static_cast<unsigned>(m.queues.size())), m.queues);
          }),
          {}};
}
absl::StatusOr<Inspected> Codec<Inspected>::Decode(const Frame& frame) {
  Inspected m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Inspected>(frame.head, [&](wire::Inspected::Reader from) -> absl::Status {
    m.version = from.getVersion();
    m.generation = from.getGeneration();
    TROUPE_RETURN_IF_ERROR(ReadAll(from.getNodes(), m.nodes));
    TROUPE_RETURN_IF_ERROR(ReadAll(from.getJobs(), m.jobs));
    m.events = Read(from.getEvents());
    for (const auto queue : from.getQueues()) m.queues.push_back(Read(queue));
    return absl::OkStatus();
  }));
  return m;
}

Frame Codec<StopJob>::Encode(const StopJob& m) {
  return {kType, EncodeHead<wire::StopJob>([&](wire::StopJob::Builder to) { to.setJob(m.job); }), {}};
}
absl::StatusOr<StopJob> Codec<StopJob>::Decode(const Frame& frame) {
  StopJob m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::StopJob>(frame.head, [&](wire::StopJob::Reader from) { m.job = from.getJob(); }));
  return m;
}

Frame Codec<DrainNode>::Encode(const DrainNode& m) {
  return {kType,
          EncodeHead<wire::DrainNode>([&](wire::DrainNode::Builder to) {
            to.setNode(m.node);
            to.setForce(m.force);
          }),
          {}};
}
absl::StatusOr<DrainNode> Codec<DrainNode>::Decode(const Frame& frame) {
  DrainNode m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::DrainNode>(frame.head, [&](wire::DrainNode::Reader from) {
    m.node = Read(from.getNode());
    m.force = from.getForce();
  }));
  return m;
}

Frame Codec<Done>::Encode(const Done&) {
  return {kType, EncodeHead<wire::Done>([](wire::Done::Builder) {}), {}};
}
absl::StatusOr<Done> Codec<Done>::Decode(const Frame&) {
  return Done{};
}

Frame Codec<ReadOutput>::Encode(const ReadOutput& m) {
  return {kType,
          EncodeHead<wire::ReadOutput>([&](wire::ReadOutput::Builder to) {
            Fill(to.initId(), m.id);
            to.setErrors(m.errors);
            to.setOffset(m.offset);
          }),
          {}};
}
absl::StatusOr<ReadOutput> Codec<ReadOutput>::Decode(const Frame& frame) {
  ReadOutput m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::ReadOutput>(frame.head, [&](wire::ReadOutput::Reader from) {
    m.id = Read(from.getId());
    m.errors = from.getErrors();
    m.offset = from.getOffset();
  }));
  return m;
}

Frame Codec<Output>::Encode(const Output& m) {
  return {kType, EncodeHead<wire::Output>([&](wire::Output::Builder to) { to.setOver(m.over); }), {m.bytes}};
}
absl::StatusOr<Output> Codec<Output>::Decode(const Frame& frame) {
  Output m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Output>(frame.head, [&](wire::Output::Reader from) { m.over = from.getOver(); }));
  TROUPE_TRY(m.bytes, OnlyArray(frame, "output"));
  return m;
}

Frame Codec<PutProgram>::Encode(const PutProgram& m) {
  return {kType,
          EncodeHead<wire::PutProgram>([&](wire::PutProgram::Builder to) {
            to.setHash(m.hash);
            to.setSize(m.size);
            to.setOffset(m.offset);
          }),
          {m.bytes}};
}
absl::StatusOr<PutProgram> Codec<PutProgram>::Decode(const Frame& frame) {
  PutProgram m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::PutProgram>(frame.head, [&](wire::PutProgram::Reader from) {
    m.hash = Read(from.getHash());
    m.size = from.getSize();
    m.offset = from.getOffset();
  }));
  TROUPE_TRY(m.bytes, OnlyArray(frame, "put program"));
  return m;
}

Frame Codec<ProgramPut>::Encode(const ProgramPut& m) {
  return {kType, EncodeHead<wire::ProgramPut>([&](wire::ProgramPut::Builder to) { to.setHave(m.have); }), {}};
}
absl::StatusOr<ProgramPut> Codec<ProgramPut>::Decode(const Frame& frame) {
  ProgramPut m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::ProgramPut>(frame.head, [&](wire::ProgramPut::Reader from) { m.have = from.getHave(); }));
  return m;
}

Frame Codec<GetProgram>::Encode(const GetProgram& m) {
  return {kType,
          EncodeHead<wire::GetProgram>([&](wire::GetProgram::Builder to) {
            to.setHash(m.hash);
            to.setOffset(m.offset);
          }),
          {}};
}
absl::StatusOr<GetProgram> Codec<GetProgram>::Decode(const Frame& frame) {
  GetProgram m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::GetProgram>(frame.head, [&](wire::GetProgram::Reader from) {
    m.hash = Read(from.getHash());
    m.offset = from.getOffset();
  }));
  return m;
}

Frame Codec<ProgramPart>::Encode(const ProgramPart& m) {
  return {kType, EncodeHead<wire::ProgramPart>([&](wire::ProgramPart::Builder to) { to.setSize(m.size); }), {m.bytes}};
}
absl::StatusOr<ProgramPart> Codec<ProgramPart>::Decode(const Frame& frame) {
  ProgramPart m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::ProgramPart>(frame.head, [&](wire::ProgramPart::Reader from) { m.size = from.getSize(); }));
  TROUPE_TRY(m.bytes, OnlyArray(frame, "program part"));
  return m;
}

Frame Codec<FindEndpoint>::Encode(const FindEndpoint& m) {
  return {kType, EncodeHead<wire::FindEndpoint>([&](wire::FindEndpoint::Builder to) { to.setJob(m.job); }), {}};
}
absl::StatusOr<FindEndpoint> Codec<FindEndpoint>::Decode(const Frame& frame) {
  FindEndpoint m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::FindEndpoint>(frame.head, [&](wire::FindEndpoint::Reader from) { m.job = from.getJob(); }));
  return m;
}

Frame Codec<Endpoint>::Encode(const Endpoint& m) {
  return {kType, EncodeHead<wire::Endpoint>([&](wire::Endpoint::Builder to) { Fill(to, m); }), {}};
}
absl::StatusOr<Endpoint> Codec<Endpoint>::Decode(const Frame& frame) {
  Endpoint m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Endpoint>(frame.head, [&](wire::Endpoint::Reader from) { m = Read(from); }));
  return m;
}

std::string EncodeRecord(const JobRecord& record) {
  const Block bytes = EncodeHead<wire::JobRecord>([&](wire::JobRecord::Builder to) {
    Fill(to.initStatus(), record.status);
    to.setRequest(record.request);
    auto nodes = to.initDriverNodes(static_cast<unsigned>(record.driver_nodes.size()));
    for (unsigned i = 0; i < nodes.size(); ++i) nodes.set(i, static_cast<uint32_t>(record.driver_nodes[i]));
  });
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
absl::StatusOr<JobRecord> DecodeJobRecord(const std::string& bytes) {
  JobRecord record;
  const absl::Status status = DecodeHead<wire::JobRecord>(Block::Copy(bytes.data(), bytes.size()), [&](wire::JobRecord::Reader from) -> absl::Status {
    TROUPE_TRY(record.status, Read(from.getStatus()));
    record.request = Read(from.getRequest());
    for (const uint32_t node : from.getDriverNodes()) record.driver_nodes.push_back(NodeId{node});
    return absl::OkStatus();
  });
  if (!status.ok()) return absl::DataLossError(absl::StrCat("a job's record: ", status.message()));
  return record;
}

std::string EncodeRecord(const NodeRecord& record) {
  const Block bytes = EncodeHead<wire::NodeRecord>([&](wire::NodeRecord::Builder to) {
    Fill(to.initStatus(), record.status);
    Fill(to.initPlaces(static_cast<unsigned>(record.places.size())), record.places);
  });
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
absl::StatusOr<NodeRecord> DecodeNodeRecord(const std::string& bytes) {
  NodeRecord record;
  const absl::Status status = DecodeHead<wire::NodeRecord>(Block::Copy(bytes.data(), bytes.size()), [&](wire::NodeRecord::Reader from) -> absl::Status {
    TROUPE_TRY(record.status, Read(from.getStatus()));
    record.places = Read(from.getPlaces());
    return absl::OkStatus();
  });
  if (!status.ok()) return absl::DataLossError(absl::StrCat("a node's record: ", status.message()));
  return record;
}

}   // namespace troupe
