// What encodings cost and save: trains logistic regression once with each and prints bytes, AUC and log loss as rows of docs/encodings.md.
// usage: measure_encodings TRAIN TEST EPOCHS ENCODING...      a part behind @ of an encoding is further parameters: "kkt:0.0005@l1=0.001"
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "actors/system.h"
#include "tests/support/counting_cluster.h"

namespace troupe {
namespace {

struct Measured {
  uint64_t bytes = 0, requests = 0;
  double auc = 0, log_loss = 0, seconds = 0;
};

Measured Measure(const std::string& train, const std::string& test, int epochs, const std::string& encoding) {
  System system({.compute_threads = 2});
  testing::Traffic traffic;
  TrainOptions options;
  options.algorithm = "logistic_regression";
  const size_t at = encoding.find('@');
  options.params = {{"encoding", encoding.substr(0, at)}};
  if (at != std::string::npos) {
    const std::string more = encoding.substr(at + 1);
    options.params[more.substr(0, more.find('='))] = more.substr(more.find('=') + 1);
  }
  options.data.uri = train;
  options.valid = SourceOptions{.uri = test};
  options.epochs = epochs;
  options.workers = 2;
  options.shards = 2;
  options.threads = 2;
  options.model_uri = "mem:/model";
  const auto begin = std::chrono::steady_clock::now();
  const auto report = Train(options, system.storage(), testing::CountingCluster(system, traffic), {});
  if (!report.ok()) {
    std::fprintf(stderr, "%s\n", report.status().ToString().c_str());
    std::exit(1);
  }
  Measured measured{.bytes = traffic.bytes(), .requests = traffic.requests};
  measured.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  for (const auto& [name, value] : report->metrics) {
    if (name == "auc") measured.auc = value;
    if (name == "logloss") measured.log_loss = value;
  }
  return measured;
}

}   // namespace
}   // namespace troupe

int main(int argc, char** argv) {
  using namespace troupe;
  if (argc < 5) {
    std::fprintf(stderr, "usage: measure_encodings TRAIN TEST EPOCHS ENCODING...\n");
    return 2;
  }
  double first = 0;
  for (int i = 4; i < argc; ++i) {
    const Measured m = Measure(argv[1], argv[2], std::atoi(argv[3]), argv[i]);
    if (i == 4) first = static_cast<double>(m.bytes);
    std::printf("| `%s` | %.1f | %.3f | %.5f | %.5f | %.1f s |\n", argv[i], static_cast<double>(m.bytes) / 1e6, static_cast<double>(m.bytes) / first, m.auc,
                m.log_loss, m.seconds);
    std::fflush(stdout);
  }
  return 0;
}
