// Remote spawn: actor 0 of every node makes actors on request, by the factories that its program has registered.
#pragma once

#include <cstdint>
#include <string>

#include "actors/proxy.h"
#include "actors/system.h"
#include "caf/typed_actor.hpp"

namespace troupe {

/// Make an actor by `factory`, which runs as a compute job, and make it reachable as `actor`. Asked again for the same actor it changes nothing, and waits for
/// the first one's end.
struct Spawn {
  std::string factory;
  ActorId actor{};
  Block arguments;
};
/// reply to Spawn. Errors NotFound: unknown factory; and the factory's own.
struct Spawned {};

inline constexpr ActorId kSpawner{0};
using SpawnerActor = caf::typed_actor<caf::replies_to<Spawn>::with<Spawned>>;

template <>
struct Codec<Spawn> {
  static constexpr uint64_t kType = 0x9f2c4be1d0aa0201;
  static Frame Encode(const Spawn& message);
  static absl::StatusOr<Spawn> Decode(const Frame& frame);
};
template <>
struct Codec<Spawned> {
  static constexpr uint64_t kType = 0x9f2c4be1d0aa0202;
  static Frame Encode(const Spawned& message);
  static absl::StatusOr<Spawned> Decode(const Frame& frame);
};

/// Spawns the spawner and exposes it.
SpawnerActor StartSpawner(System& system);

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Spawn)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Spawned)
