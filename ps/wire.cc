#include "ps/wire.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/wire.h"
#include "ps/encoding/packing.h"
#include "ps/ps.capnp.h"

namespace troupe {
namespace {

absl::Status CheckBulk(const Frame& frame, size_t blocks) {
  if (frame.bulk.size() == blocks) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("message has ", frame.bulk.size(), " arrays, expected ", blocks));
}

void Fill(wire::Packing::Builder to, const Packing& from) {
  auto values = to.initValues(static_cast<unsigned>(from.values.size()));
  for (unsigned i = 0; i < values.size(); ++i) {
    values[i].setCode(static_cast<uint8_t>(from.values[i].code));
    values[i].setScale(from.values[i].scale);
    values[i].setFloats(from.values[i].floats);
  }
  auto ranges = to.initRanges(static_cast<unsigned>(from.ranges.size()));
  for (unsigned i = 0; i < ranges.size(); ++i) ranges.set(i, from.ranges[i]);
}
void Read(wire::Packing::Reader from, Packing& to) {
  for (auto run : from.getValues()) to.values.push_back({static_cast<ValueCode>(run.getCode()), run.getScale(), run.getFloats()});
  for (const uint32_t ranges : from.getRanges()) to.ranges.push_back(ranges);
}
/// What the head says of the message and of how its arrays are packed.
template <class Reader>
void ReadPacking(const Reader& from, Packing& to) {
  if (from.hasPacking()) Read(from.getPacking(), to);
}

std::string Text(capnp::Text::Reader text) {
  return {text.cStr(), text.size()};
}

template <class List, class T>
void FillList(List to, const std::vector<T>& from) {
  for (unsigned i = 0; i < to.size(); ++i) to.set(i, from[i]);
}
unsigned Size(const auto& container) {
  return static_cast<unsigned>(container.size());
}
void Fill(wire::FunctionCall::Builder to, const FunctionCall& from) {
  to.setFunction(from.function);
  FillList(to.initTables(Size(from.tables)), from.tables);
  auto numbers = to.initNumbers(Size(from.numbers));
  unsigned i = 0;
  for (const auto& [name, values] : from.numbers) {
    numbers[i].setName(name);
    FillList(numbers[i++].initValues(Size(values)), values);
  }
  auto words = to.initWords(Size(from.words));
  i = 0;
  for (const auto& [name, word] : from.words) {
    words[i].setName(name);
    words[i++].setWord(word);
  }
  FillList(to.initKeys(Size(from.keys)), from.keys);
  FillList(to.initValues(Size(from.values)), from.values);
}
void Read(wire::FunctionCall::Reader from, FunctionCall& to) {
  to.function = Text(from.getFunction());
  to.tables.clear();
  for (const uint32_t table : from.getTables()) to.tables.push_back(table);
  for (auto numbers : from.getNumbers()) {
    std::vector<double>& values = to.numbers[Text(numbers.getName())];
    values.clear();
    for (const double value : numbers.getValues()) values.push_back(value);
  }
  for (auto word : from.getWords()) to.words[Text(word.getName())] = Text(word.getWord());
  for (const uint64_t key : from.getKeys()) to.keys.push_back(key);
  for (const float value : from.getValues()) to.values.push_back(value);
}

void Fill(wire::Push::Builder to, const Push& from, const Packing& packing) {
  to.setWriter(static_cast<uint32_t>(from.writer));
  to.setRound(from.round);
  to.setPrevious(from.previous);
  to.setRoundOver(from.round_over);
  to.setWantsSnapshot(from.wants_snapshot);
  to.setChunk(from.chunk);
  to.setKeysHash(from.keys_hash);
  to.setKeysKept(from.keys_kept);
  if (!packing.empty()) Fill(to.initPacking(), packing);
  to.setAfter(from.after);
  to.setEpoch(from.epoch);
  to.setOrder(from.order);
  if (from.change != nullptr) Fill(to.initChange(), *from.change);
}
void Read(wire::Push::Reader from, Push& to, Packing& packing) {
  to.writer = WriterId{from.getWriter()};
  to.round = from.getRound();
  to.previous = from.getPrevious();
  to.round_over = from.getRoundOver();
  to.wants_snapshot = from.getWantsSnapshot();
  to.chunk = from.getChunk();
  to.keys_hash = from.getKeysHash();
  to.keys_kept = from.getKeysKept();
  ReadPacking(from, packing);
  to.after = from.getAfter();
  to.epoch = from.getEpoch();
  to.order = from.getOrder();
  if (!from.hasChange()) return;
  auto change = std::make_shared<FunctionCall>();
  Read(from.getChange(), *change);
  to.change = std::move(change);
}
void Fill(wire::Pull::Builder to, const Pull& from, const Packing& packing) {
  to.setWriter(static_cast<uint32_t>(from.writer));
  to.setRound(from.round);
  to.setPiece(from.piece);
  to.setTables(from.tables);
  to.setView(from.view);
  to.setEpoch(from.epoch);
  to.setAfter(from.after);
  to.setKeysHash(from.keys_hash);
  to.setKeysKept(from.keys_kept);
  to.setInPieces(from.in_pieces);
  if (!packing.empty()) Fill(to.initPacking(), packing);
}
void Read(wire::Pull::Reader from, Pull& to, Packing& packing) {
  to.writer = WriterId{from.getWriter()};
  to.round = from.getRound();
  to.piece = from.getPiece();
  to.tables = from.getTables();
  to.view = from.getView();
  to.after = from.getAfter();
  to.epoch = from.getEpoch();
  to.keys_hash = from.getKeysHash();
  to.keys_kept = from.getKeysKept();
  to.in_pieces = from.getInPieces();
  ReadPacking(from, packing);
}
void Fill(wire::Pulled::Builder to, const Pulled& from) {
  to.setNeedsKeys(from.needs_keys);
  to.setClock(from.clock);
  to.setMoved(from.moved);
  to.setPieces(static_cast<uint8_t>(from.pieces.size()));
  if (!from.packing.values.empty()) Fill(to.initPacking(), from.packing);
}
void Read(wire::Pulled::Reader from, Pulled& to) {
  to.needs_keys = from.getNeedsKeys();
  to.clock = from.getClock();
  to.moved = from.getMoved();
  to.pieces.resize(from.getPieces());
  ReadPacking(from, to.packing);
}
std::vector<Block> Values(const Pulled& from) {
  if (!from.pieces.empty()) return from.pieces;
  return {from.packing.values.empty() ? from.values : PackRuns(from.values, from.packing.values)};
}
/// After Read, which has said how many pieces there are.
absl::Status ReadValues(const Frame& frame, Pulled& to) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, std::max<size_t>(1, to.pieces.size())));
  if (!to.pieces.empty()) {
    to.pieces = frame.bulk;
    return absl::OkStatus();
  }
  to.values = frame.bulk[0];
  if (to.packing.values.empty()) return absl::OkStatus();
  TROUPE_TRY(to.values, UnpackRuns(frame.bulk[0], to.packing.values));
  return absl::OkStatus();
}
void Fill(wire::Pushed::Builder to, const Pushed& from) {
  to.setExpect(from.outcome == Pushed::Outcome::kExpect);
  to.setNeedKeys(from.outcome == Pushed::Outcome::kNeedKeys);
  to.setClock(from.clock);
  to.setStable(from.stable);
  to.setClosed(from.closed);
  to.setMoved(from.outcome == Pushed::Outcome::kMoved);
  to.setEpoch(from.epoch);
  to.setOrder(from.order);
}
void Read(wire::Pushed::Reader from, Pushed& to) {
  using enum Pushed::Outcome;
  to.outcome = from.getExpect() ? kExpect : from.getNeedKeys() ? kNeedKeys : from.getMoved() ? kMoved : kApplied;
  to.clock = from.getClock();
  to.stable = from.getStable();
  to.closed = from.getClosed();
  to.epoch = from.getEpoch();
  to.order = from.getOrder();
}

