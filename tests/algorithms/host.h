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
};

class Host {
 public:
  virtual ~Host() = default;
  virtual std::string name() const = 0;
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
    return HostResult{ShowModel(*shared, true), result->reports, shared};
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
