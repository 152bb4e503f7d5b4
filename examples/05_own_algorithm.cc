// An algorithm of your own: one class, one line that makes its name known, and it trains, saves and predicts like the others. In the tree it would be one file
// below algorithms/ (docs/adding_an_algorithm.md), and the command line and the conformance suite would have it too.
#include <cmath>
#include <cstdio>
#include <string>

#include "actors/status.h"
#include "actors/system.h"
#include "algorithms/model.h"
#include "algorithms/registry.h"
#include "algorithms/run/trainer.h"
#include "algorithms/step.h"

namespace troupe {
namespace {

// Robust linear regression: squared loss near the target, absolute loss beyond `delta`, so that outliers pull less.
// Source: Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35 (1964).
class HuberRegression final : public StepAlgorithm {
 public:
  Task task() const override { return Task::kRegression; }
  std::string doc() const override { return "linear regression, Huber's loss (Huber, Robust Estimation of a Location Parameter, 1964)"; }
  std::vector<ParamSpec> params() const override {
    std::vector<ParamSpec> specs = StepAlgorithm::params();   // rule, learning_rate, batch_size, l1, l2, intercept
    specs.push_back({.name = "delta", .default_value = 1.0, .min = 0, .min_exclusive = true, .doc = "errors beyond it count linearly"});
    return specs;
  }
  absl::StatusOr<Blueprint> Declare(const Params& params, const DataShape& shape) override {
    delta_ = static_cast<float>(params.Real("delta"));
    return StepAlgorithm::Declare(params, shape);
  }

 protected:
  /// margin[i] = w . x_i. Sets d loss_i / d margin_i, and returns the sum of the losses. That is all that Step has to know.
  double Derivative(std::span<const float> margin, std::span<const float> labels, std::span<float> derivative) const override {
    double loss = 0;
    for (size_t i = 0; i < margin.size(); ++i) {
      const float error = margin[i] - labels[i], size = std::abs(error);
      derivative[i] = size <= delta_ ? error : std::copysign(delta_, error);
      loss += static_cast<double>(size <= delta_ ? error * error / 2 : delta_ * (size - delta_ / 2));
    }
    return loss;
  }
  float Prediction(float margin) const override { return margin; }

 private:
  float delta_ = 1;
};

TROUPE_REGISTER("huber_regression", HuberRegression);

absl::Status Run() {
  TrainOptions options;
  options.algorithm = "huber_regression";
  options.params = {{"delta", "0.5"}};
  options.data.uri = "generate:dense?rows=20000&seed=1";
  options.epochs = 5;
  options.workers = 2;
  options.model_uri = "mem:model";
  System system({.compute_threads = 2});
  const ClusterFactory here = [&system](const ClusterOptions& cluster) { return MakeLocalCluster(system, cluster); };
  TROUPE_TRY(const TrainReport report, Train(options, system.storage(), here, {}));
  std::printf("loss falls: %s\n", report.losses.back().second < report.losses.front().second ? "yes" : "no");
  for (const auto& [name, value] : report.metrics) std::printf("%s %.2f\n", name.c_str(), value);
  TROUPE_TRY(const std::unique_ptr<const Model> model, LoadModel(system.storage(), options.model_uri));
  std::printf("saved as %s with delta=%s\n", model->manifest().algorithm.c_str(), model->manifest().params.at("delta").c_str());

  options.params = {{"delta", "-1"}};   // what a parameter may be was declared once: the check and its message come from there
  const auto refused = Train(options, system.storage(), here, {});
  std::printf("%s\n", std::string(refused.status().message()).c_str());
  return absl::OkStatus();
}

}   // namespace
}   // namespace troupe

int main() {
  const absl::Status status = troupe::Run();
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return troupe::ExitCode(status);
}
