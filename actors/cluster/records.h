// What a head keeps (store.h), by key: a record for each job and node, and one for each process that was placed, so that no head starts a life a second time.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "actors/cluster/messages.h"
#include "actors/cluster/wire.h"

namespace troupe {

inline constexpr char kJobRecords[] = "job/", kLifeRecords[] = "life/", kNodeRecords[] = "node/";   // in the order in which they are read

std::string JobKey(JobId job);      ///< of EncodeRecord(JobRecord)
std::string NodeKey(NodeId node);   ///< of EncodeRecord(NodeRecord)

/// The highest incarnation of a process of this name that was ever placed for this job's driver.
struct LifeRecord {
  JobId job = 0;
  std::string name;
  uint64_t incarnation = 0;
};
/// Its value is the incarnation as text.
std::string LifeKey(JobId job, const std::string& name);
/// DataLoss: it is none.
absl::StatusOr<LifeRecord> ReadLifeRecord(const std::string& key, const std::string& value);

}   // namespace troupe