void Fill(wire::TableSpec::Builder to, const TableSpec& from) {
  to.setName(from.name);
  to.setWidth(from.width);
  to.setDense(from.rows.has_value());
  to.setRows(from.rows.value_or(0));
  to.setRule(from.rule);
  auto options = to.initRuleOptions(static_cast<unsigned>(from.rule_options.size()));
  unsigned i = 0;
  for (const auto& [name, value] : from.rule_options) {
    options[i].setName(name);
    options[i++].setValue(value);
  }
  to.setL1(from.l1);
  to.setL2(from.l2);
  to.setWeightDecay(from.weight_decay);
  to.setPenalisedFrom(from.penalised_from);
  to.setSum(from.combine == TableSpec::Combine::kSum);
  to.setRanges(from.ranges);
  to.setInitKind(static_cast<uint8_t>(from.init.kind));
  to.setInitScale(from.init.scale);
  to.setInitSeed(from.init.seed);
  to.setSchedule(ToString(from.schedule));
  to.setClipValue(from.clip_value);
  to.setClipNorm(from.clip_norm);
  to.setNonFinite(static_cast<uint8_t>(from.non_finite));
  to.setStalenessScale(from.staleness_scale);
  to.setDelayCompensation(from.delay_compensation);
  to.setEncoding(ToString(from.encoding));
  to.setAdmitAfter(from.limits.admit_after);
  to.setTtl(from.limits.ttl);
  to.setRowsMax(from.limits.rows_max);
  to.setMemoryMax(from.limits.memory_max);
  to.setBranchOf(from.branch_of);
}
absl::Status Read(wire::TableSpec::Reader from, TableSpec& to) {
  to.name = Text(from.getName());
  to.width = from.getWidth();
  if (from.getDense()) to.rows = from.getRows();
  to.rule = Text(from.getRule());
  for (auto option : from.getRuleOptions()) to.rule_options[Text(option.getName())] = option.getValue();
  to.l1 = from.getL1();
  to.l2 = from.getL2();
  to.weight_decay = from.getWeightDecay();
  to.penalised_from = from.getPenalisedFrom();
  to.combine = from.getSum() ? TableSpec::Combine::kSum : TableSpec::Combine::kMean;
  to.ranges = from.getRanges();
  if (from.getInitKind() > static_cast<uint8_t>(RowInit::Kind::kNormal) || from.getNonFinite() > static_cast<uint8_t>(NonFinite::kClip)) {
    return absl::InvalidArgumentError(absl::StrCat("table '", to.name, "': of a later version"));
  }
  to.init = {static_cast<RowInit::Kind>(from.getInitKind()), from.getInitScale(), from.getInitSeed()};
  TROUPE_TRY(to.schedule, ParseSchedule({from.getSchedule().cStr(), from.getSchedule().size()}));
  to.clip_value = from.getClipValue();
  to.clip_norm = from.getClipNorm();
  to.non_finite = static_cast<NonFinite>(from.getNonFinite());
  to.staleness_scale = from.getStalenessScale();
  to.delay_compensation = from.getDelayCompensation();
  TROUPE_TRY(to.encoding, ParseEncoding({from.getEncoding().cStr(), from.getEncoding().size()}));
  to.limits = {.admit_after = from.getAdmitAfter(), .ttl = from.getTtl(), .rows_max = from.getRowsMax(), .memory_max = from.getMemoryMax()};
  to.branch_of = Text(from.getBranchOf());
  return absl::OkStatus();
}

}   // namespace

