#include "tests/support/scenario.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "actors/random.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe::testing {
namespace {

constexpr std::pair<FaultKind, std::string_view> kKinds[] = {{FaultKind::kKill, "kill"},      {FaultKind::kStop, "stop"},   {FaultKind::kCut, "cut"},
                                                             {FaultKind::kDrop, "drop"},      {FaultKind::kDelay, "delay"}, {FaultKind::kDiskFull, "disk_full"},
                                                             {FaultKind::kClockStep, "clock"}};
constexpr std::pair<FaultTarget, std::string_view> kTargets[] = {{FaultTarget::kHead, "head"},
                                                                 {FaultTarget::kNode, "node"},
                                                                 {FaultTarget::kDriver, "driver"},
                                                                 {FaultTarget::kWorker, "worker"},
                                                                 {FaultTarget::kShard, "shard"}};
constexpr int64_t kTimesMax = 100, kHourMs = 3'600'000;
constexpr uint64_t kRowsMax = 10'000'000;

using Words = std::vector<std::string>;

Words Split(std::string_view line) {
  std::istringstream stream{std::string(line)};
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

absl::Status Wrong(std::string_view what, std::string_view value, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(Absl(what), " is '", Absl(value), "', expected ", Absl(expected)));
}

absl::Status ReadWhole(std::string_view what, std::string_view text, uint64_t low, uint64_t high, uint64_t* value) {
  if (absl::SimpleAtoi(Absl(text), value) && *value >= low && *value <= high) return absl::OkStatus();
  return Wrong(what, text, absl::StrCat("a whole number of [", low, ", ", high, "]"));
}
absl::Status ReadWhole(std::string_view what, std::string_view text, uint32_t low, uint32_t high, uint32_t* value) {
  uint64_t read = 0;
  TROUPE_RETURN_IF_ERROR(ReadWhole(what, text, uint64_t{low}, uint64_t{high}, &read));
  *value = static_cast<uint32_t>(read);
  return absl::OkStatus();
}

/// "A" or "A..B" with A <= B, each read by `one`.
absl::Status ReadSpan(std::string_view what, std::string_view text, std::string_view expected, const std::function<bool(std::string_view, int64_t*)>& one,
                      Span* span) {
  const size_t dots = text.find("..");
  const std::string_view low = text.substr(0, dots), high = dots == std::string_view::npos ? low : text.substr(dots + 2);
  if (one(low, &span->low) && one(high, &span->high) && span->low <= span->high) return absl::OkStatus();
  return Wrong(what, text, absl::StrCat(Absl(expected), ", or A..B"));
}
bool ReadMs(std::string_view text, int64_t* ms) {
  double seconds = 0;
  if (text.empty() || !(text.back() == 's' || text.back() == 'm' || text.back() == 'h')) return false;   // with a unit
  if (!ParseDuration(text, &seconds).ok() || seconds * 1'000 > static_cast<double>(24 * kHourMs)) return false;
  *ms = std::llround(seconds * 1'000);
  return *ms > 0;
}
bool ReadStepMs(std::string_view text, int64_t* ms) {
  const bool back = text.starts_with('-');
  if (!ReadMs(text.substr(back ? 1 : 0), ms)) return false;
  if (back) *ms = -*ms;
  return true;
}
bool ReadShare(std::string_view text, int64_t* share) {
  double percent = 0;
  if (!text.ends_with('%') || !absl::SimpleAtod(Absl(text.substr(0, text.size() - 1)), &percent)) return false;
  if (!(percent >= 0 && percent <= 1'000)) return false;
  *share = std::llround(percent * 10);
  return true;
}
bool ReadTimes(std::string_view text, int64_t* times) {
  return absl::SimpleAtoi(Absl(text), times) && *times >= 0 && *times <= kTimesMax;
}

/// The words KEY=VALUE of a line; each at most once.
absl::StatusOr<std::map<std::string, std::string>> Pairs(const Words& words, size_t from) {
  std::map<std::string, std::string> pairs;
  for (size_t i = from; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (equals == std::string::npos || equals == 0) return Wrong("a word", words[i], "KEY=VALUE");
    if (!pairs.emplace(words[i].substr(0, equals), words[i].substr(equals + 1)).second)
      return absl::InvalidArgumentError(absl::StrCat(words[i].substr(0, equals), " is there twice"));
  }
  return pairs;
}

template <class Value, size_t n>
absl::Status Named(std::string_view what, std::string_view word, const std::pair<Value, std::string_view> (&known)[n], Value* value) {
  Words names;
  for (const auto& [candidate, name] : known) {
    if (name == word) {
      *value = candidate;
      return absl::OkStatus();
    }
    names.emplace_back(name);
  }
  return absl::InvalidArgumentError(UnknownName(what, word, names));
}

absl::Status ReadWorkload(const Words& words, Workload* workload) {
  TROUPE_TRY(const auto pairs, Pairs(words, 1));
  for (const auto& [key, value] : pairs) {
    absl::Status status;
    if (key == "algorithm") {
      workload->algorithm = value;
    } else if (key == "rows") {
      const size_t slash = value.find('/');
      if (slash == std::string::npos) return Wrong(key, value, "ROWS_OF_THE_SIMULATION/ROWS_OF_PROCESSES");
      status = ReadWhole(key, value.substr(0, slash), 1, kRowsMax, &workload->rows);
      if (status.ok()) status = ReadWhole(key, value.substr(slash + 1), 1, kRowsMax, &workload->rows_of_processes);
    } else if (key == "workers") {
      status = ReadWhole(key, value, 1u, 64u, &workload->workers);
    } else if (key == "splits") {
      status = ReadWhole(key, value, 1u, 256u, &workload->splits);
    } else if (key == "shards") {
      status = ReadWhole(key, value, 1u, 64u, &workload->shards);
    } else if (key == "replication") {
      status = ReadWhole(key, value, 1u, 8u, &workload->replication);
    } else if (key == "nodes") {
      status = ReadWhole(key, value, 1u, 16u, &workload->nodes);
    } else if (key == "epochs") {
      uint32_t epochs = 0;
      status = ReadWhole(key, value, 1u, 1'000u, &epochs);
      workload->epochs = static_cast<int>(epochs);
    } else if (key == "consistency") {
      TROUPE_TRY(workload->consistency, ParseConsistencies(value));
    } else if (key == "checkpoint") {
      if (value != "yes" && value != "no") return Wrong(key, value, "yes or no");
      workload->checkpoint = value == "yes";
    } else {
      const Words keys = {"algorithm", "rows", "workers", "splits", "shards", "replication", "nodes", "epochs", "consistency", "checkpoint"};
      return absl::InvalidArgumentError(UnknownName("key", key, keys));
    }
    TROUPE_RETURN_IF_ERROR(status);
  }
  for (const char* needed : {"algorithm", "rows"}) {
    if (!pairs.contains(needed)) return absl::InvalidArgumentError(absl::StrCat("workload has no ", needed, "="));
  }
  if (!pairs.contains("splits")) workload->splits = workload->workers;
  if (workload->splits < workload->workers) return Wrong("splits", std::to_string(workload->splits), absl::StrCat("workers (", workload->workers, ") or more"));
  return absl::OkStatus();
}

/// Which keys a kind of fault takes beside `times`, `at` and `within`: + demanded, - not obligatory.
std::string_view KeysOf(FaultKind kind) {
  switch (kind) {
    case FaultKind::kKill:
      return "-for";
    case FaultKind::kStop:
    case FaultKind::kCut:
      return "+for";
    case FaultKind::kDrop:
      return "+for +probability";
    case FaultKind::kDelay:
      return "+for +by";
    case FaultKind::kDiskFull:
      return "-for -write";
    case FaultKind::kClockStep:
      return "+by";
  }
  return "";
}

absl::Status ReadFault(const Words& words, FaultRule* fault) {
  if (words.size() < 3) return absl::InvalidArgumentError("expected: fault KIND TARGET KEY=VALUE ...");
  TROUPE_RETURN_IF_ERROR(Named("fault", words[1], kKinds, &fault->kind));
  std::string target = words[2];
  if (const size_t colon = target.find(':'); colon != std::string::npos) {
    uint32_t index = 0;
    TROUPE_RETURN_IF_ERROR(ReadWhole(target.substr(0, colon), target.substr(colon + 1), 0u, 999u, &index));
    fault->index = index;
    target.resize(colon);
  }
  TROUPE_RETURN_IF_ERROR(Named("target", target, kTargets, &fault->target));
  TROUPE_TRY(const auto pairs, Pairs(words, 3));
  const std::string_view own = KeysOf(fault->kind);
  const auto takes = [&](const std::string& key) { return Std(absl::StrCat(" ", Absl(own), " ")).find(key + " ") != std::string_view::npos; };
  if (pairs.contains("at") == pairs.contains("within")) return absl::InvalidArgumentError("expected either at= or within=");
  if (fault->kind == FaultKind::kDiskFull && pairs.contains("for") == pairs.contains("write"))
    return absl::InvalidArgumentError("disk_full: expected either for= or write=");
  for (const std::string key : {"for", "probability", "by"}) {
    if (takes("+" + key) && !pairs.contains(key)) return absl::InvalidArgumentError(absl::StrCat(words[1], " has no ", key, "="));
  }
  for (const auto& [key, value] : pairs) {
    const bool usual = key == "at" || key == "within" || key == "times";
    if (!usual && !takes("+" + key) && !takes("-" + key)) return absl::InvalidArgumentError(absl::StrCat(words[1], " has no key '", key, "'"));
    if (key == "at" && value.find("..") != std::string::npos) return Wrong(key, value, "one moment, as 30%");
    if (key == "at" || key == "within") {
      TROUPE_RETURN_IF_ERROR(ReadSpan(key, value, "a share of an undisturbed run, as 30%", ReadShare, &fault->within));
    } else if (key == "times") {
      TROUPE_RETURN_IF_ERROR(ReadSpan(key, value, absl::StrCat("a whole number of [0, ", kTimesMax, "]"), ReadTimes, &fault->times));
    } else if (key == "for") {
      TROUPE_RETURN_IF_ERROR(ReadSpan(key, value, "a time, as 300ms", ReadMs, &fault->lasts_ms));
    } else if (key == "by") {
      const bool step = fault->kind == FaultKind::kClockStep;
      TROUPE_RETURN_IF_ERROR(ReadSpan(key, value, step ? "a time, as -30s" : "a time, as 300ms", step ? ReadStepMs : ReadMs, &fault->by_ms));
    } else if (key == "probability") {
      if (!absl::SimpleAtod(value, &fault->probability) || !(fault->probability > 0 && fault->probability <= 1)) return Wrong(key, value, "a number of (0, 1]");
    } else {
      uint64_t write = 0;
      TROUPE_RETURN_IF_ERROR(ReadWhole(key, value, 1, 1'000'000, &write));
      fault->at_write = write;
    }
  }
  return absl::OkStatus();
}

absl::Status ReadExpectation(const Words& words, Expectations* expect) {
  const std::string& what = words.size() < 2 ? words[0] : words[1];
  const bool takes_value = what == "end" || what == "restarts";
  if (words.size() < 2 || words.size() != (takes_value ? 3u : 2u))
    return absl::InvalidArgumentError("expected: expect WHAT, expect end TIME, or expect restarts N");
  const auto once = [&](bool known) { return known ? absl::InvalidArgumentError(absl::StrCat(what, " is there twice")) : absl::OkStatus(); };
  if (what == "model") {
    TROUPE_RETURN_IF_ERROR(once(std::exchange(expect->model, true)));
  } else if (what == "nothing_lost") {
    TROUPE_RETURN_IF_ERROR(once(std::exchange(expect->nothing_lost, true)));
  } else if (what == "nothing_twice") {
    TROUPE_RETURN_IF_ERROR(once(std::exchange(expect->nothing_twice, true)));
  } else if (what == "or_disk_full") {
    TROUPE_RETURN_IF_ERROR(once(std::exchange(expect->or_disk_full, true)));
  } else if (what == "end") {
    int64_t ms = 0;
    if (!ReadMs(words[2], &ms)) return Wrong(what, words[2], "a time, as 60s");
    TROUPE_RETURN_IF_ERROR(once(std::exchange(expect->end_ms, ms).has_value()));
  } else if (what == "restarts") {
    uint32_t restarts = 0;
    TROUPE_RETURN_IF_ERROR(ReadWhole(what, words[2], 0u, 1'000u, &restarts));
    TROUPE_RETURN_IF_ERROR(once(std::exchange(expect->restarts_of_each, restarts).has_value()));
  } else {
    return absl::InvalidArgumentError(UnknownName("expectation", what, Words{"model", "nothing_lost", "nothing_twice", "or_disk_full", "end", "restarts"}));
  }
  return absl::OkStatus();
}

absl::Status ReadLine(const std::string& line, int number, std::set<std::string>& seen, Scenario* scenario) {
  const Words words = Split(line.substr(0, line.find('#')));
  if (words.empty()) return absl::OkStatus();
  const std::string& directive = words[0];
  if (directive == "fault") {
    scenario->faults.emplace_back().line = number;
    return ReadFault(words, &scenario->faults.back());
  }
  if (directive == "expect") return ReadExpectation(words, &scenario->expect);
  if (directive == "param") {
    TROUPE_TRY(const auto pairs, Pairs(words, 1));
    for (const auto& [key, value] : pairs) {
      if (!scenario->workload.params.emplace(key, value).second) return absl::InvalidArgumentError(absl::StrCat("param ", key, " is there twice"));
    }
    return absl::OkStatus();
  }
  if (directive != "scenario" && directive != "about" && directive != "workload")
    return absl::InvalidArgumentError(UnknownName("directive", directive, Words{"scenario", "about", "workload", "param", "fault", "expect"}));
  if (!seen.insert(directive).second) return absl::InvalidArgumentError(absl::StrCat(directive, " is there twice"));
  if (directive == "workload") return ReadWorkload(words, &scenario->workload);
  if (words.size() < 2 || (directive == "scenario" && words.size() != 2))
    return absl::InvalidArgumentError(absl::StrCat("expected: ", directive, directive == "about" ? " TEXT" : " NAME"));
  if (directive == "scenario") {
    scenario->name = words[1];
  } else {
    for (size_t i = 1; i < words.size(); ++i) absl::StrAppend(&scenario->about, i == 1 ? "" : " ", words[i]);
  }
  return absl::OkStatus();
}

int64_t Draw(const Span& span, Random& random) {
  return span.low + static_cast<int64_t>(random.Below(static_cast<uint64_t>(span.high - span.low) + 1));
}

}   // namespace

std::string_view ToString(FaultKind kind) {
  for (const auto& [candidate, name] : kKinds) {
    if (candidate == kind) return name;
  }
  return "";
}
std::string_view ToString(FaultTarget target) {
  for (const auto& [candidate, name] : kTargets) {
    if (candidate == target) return name;
  }
  return "";
}

absl::StatusOr<Scenario> ParseScenario(const std::string& path, std::string_view text) {
  Scenario scenario;
  std::set<std::string> seen;
  std::istringstream lines{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    const absl::Status status = ReadLine(line, ++number, seen, &scenario);
    if (!status.ok()) return WithContext(absl::InvalidArgumentError(status.message()), absl::StrCat(path, ":", number));
  }
  const auto lacks = [&](const char* what) { return absl::InvalidArgumentError(absl::StrCat(path, ":", number, ": there is no ", what)); };
  for (const char* needed : {"scenario", "about", "workload"}) {
    if (!seen.contains(needed)) return lacks(needed);
  }
  if (scenario.faults.empty()) return lacks("fault");
  if (!scenario.expect.end_ms) return lacks("'expect end'");   // what never ends must fail
  return scenario;
}

absl::StatusOr<std::vector<Scenario>> ReadScenarios(const std::string& folder) {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".scenario") paths.push_back(entry.path());
  }
  if (paths.empty()) return absl::NotFoundError(absl::StrCat(folder, ": no scenario there"));
  std::sort(paths.begin(), paths.end());
  std::vector<Scenario> scenarios;
  for (const auto& path : paths) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    TROUPE_TRY(scenarios.emplace_back(), ParseScenario(path.string(), text.str()));
    if (scenarios.back().name != path.stem().string())
      return absl::InvalidArgumentError(absl::StrCat(path.string(), ": scenario is '", scenarios.back().name, "', expected the file's name"));
  }
  return scenarios;
}

std::string ToString(const TimedFault& fault) {
  std::string text = absl::StrFormat("%s %s at %d.%d%%", std::string(ToString(fault.kind)), std::string(ToString(fault.target)), fault.at / 10, fault.at % 10);
  if (fault.lasts_ms != 0) absl::StrAppend(&text, " for ", fault.lasts_ms, " ms");
  if (fault.by_ms != 0) absl::StrAppend(&text, " by ", fault.by_ms, " ms");
  if (fault.probability != 0) absl::StrAppend(&text, " with probability ", fault.probability);
  if (fault.at_write) absl::StrAppend(&text, " at write ", *fault.at_write);
  return text;
}

std::vector<TimedFault> PlanFaults(const Scenario& scenario, uint64_t seed) {
  std::vector<TimedFault> plan;
  const Random seeded(seed);
  for (size_t i = 0; i < scenario.faults.size(); ++i) {
    const FaultRule& rule = scenario.faults[i];
    Random random = seeded.Fork(i);
    for (int64_t left = Draw(rule.times, random); left > 0; --left) {
      TimedFault fault{.kind = rule.kind, .target = rule.target, .probability = rule.probability, .at_write = rule.at_write};
      fault.at = Draw(rule.within, random);
      const uint64_t choice = random.Next();
      fault.choice = rule.index ? *rule.index : choice;
      fault.lasts_ms = Draw(rule.lasts_ms, random);
      fault.by_ms = Draw(rule.by_ms, random);
      plan.push_back(fault);
    }
  }
  std::stable_sort(plan.begin(), plan.end(), [](const TimedFault& a, const TimedFault& b) { return a.at < b.at; });
  return plan;
}

std::optional<std::string> WhyNot(World world, const TimedFault& fault) {
  const auto only = [&](const char* where) { return absl::StrCat(Absl(ToString(fault.kind)), " ", Absl(ToString(fault.target)), ": ", where, " only"); };
  const bool of_network = fault.kind == FaultKind::kCut || fault.kind == FaultKind::kDrop || fault.kind == FaultKind::kDelay;
  const bool of_job = fault.target == FaultTarget::kDriver || fault.target == FaultTarget::kWorker || fault.target == FaultTarget::kShard;
  if (world == World::kSimulation) {
    if (fault.target == FaultTarget::kHead) return only("processes");                                   // nobody places what is simulated
    if (fault.kind == FaultKind::kClockStep && fault.by_ms < 0) return only("processes") + " (back)";   // its clock is the monotonic one
    return std::nullopt;
  }
  if (of_job && of_network) return only("simulation");                            // they connect to each other, past every relay
  if (of_job && fault.kind == FaultKind::kClockStep) return only("simulation");   // a host has one clock
  if (fault.kind == FaultKind::kKill && of_job && fault.lasts_ms > 0) return only("simulation") + " (for a while)";   // whoever watches it replaces it at once
  if (fault.kind == FaultKind::kDiskFull && fault.at_write) return only("simulation") + " (at a write)";
  return std::nullopt;
}

std::vector<std::string> WhyNot(World world, const Scenario& scenario) {
  std::vector<std::string> reasons;
  for (const FaultRule& rule : scenario.faults) {
    for (const int64_t by_ms : {rule.by_ms.low, rule.by_ms.high}) {   // a clock may step both ways
      const auto reason =
          WhyNot(world, TimedFault{.kind = rule.kind, .target = rule.target, .lasts_ms = rule.lasts_ms.high, .by_ms = by_ms, .at_write = rule.at_write});
      if (reason && std::find(reasons.begin(), reasons.end(), *reason) == reasons.end()) reasons.push_back(*reason);
    }
  }
  return reasons;
}

}   // namespace troupe::testing
