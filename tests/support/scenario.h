// A scenario of a test as data: a training run, faults at fixed or drawn moments, and what must hold at the end. One file is run in the simulation
// (scenario_simulation.h) and on real processes (scenario_processes.h); docs/testing.md shows the format. Reading and planning are pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ps/consistency.h"

namespace troupe::testing {

enum class FaultKind { kKill, kStop, kCut, kDrop, kDelay, kDiskFull, kClockStep };
enum class FaultTarget { kHead, kNode, kDriver, kWorker, kShard };
enum class World { kSimulation, kProcesses };

/// As in a file: "kill", "disk_full", "shard".
std::string_view ToString(FaultKind kind);
std::string_view ToString(FaultTarget target);

/// Both ends are included.
struct Span {
  int64_t low = 0, high = 0;
  bool operator==(const Span&) const = default;
};

/// One line `fault`.
struct FaultRule {
  FaultKind kind{};
  FaultTarget target{};
  std::optional<uint32_t> index = std::nullopt;      ///< which one of the targets; nothing: drawn
  Span times{1, 1};                                  ///< how many of these
  Span within{};                                     ///< when it begins, in thousandths of an undisturbed run's time; past 1000 if the run takes longer then
  Span lasts_ms{};                                   ///< 0: a kill whose victim is back at once, a clock that stays as it is
  Span by_ms{};                                      ///< how late, or by how much the clock steps
  double probability = 0;                            ///< of a drop
  std::optional<uint64_t> at_write = std::nullopt;   ///< of a full disk: this write fails alone, counted from the moment; nothing: all of them for a while
  int line = 0;                                      ///< of the file
  bool operator==(const FaultRule&) const = default;
};

/// The line `workload`: `troupe train` on a generated click log.
struct Workload {
  std::string algorithm;
  std::map<std::string, std::string> params = {};
  uint64_t rows = 0, rows_of_processes = 0;   ///< in the simulation, and on real processes, which are that much faster
  uint32_t workers = 1, splits = 1, shards = 1, replication = 1, nodes = 2;
  int epochs = 1;
  Consistencies consistency = {};
  bool checkpoint = false;
  bool operator==(const Workload&) const = default;
};

/// The lines `expect`.
struct Expectations {
  bool model = false;                                        ///< the serial oracle's, byte for byte
  bool nothing_lost = false;                                 ///< each push that was acknowledged has been applied ...
  bool nothing_twice = false;                                ///< ... and none a second time
  std::optional<int64_t> end_ms = std::nullopt;              ///< it ends within; of virtual time in the simulation
  std::optional<uint32_t> restarts_of_each = std::nullopt;   ///< no process of the job is replaced more often
  bool or_disk_full = false;                                 ///< the run may also end with a full disk's error
  bool operator==(const Expectations&) const = default;
};

struct Scenario {
  std::string name, about;
  Workload workload;
  std::vector<FaultRule> faults;
  Expectations expect;
  bool operator==(const Scenario&) const = default;
};

/// What a file says. `path` is for errors only.
/// Errors: InvalidArgument "PATH:LINE: what, the value, what was expected".
absl::StatusOr<Scenario> ParseScenario(const std::string& path, std::string_view text);
/// All NAME.scenario of a folder, by name. Errors: NotFound: there is none; as ParseScenario; InvalidArgument: a name is not its file's.
absl::StatusOr<std::vector<Scenario>> ReadScenarios(const std::string& folder);

/// A fault with everything drawn.
struct TimedFault {
  FaultKind kind{};
  FaultTarget target{};
  int64_t at = 0;        ///< thousandths of an undisturbed run's time
  uint64_t choice = 0;   ///< of the targets there are then, this number modulo how many there are
  int64_t lasts_ms = 0, by_ms = 0;
  double probability = 0;
  std::optional<uint64_t> at_write = std::nullopt;
  bool operator==(const TimedFault&) const = default;
};
/// "kill worker at 31.2%", "cut shard at 5.0% for 300 ms".
std::string ToString(const TimedFault& fault);

/// The faults of a seed, by time: the same in both worlds. Each line draws from a stream of its own, so that another line does not change it.
std::vector<TimedFault> PlanFaults(const Scenario& scenario, uint64_t seed);

/// Why a world has no such fault, as "kill head: processes only"; nothing: it has.
std::optional<std::string> WhyNot(World world, const TimedFault& fault);
/// That of all lines of a scenario, each once.
std::vector<std::string> WhyNot(World world, const Scenario& scenario);

}   // namespace troupe::testing
