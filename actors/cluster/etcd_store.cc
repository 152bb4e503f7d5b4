// A store in etcd. The leader's key says who leads (its value), since when (its create revision, the generation), and how many commits there have been (its
// version): each commit raises the version and holds only on the one before, so that one whose answer was lost cannot happen later, behind another.
#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "actors/cluster/store.h"
#include "actors/internal/etcd_gateway.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

using Time = std::chrono::steady_clock::time_point;
constexpr int kTriesMax = 3;

class EtcdStore final : public Store {
 public:
  explicit EtcdStore(const EtcdStoreOptions& options)
      : gateway_(options.endpoints, options.call_max),
        records_(options.prefix + "/records/"),
        leader_(options.prefix + "/leader"),
        lease_length_(options.lease) {}
  ~EtcdStore() override { Resign(); }

  absl::StatusOr<std::map<std::string, std::string>> Read(const std::string& prefix) override {
    TROUPE_TRY(std::vector<EtcdRecord> found, gateway_.Range(records_ + prefix, EndOfPrefix(records_ + prefix)));
    std::map<std::string, std::string> records;
    for (EtcdRecord& record : found) records[record.key.substr(records_.size())] = std::move(record.value);
    return records;
  }

  absl::Status Commit(const std::string& key, const std::optional<std::string>& expected, const std::vector<Change>& changes) override {
    EtcdCondition condition{.key = records_ + key, .value = expected, .create_revision = std::nullopt, .version = std::nullopt};
    if (!expected) condition.create_revision = 0;
    TROUPE_TRY(const EtcdTransacted transacted, gateway_.Transact({{condition}, OfRecords(changes), {}}));
    return transacted.done ? absl::OkStatus() : absl::AbortedError(absl::StrCat("'", key, "' was changed by another head"));
  }

  /// One that leads already goes on.
  absl::StatusOr<Election> Campaign(const std::string& place) override {
    if (const uint64_t generation = Won(); generation != 0 && Leading().ok()) return Election{.generation = generation};
    TROUPE_TRY(const std::vector<EtcdRecord> found, gateway_.Range(leader_, leader_ + '\0'));
    if (!found.empty()) return Election{.leader = found.front().value};
    const Time asked = std::chrono::steady_clock::now();
    TROUPE_TRY(const int64_t lease, gateway_.Grant(lease_length_.count()));
    auto transacted = gateway_.Transact({{{.key = leader_, .value = std::nullopt, .create_revision = 0, .version = std::nullopt}},
                                         {{.kind = EtcdChange::Kind::kPut, .key = leader_, .value = place, .lease = lease}},
                                         leader_});
    if (transacted.ok() && transacted->done) {   // its revision is the key's, which has to be read
      const auto made = gateway_.Range(leader_, leader_ + '\0');
      transacted = made.ok() ? absl::StatusOr<EtcdTransacted>(EtcdTransacted{}) : made.status();
      if (made.ok() && !made->empty()) transacted->found = made->front();
    }
    if (!transacted.ok() || !transacted->found || transacted->found->lease != lease) {
      gateway_.Revoke(lease).IgnoreError();   // else it ends by itself
      TROUPE_RETURN_IF_ERROR(transacted.status());
      return Election{.leader = transacted->found ? transacted->found->value : std::string()};
    }
    Begin(*transacted->found, asked);   // also where an answer was lost, and the key is ours already
    return Election{.generation = static_cast<uint64_t>(transacted->found->create_revision)};
  }

  absl::Status CommitAs(uint64_t generation, const std::vector<Change>& changes) override {
    std::lock_guard one(commits_);
    EtcdTransaction transaction{{}, OfRecords(changes), leader_};
    transaction.changes.push_back({.kind = EtcdChange::Kind::kTouch, .key = leader_, .value = {}});
    for (int i = 0; i < kTriesMax; ++i) {
      transaction.conditions = {{.key = leader_, .value = std::nullopt, .create_revision = static_cast<int64_t>(generation), .version = version_}};
      TROUPE_TRY(const EtcdTransacted transacted, gateway_.Transact(transaction));
      if (transacted.done) {
        ++version_;
        return absl::OkStatus();
      }
      if (!transacted.found || transacted.found->create_revision != static_cast<int64_t>(generation)) {
        return absl::AbortedError(
            absl::StrCat("etcd: ", transacted.found ? absl::StrCat("the head at ", transacted.found->value, " leads now") : "this head leads no more"));
      }
      version_ = transacted.found->version;   // an answer was lost
    }
    return absl::UnavailableError("etcd: commits of this head happen beside each other");
  }

