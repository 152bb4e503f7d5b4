#include "ps/group/wire.h"

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/wire.h"
#include "ps/group/group.capnp.h"

namespace troupe {
namespace {

absl::Status CheckBulk(const Frame& frame, size_t blocks) {
  if (frame.bulk.size() == blocks) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("message has ", frame.bulk.size(), " arrays, expected ", blocks));
}

}   // namespace

Frame Codec<ReduceMessage>::Encode(const ReduceMessage& m) {
  return {kType,
          EncodeHead<wire::ReduceMessage>([&](wire::ReduceMessage::Builder to) {
            to.setGroup(m.group);
            to.setTable(m.table);
            to.setFrom(m.from);
            to.setTurn(m.turn);
            to.setChunk(m.chunk);
            to.setWhole(m.whole);
            to.setWriters(m.counts.writers);
            to.setNonzeros(m.counts.nonzeros);
          }),
          {m.values}};
}
absl::StatusOr<ReduceMessage> Codec<ReduceMessage>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 1));
  ReduceMessage m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::ReduceMessage>(frame.head, [&](wire::ReduceMessage::Reader from) {
    m.group = from.getGroup();
    m.table = from.getTable();
    m.from = from.getFrom();
    m.turn = from.getTurn();
    m.chunk = from.getChunk();
    m.whole = from.getWhole();
    m.counts = {.writers = from.getWriters(), .nonzeros = from.getNonzeros()};
  }));
  m.values = frame.bulk[0];
  return m;
}

Frame Codec<ReduceTaken>::Encode(const ReduceTaken& m) {
  return {kType, EncodeHead<wire::ReduceTaken>([&](wire::ReduceTaken::Builder to) { to.setTaken(m.taken); }), {}};
}
absl::StatusOr<ReduceTaken> Codec<ReduceTaken>::Decode(const Frame& frame) {
  ReduceTaken m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::ReduceTaken>(frame.head, [&](wire::ReduceTaken::Reader from) { m.taken = from.getTaken(); }));
  return m;
}

Frame Codec<AssignCopy>::Encode(const AssignCopy& m) {
  return {kType,
          EncodeHead<wire::AssignCopy>([&](wire::AssignCopy::Builder to) {
            to.setGroup(m.group);
            to.setTable(m.assign.table);
          }),
          {m.assign.keys, m.assign.values}};
}
absl::StatusOr<AssignCopy> Codec<AssignCopy>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 2));
  AssignCopy m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::AssignCopy>(frame.head, [&](wire::AssignCopy::Reader from) {
    m.group = from.getGroup();
    m.assign.table = from.getTable();
  }));
  m.assign.keys = frame.bulk[0];
  m.assign.values = frame.bulk[1];
  return m;
}

Frame Codec<Greeting>::Encode(const Greeting& m) {
  return {kType,
          EncodeHead<wire::Greeting>([&](wire::Greeting::Builder to) {
            to.setMember(m.member);
            auto incarnations = to.initIncarnations(static_cast<unsigned>(m.incarnations.size()));
            for (unsigned i = 0; i < incarnations.size(); ++i) incarnations.set(i, m.incarnations[i]);
            to.setOver(m.over);
            to.setInStep(m.in_step);
          }),
          {}};
}
absl::StatusOr<Greeting> Codec<Greeting>::Decode(const Frame& frame) {
  Greeting m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Greeting>(frame.head, [&](wire::Greeting::Reader from) {
    m.member = from.getMember();
    for (const uint64_t incarnation : from.getIncarnations()) m.incarnations.push_back(incarnation);
    m.over = from.getOver();
    m.in_step = from.getInStep();
  }));
  return m;
}

Frame Codec<FetchState>::Encode(const FetchState& m) {
  return {kType,
          EncodeHead<wire::FetchState>([&](wire::FetchState::Builder to) {
            to.setGroup(m.group);
            to.setAt(m.at);
          }),
          {}};
}
absl::StatusOr<FetchState> Codec<FetchState>::Decode(const Frame& frame) {
  FetchState m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::FetchState>(frame.head, [&](wire::FetchState::Reader from) {
    m.group = from.getGroup();
    m.at = from.getAt();
  }));
  return m;
}

Frame Codec<StatePiece>::Encode(const StatePiece& m) {
  return {kType,
          EncodeHead<wire::StatePiece>([&](wire::StatePiece::Builder to) {
            to.setOver(m.over);
            to.setTotal(m.total);
          }),
          {m.bytes}};
}
absl::StatusOr<StatePiece> Codec<StatePiece>::Decode(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(CheckBulk(frame, 1));
  StatePiece m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::StatePiece>(frame.head, [&](wire::StatePiece::Reader from) {
    m.over = from.getOver();
    m.total = from.getTotal();
  }));
  m.bytes = frame.bulk[0];
  return m;
}

}   // namespace troupe
