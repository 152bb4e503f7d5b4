#include "ps/named_table.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/ask.h"
#include "actors/caf_status.h"
#include "actors/rpc_network.h"
#include "actors/status.h"
#include "actors/stop_actors.h"
#include "ps/chain_client_actor.h"
#include "ps/named_table/wire.h"
#include "ps/table_cut.h"
#include "ps/table_set_actor.h"

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kSayEvery{1'000}, kSayMax{2'000}, kAgain{100}, kHurry{20};
constexpr std::chrono::milliseconds kShardTimeout{10'000};   // of a request to a shard
constexpr int kCutsMax = 5;                                  // that were lost with a process while they were read: so many at least

/// No process of the table's own has such a number (process_cluster.h counts from 0).
NodeId RandomNode() {
  return NodeId{std::random_device()() | 1u << 31};
}
uint64_t RandomUser() {
  std::random_device device;
  return std::clamp<uint64_t>(uint64_t{device()} << 32 | device(), 1, UINT64_MAX - 1);
}

}   // namespace

std::string JobNameOfTable(const std::string& name) {
  return absl::StrCat("table ", name);
}

absl::Status CheckTableName(const std::string& name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  const bool good =
      !name.empty() && name.size() <= 100 && plain(name[0]) && std::ranges::all_of(name, [&](char c) { return plain(c) || c == '_' || c == '-' || c == '.'; });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("table's name is '", name, "', expected 1 to 100 letters, digits, '_', '-' and '.', the first a letter or a digit"));
}

std::optional<JobStatus> JobOfTable(const Inspected& cluster, const std::string& name) {
  const std::string job_name = JobNameOfTable(name);
  const auto found = std::ranges::find_if(cluster.jobs, [&](const JobStatus& job) { return job.spec.name == job_name && !IsOver(job.state); });
  if (found == cluster.jobs.end()) return std::nullopt;
  return *found;
}

struct NamedTable::Impl {
  NamedTableOptions options;
  uint64_t user = RandomUser();
  JobId job = 0;
  std::unique_ptr<ClusterLink> head;
  Endpoint driver;                  // of the thread that says that this user is there
  std::unique_ptr<System> system;   // in the table's network
  std::vector<TableSpec> tables;
  uint32_t replication = 1;
  std::vector<ShardActor> shards;
  std::unique_ptr<TableSet> set;
  std::chrono::milliseconds lease{0};

  std::thread sayer;
  std::mutex mutex;
  std::condition_variable wake;
  bool closing = false, hurry = false;

  ~Impl() {
    {
      std::lock_guard lock(mutex);
      closing = true;
    }
    wake.notify_all();
    if (sayer.joinable()) sayer.join();
    set = nullptr;
    if (system != nullptr) {
      AskDriver<TableClosed>(CloseTable{user}, kSayMax).status().IgnoreError();   // its lease ends by itself
      StopAndWait(*system, shards);
      shards.clear();
    }
  }

  /// One question to the driver where it was last.
  template <class Reply, class Message>
  absl::StatusOr<Reply> AskDriver(const Message& message, std::chrono::milliseconds limit) {
    struct Asked {
      std::mutex mutex;
      std::condition_variable come;
      std::optional<absl::StatusOr<Reply>> reply;
    };
    const auto asked = std::make_shared<Asked>();
    system->network().Request({NodeId{0}, Incarnation{0}, kTableActor}, Codec<Message>::Encode(message), Network::Lane::kControl, limit,
                              [asked](const absl::StatusOr<Frame>& answer) {
                                std::lock_guard lock(asked->mutex);
                                asked->reply = answer.ok() ? Codec<Reply>::Decode(*answer) : absl::StatusOr<Reply>(answer.status());
                                asked->come.notify_one();
                              });
    std::unique_lock lock(asked->mutex);
    asked->come.wait(lock, [&] { return asked->reply.has_value(); });   // every request has an end
    return *asked->reply;
  }

