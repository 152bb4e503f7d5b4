// The subcommands, one file each: they print to stdout and return their error, which main prints as the one line of stderr.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace troupe {

using Arguments = std::vector<std::string>;   ///< those after the subcommand's name

absl::Status RunTrain(const Arguments& arguments);
absl::Status RunEvaluate(const Arguments& arguments);
absl::Status RunPredict(const Arguments& arguments);
absl::Status RunModel(const Arguments& arguments);
absl::Status RunGenerate(const Arguments& arguments);
absl::Status RunAlgorithms(const Arguments& arguments);
absl::Status RunConfig(const Arguments& arguments);
absl::Status RunNode(const Arguments& arguments);
absl::Status RunStatus(const Arguments& arguments);
absl::Status RunSubmit(const Arguments& arguments);
absl::Status RunJobCommand(const Arguments& arguments);
absl::Status RunTable(const Arguments& arguments);
absl::Status RunDrain(const Arguments& arguments);
absl::Status RunCertificate(const Arguments& arguments);
absl::Status RunBench(const Arguments& arguments);

}   // namespace troupe
