// What `troupe train` says at its end.
#pragma once

#include <string>

#include "algorithms/run/trainer.h"

namespace troupe {

/// One line: {"algorithm","rows","seconds","rows_per_second","epochs","restarts","metrics":{..},"model","ledger":{"read","applied"},"bad_rows"}.
std::string TrainJson(const TrainOptions& options, const TrainReport& report, double seconds);
/// The same for people, as a table.
std::string TrainTable(const TrainOptions& options, const TrainReport& report, double seconds);

}   // namespace troupe
