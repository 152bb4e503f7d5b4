// A worker: the partition actor of the splits that its driver gives it. It reads and plans batches ahead, pulls what the next one needs, works on it in the
// compute pool, pushes, and tells the driver. A replacement needs nothing from its predecessor: what has arrived stands in the shards' ledgers, and every batch
// can be made again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/system.h"
#include "algorithms/run/messages.h"
#include "dataflow/block_cache.h"
#include "dataflow/source.h"
#include "ps/client.h"
#include "ps/consistency.h"
#include "ps/replicated_pulls.h"

namespace troupe {

struct WorkerOptions {
  std::string algorithm;
  std::map<std::string, std::string> params;
  SourceOptions source;
  uint32_t splits_total = 1;
  uint32_t shards = 1;
  uint64_t seed = 1;
  Consistencies consistency;
  size_t cache_bytes = 0;         ///< parsed rows kept between epochs
  size_t held_bytes = 64 << 20;   ///< pushes kept until they are stable
  ReplicaOptions replicas;        ///< copies of rows
  // In one process the data set is opened once and shared:
  std::shared_ptr<const Source> opened;
  std::shared_ptr<BlockCache> cache;
};

/// Opens the data set and declares the algorithm (bad input and parameters are found here), and spawns the actor. `shards`: and behind them, where workers keep
/// tables, what keeps this worker's (PlacesOf).
absl::StatusOr<WorkerActor> SpawnWorker(System& system, const WorkerOptions& options, std::vector<ShardActor> shards);

}   // namespace troupe