Frame Codec<Push>::Encode(const Push& m) {
  Packed packed = Pack(m);
  return {kType, EncodeHead<wire::Push>([&](wire::Push::Builder to) { Fill(to, m, packed.packing); }), {packed.parts, packed.keys, packed.values}};
}
absl::StatusOr<Push> Codec<Push>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 3));
  Push m;
  Packed packed{frame.bulk[0], frame.bulk[1], frame.bulk[2], {}};
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Push>(frame.head, [&](wire::Push::Reader from) { Read(from, m, packed.packing); }));
  TROUPE_RETURN_IF_ERROR(Unpack(packed, m));
  return m;
}

Frame Codec<Pushed>::Encode(const Pushed& m) {
  return {kType, EncodeHead<wire::Pushed>([&](wire::Pushed::Builder to) { Fill(to, m); }), {}};
}
absl::StatusOr<Pushed> Codec<Pushed>::Decode(const Frame& frame) {
  Pushed m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Pushed>(frame.head, [&](wire::Pushed::Reader from) { Read(from, m); }));
  return m;
}

Frame Codec<Pull>::Encode(const Pull& m) {
  Packed packed = Pack(m);
  return {kType, EncodeHead<wire::Pull>([&](wire::Pull::Builder to) { Fill(to, m, packed.packing); }), {packed.parts, packed.keys}};
}
absl::StatusOr<Pull> Codec<Pull>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 2));
  Pull m;
  Packed packed{frame.bulk[0], frame.bulk[1], {}, {}};
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Pull>(frame.head, [&](wire::Pull::Reader from) { Read(from, m, packed.packing); }));
  TROUPE_RETURN_IF_ERROR(Unpack(packed, m));
  return m;
}

