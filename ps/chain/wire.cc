#include "ps/chain/wire.h"

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "actors/wire.h"
#include "ps/chain/chain.capnp.h"

namespace troupe {
namespace {

void Fill(wire::ChainMember::Builder to, const ChainMember& from) {
  to.setNode(static_cast<uint32_t>(from.node));
  to.setIncarnation(static_cast<uint64_t>(from.incarnation));
}
ChainMember Read(wire::ChainMember::Reader from) {
  return {NodeId{from.getNode()}, Incarnation{from.getIncarnation()}};
}

/// A message that says nothing.
template <class Root>
Block Nothing() {
  return EncodeHead<Root>([](typename Root::Builder) {});
}
template <class Root, class Message>
absl::StatusOr<Message> ReadNothing(const Frame& frame) {
  TROUPE_RETURN_IF_ERROR(DecodeHead<Root>(frame.head, [](typename Root::Reader) {}));
  return Message{};
}

}   // namespace

Frame Codec<Configure>::Encode(const Configure& m) {
  return {kType,
          EncodeHead<wire::Configure>([&](wire::Configure::Builder to) {
            to.setNumber(m.view.number);
            to.setEpoch(m.view.epoch);
            auto members = to.initMembers(static_cast<unsigned>(m.view.members.size()));
            for (unsigned i = 0; i < members.size(); ++i) Fill(members[i], m.view.members[i]);
            if (m.view.joining) Fill(to.initJoining(), *m.view.joining);
          }),
          {}};
}
absl::StatusOr<Configure> Codec<Configure>::Decode(const Frame& frame) {
  Configure m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Configure>(frame.head, [&](wire::Configure::Reader from) {
    m.view.number = from.getNumber();
    m.view.epoch = from.getEpoch();
    for (wire::ChainMember::Reader member : from.getMembers()) m.view.members.push_back(Read(member));
    if (from.hasJoining()) m.view.joining = Read(from.getJoining());
  }));
  return m;
}

Frame Codec<Configured>::Encode(const Configured& m) {
  return {kType, EncodeHead<wire::Configured>([&](wire::Configured::Builder to) { to.setJoined(m.joined); }), {}};
}
absl::StatusOr<Configured> Codec<Configured>::Decode(const Frame& frame) {
  Configured m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Configured>(frame.head, [&](wire::Configured::Reader from) { m.joined = from.getJoined(); }));
  return m;
}

Frame Codec<Forward>::Encode(const Forward& m) {
  Frame change = std::visit([](const auto& message) { return Codec<std::decay_t<decltype(message)>>::Encode(message); }, m.change);
  std::vector<Block> bulk = {std::move(change.head)};
  for (Block& block : change.bulk) bulk.push_back(std::move(block));
  return {kType, EncodeHead<wire::Forward>([&](wire::Forward::Builder to) {
            to.setEpoch(m.epoch);
            to.setNumber(m.number);
            to.setChange(change.type);
          }),
          std::move(bulk)};
}
absl::StatusOr<Forward> Codec<Forward>::Decode(const Frame& frame) {
  Forward m;
  if (frame.bulk.empty()) return absl::InvalidArgumentError("message has 0 arrays, expected the change's head");
  Frame change{0, frame.bulk.front(), {frame.bulk.begin() + 1, frame.bulk.end()}};
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Forward>(frame.head, [&](wire::Forward::Reader from) {
    m.epoch = from.getEpoch();
    m.number = from.getNumber();
    change.type = from.getChange();
  }));
  if (change.type == Codec<Push>::kType) {
    TROUPE_TRY(m.change, Codec<Push>::Decode(change));
  } else if (change.type == Codec<Assign>::kType) {
    TROUPE_TRY(m.change, Codec<Assign>::Decode(change));
  } else if (change.type == Codec<CompareRange>::kType) {
    TROUPE_TRY(m.change, Codec<CompareRange>::Decode(change));
  } else if (change.type == Codec<Freeze>::kType) {
    TROUPE_TRY(m.change, Codec<Freeze>::Decode(change));
  } else if (change.type == Codec<Release>::kType) {
    TROUPE_TRY(m.change, Codec<Release>::Decode(change));
  } else {
    return absl::InvalidArgumentError(absl::StrCat("message type ", change.type, " changes no shard"));
  }
  return m;
}

Frame Codec<CompareRange>::Encode(const CompareRange& m) {
  return {kType,
          EncodeHead<wire::CompareRange>([&](wire::CompareRange::Builder to) {
            to.setTable(m.table);
            to.setRange(m.range);
            to.setClocks(m.clocks);
            to.setRows(m.rows);
          }),
          {}};
}
absl::StatusOr<CompareRange> Codec<CompareRange>::Decode(const Frame& frame) {
  CompareRange m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::CompareRange>(frame.head, [&](wire::CompareRange::Reader from) {
    m = {.table = from.getTable(), .range = from.getRange(), .clocks = from.getClocks(), .rows = from.getRows()};
  }));
  return m;
}

