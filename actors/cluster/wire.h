// How the cluster's messages travel and how the head's records are kept, from the schema cluster.capnp.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/cluster/messages.h"
#include "actors/proxy.h"

namespace troupe {

#define TROUPE_CLUSTER_CODEC(Message, type)              \
  template <>                                            \
  struct Codec<Message> {                                \
    static constexpr uint64_t kType = type;              \
    static Frame Encode(const Message& message);         \
    static absl::StatusOr<Message> Decode(const Frame&); \
  };
TROUPE_CLUSTER_CODEC(Report, 0x8f3d5b7c10020001)
TROUPE_CLUSTER_CODEC(Orders, 0x8f3d5b7c10020002)
TROUPE_CLUSTER_CODEC(Claim, 0x8f3d5b7c10020003)
TROUPE_CLUSTER_CODEC(Claimed, 0x8f3d5b7c10020004)
TROUPE_CLUSTER_CODEC(Submit, 0x8f3d5b7c10020005)
TROUPE_CLUSTER_CODEC(Submitted, 0x8f3d5b7c10020006)
TROUPE_CLUSTER_CODEC(Inspect, 0x8f3d5b7c10020007)
TROUPE_CLUSTER_CODEC(Inspected, 0x8f3d5b7c10020008)
TROUPE_CLUSTER_CODEC(StopJob, 0x8f3d5b7c10020009)
TROUPE_CLUSTER_CODEC(DrainNode, 0x8f3d5b7c1002000a)
TROUPE_CLUSTER_CODEC(Done, 0x8f3d5b7c1002000b)
TROUPE_CLUSTER_CODEC(ReadOutput, 0x8f3d5b7c1002000c)
TROUPE_CLUSTER_CODEC(Output, 0x8f3d5b7c1002000d)
TROUPE_CLUSTER_CODEC(PutProgram, 0x8f3d5b7c1002000e)
TROUPE_CLUSTER_CODEC(ProgramPut, 0x8f3d5b7c1002000f)
TROUPE_CLUSTER_CODEC(GetProgram, 0x8f3d5b7c10020010)
TROUPE_CLUSTER_CODEC(ProgramPart, 0x8f3d5b7c10020011)
TROUPE_CLUSTER_CODEC(FindEndpoint, 0x8f3d5b7c10020012)
TROUPE_CLUSTER_CODEC(Endpoint, 0x8f3d5b7c10020013)
#undef TROUPE_CLUSTER_CODEC

/// What a head keeps of a job.
struct JobRecord {
  JobStatus status;   ///< without processes, until it is over
  std::string request;
  std::vector<NodeId> driver_nodes;   ///< by attempt, the first at 0
};
/// And of a node.
struct NodeRecord {
  NodeStatus status;
  std::vector<std::string> places;
};
std::string EncodeRecord(const JobRecord& record);
std::string EncodeRecord(const NodeRecord& record);
/// DataLoss: the bytes are no such record.
absl::StatusOr<JobRecord> DecodeJobRecord(const std::string& bytes);
absl::StatusOr<NodeRecord> DecodeNodeRecord(const std::string& bytes);

}   // namespace troupe