Frame Codec<Pulled>::Encode(const Pulled& m) {
  return {kType, EncodeHead<wire::Pulled>([&](wire::Pulled::Builder to) { Fill(to, m); }), Values(m)};
}
absl::StatusOr<Pulled> Codec<Pulled>::Decode(const Frame& frame) {
  Pulled m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Pulled>(frame.head, [&](wire::Pulled::Reader from) { Read(from, m); }));
  TROUPE_RETURN_IF_ERROR(ReadValues(frame, m));
  return m;
}

Frame Codec<PushPull>::Encode(const PushPull& m) {
  Packed push = Pack(m.push), pull = Pack(m.pull);
  return {kType,
          EncodeHead<wire::PushPull>([&](wire::PushPull::Builder to) {
            Fill(to.initPush(), m.push, push.packing);
            Fill(to.initPull(), m.pull, pull.packing);
          }),
          {push.parts, push.keys, push.values, pull.parts, pull.keys}};
}
absl::StatusOr<PushPull> Codec<PushPull>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 5));
  PushPull m;
  Packed push{frame.bulk[0], frame.bulk[1], frame.bulk[2], {}}, pull{frame.bulk[3], frame.bulk[4], {}, {}};
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::PushPull>(frame.head, [&](wire::PushPull::Reader from) {
    Read(from.getPush(), m.push, push.packing);
    Read(from.getPull(), m.pull, pull.packing);
  }));
  TROUPE_RETURN_IF_ERROR(Unpack(push, m.push));
  TROUPE_RETURN_IF_ERROR(Unpack(pull, m.pull));
  return m;
}

Frame Codec<PushPulled>::Encode(const PushPulled& m) {
  return {kType, EncodeHead<wire::PushPulled>([&](wire::PushPulled::Builder to) {
            Fill(to.initPushed(), m.pushed);
            Fill(to.initPulled(), m.pulled);
          }),
          Values(m.pulled)};
}
absl::StatusOr<PushPulled> Codec<PushPulled>::Decode(const Frame& frame) {
  PushPulled m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::PushPulled>(frame.head, [&](wire::PushPulled::Reader from) {
    Read(from.getPushed(), m.pushed);
    Read(from.getPulled(), m.pulled);
  }));
  TROUPE_RETURN_IF_ERROR(ReadValues(frame, m.pulled));
  return m;
}

Frame Codec<Open>::Encode(const Open& m) {
  return {kType,
          EncodeHead<wire::Open>([&](wire::Open::Builder to) {
            to.setWriter(static_cast<uint32_t>(m.writer));
            to.setThrough(m.through);
          }),
          {}};
}
absl::StatusOr<Open> Codec<Open>::Decode(const Frame& frame) {
  Open m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Open>(frame.head, [&](wire::Open::Reader from) {
    m.writer = WriterId{from.getWriter()};
    m.through = from.getThrough();
  }));
  return m;
}

Frame Codec<Opened>::Encode(const Opened& m) {
  return {kType,
          EncodeHead<wire::Opened>([&](wire::Opened::Builder to) {
            to.setClock(m.clock);
            to.setStable(m.stable);
            to.setEpoch(m.epoch);
          }),
          {m.applied}};
}
absl::StatusOr<Opened> Codec<Opened>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 1));
  Opened m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Opened>(frame.head, [&](wire::Opened::Reader from) {
    m.clock = from.getClock();
    m.stable = from.getStable();
    m.epoch = from.getEpoch();
  }));
  m.applied = frame.bulk[0];
  if (!m.applied.IsArrayOf<uint64_t>()) return absl::InvalidArgumentError("opened: array is cut or not aligned");
  return m;
}

