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
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
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

constexpr uint32_t kShardsMax = 1024;
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
  TableDesk(const TableJob& job, const TableFolder& folder) : name_(job.spec.name), folder_(folder), shard_(EncodeShardJob(ShardOptionsOf(job))) {}

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
    TableOpened opened{.writer = writer, .lease = kLease, .shard = shard_, .shards = {}};
    for (ShardPlace& shard : shards()) opened.shards.push_back({shard.node, shard.actor, std::move(shard.places)});
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

std::string InWords(const TableJob& job) {
  return absl::StrCat("width ", job.spec.width, ", ", job.spec.rows ? absl::StrCat("dense with ", *job.spec.rows, " rows") : "sparse", ", rule ", job.spec.rule,
                      ", ", job.shards, job.shards == 1 ? " shard" : " shards");
}

/// The folder is this table's, from now on at the latest.
absl::Status ClaimFolder(const TableFolder& folder, const TableJob& job) {
  TROUPE_TRY(const bool there, folder.Has("table"));
  if (!there) return folder.Write("table", HexOf(job), true);
  TROUPE_TRY(const std::string text, folder.Read("table"));
  absl::StatusOr<TableJob> before = ParseTableDriver({job.spec.name, text});
  if (!before.ok()) return absl::DataLossError(absl::StrCat(folder.path(), "/table: damaged"));
  before->folder = job.folder;   // it may be called otherwise today
  if (HexOf(*before) == HexOf(job)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(folder.path(), " holds a table of ", InWords(*before), ", and not of ", InWords(job)));
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
  if (job.folder.empty()) return absl::InvalidArgumentError(absl::StrCat("table '", job.spec.name, "' has no folder"));
  return LocalPath(job.folder).status();
}

std::vector<std::string> TableDriverArguments(const TableJob& job) {
  return {kTableDriver, job.spec.name, HexOf(job)};
}

absl::StatusOr<TableJob> ParseTableDriver(const std::vector<std::string>& arguments) {
  const absl::Status bad = absl::InvalidArgumentError("not the command line of a table's driver");
  if (arguments.size() != 2 || arguments[1].size() % 2 != 0 || arguments[1].find_first_not_of("0123456789abcdef") != std::string::npos) return bad;
  const std::string bytes = absl::HexStringToBytes(arguments[1]);
  const absl::StatusOr<ShardActorOptions> shard = DecodeShardJob(Block::Copy(bytes.data(), bytes.size()));
  if (!shard.ok() || shard->shard.tables.size() != 1 || shard->shard.tables[0].name != arguments[0]) return bad;
  return TableJob{.spec = shard->shard.tables[0], .shards = shard->shard.shards, .folder = shard->log_folder};
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
  TROUPE_RETURN_IF_ERROR(ClaimFolder(folder, job));
  TROUPE_TRY(JobNetwork network, folder.Network());
  TableDesk desk(job, folder);
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
                              .restore_uris = {},
                              .log_folder = path,
                              .cancelled = options.stop};
  for (;;) {
    absl::StatusOr<std::unique_ptr<Cluster>> cluster = MakeProcessCluster(processes, tables);
    absl::Status status = cluster.status();
    if (status.ok()) {
      const Settler settler(**cluster, job.spec, desk);
      status = (*cluster)->Await(desk.dropped());
    }
    if (status.ok()) break;
    options.log(absl::StrCat("the table's processes: ", status.message()));
    if (absl::IsCancelled(status) || !IsRetryable(status)) return status;
    std::this_thread::sleep_for(kAgain);
  }
  return folder.Remove();
}

}   // namespace troupe
