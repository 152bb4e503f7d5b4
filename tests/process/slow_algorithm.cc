// An algorithm whose batches take as long as one says: a cluster's throughput is then the number of its workers, whatever the machine. Only in the test program
// `troupe_slow`, which is else the command. Where SLOW_TIMES names a file, each batch adds a line with the time at its end, in milliseconds.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>

#include "actors/status.h"
#include "algorithms/registry.h"
#include "algorithms/step.h"

namespace troupe {
namespace {

class SlowRegression final : public StepAlgorithm {
 public:
  Task task() const override { return Task::kRegression; }
  std::string doc() const override { return "linear regression that sleeps in each batch"; }
  std::vector<ParamSpec> params() const override {
    std::vector<ParamSpec> specs = StepAlgorithm::params();
    specs.push_back({.name = "sleep_ms", .default_value = 20.0, .min = 0, .doc = "in each batch"});
    return specs;
  }
  absl::StatusOr<Blueprint> Declare(const Params& params, const DataShape& shape) override {
    sleep_ = std::chrono::duration<double, std::milli>(params.Real("sleep_ms"));
    return StepAlgorithm::Declare(params, shape);
  }

 protected:
  double Derivative(std::span<const float> margin, std::span<const float> labels, std::span<float> derivative) const override {
    std::this_thread::sleep_for(sleep_);
    static const char* const times = std::getenv("SLOW_TIMES");
    if (times != nullptr) {
      const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch());
      const std::string line = std::to_string(now.count()) + "\n";
      const int file = ::open(times, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
      if (file < 0 || ::write(file, line.data(), line.size()) < 0) std::abort();
      ::close(file);
    }
    double loss = 0;
    for (size_t i = 0; i < margin.size(); ++i) {
      derivative[i] = margin[i] - labels[i];
      loss += static_cast<double>(derivative[i] * derivative[i]) / 2;
    }
    return loss;
  }
  float Prediction(float margin) const override { return margin; }

 private:
  std::chrono::duration<double, std::milli> sleep_{};
};

TROUPE_REGISTER("slow_regression", SlowRegression);

}   // namespace
}   // namespace troupe