Frame Codec<Assign>::Encode(const Assign& m) {
  return {kType, EncodeHead<wire::Assign>([&](wire::Assign::Builder to) { to.setTable(m.table); }), {m.keys, m.values}};
}
absl::StatusOr<Assign> Codec<Assign>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 2));
  Assign m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Assign>(frame.head, [&](wire::Assign::Reader from) { m.table = from.getTable(); }));
  m.keys = frame.bulk[0];
  m.values = frame.bulk[1];
  return m;
}

Frame Codec<Assigned>::Encode(const Assigned&) {
  return {kType, EncodeHead<wire::Assigned>([](wire::Assigned::Builder) {}), {}};
}
absl::StatusOr<Assigned> Codec<Assigned>::Decode(const Frame&) {
  return Assigned{};
}

Frame Codec<TakeSnapshot>::Encode(const TakeSnapshot& m) {
  return {kType,
          EncodeHead<wire::TakeSnapshot>([&](wire::TakeSnapshot::Builder to) {
            to.setUri(m.uri);
            to.setAt(m.at);
            to.setInParts(m.in_parts);
            to.setBase(m.base);
          }),
          {}};
}
absl::StatusOr<TakeSnapshot> Codec<TakeSnapshot>::Decode(const Frame& frame) {
  TakeSnapshot m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::TakeSnapshot>(frame.head, [&](wire::TakeSnapshot::Reader from) {
    m.uri = Text(from.getUri());
    m.at = from.getAt();
    m.in_parts = from.getInParts();
    m.base = Text(from.getBase());
  }));
  return m;
}

Frame Codec<SnapshotTaken>::Encode(const SnapshotTaken& m) {
  return {kType,
          EncodeHead<wire::SnapshotTaken>([&](wire::SnapshotTaken::Builder to) {
            to.setClock(m.clock);
            to.setBytes(m.bytes);
            auto files = to.initFiles(static_cast<unsigned>(m.files.size()));
            for (unsigned i = 0; i < files.size(); ++i) files.set(i, m.files[i]);
          }),
          {}};
}
absl::StatusOr<SnapshotTaken> Codec<SnapshotTaken>::Decode(const Frame& frame) {
  SnapshotTaken m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::SnapshotTaken>(frame.head, [&](wire::SnapshotTaken::Reader from) {
    m.clock = from.getClock();
    m.bytes = from.getBytes();
    for (const auto& file : from.getFiles()) m.files.push_back(Text(file));
  }));
  return m;
}

Frame Codec<SaveRows>::Encode(const SaveRows& m) {
  Frame frame{kType,
              EncodeHead<wire::SaveRows>([&](wire::SaveRows::Builder to) {
                to.setUri(m.uri);
                to.setAt(m.at);
                auto assigned = to.initAssigned(static_cast<unsigned>(m.assigned.size()));
                for (unsigned i = 0; i < assigned.size(); ++i) assigned.set(i, m.assigned[i].table);
              }),
              {}};
  for (const Assign& assign : m.assigned) frame.bulk.insert(frame.bulk.end(), {assign.keys, assign.values});
  return frame;
}
absl::StatusOr<SaveRows> Codec<SaveRows>::Decode(const Frame& frame) {
  SaveRows m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::SaveRows>(frame.head, [&](wire::SaveRows::Reader from) {
    m.uri = Text(from.getUri());
    m.at = from.getAt();
    for (uint32_t table : from.getAssigned()) m.assigned.push_back({.table = table, .keys = {}, .values = {}});
  }));
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 2 * m.assigned.size()));
  for (size_t i = 0; i < m.assigned.size(); ++i) {
    m.assigned[i].keys = frame.bulk[2 * i];
    m.assigned[i].values = frame.bulk[2 * i + 1];
  }
  return m;
}