  absl::Status Leading() const override {
    std::lock_guard lock(mutex_);
    if (lease_ == 0) return absl::AbortedError("etcd: this head does not lead");
    if (std::chrono::steady_clock::now() < lease_until_) return absl::OkStatus();
    return absl::AbortedError(absl::StrCat("etcd: the lease of ", lease_length_.count(), " s could not be kept", why_.empty() ? "" : ": ", why_));
  }

  void Resign() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    if (keeper_.joinable()) keeper_.join();
    int64_t lease = 0;
    {
      std::lock_guard lock(mutex_);
      lease = std::exchange(lease_, 0);
      generation_ = 0;
    }
    if (lease != 0) gateway_.Revoke(lease).IgnoreError();   // else it ends by itself
  }

 private:
  /// Later changes of a key count: etcd takes one a key.
  std::vector<EtcdChange> OfRecords(const std::vector<Change>& changes) const {
    std::map<std::string, const Change*> last;
    for (const Change& change : changes) last[change.key] = &change;
    std::vector<EtcdChange> all;
    for (const auto& [key, change] : last) {
      all.push_back({.kind = change->value ? EtcdChange::Kind::kPut : EtcdChange::Kind::kDelete, .key = records_ + key, .value = change->value.value_or("")});
    }
    return all;
  }
  uint64_t Won() const {
    std::lock_guard lock(mutex_);
    return generation_;
  }

  void Begin(const EtcdRecord& leader, Time asked) {
    Resign();   // of an earlier time
    {
      std::lock_guard one(commits_);
      version_ = leader.version;
    }
    std::lock_guard lock(mutex_);
    stop_ = false;
    lease_ = leader.lease;
    generation_ = static_cast<uint64_t>(leader.create_revision);
    lease_until_ = asked + lease_length_;
    why_.clear();
    keeper_ = std::thread([this] { KeepLease(); });
  }

  /// Asks for more when a third of the lease is over. What is counted is the time at which it asked: etcd counts from a later one.
  void KeepLease() {
    std::unique_lock lock(mutex_);
    const int64_t lease = lease_;
    auto pause = std::chrono::duration_cast<std::chrono::milliseconds>(lease_length_) / 3;
    while (!wake_.wait_for(lock, pause, [this] { return stop_; })) {
      lock.unlock();
      const Time asked = std::chrono::steady_clock::now();
      const absl::Status status = gateway_.KeepAlive(lease);
      lock.lock();
      if (absl::IsNotFound(status)) {
        lease_until_ = std::min(lease_until_, std::chrono::steady_clock::now());
        why_ = Message(status);
        return;
      }
      if (status.ok())
        lease_until_ = std::max(lease_until_, asked + lease_length_);
      else
        why_ = Message(status);
      pause = status.ok() ? std::chrono::duration_cast<std::chrono::milliseconds>(lease_length_) / 3 : std::chrono::milliseconds(100);
    }
  }

  EtcdGateway gateway_;
  const std::string records_, leader_;
  const std::chrono::seconds lease_length_;

  std::mutex commits_;
  int64_t version_ = 0;   // of the leader's key, as far as is known; under commits_

  mutable std::mutex mutex_;   // of all below
  std::condition_variable wake_;
  std::thread keeper_;
  bool stop_ = false;
  int64_t lease_ = 0;   // 0: this process does not lead
  uint64_t generation_ = 0;
  Time lease_until_{};
  std::string why_;   // it could not be kept
};

}   // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenEtcdStore(EtcdStoreOptions options) {
  if (options.endpoints.empty()) return absl::InvalidArgumentError("etcd: no endpoints");
  if (options.lease < std::chrono::seconds(2)) return absl::InvalidArgumentError(absl::StrCat("etcd: a lease of ", options.lease.count(), " s, at least 2"));
  return std::make_unique<EtcdStore>(options);
}

absl::StatusOr<EtcdStoreOptions> ParseEtcdStore(const std::string& text) {
  EtcdStoreOptions options;
  const size_t slash = text.find('/');
  if (slash != std::string::npos) options.prefix = text.substr(slash + 1);
  while (options.prefix.ends_with('/')) options.prefix.pop_back();
  options.endpoints = absl::StrSplit(text.substr(0, slash), ',');
  for (const std::string& endpoint : options.endpoints) {
    const size_t colon = endpoint.rfind(':');
    uint32_t port = 0;
    const bool good = colon != std::string::npos && colon > 0 && absl::SimpleAtoi(endpoint.substr(colon + 1), &port) && port > 0 && port < 65536;
    if (!good) return absl::InvalidArgumentError(absl::StrCat("etcd: '", endpoint, "', expected HOST:PORT"));
  }
  if (options.prefix.empty()) return absl::InvalidArgumentError(absl::StrCat("etcd: '", text, "', expected a prefix behind the /"));
  return options;
}

}   // namespace troupe
