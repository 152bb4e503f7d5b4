// troupe submit, job, status and drain: what people ask of a cluster.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <tuple>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "actors/this_process.h"
#include "ps/named_table.h"
#include "tools/troupe/cluster_flags.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/job_run.h"
#include "tools/troupe/status_view.h"

namespace troupe {
namespace {

absl::StatusOr<JobId> ParseJob(const std::string& text) {
  JobId job = 0;
  if (!absl::SimpleAtoi(text, &job) || job == 0) return absl::InvalidArgumentError(absl::StrCat("JOB is '", text, "', expected a job's number"));
  return job;
}

void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

constexpr double kForever = 1e9;   // seconds

absl::Status List(ClusterLink& link, bool json) {
  TROUPE_TRY(const Inspected all, link.AskHead<Inspected>(Inspect{}));
  Print(json ? JobsJson(all.jobs) + "\n" : JobsText(all.jobs));
  return absl::OkStatus();
}

}   // namespace

absl::Status RunSubmit(const Arguments& arguments) {
  CommandLine line(
      "submit", "PROGRAM [FLAGS] [-- ARGUMENTS]",
      "Runs a program as a job of a cluster: its bytes are sent, it starts in this folder on some node, its output is passed on, and its exit code is\n"
      "this command's. When this command dies, the job goes on (troupe job logs shows it). What no node could ever give is said in troupe status.",
      "  troupe submit ./wordcount --cluster 127.0.0.1:7460 -- --data text.txt\n"
      "  troupe submit ./nightly --queue night --priority 5 --time-limit 3600s --detach\n");
  ClusterFlags cluster;
  std::string program, queue = "default", priority, name, cores = "0", memory, disk, attempts = "3", time_limit;
  std::vector<std::string> labels, accelerators, environment;
  bool detach = false;
  line.Argument("PROGRAM", &program, "a file that can be run on every node");
  cluster.Declare(line);
  line.Value("--name", "NAME", &name, "for people (default: the program's)");
  line.Value("--queue", "NAME", &queue, "queues share the cluster's cores by their weights (default: default, of weight 1)");
  line.Value("--priority", "N", &priority, "within its queue the higher ones begin first, of these the oldest; -1000 to 1000 (default 0)");
  line.Value("--cores", "N", &cores, "that the program needs on its node (default 0: it waits for others)");
  line.Value("--memory", "BYTES", &memory, "likewise, as 8G, and the most that it gets: beyond it all of it is ended (default 0: no limit)");
  line.Value("--disk", "BYTES", &disk, "likewise, where the node's state lies (default 0)");
  line.Values("--accelerator", "KIND=N", &accelerators, "likewise, as gpu=1");
  line.Value("--attempts", "N", &attempts, "how often it is started in all, where it is lost with its node or by a signal (default 3)");
  line.Value("--time-limit", "TIME", &time_limit, "after which the job fails, as 90s (default: none)");
  line.Values("--label", "NAME=VALUE", &labels, "that its node must have");
  line.Values("--env", "NAME=VALUE", &environment, "added to its environment");
  line.Switch("--detach", &detach, "print the job's number and do not wait for it");
  Arguments own = arguments, rest;
  if (const auto dashes = std::find(own.begin(), own.end(), "--"); dashes != own.end()) {
    rest.assign(dashes + 1, own.end());
    own.erase(dashes, own.end());
  }
  TROUPE_TRY(const bool go_on, line.Parse(own));
  if (!go_on) return absl::OkStatus();
  if (name.starts_with(JobNameOfTable("")))
    return absl::InvalidArgumentError(absl::StrCat("--name is '", name, "', which is what the job of a table is called"));
  JobSpec spec;
  spec.name = name.empty() ? std::filesystem::path(program).filename().string() : name;
  spec.queue = queue;
  spec.arguments = rest;
  spec.environment = environment;
  std::error_code error;
  spec.folder = std::filesystem::current_path(error).string();
  if (error) return absl::InvalidArgumentError(absl::StrCat("this folder: ", error.message()));
  uint64_t number = 0;
  TROUPE_RETURN_IF_ERROR(ParseWhole("--cores", cores, 0, 1 << 16, &number));
  spec.needs.cores = static_cast<uint32_t>(number);
  for (const auto& [flag, text, bytes] : {std::tuple("--memory", &memory, &spec.needs.memory), {"--disk", &disk, &spec.needs.disk}}) {
    if (text->empty()) continue;
    if (const absl::Status status = ParseBytes(*text, bytes); !status.ok()) return WithContext(status, flag);
  }
  for (const std::string& accelerator : accelerators) {
    TROUPE_RETURN_IF_ERROR(ParseCount("--accelerator", accelerator, "N", 1, 1 << 16, &spec.needs.accelerators));
  }
  if (!priority.empty() && (!absl::SimpleAtoi(priority, &spec.priority) || spec.priority < -1000 || spec.priority > 1000)) {
    return absl::InvalidArgumentError(absl::StrCat("--priority is '", priority, "', expected a whole number, -1000 to 1000"));
  }
  TROUPE_RETURN_IF_ERROR(ParseWhole("--attempts", attempts, 1, 1000, &number));
  spec.attempts = static_cast<uint32_t>(number);
  if (!time_limit.empty()) {
    double seconds = 0;
    if (const absl::Status status = ParseDuration(time_limit, &seconds); !status.ok()) return WithContext(status, "--time-limit");
    spec.time_limit = std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  }
  for (const std::string& label : labels) TROUPE_RETURN_IF_ERROR(ParsePair("--label", label, &spec.needs.labels));
  std::map<std::string, std::string> variables;
  for (const std::string& variable : environment) TROUPE_RETURN_IF_ERROR(ParsePair("--env", variable, &variables));
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, cluster.Open());
  if (!detach) return RunJob(*link, program, std::move(spec));
  TROUPE_TRY(const JobId job, SubmitJob(*link, program, std::move(spec)));
  std::printf("job %llu\n", static_cast<unsigned long long>(job));
  return absl::OkStatus();
}