Frame Codec<RowsSaved>::Encode(const RowsSaved& m) {
  return {kType,
          EncodeHead<wire::RowsSaved>([&](wire::RowsSaved::Builder to) {
            to.setRows(m.rows);
            to.setNonzeros(m.nonzeros);
            to.setLate(m.late);
            to.setDropped(m.dropped);
            to.setEvicted(m.evicted);
            to.setEpoch(m.epoch);
          }),
          {}};
}
absl::StatusOr<RowsSaved> Codec<RowsSaved>::Decode(const Frame& frame) {
  RowsSaved m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::RowsSaved>(frame.head, [&](wire::RowsSaved::Reader from) {
    m.rows = from.getRows();
    m.nonzeros = from.getNonzeros();
    m.late = from.getLate();
    m.dropped = from.getDropped();
    m.evicted = from.getEvicted();
    m.epoch = from.getEpoch();
  }));
  return m;
}

Frame Codec<Call>::Encode(const Call& m) {
  Frame frame{kType,
              EncodeHead<wire::Call>([&](wire::Call::Builder to) {
                Fill(to.initCall(), m.call);
                to.setAt(m.at);
                to.setView(m.view);
                auto assigned = to.initAssigned(static_cast<unsigned>(m.assigned.size()));
                for (unsigned i = 0; i < assigned.size(); ++i) assigned.set(i, m.assigned[i].table);
              }),
              {}};
  for (const Assign& assign : m.assigned) frame.bulk.insert(frame.bulk.end(), {assign.keys, assign.values});
  return frame;
}
absl::StatusOr<Call> Codec<Call>::Decode(const Frame& frame) {
  Call m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Call>(frame.head, [&](wire::Call::Reader from) {
    Read(from.getCall(), m.call);
    m.at = from.getAt();
    m.view = from.getView();
    for (uint32_t table : from.getAssigned()) m.assigned.push_back({.table = table, .keys = {}, .values = {}});
  }));
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 2 * m.assigned.size()));
  for (size_t i = 0; i < m.assigned.size(); ++i) {
    m.assigned[i].keys = frame.bulk[2 * i];
    m.assigned[i].values = frame.bulk[2 * i + 1];
  }
  return m;
}

Frame Codec<Called>::Encode(const Called& m) {
  return {kType, EncodeHead<wire::Called>([&](wire::Called::Builder to) { to.setEpoch(m.epoch); }), {m.parts, m.keys, m.numbers}};
}
absl::StatusOr<Called> Codec<Called>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 3));
  Called m{frame.bulk[0], frame.bulk[1], frame.bulk[2], 0};
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Called>(frame.head, [&](wire::Called::Reader from) { m.epoch = from.getEpoch(); }));
  return m;
}

Frame Codec<Prepare>::Encode(const Prepare& m) {
  return {kType,
          EncodeHead<wire::Prepare>([&](wire::Prepare::Builder to) {
            to.setCut(m.cut);
            to.setHoldMs(static_cast<uint32_t>(m.hold.count()));
          }),
          {}};
}
absl::StatusOr<Prepare> Codec<Prepare>::Decode(const Frame& frame) {
  Prepare m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Prepare>(frame.head, [&](wire::Prepare::Reader from) {
    m.cut = from.getCut();
    m.hold = std::chrono::milliseconds(from.getHoldMs());
  }));
  return m;
}

Frame Codec<Prepared>::Encode(const Prepared& m) {
  return {kType, EncodeHead<wire::Prepared>([&](wire::Prepared::Builder to) { to.setEpoch(m.epoch); }), {m.clocks}};
}
absl::StatusOr<Prepared> Codec<Prepared>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 1));
  Prepared m{frame.bulk[0], 0};
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Prepared>(frame.head, [&](wire::Prepared::Reader from) { m.epoch = from.getEpoch(); }));
  return m;
}

Frame Codec<Freeze>::Encode(const Freeze& m) {
  return {kType,
          EncodeHead<wire::Freeze>([&](wire::Freeze::Builder to) {
            to.setCut(m.cut);
            to.setWaitMs(static_cast<uint32_t>(m.wait.count()));
            to.setLeaseMs(static_cast<uint32_t>(m.lease.count()));
          }),
          {m.clocks}};
}
absl::StatusOr<Freeze> Codec<Freeze>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 1));
  Freeze m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Freeze>(frame.head, [&](wire::Freeze::Reader from) {
    m.cut = from.getCut();
    m.wait = std::chrono::milliseconds(from.getWaitMs());
    m.lease = std::chrono::milliseconds(from.getLeaseMs());
  }));
  m.clocks = frame.bulk[0];
  return m;
}

