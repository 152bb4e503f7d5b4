// The conformance suite drives every registered algorithm through hosts: the serial oracle, and whatever else trains. A host is one class; RegisterHost makes
// the suite use it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "algorithms/run/local_runner.h"

namespace troupe::testing {

/// What every host must be able to tell of a run.
struct HostResult {
  std::string rows;   ///< ShowModel(model, csv): every table, exact
  std::vector<LocalReport> reports;
  std::shared_ptr<const Model> model;
  uint64_t nonzeros_read = 0, nonzeros_applied = 0;   ///< the ledger: of the batches read, of the pushes applied
  uint64_t falls = 0;                                 ///< of workers and shards, and of a trainer that left a checkpoint
};

class Host {
 public:
  virtual ~Host() = default;
  virtual std::string name() const = 0;
  /// Is its model the oracle's, bit for bit? Not where a batch may have to be made again that some shard has applied already: it sees newer weights there.
  virtual bool exact() const { return true; }
  /// Does nothing of it fall? Else what had been summed up for the reports is gone with it.
  virtual bool stands() const { return true; }
  virtual absl::StatusOr<HostResult> Train(const LocalOptions& options) = 0;
};

class OracleHost final : public Host {
 public:
  std::string name() const override { return "oracle"; }
  absl::StatusOr<HostResult> Train(const LocalOptions& options) override {
    auto result = RunLocal(options);
    if (!result.ok()) return result.status();
    auto model = MakeModel(*result);
    if (!model.ok()) return model.status();
    std::shared_ptr<const Model> shared = *std::move(model);
    return HostResult{ShowModel(*shared, true), result->reports, shared, result->nonzeros_read, result->nonzeros_pushed, 0};
  }
};

/// All hosts; the oracle is the first.
inline std::vector<std::unique_ptr<Host>>& Hosts() {
  static std::vector<std::unique_ptr<Host>> hosts = [] {
    std::vector<std::unique_ptr<Host>> start;
    start.push_back(std::make_unique<OracleHost>());
    return start;
  }();
  return hosts;
}
inline bool RegisterHost(std::unique_ptr<Host> host) {
  Hosts().push_back(std::move(host));
  return true;
}

}   // namespace troupe::testing
