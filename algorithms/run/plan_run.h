// How a run's tables would be laid out: a sample of the data goes through the serial oracle, and the planner (ps/planner.h) takes what the tables saw of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "algorithms/run/trainer.h"
#include "dataflow/source.h"
#include "ps/planner.h"

namespace troupe {

struct RunPlan {
  LayoutPlan layout;
  uint64_t rows = 0, batches = 0;   ///< of the sample
  double growth = 1;                ///< all of the data / sample, by bytes
};

/// Reads 1 MiB of `source` or four pieces, whichever is more, from all of it, and runs one epoch of the algorithm over them. options.shards: 0 for what the
/// plan finds. `cores`: of the machine. Errors as OpenSource's Read and the algorithm's own, where the sample is too small for it, say.
absl::StatusOr<RunPlan> PlanRun(const TrainOptions& options, const std::shared_ptr<const Source>& source, bool processes, uint32_t cores);

}   // namespace troupe
