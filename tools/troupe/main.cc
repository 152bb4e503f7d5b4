// troupe: finds the subcommand, and turns its error into one line of stderr and an exit code.
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_replace.h"
#include "actors/status.h"
#include "actors/text.h"
#include "actors/this_process.h"
#include "tools/troupe/child_roles.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/table.h"

namespace troupe {
namespace {

absl::Status RunVersion(const Arguments&) {
  std::printf("troupe %s\n%s build, %s, %s\n", TROUPE_VERSION, TROUPE_BUILD_TYPE, TROUPE_COMPILER, *TROUPE_MACHINE != '\0' ? TROUPE_MACHINE : "any machine");
  return absl::OkStatus();
}

struct Command {
  const char* name;
  const char* summary;
  absl::Status (*run)(const Arguments&);
};
constexpr Command kCommands[] = {
    {"train", "train a model from a data set", RunTrain},
    {"evaluate", "measure a model on a data set", RunEvaluate},
    {"predict", "write a model's predictions for a data set", RunPredict},
    {"model", "show a model: its manifest, or its numbers as CSV", RunModel},
    {"generate", "make a data set of a known kind", RunGenerate},
    {"algorithms", "list the algorithms, or one's parameters", RunAlgorithms},
    {"config", "show every setting, its value, and where it comes from", RunConfig},
    {"node", "be the head of a cluster, or a node that joins one", RunNode},
    {"status", "show a cluster: nodes, jobs, what was restarted", RunStatus},
    {"submit", "run a program as a job of a cluster", RunSubmit},
    {"job", "list a cluster's jobs, show what one prints, stop one", RunJobCommand},
    {"table", "tables of a cluster that outlive jobs: list, import, export, drop", RunTable},
    {"drain", "move a node's processes away and let it go", RunDrain},
    {"certificate", "make certificates for a cluster's links, and an authority for tests", RunCertificate},
    {"bench", "measure this machine: parameter tables, links between processes, reading data", RunBench},
    {"version", "say which build this is", RunVersion},
};

std::string Overview() {
  TextTable table(2);
  for (const Command& command : kCommands) table.Row({command.name, command.summary});
  return "usage: troupe COMMAND [FLAGS]\n\nTrains models on partitions of data and shards of parameters, in one process or in several that may be killed.\n\n" +
         table.Text() + "\ntroupe COMMAND --help: its flags, with examples\n";
}

absl::Status Run(const Arguments& arguments) {
  if (arguments.empty()) return absl::InvalidArgumentError("command is missing (troupe --help)");
  std::string word = arguments[0];
  if (word == "--version") word = "version";
  if (word == "--help" || word == "-h" || word == "help") {
    std::fputs(Overview().c_str(), stdout);
    return absl::OkStatus();
  }
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (word == command.name) return command.run(Arguments(arguments.begin() + 1, arguments.end()));
    names.emplace_back(command.name);
  }
  return absl::InvalidArgumentError(UnknownName("command", word, names));
}

int Main(int argc, char** argv) {
  IgnoreWriteSignals();
  if (const auto code = RunChildRole(argc, argv)) return *code;
  absl::Status status = Run(Arguments(argv + std::min(argc, 1), argv + argc));
  status.Update(FlushOutput());
  if (!status.ok()) std::fprintf(stderr, "%s\n", absl::StrReplaceAll(status.message(), {{"\n", " "}}).c_str());
  return ExitCode(status);
}

}   // namespace
}   // namespace troupe

int main(int argc, char** argv) {
  return troupe::Main(argc, argv);
}
