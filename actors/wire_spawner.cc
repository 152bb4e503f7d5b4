// How the spawner's messages travel, from the schema system.capnp.
#include "actors/spawner_actor.h"
#include "actors/status.h"
#include "actors/system.capnp.h"
#include "actors/wire.h"

namespace troupe {

Frame Codec<Spawn>::Encode(const Spawn& m) {
  return {kType,
          EncodeHead<wire::Spawn>([&](wire::Spawn::Builder to) {
            to.setFactory(m.factory);
            to.setActor(static_cast<uint32_t>(m.actor));
          }),
          {m.arguments}};
}
absl::StatusOr<Spawn> Codec<Spawn>::Decode(const Frame& frame) {
  if (frame.bulk.size() != 1) return absl::InvalidArgumentError("spawn: expected one array, the arguments");
  Spawn m;
  TROUPE_RETURN_IF_ERROR(DecodeHead<wire::Spawn>(frame.head, [&](wire::Spawn::Reader from) {
    m.factory = std::string(from.getFactory().cStr(), from.getFactory().size());
    m.actor = ActorId{from.getActor()};
  }));
  m.arguments = frame.bulk[0];
  return m;
}
Frame Codec<Spawned>::Encode(const Spawned&) {
  return {kType, EncodeHead<wire::Spawned>([](wire::Spawned::Builder) {}), {}};
}
absl::StatusOr<Spawned> Codec<Spawned>::Decode(const Frame&) {
  return Spawned{};
}

}   // namespace troupe
