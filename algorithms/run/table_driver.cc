#include "algorithms/run/table_driver.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "actors/status.h"
#include "actors/storage/file_lock.h"
#include "actors/storage/storage.h"
#include "actors/text.h"
#include "algorithms/run/process_cluster.h"
#include "algorithms/run/start_worker.h"
#include "ps/named_table.h"
#include "ps/named_table/wire.h"
#include "ps/named_table/writers.h"
#include "ps/table_set_actor.h"
#include "ps/wire.h"

namespace troupe {
namespace {

constexpr uint32_t kShardsMax = 1024, kReplicationMax = 8;
constexpr char kDefault[] = "default:";
constexpr int kEpochsOfLife = 20;   // bits: views of a chain in one life of the driver
constexpr std::chrono::milliseconds kLease{30'000}, kLookEvery{100}, kAgain{1'000};
constexpr std::chrono::milliseconds kSettleEvery{250}, kSettleMax{5'000};

/// Everything about the table, as a shard is told it.
ShardActorOptions ShardOptionsOf(const TableJob& job) {
  ShardActorOptions options;
  options.shard = {
      .tables = {job.spec}, .shard = 0, .shards = job.shards, .writers = kTableWriters, .consistency = Consistency{.kind = Consistency::Kind::kAsp}};
  options.log_folder = job.folder;
  return options;
}

std::string HexOf(const TableJob& job) {
  const Block bytes = EncodeShardJob(ShardOptionsOf(job));
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

std::string RandomHex() {
  std::random_device device;
  std::string hex;
  for (int i = 0; i < 8; ++i) absl::StrAppend(&hex, absl::Hex(device(), absl::kZeroPad8));
  return hex;
}

/// The files of one table: what it is, who its writers are, the secret of its network, and, beside them, its shards' snapshots and logs.
class TableFolder {
 public:
  explicit TableFolder(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }

  absl::StatusOr<std::string> Read(const char* name) const {
    TROUPE_TRY(const Block bytes, storage_->Read(File(name)));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  absl::StatusOr<bool> Has(const char* name) const { return storage_->Exists(File(name)); }
  absl::Status Write(const char* name, const std::string& text, bool durable) const {
    return storage_->Write(File(name), {Block::Copy(text.data(), text.size())}, durable);
  }

  /// The same in all lives of the driver, so that users find their way back. Readable by the owner of the jobs alone.
  absl::StatusOr<JobNetwork> Network() const {
    TROUPE_TRY(const bool there, Has("secret"));
    if (!there) TROUPE_RETURN_IF_ERROR(MakeSecret());
    TROUPE_TRY(const std::string text, Read("secret"));
    const std::vector<std::string> words = absl::StrSplit(text, ' ');
    if (words.size() != 2 || words[1].size() < 32) return absl::DataLossError(absl::StrCat(File("secret"), ": damaged"));
    return JobNetwork{.name = words[0], .token = words[1], .build = kTableProtocol};
  }

  /// The table is gone for good, whatever happens from now on.
  absl::Status BeginDrop() const { return Write("dropped", "", true); }
  absl::Status Remove() const {
    std::error_code error;
    for (int i = 0; i < 20; ++i) {   // a process that is about to end may write meanwhile
      std::filesystem::remove_all(path_, error);
      if (!error && !std::filesystem::exists(path_)) return absl::OkStatus();
      std::this_thread::sleep_for(kLookEvery);
    }
    return absl::InternalError(absl::StrCat(path_, ": cannot be removed", error ? absl::StrCat(": ", error.message()) : ""));
  }

 private:
  std::string File(const char* name) const { return absl::StrCat(path_, "/", name); }
  absl::Status MakeSecret() const {
    const std::string text = absl::StrCat("table-", RandomHex().substr(0, 16), " ", RandomHex()), file = File("secret"), temporary = file + ".new";
    ::unlink(temporary.c_str());
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const bool written = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
    const int error = errno;
    if (fd >= 0) ::close(fd);
    if (!written) return absl::InternalError(absl::StrCat(temporary, ": ", std::generic_category().message(error)));
    return storage_->Rename(temporary, file);
  }

  const std::string path_;
  const std::unique_ptr<Storage> storage_ = MakeLocalStorage();
};

/// What users ask of the driver. Thread-safe: its handler is called on the link thread.
class TableDesk {
 public:
  TableDesk(const TableJob& job, uint32_t replication, const TableFolder& folder)
      : name_(job.spec.name), replication_(replication), folder_(folder), shard_(EncodeShardJob(ShardOptionsOf(job))) {}

  absl::Status Restore() {
    TROUPE_TRY(const bool there, folder_.Has("writers"));
    if (!there) return absl::OkStatus();
    TROUPE_TRY(const std::string text, folder_.Read("writers"));
    return WithContext(writers_.Restore(text, std::chrono::steady_clock::now()), absl::StrCat(folder_.path(), "/writers"));
  }
  Ending& dropped() { return dropped_; }

  /// Numbers that nobody has, until they are settled.
  std::vector<WriterId> Unsettled() {
    const std::lock_guard lock(mutex_);
    std::vector<WriterId> unsettled = writers_.Unsettled(std::chrono::steady_clock::now());
    return Keep().ok() ? unsettled : std::vector<WriterId>();   // before anybody else writes as one of them
  }
  void Settled(WriterId writer) {
    const std::lock_guard lock(mutex_);
    writers_.Settled(writer);
    Keep().IgnoreError();   // it is settled again
  }

  void Handle(const ProcessOptions::WhereShardsAre& shards, const Frame& frame, const Network::Reply& reply) {
    const std::lock_guard lock(mutex_);
    if (frame.type == Codec<OpenTable>::kType) {
      Answer(reply, OnOpen(Codec<OpenTable>::Decode(frame), shards));
    } else if (frame.type == Codec<CloseTable>::kType) {
      Answer(reply, OnClose(Codec<CloseTable>::Decode(frame)));
    } else if (frame.type == Codec<DropTable>::kType) {
      Answer(reply, OnDrop(Codec<DropTable>::Decode(frame).status()));
      if (dropping_) dropped_.Set();
    } else {
      reply(absl::UnimplementedError(absl::StrCat("message type ", frame.type, " is not understood by a table's driver")));
    }
  }

 private:
  template <class Message>
  static void Answer(const Network::Reply& reply, const absl::StatusOr<Message>& answer) {
    answer.ok() ? reply(Codec<Message>::Encode(*answer)) : reply(answer.status());
  }

  absl::StatusOr<TableOpened> OnOpen(const absl::StatusOr<OpenTable>& open, const ProcessOptions::WhereShardsAre& shards) {
    TROUPE_RETURN_IF_ERROR(open.status());
    if (dropping_) return absl::FailedPreconditionError(absl::StrCat("table '", name_, "' is being dropped"));
    if (open->user == TableWriters::kNobody || open->user == TableWriters::kGone)
      return absl::InvalidArgumentError(absl::StrCat("a table's user is ", open->user, ", expected a number of its own"));
    TROUPE_TRY(const WriterId writer, writers_.Open(open->user, std::chrono::steady_clock::now()));
    TROUPE_RETURN_IF_ERROR(Keep());
    ProcessOptions::ShardsAt at = shards();
    TableOpened opened{.writer = writer, .lease = kLease, .shard = shard_, .shards = {}, .replication = replication_, .routes = std::move(at.routes)};
    for (ShardPlace& shard : at.processes) opened.shards.push_back({shard.node, shard.actor, std::move(shard.places)});
    return opened;
  }
  absl::StatusOr<TableClosed> OnClose(const absl::StatusOr<CloseTable>& close) {
    TROUPE_RETURN_IF_ERROR(close.status());
    writers_.Close(close->user);
    TROUPE_RETURN_IF_ERROR(Keep());
    return TableClosed{};
  }
  absl::StatusOr<TableDropping> OnDrop(const absl::Status& status) {
    TROUPE_RETURN_IF_ERROR(status);
    TROUPE_RETURN_IF_ERROR(folder_.BeginDrop());
    dropping_ = true;
    return TableDropping{};
  }
  /// Who has which number outlives this process, before anybody is told.
  absl::Status Keep() {
    if (kept_ == writers_.version()) return absl::OkStatus();
    TROUPE_RETURN_IF_ERROR(folder_.Write("writers", writers_.Text(), false));
    kept_ = writers_.version();
    return absl::OkStatus();
  }

  const std::string name_;
  const uint32_t replication_;
  const TableFolder& folder_;
  const Block shard_;
  std::mutex mutex_;
  TableWriters writers_{kTableWriters, kLease};
  uint64_t kept_ = 0;
  bool dropping_ = false;
  Ending dropped_;
};

/// Ends the rounds that users have left unfinished: as the writers that they were, which nobody else is meanwhile.
class Settler {
 public:
  Settler(Cluster& cluster, const TableSpec& spec, TableDesk& desk)
      : thread_([this, &cluster, spec, &desk] {
          while (!stop_.WaitFor(kSettleEvery)) {
            for (const WriterId writer : desk.Unsettled()) {
              if (stop_.IsSet()) return;
              const auto set = MakeTableSet(cluster.system(), cluster.shards(), {.tables = {spec}, .patience = kSettleMax}, writer);
              if (set->Flush().ok()) desk.Settled(writer);   // else it is tried again
            }
          }
        }) {}
  ~Settler() {
    stop_.Set();
    thread_.join();
  }

 private:
  Ending stop_;
  std::thread thread_;
};

/// Makes the folder, and waits for its lock, which an earlier driver may still have: it has been given up, but may live where nobody hears it.
absl::StatusOr<FileLock> LockFolder(const TableFolder& folder, const std::atomic<bool>* stop) {
  TROUPE_RETURN_IF_ERROR(MakeLocalStorage()->MakeFolder(folder.path()));
  for (;;) {
    absl::StatusOr<FileLock> lock = FileLock::Take(absl::StrCat(folder.path(), "/driver.lock"), kAgain);
    if (lock.ok() || !absl::IsFailedPrecondition(lock.status())) return lock;
    if (stop != nullptr && *stop) return absl::CancelledError("stopped by a signal");
  }
}

std::string InWords(const TableJob& job, uint32_t replication) {
  return absl::StrCat("width ", job.spec.width, ", ", job.spec.rows ? absl::StrCat("dense with ", *job.spec.rows, " rows") : "sparse", ", rule ", job.spec.rule,
                      ", ", job.shards, job.shards == 1 ? " shard" : " shards", replication == 1 ? "" : absl::StrCat(" of ", replication, " processes"));
}

/// The folder is this table's, from now on at the latest: how many processes hold each of its shards.
absl::StatusOr<uint32_t> ClaimFolder(const TableFolder& folder, const TableJob& job) {
  TROUPE_TRY(const bool there, folder.Has("table"));
  if (!there) {
    const uint32_t replication = job.replication.value_or(job.replication_default);
    TROUPE_RETURN_IF_ERROR(folder.Write("table", absl::StrCat(HexOf(job), " ", replication), true));
    return replication;
  }
  TROUPE_TRY(const std::string text, folder.Read("table"));
  const std::vector<std::string> words = absl::StrSplit(text, ' ');
  absl::StatusOr<TableJob> before = ParseTableDriver({job.spec.name, words[0], words.size() > 1 ? words[1] : "1"});
  if (!before.ok() || !before->replication) return absl::DataLossError(absl::StrCat(folder.path(), "/table: damaged"));
  before->folder = job.folder;   // it may be called otherwise today
  const uint32_t replication = job.replication.value_or(*before->replication);
  if (HexOf(*before) == HexOf(job) && replication == *before->replication) return replication;
  return absl::InvalidArgumentError(
      absl::StrCat(folder.path(), " holds a table of ", InWords(*before, *before->replication), ", and not of ", InWords(job, replication)));
}

/// Epochs of this life of the table's chains are higher than those of all before it, whose files are there. Processes of an earlier life have no lease any more
/// when it returns: they may live, but acknowledge nothing that is not read now.
absl::StatusOr<uint64_t> BeginLife(const TableFolder& folder, uint32_t replication) {
  uint64_t life = 0;
  TROUPE_TRY(const bool there, folder.Has("life"));
  if (there) {
    TROUPE_TRY(const std::string text, folder.Read("life"));
    if (!absl::SimpleAtoi(text, &life)) return absl::DataLossError(absl::StrCat(folder.path(), "/life: damaged"));
  }
  TROUPE_RETURN_IF_ERROR(folder.Write("life", absl::StrCat(life + 1), true));
  if (there && replication > 1) std::this_thread::sleep_for(kShardLease);
  return life << kEpochsOfLife;
}

}   // namespace

absl::Status Validate(const TableJob& job) {
  TROUPE_RETURN_IF_ERROR(CheckTableName(job.spec.name));
  TROUPE_RETURN_IF_ERROR(Validate(job.spec));
  if (job.spec.limits.any())
    return absl::InvalidArgumentError(absl::StrCat("table '", job.spec.name, "' has limits: there is no cut of its rows, expected none"));
  if (job.spec.staleness_scale || job.spec.delay_compensation > 0)
    return absl::InvalidArgumentError(absl::StrCat("table '", job.spec.name, "' makes up for delays: its writers are no job's, expected that it does not"));
  if (job.shards < 1 || job.shards > kShardsMax) return absl::InvalidArgumentError(absl::StrCat("shards is ", job.shards, ", expected 1 to ", kShardsMax));
  if (const uint32_t replication = job.replication.value_or(1); replication < 1 || replication > kReplicationMax)
    return absl::InvalidArgumentError(absl::StrCat("replication is ", replication, ", expected 1 to ", kReplicationMax));
  if (job.folder.empty()) return absl::InvalidArgumentError(absl::StrCat("table '", job.spec.name, "' has no folder"));
  return LocalPath(job.folder).status();
}

std::vector<std::string> TableDriverArguments(const TableJob& job) {
  return {kTableDriver, job.spec.name, HexOf(job), job.replication ? absl::StrCat(*job.replication) : absl::StrCat(kDefault, job.replication_default)};
}

absl::StatusOr<TableJob> ParseTableDriver(const std::vector<std::string>& arguments) {
  const absl::Status bad = absl::InvalidArgumentError("not the command line of a table's driver");
  if (arguments.size() != 3 || arguments[1].size() % 2 != 0 || arguments[1].find_first_not_of("0123456789abcdef") != std::string::npos) return bad;
  const std::string bytes = absl::HexStringToBytes(arguments[1]);
  const absl::StatusOr<ShardActorOptions> shard = DecodeShardJob(Block::Copy(bytes.data(), bytes.size()));
  if (!shard.ok() || shard->shard.tables.size() != 1 || shard->shard.tables[0].name != arguments[0]) return bad;
  TableJob job{.spec = shard->shard.tables[0], .shards = shard->shard.shards, .folder = shard->log_folder};
  absl::string_view replication = arguments[2];
  const bool by_default = absl::ConsumePrefix(&replication, kDefault);
  uint32_t count = 0;
  if (!absl::SimpleAtoi(replication, &count) || count < 1 || count > kReplicationMax) return bad;
  by_default ? void(job.replication_default = count) : void(job.replication = count);
  return job;
}

absl::Status RunTableDriver(const TableJob& job, const TableDriverOptions& options) {
  TROUPE_RETURN_IF_ERROR(Validate(job));
  TROUPE_TRY(const std::string local, LocalPath(job.folder));
  std::error_code error;
  const std::string path = (std::filesystem::absolute(local, error) / job.spec.name).string();
  const TableFolder folder(path);
  TROUPE_TRY(FileLock lock, LockFolder(folder, options.stop));
  TROUPE_TRY(const bool dropped, folder.Has("dropped"));
  if (dropped) {
    TROUPE_RETURN_IF_ERROR(folder.Remove());
    if (options.node.attempt > 1) return absl::OkStatus();   // the driver before this one was lost while it did so
    TROUPE_TRY(lock, LockFolder(folder, options.stop));      // of an earlier job, whose driver could not
  }
  TROUPE_TRY(const uint32_t replication, ClaimFolder(folder, job));
  TROUPE_TRY(JobNetwork network, folder.Network());
  TableDesk desk(job, replication, folder);
  TROUPE_RETURN_IF_ERROR(desk.Restore());

  ProcessOptions processes;
  processes.nodes = options.node;
  processes.nodes->folder = absl::StrCat(path, "/.job-", options.node.job, ".", options.node.attempt);
  processes.network = std::move(network);
  processes.serve = [&desk](ProcessOptions::WhereShardsAre shards) -> std::vector<std::pair<ActorId, Network::Handler>> {
    return {{kTableActor, [&desk, shards = std::move(shards)](const Frame& frame, const Network::Reply& reply) { desk.Handle(shards, frame, reply); }}};
  };
  processes.restarted = [&options](const std::string& child) { options.log(absl::StrCat(child, " is replaced")); };
  processes.log = options.log;
  const ClusterOptions tables{.workers = 0,
                              .worker = {},
                              .tables = {job.spec},
                              .consistency = Consistency{.kind = Consistency::Kind::kAsp},
                              .splits = kTableWriters,
                              .shards = job.shards,
                              .replication = replication,
                              .restore_uris = {},
                              .log_folder = path,
                              .cancelled = options.stop};
  const auto run = [&]() -> absl::Status {
    TROUPE_TRY(const std::unique_ptr<Cluster> cluster, MakeProcessCluster(processes, tables));
    const Settler settler(*cluster, job.spec, desk);
    return cluster->Await(desk.dropped());
  };
  for (;;) {
    TROUPE_TRY(processes.epochs_after, BeginLife(folder, replication));
    const absl::Status status = run();
    if (status.ok()) break;
    options.log(absl::StrCat("the table's processes: ", status.message()));
    if (absl::IsCancelled(status) || !IsRetryable(status)) return status;
    std::this_thread::sleep_for(kAgain);
  }
  return folder.Remove();
}

}   // namespace troupe
