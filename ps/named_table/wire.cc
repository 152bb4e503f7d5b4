#include "ps/named_table/wire.h"

#include "actors/status.h"
#include "actors/wire.h"
#include "ps/named_table/named_table.capnp.h"

namespace troupe {
namespace {

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
template <class Root>
Block User(uint64_t user) {
  return EncodeHead<Root>([&](typename Root::Builder to) { to.setUser(user); });
}
template <class Root, class Message>
absl::StatusOr<Message> ReadUser(const Frame& frame) {
  Message m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<Root>(frame.head, [&](typename Root::Reader from) { m.user = from.getUser(); }));
  return m;
}

}   // namespace

Frame Codec<OpenTable>::Encode(const OpenTable& m) {
  return {kType, User<wire::OpenTable>(m.user), {}};
}
absl::StatusOr<OpenTable> Codec<OpenTable>::Decode(const Frame& frame) {
  return ReadUser<wire::OpenTable, OpenTable>(frame);
}

Frame Codec<TableOpened>::Encode(const TableOpened& m) {
  return {kType,
          EncodeHead<wire::TableOpened>([&](wire::TableOpened::Builder to) {
            to.setWriter(static_cast<uint32_t>(m.writer));
            to.setLeaseMs(static_cast<uint32_t>(m.lease.count()));
            to.setShard(kj::arrayPtr(reinterpret_cast<const kj::byte*>(m.shard.data()), m.shard.size()));
            auto shards = to.initShards(static_cast<unsigned>(m.shards.size()));
            for (unsigned i = 0; i < shards.size(); ++i) {
              shards[i].setNode(static_cast<uint32_t>(m.shards[i].node));
              shards[i].setActor(static_cast<uint32_t>(m.shards[i].actor));
              auto places = shards[i].initPlaces(static_cast<unsigned>(m.shards[i].places.size()));
              for (unsigned j = 0; j < places.size(); ++j) places.set(j, m.shards[i].places[j]);
            }
            to.setReplication(m.replication);
            auto routes = to.initRoutes(static_cast<unsigned>(m.routes.size()));
            for (unsigned i = 0; i < routes.size(); ++i) {
              const ChainRoute& route = m.routes[i];
              routes[i].setShard(route.shard);
              routes[i].setEpoch(route.epoch);
              routes[i].setFirst(static_cast<uint32_t>(route.first.node));
              routes[i].setFirstLife(static_cast<uint64_t>(route.first.incarnation));
              routes[i].setLast(static_cast<uint32_t>(route.last.node));
              routes[i].setLastLife(static_cast<uint64_t>(route.last.incarnation));
            }
          }),
          {}};
}
absl::StatusOr<TableOpened> Codec<TableOpened>::Decode(const Frame& frame) {
  TableOpened m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::TableOpened>(frame.head, [&](wire::TableOpened::Reader from) {
    m.writer = WriterId{from.getWriter()};
    m.lease = std::chrono::milliseconds(from.getLeaseMs());
    m.shard = Block::Copy(from.getShard().begin(), from.getShard().size());
    for (const auto shard : from.getShards()) {
      m.shards.push_back({.node = NodeId{shard.getNode()}, .actor = ActorId{shard.getActor()}, .places = {}});
      for (const auto place : shard.getPlaces()) m.shards.back().places.emplace_back(place.cStr(), place.size());
    }
    m.replication = from.getReplication();
    for (const auto route : from.getRoutes()) {
      m.routes.push_back({.shard = route.getShard(),
                          .epoch = route.getEpoch(),
                          .first = {NodeId{route.getFirst()}, Incarnation{route.getFirstLife()}},
                          .last = {NodeId{route.getLast()}, Incarnation{route.getLastLife()}}});
    }
  }));
  return m;
}

Frame Codec<CloseTable>::Encode(const CloseTable& m) {
  return {kType, User<wire::CloseTable>(m.user), {}};
}
absl::StatusOr<CloseTable> Codec<CloseTable>::Decode(const Frame& frame) {
  return ReadUser<wire::CloseTable, CloseTable>(frame);
}
Frame Codec<TableClosed>::Encode(const TableClosed&) {
  return {kType, Nothing<wire::TableClosed>(), {}};
}
absl::StatusOr<TableClosed> Codec<TableClosed>::Decode(const Frame& frame) {
  return ReadNothing<wire::TableClosed, TableClosed>(frame);
}
Frame Codec<DropTable>::Encode(const DropTable&) {
  return {kType, Nothing<wire::DropTable>(), {}};
}
absl::StatusOr<DropTable> Codec<DropTable>::Decode(const Frame& frame) {
  return ReadNothing<wire::DropTable, DropTable>(frame);
}
Frame Codec<TableDropping>::Encode(const TableDropping&) {
  return {kType, Nothing<wire::TableDropping>(), {}};
}
absl::StatusOr<TableDropping> Codec<TableDropping>::Decode(const Frame& frame) {
  return ReadNothing<wire::TableDropping, TableDropping>(frame);
}

}   // namespace troupe
