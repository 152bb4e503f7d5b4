// How the shard's messages travel: a Codec each, from the schema ps.capnp.
#pragma once

#include "absl/status/statusor.h"
#include "actors/proxy.h"
#include "ps/messages.h"
#include "ps/shard_actor.h"

namespace troupe {

#define TROUPE_CODEC(Message, type)                            \
  template <>                                                  \
  struct Codec<Message> {                                      \
    static constexpr uint64_t kType = type;                    \
    static Frame Encode(const Message& message);               \
    static absl::StatusOr<Message> Decode(const Frame& frame); \
  }

TROUPE_CODEC(Push, 0xa8b1f3b0c5d20101);
TROUPE_CODEC(Pushed, 0xa8b1f3b0c5d20102);
TROUPE_CODEC(Pull, 0xa8b1f3b0c5d20103);
TROUPE_CODEC(Pulled, 0xa8b1f3b0c5d20104);
TROUPE_CODEC(PushPull, 0xa8b1f3b0c5d20105);
TROUPE_CODEC(PushPulled, 0xa8b1f3b0c5d20106);
TROUPE_CODEC(Open, 0xa8b1f3b0c5d20107);
TROUPE_CODEC(Opened, 0xa8b1f3b0c5d20108);
TROUPE_CODEC(Assign, 0xa8b1f3b0c5d20109);
TROUPE_CODEC(Assigned, 0xa8b1f3b0c5d2010a);
TROUPE_CODEC(TakeSnapshot, 0xa8b1f3b0c5d2010b);
TROUPE_CODEC(SnapshotTaken, 0xa8b1f3b0c5d2010c);
TROUPE_CODEC(SaveRows, 0xa8b1f3b0c5d2010d);
TROUPE_CODEC(RowsSaved, 0xa8b1f3b0c5d2010e);
TROUPE_CODEC(Call, 0xa8b1f3b0c5d2010f);
TROUPE_CODEC(Called, 0xa8b1f3b0c5d20110);
TROUPE_CODEC(Prepare, 0xa8b1f3b0c5d20111);
TROUPE_CODEC(Prepared, 0xa8b1f3b0c5d20112);
TROUPE_CODEC(Freeze, 0xa8b1f3b0c5d20113);
TROUPE_CODEC(Frozen, 0xa8b1f3b0c5d20114);
TROUPE_CODEC(Release, 0xa8b1f3b0c5d20115);
TROUPE_CODEC(Released, 0xa8b1f3b0c5d20116);
TROUPE_CODEC(AskRanges, 0xa8b1f3b0c5d20117);
TROUPE_CODEC(Ranges, 0xa8b1f3b0c5d20118);
TROUPE_CODEC(Stand, 0xa8b1f3b0c5d20119);
TROUPE_CODEC(Standing, 0xa8b1f3b0c5d2011a);
TROUPE_CODEC(TakeIn, 0xa8b1f3b0c5d2011b);
TROUPE_CODEC(TakenIn, 0xa8b1f3b0c5d2011c);
TROUPE_CODEC(Settle, 0xa8b1f3b0c5d2011d);
TROUPE_CODEC(Settled, 0xa8b1f3b0c5d2011e);

/// A call inside a message of another layer.
Block EncodeFunctionCall(const FunctionCall& call);
absl::StatusOr<FunctionCall> DecodeFunctionCall(const Block& bytes);

/// The arguments with which a shard is spawned in another process.
Block EncodeShardJob(const ShardActorOptions& options);
absl::StatusOr<ShardActorOptions> DecodeShardJob(const Block& arguments);

}   // namespace troupe
