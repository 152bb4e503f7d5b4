// troupe algorithms: what there is to train, and each one's parameters.
#include <cmath>
#include <cstdio>

#include "actors/status.h"
#include "actors/text.h"
#include "algorithms/registry.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/options.h"
#include "tools/troupe/table.h"

namespace troupe {
namespace {

/// "> 0", "0 .. 1", "adagrad, sgd", "true, false".
std::string RangeOf(const ParamSpec& spec) {
  if (std::holds_alternative<bool>(spec.default_value)) return "true, false";
  if (std::holds_alternative<std::string>(spec.default_value)) {
    std::string range;
    for (const std::string& choice : spec.choices) absl::StrAppend(&range, range.empty() ? "" : ", ", choice);
    return range.empty() ? "text" : range;
  }
  const bool low = std::isfinite(spec.min), high = std::isfinite(spec.max);
  if (low && high) return absl::StrCat(spec.min_exclusive ? "> " : "", Exact(spec.min), spec.min_exclusive ? ", <= " : " .. ", Exact(spec.max));
  if (low) return absl::StrCat(spec.min_exclusive ? "> " : ">= ", Exact(spec.min));
  return high ? absl::StrCat("<= ", Exact(spec.max)) : "any number";
}

std::string LabelsOf(const Algorithm& algorithm) {
  switch (algorithm.labels()) {
    case LabelKind::kNone:
      return "none needed";
    case LabelKind::kBinary:
      return "0 or 1 (-1 and +1 are taken as 0 and 1)";
    default:
      return "numbers";
  }
}

absl::Status Show(const std::string& name) {
  TROUPE_TRY(const std::unique_ptr<Algorithm> algorithm, MakeAlgorithm(name));
  std::printf("%s: %s\n\nlabels: %s\nepochs: %d by default\n\nparameters, as --param NAME=VALUE:\n", name.c_str(), algorithm->doc().c_str(),
              LabelsOf(*algorithm).c_str(), algorithm->default_epochs());
  const std::vector<ParamSpec> specs = algorithm->params();
  TROUPE_TRY(const Params defaults, Params::Parse(specs, {}));
  const auto values = defaults.ToText();
  TextTable table(2);
  table.Row({"name", "default", "range", "what it is"});
  for (const ParamSpec& spec : specs) table.Row({spec.name, values.at(spec.name), RangeOf(spec), spec.doc});
  std::fputs(table.Text().c_str(), stdout);
  return absl::OkStatus();
}

absl::Status List() {
  TextTable table;
  for (const std::string& name : AlgorithmNames()) {
    TROUPE_TRY(const std::unique_ptr<Algorithm> algorithm, MakeAlgorithm(name));
    table.Row({name, algorithm->doc()});
  }
  std::fputs(table.Text().c_str(), stdout);
  return absl::OkStatus();
}

}   // namespace

absl::Status RunAlgorithms(const Arguments& arguments) {
  CommandLine line("algorithms", "[NAME]", "Lists the algorithms, one a line, or shows one with its parameters.",
                   "  troupe algorithms\n  troupe algorithms k_means\n");
  std::string name;
  line.Argument("NAME", &name, "the algorithm to show (default: list all)", false);
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  return name.empty() ? List() : Show(name);
}

}   // namespace troupe
