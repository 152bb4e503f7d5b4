// troupe table: tables of a cluster that outlive jobs. docs/tables.md.
#include "tools/troupe/tables.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/caf_status.h"
#include "actors/process_table.h"
#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"
#include "actors/this_process.h"
#include "algorithms/run/job_about.h"
#include "algorithms/run/table_driver.h"
#include "dataflow/keyed_rows.h"
#include "ps/named_table.h"
#include "tools/troupe/cluster_flags.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/job_run.h"
#include "tools/troupe/json.h"
#include "tools/troupe/table.h"

namespace troupe {
namespace {

constexpr std::chrono::seconds kBeginMax{60}, kRowsMax{120}, kLookMax{3};
constexpr size_t kAssignBytes = 1 << 20;   // of values, in one piece
constexpr size_t kAssignsMax = 4;          // pieces under way at once
constexpr uint64_t kSparseRanges = 256;    // of a new table: a range of rows is one message when they are exported

void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

struct TableFlags {
  ClusterFlags cluster;
  std::string action, name, file, folder, dense, shards, replication, rule;
  std::vector<std::string> params;
  bool json = false;
};

/// Of one table, for people and scripts.
struct Listed {
  std::string name, owner, state, kind, rule;
  std::optional<uint64_t> rows = {}, bytes = {}, width = {}, shards = {}, replicas = {};
};

/// What there is to know of a named table: little, where it does not answer or the token is not enough.
Listed LookAt(const ClusterAddress& cluster, const JobStatus& job, const std::string& name) {
  Listed table{.name = name, .owner = absl::StrCat("job ", job.job), .state = ToString(job.state), .kind = {}, .rule = {}};
  if (job.state != JobState::kRunning) return table;
  const absl::StatusOr<std::unique_ptr<NamedTable>> connected = NamedTable::Connect({.cluster = cluster, .name = name, .patience = kLookMax});
  if (!connected.ok()) {
    if (absl::IsUnavailable(connected.status())) table.state = "away";
    if (absl::IsFailedPrecondition(connected.status())) table.state = "ending";
    return table;
  }
  const TableSpec& spec = (*connected)->spec();
  table.width = spec.width;
  table.kind = spec.rows ? "dense" : "sparse";
  table.rule = spec.rule;
  table.shards = (*connected)->shards();
  table.replicas = (*connected)->replication();
  const absl::StatusOr<NamedTable::Size> size = (*connected)->MeasureSize();
  if (size.ok()) {
    table.rows = size->rows;
    table.bytes = size->bytes;
  } else {
    table.state = "away";
  }
  return table;
}

/// The tables of another job that runs: what its driver has told the head.
std::vector<Listed> TablesOf(const JobStatus& job) {
  std::vector<Listed> tables;
  const AboutJob all = ReadAbout(job.about);
  for (const AboutTable& about : all.tables) {
    tables.push_back({.name = about.name,
                      .owner = absl::StrCat("job ", job.job, ": ", job.spec.name),
                      .state = ToString(job.state),
                      .kind = about.rows ? "dense" : "sparse",
                      .rule = about.rule,
                      .rows = about.rows,
                      .bytes = {},
                      .width = about.width,
                      .shards = about.shards,
                      .replicas = about.replicas});
  }
  return tables;
}

std::string ListText(const std::vector<Listed>& tables) {
  const auto number = [](const std::optional<uint64_t>& value) { return value ? WithThousands(*value) : "-"; };
  const auto word = [](const std::string& text) { return text.empty() ? "-" : text; };
  TextTable text(2);
  text.Row({"table", "owner", "state", "kind", "rule", "rows", "width", "bytes", "shards", "replicas"});
  for (const size_t column : {5u, 6u, 7u, 8u, 9u}) text.AlignRight(column);
  for (const Listed& table : tables) {
    text.Row({table.name, table.owner, table.state, word(table.kind), word(table.rule), number(table.rows), number(table.width), number(table.bytes),
              number(table.shards), number(table.replicas)});
  }
  return text.Text();
}

std::string ListJson(const std::vector<Listed>& tables) {
  std::vector<JsonObject> all;
  for (const Listed& table : tables) {
    JsonObject object;
    object.Text("name", table.name).Text("owner", table.owner).Text("state", table.state);
    if (!table.kind.empty()) object.Text("kind", table.kind).Text("rule", table.rule);
    for (const auto& [name, value] :
         {std::pair("rows", table.rows), {"width", table.width}, {"bytes", table.bytes}, {"shards", table.shards}, {"replicas", table.replicas}}) {
      if (value) object.Whole(name, *value);   // else it is not known
    }
    all.push_back(std::move(object));
  }
  return JsonObject().List("tables", all).Line();
}

absl::Status List(const TableFlags& flags) {
  TROUPE_TRY(const ClusterAddress address, flags.cluster.Address());
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, ClusterLink::Open({.address = address}));
  TROUPE_TRY(const Inspected all, link->AskHead<Inspected>(Inspect{}));
  std::vector<Listed> tables;
  for (const JobStatus& job : all.jobs) {
    if (IsOver(job.state)) continue;
    const std::string mark = JobNameOfTable("");
    if (job.spec.name.starts_with(mark)) {
      tables.push_back(LookAt(address, job, job.spec.name.substr(mark.size())));
      continue;
    }
    for (Listed& table : TablesOf(job)) tables.push_back(std::move(table));
  }
  std::ranges::stable_sort(tables, {}, &Listed::name);
  Print(flags.json ? ListJson(tables) + "\n" : ListText(tables));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<uint32_t>> ReadReplication(const TableFlags& flags) {
  if (flags.replication.empty()) return std::nullopt;
  uint64_t number = 0;
  TROUPE_RETURN_IF_ERROR(ParseWhole("--replication", flags.replication, 1, 8, &number));
  return static_cast<uint32_t>(number);
}

/// The table that the flags describe; width of the file. `nodes`: of the cluster, that are up.
absl::StatusOr<TableJob> Described(const TableFlags& flags, uint32_t width, size_t nodes) {
  TableJob job;
  job.spec.name = flags.name;
  job.spec.width = width;
  if (!flags.rule.empty()) job.spec.rule = flags.rule;
  uint64_t number = 0;
  if (!flags.dense.empty()) {
    TROUPE_RETURN_IF_ERROR(ParseWhole("--dense", flags.dense, 1, uint64_t{1} << 40, &number));
    job.spec.rows = number;
  } else {
    job.spec.ranges = kSparseRanges;
  }
  if (!flags.shards.empty()) {
    TROUPE_RETURN_IF_ERROR(ParseWhole("--shards", flags.shards, 1, 1024, &number));
    job.shards = static_cast<uint32_t>(number);
  }
  TROUPE_TRY(job.replication, ReadReplication(flags));
  job.replication_default = nodes < 2 ? 1 : 2;
  for (const std::string& param : flags.params) {
    const size_t equals = param.find('=');
    double value = 0;
    if (equals == 0 || equals == std::string::npos || !absl::SimpleAtod(param.substr(equals + 1), &value))
      return absl::InvalidArgumentError(absl::StrCat("--param is '", param, "', expected NAME=NUMBER"));
    job.spec.rule_options[param.substr(0, equals)] = value;
  }
  job.folder = flags.folder;
  if (job.folder.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no table '", flags.name, "' yet, and --folder is missing: where a new one keeps its rows, a path that all nodes reach"));
  }
  std::error_code error;
  TROUPE_TRY(const std::string path, LocalPath(job.folder));
  job.folder = std::filesystem::absolute(path, error).lexically_normal().string();
  TROUPE_RETURN_IF_ERROR(Validate(job));
  return job;
}

/// Begins the table's job. Two who do so at once begin one.
absl::StatusOr<JobId> Begin(ClusterLink& link, const Inspected& cluster, const TableJob& job) {
  JobSpec spec;
  JobId before = 0;   // the newest of this name, which is over
  spec.name = JobNameOfTable(job.spec.name);
  spec.arguments = TableDriverArguments(job);
  spec.attempts = JobSpec::kEndless;
  std::error_code error;
  spec.folder = std::filesystem::current_path(error).string();
  if (error) return absl::InvalidArgumentError(absl::StrCat("this folder: ", error.message()));
  for (const JobStatus& other : cluster.jobs) {
    if (other.spec.name == spec.name) before = std::max(before, other.job);
  }
  const std::string request = absl::StrCat(spec.name, " after job ", before);
  return SubmitJob(link, "/proc/self/exe", std::move(spec), request);
}

/// Why a table's job has ended, in its driver's own words where it has said some.
absl::Status WhyOver(ClusterLink& link, const JobStatus& job) {
  const ProcessId driver{job.job, kDriverName, std::max<uint64_t>(1, job.attempt)};
  const absl::StatusOr<Output> said = link.AskHead<Output>(ReadOutput{driver, true, 0}, std::chrono::seconds(3));
  std::string why = said.ok() ? std::string(reinterpret_cast<const char*>(said->bytes.data()), said->bytes.size()) : "";
  while (why.ends_with('\n')) why.pop_back();
  if (why.empty()) why = job.reason;
  const std::string message = absl::StrCat("job ", job.job, " ", ToString(job.state), ": ", why);
  return job.code == 2 ? absl::InvalidArgumentError(message) : absl::UnavailableError(message);
}

/// The table, which has just begun; as soon as its job is over it is known that it will not be there.
absl::StatusOr<std::unique_ptr<NamedTable>> AwaitTable(ClusterLink& link, const ClusterAddress& address, const std::string& name, JobId job) {
  const auto end = std::chrono::steady_clock::now() + kBeginMax;
  for (;;) {
    if (StopAsked()) return Stopped();
    auto connected = NamedTable::Connect({.cluster = address, .name = name, .patience = std::chrono::milliseconds(500)});
    if (connected.ok()) return NamedTable::Connect({.cluster = address, .name = name, .patience = kBeginMax});
    const absl::StatusOr<Inspected> now = link.AskHead<Inspected>(Inspect{.job = job});
    if (now.ok() && IsOver(now->jobs.front().state)) return WhyOver(link, now->jobs.front());
    if (!IsRetryable(connected.status())) return connected.status();
    if (std::chrono::steady_clock::now() >= end) return connected.status();
  }
}

absl::Status Fits(const TableFlags& flags, const NamedTable& table, const KeyedRows& rows) {
  const TableSpec& spec = table.spec();
  if (spec.width != rows.width)
    return absl::InvalidArgumentError(absl::StrCat(flags.file, ": ", rows.width, " values a row, and table '", spec.name, "' has width ", spec.width));
  if (!flags.dense.empty() && absl::StrCat(spec.rows.value_or(0)) != flags.dense)
    return absl::InvalidArgumentError(
        absl::StrCat("--dense is ", flags.dense, ", and table '", spec.name, "' ", spec.rows ? absl::StrCat("has ", *spec.rows, " rows") : "is sparse"));
  if (!flags.rule.empty() && spec.rule != flags.rule)
    return absl::InvalidArgumentError(absl::StrCat("--rule is '", flags.rule, "', and table '", spec.name, "' has ", spec.rule));
  TROUPE_TRY(const std::optional<uint32_t> replication, ReadReplication(flags));
  if (replication && *replication != table.replication())
    return absl::InvalidArgumentError(absl::StrCat("--replication is ", *replication, ", and table '", spec.name, "' has ", table.replication()));
  const auto highest = std::ranges::max_element(rows.keys);
  if (spec.rows && highest != rows.keys.end() && *highest >= *spec.rows)
    return absl::InvalidArgumentError(absl::StrCat(flags.file, ": key is ", *highest, ", expected < ", *spec.rows, ": table '", spec.name, "' is dense"));
  return absl::OkStatus();
}

/// Sets rows [first, first + n); again, where they did not arrive because a process was lost.
absl::Status AssignPiece(const NamedTable& table, const KeyedRows& rows, size_t first, size_t n) {
  const std::vector<Key> keys(rows.keys.begin() + static_cast<std::ptrdiff_t>(first), rows.keys.begin() + static_cast<std::ptrdiff_t>(first + n));
  const std::vector<float> values(rows.values.begin() + static_cast<std::ptrdiff_t>(first * rows.width),
                                  rows.values.begin() + static_cast<std::ptrdiff_t>((first + n) * rows.width));
  const auto end = std::chrono::steady_clock::now() + kRowsMax;
  for (;;) {
    if (StopAsked()) return Stopped();
    const absl::Status status = table.ref().Assign(keys, values);
    if (status.ok() || !IsRetryable(status) || std::chrono::steady_clock::now() >= end) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

/// All rows, some pieces at a time: each waits for the disks of its shards.
absl::Status AssignAll(const NamedTable& table, const KeyedRows& rows) {
  const size_t piece = std::max<size_t>(1, kAssignBytes / sizeof(float) / rows.width), all = rows.keys.size();
  std::atomic<size_t> next{0};
  std::mutex mutex;
  absl::Status first_error;
  const auto work = [&] {
    for (size_t first; (first = next.fetch_add(piece)) < all;) {
      const absl::Status status = AssignPiece(table, rows, first, std::min(piece, all - first));
      if (status.ok()) continue;
      const std::lock_guard lock(mutex);
      first_error.Update(status);
      next = all;   // nobody begins another
    }
  };
  std::vector<std::thread> threads;
  for (size_t i = 0; i < std::min(kAssignsMax, (all + piece - 1) / piece); ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return first_error;
}

absl::Status Import(const TableFlags& flags) {
  TROUPE_TRY(const KeyedRows rows, ReadKeyedRows(flags.file));
  TROUPE_TRY(const ClusterAddress address, flags.cluster.Address());
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, ClusterLink::Open({.address = address}));
  TROUPE_TRY(const Inspected all, link->AskHead<Inspected>(Inspect{}));
  CatchStopSignals();
  JobId job = 0;
  if (const std::optional<JobStatus> found = JobOfTable(all, flags.name)) {
    job = found->job;
  } else {
    const auto up = std::ranges::count_if(all.nodes, [](const NodeStatus& node) { return node.state == NodeState::kUp; });
    TROUPE_TRY(const TableJob described, Described(flags, rows.width, static_cast<size_t>(up)));
    TROUPE_TRY(job, Begin(*link, all, described));
  }
  TROUPE_TRY(const std::unique_ptr<NamedTable> table, AwaitTable(*link, address, flags.name, job));
  TROUPE_RETURN_IF_ERROR(Fits(flags, *table, rows));
  TROUPE_RETURN_IF_ERROR(AssignAll(*table, rows));
  if (flags.json)
    Print(JsonObject().Text("table", flags.name).Whole("rows", rows.keys.size()).Whole("width", rows.width).Line() + "\n");
  else
    Print(absl::StrCat("table '", flags.name, "': ", WithThousands(rows.keys.size()), " rows of ", rows.width, " set\n"));
  return absl::OkStatus();
}

absl::Status Export(const TableFlags& flags) {
  TROUPE_TRY(const ClusterAddress address, flags.cluster.Address());
  TROUPE_TRY(const std::unique_ptr<NamedTable> table, NamedTable::Connect({.cluster = address, .name = flags.name}));
  TROUPE_TRY(Rows read, table->ReadAll());
  const KeyedRows rows{.width = read.width, .keys = std::move(read.keys), .values = std::move(read.values)};
  if (!flags.file.empty() && flags.file != "-") return WriteKeyedRows(rows, flags.file);
  Print(KeyedRowsCsv(rows));
  return absl::OkStatus();
}

absl::Status Drop(const TableFlags& flags) {
  TROUPE_TRY(const ClusterAddress address, flags.cluster.Address());
  TROUPE_TRY(std::unique_ptr<NamedTable> table, NamedTable::Connect({.cluster = address, .name = flags.name}));
  const JobId job = table->job();
  TROUPE_RETURN_IF_ERROR(table->Drop());
  table = nullptr;
  TROUPE_TRY(const std::unique_ptr<ClusterLink> link, ClusterLink::Open({.address = address}));
  const auto end = std::chrono::steady_clock::now() + kBeginMax;
  for (uint64_t seen = 0;;) {
    TROUPE_TRY(const Inspected now, link->AskHead<Inspected>(Inspect{.job = job, .seen = seen}, kBeginMax));
    seen = now.version;
    const JobStatus& status = now.jobs.front();
    if (status.state == JobState::kSucceeded) return absl::OkStatus();
    if (IsOver(status.state)) return WhyOver(*link, status);
    if (std::chrono::steady_clock::now() >= end)
      return absl::UnavailableError(absl::StrCat("job ", job, " is still ", ToString(status.state), ", and will end"));
  }
}

}   // namespace

absl::Status RunTable(const Arguments& arguments) {
  CommandLine line(
      "table", "list | import NAME FILE | export NAME [OUT] | drop NAME [FLAGS]",
      "Tables of a cluster that outlive jobs: rows of floats by 64-bit key, kept by shards on its nodes, each change in a log in the table's folder\n"
      "before it is acknowledged. Files are CSV (or .csv.gz, .csv.zst) or Parquet with the columns key, v0, v1, ...; numbers are exact both ways.\n"
      "import sets rows, and begins the table where there is none; export writes all rows at one moment, by rising key, while others push.",
      "  troupe table import embeddings start.csv --folder /shared/tables --shards 4 --rule adagrad --param learning_rate=0.05\n"
      "  troupe table export embeddings now.parquet\n"
      "  troupe table export embeddings | head\n"
      "  troupe table list --json\n"
      "  troupe table drop embeddings\n");
  TableFlags flags;
  line.Argument("ACTION", &flags.action, "list, import, export or drop");
  line.Argument("NAME", &flags.name, "the table's name", false);
  line.Argument("FILE", &flags.file, "import: the file to read; export: the file to write (default, and -: CSV to stdout)", false);
  flags.cluster.Declare(line);
  line.Value("--folder", "DIR", &flags.folder,
             "import, of a new table: its files go to DIR/NAME, which all nodes must reach; what is there already is taken up");
  line.Value("--dense", "ROWS", &flags.dense, "import, of a new table: rows 0 to ROWS - 1, all there from the start as zeros (default: sparse, by any key)");
  line.Value("--shards", "N", &flags.shards, "import, of a new table: processes that share its rows (default 1)");
  line.Value("--replication", "N", &flags.replication,
             "import, of a new table: processes that hold each shard, so that no single one takes its rows along (default 2 on two nodes or more, else 1)");
  line.Value("--rule", "NAME", &flags.rule, "import, of a new table: what a push does: add, sgd, adagrad, adam, ... (default add)");
  line.Values("--param", "NAME=NUMBER", &flags.params, "import, of a new table: a number of its rule, as learning_rate=0.1");
  line.Switch("--json", &flags.json, "list, import: as one line of JSON");
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  const std::vector<std::string> actions = {"list", "import", "export", "drop"};
  if (std::ranges::find(actions, flags.action) == actions.end()) return absl::InvalidArgumentError(UnknownName("action", flags.action, actions));
  if (flags.action == "list") {
    if (!flags.name.empty()) return absl::InvalidArgumentError(absl::StrCat("unexpected argument '", flags.name, "': troupe table list"));
    return List(flags);
  }
  if (flags.name.empty()) return absl::InvalidArgumentError(absl::StrCat("NAME is missing: troupe table ", flags.action, " NAME"));
  TROUPE_RETURN_IF_ERROR(CheckTableName(flags.name));
  if (flags.action == "import" && flags.file.empty()) return absl::InvalidArgumentError("FILE is missing: troupe table import NAME FILE");
  if (flags.action == "drop" && !flags.file.empty())
    return absl::InvalidArgumentError(absl::StrCat("unexpected argument '", flags.file, "': troupe table drop NAME"));
  if (flags.action == "import") return Import(flags);
  return flags.action == "export" ? Export(flags) : Drop(flags);
}

int RunTableDriverRole(const std::vector<std::string>& arguments) {
  std::optional<NodeJob> node = JobOfThisProcess();
  if (!node) return 2;          // nobody types this
  EndWithParent(::getppid());   // with its node: the job is then begun again elsewhere
  CatchStopSignals();
  absl::Status status;
  if (const absl::StatusOr<TableJob> job = ParseTableDriver(arguments); job.ok()) {
    status = RunTableDriver(*job, {.node = *std::move(node), .stop = &StopAsked(), .log = [](const std::string& what) {
                                     std::printf("%s\n", what.c_str());
                                     std::fflush(stdout);
                                   }});
  } else {
    status = job.status();
  }
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(Message(status)).c_str());
  return ExitCode(status);
}

}   // namespace troupe
