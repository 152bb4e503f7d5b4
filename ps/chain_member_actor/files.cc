// What the last member of a chain writes: snapshots, and a log where there is one.
#include <string>
#include <utility>

#include "ps/chain_member_actor/member.h"

namespace troupe::chain_member {

void Member::KeepFiles() {
  if (options_.shard.snapshot_uri.empty()) return;
  const bool alone = view_.members.size() == 1;
  System::Deliver(shard_, KeepSnapshots{.uri = Last() ? FileOf(view_.epoch) : "",
                                        .interval = options_.shard.snapshot_interval * (alone ? 1 : kChainSnapshotFactor),
                                        .needed = alone});
}

void Member::KeepLogOfChain() {
  if (!Last()) {
    if (log_.End()) AskShard<LogKept>(KeepLog{}, [](const absl::StatusOr<LogKept>&) {});
    return;
  }
  if (const std::optional<ChainLog::Begun> begun = log_.Begin(view_.epoch, last_)) AskForLog(*begun);
}

void Member::AskForLog(const ChainLog::Begun& begun) {
  AskShard<LogKept>(KeepLog{.uri = FileOf(begun.epoch), .folder = options_.shard.log_folder, .name = LogOf(begun.epoch)},
                    [this, begun](const absl::StatusOr<LogKept>& kept) {
                      if (log_.OnBegun(begun, kept.status())) OnLogKept(begun.epoch, kept.status());
                    });
}

void Member::OnLogKept(uint64_t epoch, const absl::Status& status) {
  if (!status.ok()) return FailLog(status);
  if (!log_.failed().ok()) return BeginLogLater();
  next_.Trim();
  OnNextHas(next_.has(last_));
  earlier_files_ = epoch;
  DropEarlierFiles();
}

void Member::DropEarlierFiles() {
  if (!earlier_files_ || !Last() || !MayServe()) return;   // without a lease: another one may be reading what is there
  const uint64_t epoch = *std::exchange(earlier_files_, std::nullopt);
  system_.compute().Submit(Compute::Priority::kStep, [&storage = system_.storage(), shard = options_.shard.shard.shard, uri = options_.shard.snapshot_uri,
                                                      folder = options_.shard.log_folder, epoch] { DropEarlierEpochs(storage, uri, folder, shard, epoch); });
}

void Member::FollowLog() {
  if (!log_.on() || !Last()) return;
  next_.Trim();
  OnNextHas(next_.has(last_));
}

void Member::FailLog(const absl::Status& status) {
  if (view_.members.size() > 1) return Fail(std::string(status.message()));
  log_.Fail(status);
  RefuseAll(status);
  BeginLogLater();
}

void Member::BeginLogLater() {
  if (log_.begins() || std::exchange(log_waits_, true)) return;
  self_->delayed_send(self_, options_.shard.log_retry, Thunk{[this] {
                        log_waits_ = false;
                        if (!log_.failed().ok() && log_.kept() && !log_.begins()) AskForLog(log_.BeginAgain(last_));
                      }});
}

uint64_t Member::Logged() const {
  return log_.Through(last_, acknowledged_);
}

}   // namespace troupe::chain_member