  /// Where the driver is, by the head: asked again whenever it is not there. One question.
  absl::Status FindDriver() {
    TROUPE_TRY(Endpoint found, head->AskHead<Endpoint>(FindEndpoint{job}, std::chrono::milliseconds(0)));
    if (found.place.empty()) return absl::FailedPreconditionError(absl::StrCat("job ", job, " keeps no table for others"));
    if (system == nullptr) {
      const NodeId node = RandomNode();
      system = std::make_unique<System>(System::Options{.node = node, .incarnation = Incarnation{1}, .compute_threads = 1});
      std::optional<TlsCertificates> tls;
      if (!options.cluster.tls.empty()) {
        TROUPE_TRY(tls, ReadTlsFolder(options.cluster.tls));
      }
      TROUPE_TRY(std::unique_ptr<RpcNetwork> network,
                 RpcNetwork::Start({.node = node,
                                    .incarnation = Incarnation{1},
                                    .cluster_id = found.network,
                                    .token = found.token,
                                    .build_id = kTableProtocol,
                                    .tls = std::move(tls),
                                    .listen = {},
                                    .run = [own = system.get()](const std::function<void()>& calls) { own->RunOnLink(calls); }}));
      system->SetNetwork(std::move(network));
    } else if (found.network != driver.network || found.token != driver.token) {
      return absl::FailedPreconditionError(absl::StrCat("table '", options.name, "' is another one now"));
    }
    driver = std::move(found);
    system->network().Locate(NodeId{0}, {driver.place});
    return absl::OkStatus();
  }

  void Follow(const TableOpened& opened) {
    for (const TableOpened::Place& shard : opened.shards) {
      if (!shard.places.empty()) system->network().Locate(shard.node, shard.places);
    }
    for (const ChainRoute& route : opened.routes) {
      if (route.shard < shards.size()) SetRoute(shards[route.shard], route);
    }
  }

  /// A shard has not answered: the driver may know where it is now.
  void Hurry() {
    {
      std::lock_guard lock(mutex);
      hurry = true;
    }
    wake.notify_all();
  }

  /// Until the driver has said who this user is.
  absl::StatusOr<TableOpened> Open(std::chrono::steady_clock::time_point end) {
    for (;;) {
      absl::Status status = FindDriver();
      if (status.ok()) {
        absl::StatusOr<TableOpened> opened = AskDriver<TableOpened>(OpenTable{user}, kSayMax);
        if (opened.ok()) return opened;
        status = opened.status();
      }
      if (!IsRetryable(status)) return status;
      if (std::chrono::steady_clock::now() >= end) {
        return absl::UnavailableError(absl::StrCat("table '", options.name, "' (job ", job, ") does not answer: ", status.message()));
      }
      std::this_thread::sleep_for(kAgain);
    }
  }

  absl::Status Connect() {
    const auto end = std::chrono::steady_clock::now() + options.patience;
    TROUPE_TRY(head, ClusterLink::Open({.address = options.cluster}));
    TROUPE_TRY(const Inspected cluster, head->AskHead<Inspected>(Inspect{}));
    const std::optional<JobStatus> found = JobOfTable(cluster, options.name);
    if (!found) return absl::NotFoundError(absl::StrCat("there is no table '", options.name, "' (troupe table list)"));
    job = found->job;
    const auto asked = std::chrono::steady_clock::now();
    TROUPE_TRY(const TableOpened opened, Open(end));
    TROUPE_TRY(const ShardActorOptions shard, DecodeShardJob(opened.shard));
    if (shard.shard.tables.size() != 1 || (opened.replication == 1 && opened.shards.size() != shard.shard.shards))
      return absl::InvalidArgumentError(absl::StrCat("the driver of job ", job, " says of ", shard.shard.tables.size(), " tables and ", opened.shards.size(),
                                                     " shards, expected one table, and all of its ", shard.shard.shards, " shards"));
    tables = shard.shard.tables;
    lease = opened.lease;
    replication = opened.replication;
    for (uint32_t i = 0; i < shard.shard.shards; ++i) {
      if (replication > 1) {
        shards.push_back(SpawnChainClient(
            *system,
            {.shard = i, .request_timeout = kShardTimeout, .cuts_at_first = CutsAtFirst(tables, shard.shard.consistency), .lost = [this] { Hurry(); }}));
      } else {
        const TableOpened::Place& place = opened.shards[i];
        shards.push_back(SpawnProxy<ShardActor>(*system, {.to = {place.node, Incarnation{0}, place.actor}, .timeout = kShardTimeout}));
      }
    }
    Follow(opened);
    set = MakeTableSet(*system, shards, {.tables = tables, .patience = options.patience}, opened.writer);
    sayer = std::thread([this, writer = opened.writer, asked] { SayAgain(writer, asked + lease); });
    return absl::OkStatus();
  }