absl::Status RunJobCommand(const Arguments& arguments) {
  CommandLine line("job", "list | logs JOB | stop JOB [FLAGS]", "Lists a cluster's jobs, shows what one prints, or ends one.",
                   "  troupe job list\n  troupe job logs 3 --follow\n  troupe job logs 3 --process \"worker 1\"\n  troupe job stop 3\n");
  ClusterFlags cluster;
  std::string action, number, process = kDriverName;
  bool follow = false, json = false;
  line.Argument("ACTION", &action, "list, logs or stop");
  line.Argument("JOB", &number, "a job's number", false);
  cluster.Declare(line);
  line.Value("--process", "NAME", &process, "logs: of this process of the job (default: driver)");
  line.Switch("--follow", &follow, "logs: until the job is over");
  line.Switch("--json", &json, "list: as one line of JSON");
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  const std::vector<std::string> actions = {"list", "logs", "stop"};
  if (std::find(actions.begin(), actions.end(), action) == actions.end()) return absl::InvalidArgumentError(UnknownName("action", action, actions));
  if (action != "list" && number.empty()) return absl::InvalidArgumentError(absl::StrCat("JOB is missing: troupe job ", action, " JOB"));
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, cluster.Open());
  if (action == "list") return List(*link, json);
  TROUPE_TRY(const JobId job, ParseJob(number));
  if (action == "stop") return link->AskHead<Done>(StopJob{job}).status();
  CatchStopSignals();
  return PassOutput(*link, job, process, follow).status();
}

absl::Status RunStatus(const Arguments& arguments) {
  CommandLine line("status", "[FLAGS]",
                   "Shows a cluster: its nodes, its queues, and level by level what it supervises: jobs, their drivers, workers and tables, with\n"
                   "restarts and their reasons.",
                   "  troupe status\n  troupe status --json\n");
  ClusterFlags cluster;
  bool json = false;
  cluster.Declare(line);
  line.Switch("--json", &json, "as one line of JSON");
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, cluster.Open());
  TROUPE_TRY(const Inspected all, link->AskHead<Inspected>(Inspect{}));
  Print(json ? StatusJson(all) + "\n" : StatusText(all));
  return absl::OkStatus();
}

absl::Status RunDrain(const Arguments& arguments) {
  CommandLine line(
      "drain", "NODE [FLAGS]",
      "Moves the processes of a node away and lets it go: workers and shards end there and begin elsewhere, drivers (and submitted programs) are\n"
      "waited for, but those of named tables, which begin again elsewhere. While it waits it says on stderr for what. When this command ends early, the\n"
      "node goes on draining.",
      "  troupe drain host-3:40123\n  troupe drain host-3:40123 --timeout 600s\n");
  ClusterFlags cluster;
  std::string node, timeout;
  bool force = false;
  line.Argument("NODE", &node, "its name, as troupe status shows it");
  cluster.Declare(line);
  line.Value("--timeout", "TIME", &timeout, "wait no longer than this, as 600s (default: until the node has left)");
  line.Switch("--force", &force, "also where it is the only node that is up and jobs would wait for another one");
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  auto end = std::chrono::steady_clock::time_point::max();
  if (!timeout.empty()) {
    double seconds = 0;
    if (const absl::Status status = ParseDuration(timeout, &seconds); !status.ok()) return WithContext(status, "--timeout");
    if (seconds < kForever) end = std::chrono::steady_clock::now() + std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  }
  CatchStopSignals();
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, cluster.Open());
  TROUPE_RETURN_IF_ERROR(link->AskHead<Done>(DrainNode{node, force}).status());
  std::string said;
  for (uint64_t seen = 0;;) {
    TROUPE_TRY(const Inspected all, link->AskHead<Inspected>(Inspect{0, seen}));
    seen = all.version;
    for (const NodeStatus& status : all.nodes) {
      if (status.name == node && status.state == NodeState::kLeft) return absl::OkStatus();
      if (status.name == node && status.state == NodeState::kDown) return absl::UnavailableError(absl::StrCat("node ", node, " is down: ", status.reason));
    }
    const std::string waits = ProcessesOn(node, all.jobs);
    if (!waits.empty() && waits != said) std::fprintf(stderr, "node %s waits for %s\n", node.c_str(), waits.c_str());
    said = waits;
    if (std::chrono::steady_clock::now() < end) continue;
    return absl::DeadlineExceededError(
        absl::StrCat("node ", node, " has not left within ", timeout, ", and goes on draining", waits.empty() ? "" : ": it waits for ", waits));
  }
}

}   // namespace troupe