Frame Codec<Forwarded>::Encode(const Forwarded& m) {
  return {kType, EncodeHead<wire::Forwarded>([&](wire::Forwarded::Builder to) { to.setThrough(m.through); }), {}};
}
absl::StatusOr<Forwarded> Codec<Forwarded>::Decode(const Frame& frame) {
  Forwarded m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Forwarded>(frame.head, [&](wire::Forwarded::Reader from) { m.through = from.getThrough(); }));
  return m;
}

Frame Codec<Align>::Encode(const Align& m) {
  return {kType,
          EncodeHead<wire::Align>([&](wire::Align::Builder to) {
            to.setEpoch(m.epoch);
            to.setNumber(m.number);
          }),
          {}};
}
absl::StatusOr<Align> Codec<Align>::Decode(const Frame& frame) {
  Align m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Align>(frame.head, [&](wire::Align::Reader from) {
    m.epoch = from.getEpoch();
    m.number = from.getNumber();
  }));
  return m;
}

Frame Codec<Aligned>::Encode(const Aligned&) {
  return {kType, Nothing<wire::Aligned>(), {}};
}
absl::StatusOr<Aligned> Codec<Aligned>::Decode(const Frame& frame) {
  return ReadNothing<wire::Aligned, Aligned>(frame);
}

Frame Codec<Adopt>::Encode(const Adopt& m) {
  return {kType,
          EncodeHead<wire::Adopt>([&](wire::Adopt::Builder to) {
            to.setView(m.of.view);
            to.setAttempt(m.of.attempt);
            to.setPart(m.of.part);
            to.setMore(m.of.more);
            to.setNumber(m.of.number);
            to.setPiece(m.piece);
            to.setPieces(m.pieces);
            to.setSection(m.section);
            to.setName(m.name);
            to.setSize(m.size);
            to.setOffset(m.offset);
          }),
          {m.bytes}};
}
absl::StatusOr<Adopt> Codec<Adopt>::Decode(const Frame& frame) {
  if (frame.bulk.size() != 1) return absl::InvalidArgumentError(absl::StrCat("message has ", frame.bulk.size(), " arrays, expected 1"));
  Adopt m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Adopt>(frame.head, [&](wire::Adopt::Reader from) {
    m.of = {.view = from.getView(), .attempt = from.getAttempt(), .part = from.getPart(), .more = from.getMore(), .number = from.getNumber()};
    m.piece = from.getPiece();
    m.pieces = from.getPieces();
    m.section = from.getSection();
    m.name = std::string(from.getName().cStr(), from.getName().size());
    m.size = from.getSize();
    m.offset = from.getOffset();
  }));
  m.bytes = frame.bulk[0];
  return m;
}

Frame Codec<Adopted>::Encode(const Adopted&) {
  return {kType, Nothing<wire::Adopted>(), {}};
}
absl::StatusOr<Adopted> Codec<Adopted>::Decode(const Frame& frame) {
  return ReadNothing<wire::Adopted, Adopted>(frame);
}

Frame Codec<SetRoutes>::Encode(const SetRoutes& m) {
  return {kType,
          EncodeHead<wire::SetRoutes>([&](wire::SetRoutes::Builder to) {
            auto routes = to.initRoutes(static_cast<unsigned>(m.routes.size()));
            for (unsigned i = 0; i < routes.size(); ++i) {
              routes[i].setShard(m.routes[i].shard);
              routes[i].setEpoch(m.routes[i].epoch);
              Fill(routes[i].initFirst(), m.routes[i].first);
              Fill(routes[i].initLast(), m.routes[i].last);
            }
          }),
          {}};
}
absl::StatusOr<SetRoutes> Codec<SetRoutes>::Decode(const Frame& frame) {
  SetRoutes m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::SetRoutes>(frame.head, [&](wire::SetRoutes::Reader from) {
    for (wire::ChainRoute::Reader route : from.getRoutes()) {
      m.routes.push_back({.shard = route.getShard(), .epoch = route.getEpoch(), .first = Read(route.getFirst()), .last = Read(route.getLast())});
    }
  }));
  return m;
}

Frame Codec<RoutesSet>::Encode(const RoutesSet&) {
  return {kType, Nothing<wire::RoutesSet>(), {}};
}
absl::StatusOr<RoutesSet> Codec<RoutesSet>::Decode(const Frame& frame) {
  return ReadNothing<wire::RoutesSet, RoutesSet>(frame);
}

}   // namespace troupe
