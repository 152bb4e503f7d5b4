// A cluster of this process whose messages to shards are encoded, counted and decoded on their way, as between processes: how many bytes a job costs.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "algorithms/run/trainer.h"

namespace troupe::testing {

/// Bytes of frames, heads included; what the connection itself adds is not.
struct Traffic {
  std::atomic<uint64_t> requests{0}, replies{0}, messages{0};
  uint64_t bytes() const { return requests + replies; }
};

/// `system` and `traffic` must outlive the cluster.
ClusterFactory CountingCluster(System& system, Traffic& traffic);

}   // namespace troupe::testing