  /// Says that this user is there, until it is not, or has been unheard for too long.
  void SayAgain(WriterId writer, std::chrono::steady_clock::time_point until) {
    std::unique_lock lock(mutex);
    for (bool lost = false;;) {
      wake.wait_for(lock, lost ? kAgain : kSayEvery, [&] { return closing || (hurry && !lost); });
      if (closing) return;
      if (std::exchange(hurry, false)) wake.wait_for(lock, kHurry, [&] { return closing; });   // not as often as everybody asks
      lock.unlock();
      const auto asked = std::chrono::steady_clock::now();
      absl::Status status = lost ? FindDriver() : absl::OkStatus();
      if (status.ok()) {
        const absl::StatusOr<TableOpened> opened = AskDriver<TableOpened>(OpenTable{user}, kSayMax);
        status = opened.status();
        if (opened.ok() && opened->writer != writer) status = absl::FailedPreconditionError("another user has taken its place");
        if (status.ok()) {
          until = asked + lease;
          Follow(*opened);
        }
      }
      lost = !status.ok();
      const bool over = std::chrono::steady_clock::now() >= until;
      if (lost && (over || !IsRetryable(status))) {
        Abandon(*set, absl::UnavailableError(absl::StrCat("table '", options.name, "': this user may write no more, connect again: ", status.message())));
        return;
      }
      lock.lock();
    }
  }
};

absl::StatusOr<std::unique_ptr<NamedTable>> NamedTable::Connect(const NamedTableOptions& options) {
  TROUPE_RETURN_IF_ERROR(CheckTableName(options.name));
  auto impl = std::make_shared<Impl>();
  impl->options = options;
  TROUPE_RETURN_IF_ERROR(impl->Connect());
  return std::unique_ptr<NamedTable>(new NamedTable(std::move(impl)));
}

NamedTable::~NamedTable() = default;

const TableSpec& NamedTable::spec() const {
  return impl_->tables[0];
}
uint32_t NamedTable::shards() const {
  return static_cast<uint32_t>(impl_->shards.size());
}
uint32_t NamedTable::replication() const {
  return impl_->replication;
}
JobId NamedTable::job() const {
  return impl_->job;
}
TableRef NamedTable::ref() const {
  return *impl_->set->Find(spec().name);
}
absl::Status NamedTable::Flush() const {
  return impl_->set->Flush();
}

absl::StatusOr<Rows> NamedTable::ReadAll() const {
  absl::Status status;
  const auto end = std::chrono::steady_clock::now() + impl_->options.patience;
  for (int i = 0; i < kCutsMax || std::chrono::steady_clock::now() < end; ++i) {
    if (i > 0) std::this_thread::sleep_for(kAgain);
    TROUPE_TRY(const std::unique_ptr<TableCut> cut, TableCut::Make(*impl_->system, impl_->shards, impl_->tables, {.patience = impl_->options.patience}));
    absl::StatusOr<Rows> rows = cut->ReadAll(0);
    status = rows.status();
    if (!absl::IsNotFound(status) && !IsRetryable(status)) return rows;
  }
  return absl::UnavailableError(absl::StrCat("table '", spec().name, "': all cuts were lost while they were read, the last one: ", status.message()));
}

absl::StatusOr<NamedTable::Size> NamedTable::MeasureSize() const {
  TROUPE_TRY(const FunctionValue count, impl_->set->Call({.function = "count"}));
  Size size{.rows = static_cast<uint64_t>(count.numbers[0])};
  for (const ShardActor& shard : impl_->shards) {
    TROUPE_TRY(const Ranges ranges, Ask<Ranges>(*impl_->system, shard, AskRanges{.loads = true}, impl_->options.patience));
    if (!ranges.loads.IsArrayOf<RangeLoad>()) return absl::InvalidArgumentError("a shard's loads are cut");
    for (const RangeLoad& load : ranges.loads.As<RangeLoad>()) size.bytes += load.bytes;
  }
  return size;
}

absl::Status NamedTable::Drop() const {
  absl::Status status;
  const auto end = std::chrono::steady_clock::now() + impl_->options.patience;
  do {
    status = impl_->AskDriver<TableDropping>(DropTable{}, kSayMax).status();
    if (!IsRetryable(status)) return status;
    std::this_thread::sleep_for(kAgain);
  } while (std::chrono::steady_clock::now() < end);
  return status;
}

}   // namespace troupe