Frame Codec<Frozen>::Encode(const Frozen&) {
  return {kType, EncodeHead<wire::Frozen>([](wire::Frozen::Builder) {}), {}};
}
absl::StatusOr<Frozen> Codec<Frozen>::Decode(const Frame&) {
  return Frozen{};
}

Frame Codec<Release>::Encode(const Release& m) {
  return {kType, EncodeHead<wire::Release>([&](wire::Release::Builder to) { to.setCut(m.cut); }), {}};
}
absl::StatusOr<Release> Codec<Release>::Decode(const Frame& frame) {
  Release m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Release>(frame.head, [&](wire::Release::Reader from) { m.cut = from.getCut(); }));
  return m;
}

Frame Codec<Released>::Encode(const Released&) {
  return {kType, EncodeHead<wire::Released>([](wire::Released::Builder) {}), {}};
}
absl::StatusOr<Released> Codec<Released>::Decode(const Frame&) {
  return Released{};
}

Frame Codec<AskRanges>::Encode(const AskRanges& m) {
  return {kType, EncodeHead<wire::AskRanges>([&](wire::AskRanges::Builder to) { to.setLoads(m.loads); }), {}};
}
absl::StatusOr<AskRanges> Codec<AskRanges>::Decode(const Frame& frame) {
  AskRanges m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::AskRanges>(frame.head, [&](wire::AskRanges::Reader from) { m.loads = from.getLoads(); }));
  return m;
}

Frame Codec<Ranges>::Encode(const Ranges& m) {
  return {kType, EncodeHead<wire::Ranges>([&](wire::Ranges::Builder to) { to.setInDoubt(m.in_doubt); }), {m.map, m.loads}};
}
absl::StatusOr<Ranges> Codec<Ranges>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 2));
  Ranges m{frame.bulk[0], frame.bulk[1], 0};
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Ranges>(frame.head, [&](wire::Ranges::Reader from) { m.in_doubt = from.getInDoubt(); }));
  if (!m.loads.IsArrayOf<RangeLoad>()) return absl::InvalidArgumentError("ranges: array is cut or not aligned");
  return m;
}

Frame Codec<Stand>::Encode(const Stand& m) {
  return {kType,
          EncodeHead<wire::Stand>([&](wire::Stand::Builder to) {
            to.setCut(m.cut);
            to.setUri(m.uri);
            to.setWaitMs(static_cast<uint32_t>(m.wait.count()));
            to.setHoldMs(static_cast<uint32_t>(m.hold.count()));
          }),
          {m.clocks, m.map}};
}
absl::StatusOr<Stand> Codec<Stand>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 2));
  Stand m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Stand>(frame.head, [&](wire::Stand::Reader from) {
    m.cut = from.getCut();
    m.uri = Text(from.getUri());
    m.wait = std::chrono::milliseconds(from.getWaitMs());
    m.hold = std::chrono::milliseconds(from.getHoldMs());
  }));
  m.clocks = frame.bulk[0];
  m.map = frame.bulk[1];
  return m;
}

Frame Codec<Standing>::Encode(const Standing&) {
  return {kType, EncodeHead<wire::Standing>([](wire::Standing::Builder) {}), {}};
}
absl::StatusOr<Standing> Codec<Standing>::Decode(const Frame&) {
  return Standing{};
}

Frame Codec<TakeIn>::Encode(const TakeIn& m) {
  return {kType,
          EncodeHead<wire::TakeIn>([&](wire::TakeIn::Builder to) {
            to.setCut(m.cut);
            auto uris = to.initUris(Size(m.uris));
            for (unsigned i = 0; i < uris.size(); ++i) uris.set(i, m.uris[i]);
          }),
          {}};
}
absl::StatusOr<TakeIn> Codec<TakeIn>::Decode(const Frame& frame) {
  TakeIn m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::TakeIn>(frame.head, [&](wire::TakeIn::Reader from) {
    m.cut = from.getCut();
    for (auto uri : from.getUris()) m.uris.push_back(Text(uri));
  }));
  return m;
}

Frame Codec<TakenIn>::Encode(const TakenIn&) {
  return {kType, EncodeHead<wire::TakenIn>([](wire::TakenIn::Builder) {}), {}};
}
absl::StatusOr<TakenIn> Codec<TakenIn>::Decode(const Frame&) {
  return TakenIn{};
}

