// A member of a chain (chain_view.h): the actor that its shard's clients, the members beside it and the chain's keeper talk to. Around it is an ordinary shard
// actor, which knows nothing of chains: the first member hands every change to its shard and to the next member, in one order, and answers when the last one
// has it; the last one answers whoever reads. Shards are functions of what they are told in its order, so that all of them are equal.
// Where shards log what they are told (ShardActorOptions::log_folder: named tables), the last one does, and acknowledges what is in its log; the others log
// nothing (docs/decisions/0039).
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "caf/allowed_unsafe_message_type.hpp"
#include "ps/chain/messages.h"
#include "ps/shard_actor.h"

namespace troupe {

struct ChainMemberOptions {
  /// `snapshot_uri` is the beginning of the names of its files: "URI.EPOCH" is written by the last member of each epoch, and whoever begins the chain anew
  /// begins with the newest of them, else with `restore_uri`. Empty: there are none.
  ShardActorOptions shard;
  ChainMember self;
  /// Of requests to other members.
  std::chrono::milliseconds request_timeout{10'000};
  std::chrono::milliseconds retry{20};
  /// The first member looks so often whether the next ones have the same rows, one range after the other; 0: never.
  std::chrono::milliseconds compare_every{1'000};
  /// A state for one that joins is given in slices of about so many bytes, each of which is serialised while nobody is served.
  uint64_t slice_bytes = 8 << 20;
  /// Changes that are kept for it meanwhile; beyond them writers wait until it has caught up.
  uint64_t backlog_bytes_max = 256 << 20;
  /// Called in the actor's context: this member must not go on. Its rows are not those of the first one, or it cannot take in what the others have. Null: it
  /// goes on.
  std::function<void(const std::string& what)> failed = nullptr;
  /// It takes and answers nothing beyond the last GrantLease; false: it needs none (whoever decides sees each end).
  bool leased = false;
};

/// InvalidArgument: tables make up for delays, which only the member knows that was read; there are backup workers, or only some tables go by rounds, so that
/// it makes a difference when a round is applied; what is logged cannot be (ValidateLog).
absl::Status ValidateChain(const ShardActorOptions& shard);

/// Spawns it, exposed as kChainPeerActor; to clients it is reachable when it has a place in a chain (ChainActorId). Errors as ValidateChain.
absl::StatusOr<ChainMemberActor> SpawnChainMember(System& system, const ChainMemberOptions& options);

/// To the actor itself, within its process: it may serve until then.
struct GrantLease {
  std::chrono::steady_clock::time_point until;
};

/// Snapshots of a chain with several members are for the loss of all of them: this many times as far apart as those of a single shard.
inline constexpr int kChainSnapshotFactor = 10;

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::GrantLease)