Frame Codec<Settle>::Encode(const Settle& m) {
  return {kType,
          EncodeHead<wire::Settle>([&](wire::Settle::Builder to) {
            to.setCut(m.cut);
            to.setEpoch(m.epoch);
            to.setCommit(m.commit);
          }),
          {}};
}
absl::StatusOr<Settle> Codec<Settle>::Decode(const Frame& frame) {
  Settle m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Settle>(frame.head, [&](wire::Settle::Reader from) {
    m.cut = from.getCut();
    m.epoch = from.getEpoch();
    m.commit = from.getCommit();
  }));
  return m;
}

Frame Codec<Settled>::Encode(const Settled&) {
  return {kType, EncodeHead<wire::Settled>([](wire::Settled::Builder) {}), {}};
}
absl::StatusOr<Settled> Codec<Settled>::Decode(const Frame&) {
  return Settled{};
}

Block EncodeFunctionCall(const FunctionCall& call) {
  return EncodeHead<wire::FunctionCall>([&](wire::FunctionCall::Builder to) { Fill(to, call); });
}
absl::StatusOr<FunctionCall> DecodeFunctionCall(const Block& bytes) {
  FunctionCall call;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::FunctionCall>(bytes, [&](wire::FunctionCall::Reader from) { Read(from, call); }));
  return call;
}

Block EncodeShardJob(const ShardActorOptions& options) {
  return EncodeHead<wire::ShardJob>([&](wire::ShardJob::Builder to) {
    const ShardOptions& shard = options.shard;
    auto tables = to.initTables(static_cast<unsigned>(shard.tables.size()));
    for (unsigned i = 0; i < tables.size(); ++i) {
      Fill(tables[i], shard.tables[i]);
    }
    to.setShard(shard.shard);
    to.setShards(shard.shards);
    to.setWriters(shard.writers);
    to.setConsistency(ToString(shard.consistency));
    to.setStableWhenApplied(shard.stable_when_applied);
    to.setSnapshotUri(options.snapshot_uri);
    to.setSnapshotIntervalMs(static_cast<uint32_t>(options.snapshot_interval.count()));
    to.setRestoreUri(options.restore_uri);
    to.setPullWaitMaxMs(static_cast<uint32_t>(options.pull_wait_max.count()));
    to.setWritersGoOn(shard.writers_go_on);
    to.setLogFolder(options.log_folder);
    to.setLogBytesMax(options.log_bytes_max);
    to.setTierFolder(options.tier_folder);
    to.setCatchUpMaxMs(static_cast<uint32_t>(options.catch_up_max.count()));
  });
}

absl::StatusOr<ShardActorOptions> DecodeShardJob(const Block& arguments) {
  ShardActorOptions options;
  std::string consistency;
  absl::Status status;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::ShardJob>(arguments, [&](wire::ShardJob::Reader from) {
    for (wire::TableSpec::Reader table : from.getTables()) {
      options.shard.tables.emplace_back();
      status.Update(Read(table, options.shard.tables.back()));
    }
    options.shard.shard = from.getShard();
    options.shard.shards = from.getShards();
    options.shard.writers = from.getWriters();
    consistency = Text(from.getConsistency());
    options.shard.stable_when_applied = from.getStableWhenApplied();
    options.snapshot_uri = Text(from.getSnapshotUri());
    options.snapshot_interval = std::chrono::milliseconds(from.getSnapshotIntervalMs());
    options.restore_uri = Text(from.getRestoreUri());
    options.pull_wait_max = std::chrono::milliseconds(from.getPullWaitMaxMs());
    options.shard.writers_go_on = from.getWritersGoOn();
    options.log_folder = Text(from.getLogFolder());
    options.log_bytes_max = from.getLogBytesMax();
    options.tier_folder = Text(from.getTierFolder());
    options.catch_up_max = std::chrono::milliseconds(from.getCatchUpMaxMs());
  }));
  TROUPE_RETURN_IF_ERROR(status);
  TROUPE_TRY(options.shard.consistency, ParseConsistencies(consistency));
  KeepTables(options.shard.consistency, options.shard.tables);
  return options;
}

}   // namespace troupe
