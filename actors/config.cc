// The list of settings, and reading them from TOML, environment and flags. The only file that knows the TOML library.
#include "actors/config.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "actors/status.h"
#include "actors/text.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace troupe {
namespace {

using Type = Knob::Type;
constexpr double kBytesMax = 0x1p60;

const std::vector<Knob>& AllKnobs() {
  static const std::vector<Knob> knobs{
      {"workers", Type::kInteger, "0", 0, 1024, {}, "workers that compute; 0: one a core"},
      {"splits", Type::kInteger, "0", 0, 65536, {}, "logical splits of the data, fixed for a job; 0: one a worker"},
      {"shards", Type::kInteger, "1", 0, 1024, {}, "shards that hold the tables; 0: as many as a plan finds, see --explain"},
      {"consistency",
       Type::kText,
       "bsp",
       0,
       0,
       {"bsp", "backup:K", "ssp:K", "delay:MS", "asp", "ring", "tree"},
       "how far rounds may be apart, a table's own behind it (bsp,w=ring: every worker keeps w, by all-reduce)",
       true},
      {"memory", Type::kBytes, "0", 0, kBytesMax, {}, "bytes that data may take in each process; 0: half of the machine's"},
      {"seed", Type::kInteger, "1", 0, 0x1p53, {}, "start of all random numbers"},
      {"epochs", Type::kInteger, "1", 1, 1e9, {}, "passes over the data; not set: the algorithm's own, mostly 1"},
      {"on_bad_row", Type::kText, "stop", 0, 0, {"stop", "skip"}, "what a row that cannot be read does"},
      {"snapshot_interval", Type::kDuration, "500ms", 0.05, 86400, {}, "between snapshots of a shard whose writers hold pushes"},
      {"held_bytes", Type::kBytes, "64M", 65536, kBytesMax, {}, "pushes a writer holds until they are stable; more ask for a snapshot"},
      {"replicas", Type::kBytes, "0", 0, kBytesMax, {}, "copies of often pulled rows at each worker, for ssp, delay and asp; 0: none"},
      {"replica_staleness", Type::kInteger, "8", 0, 1e6, {}, "rounds that a copy may be behind; ssp:K: K, where it is less"},
      {"request_timeout", Type::kDuration, "10s", 0.01, 3600, {}, "until a request to another process is given up and tried again"},
      {"links", Type::kText, "unix", 0, 0, {"unix", "tcp"}, "how processes talk: Unix sockets and shared memory, or TCP over 127.0.0.1"},
      {"restart_intensity", Type::kInteger, "20", 0, 1e6, {}, "restarts within restart_period before a supervisor gives up"},
      {"restart_period", Type::kDuration, "60s", 0.1, 86400, {}, "the window of restart_intensity"},
      {"log_level", Type::kText, "info", 0, 0, {"debug", "info", "warning", "error", "off"}, "the least that --log writes"},
      {"tmp", Type::kText, "", 0, 0, {}, "folder for sockets and temporary state; empty: $TMPDIR or /tmp"},
  };
  return knobs;
}

/// Variables of other commands and of the product's own that are no settings.
constexpr std::string_view kNoSettings[] = {"TROUPE_CLUSTER", "TROUPE_TOKEN_FILE", "TROUPE_TLS", "TROUPE_PLUGIN_PATH"};
constexpr std::string_view kJobVariables = "TROUPE_JOB";   // what a job's processes are told begins so

std::vector<std::string> Names(const auto& style) {
  std::vector<std::string> names;
  for (const Knob& knob : AllKnobs()) names.push_back(style(knob.name));
  return names;
}
std::string InToml(std::string_view name) {
  return std::string(name);
}
std::string InEnvironment(std::string_view name) {
  return "TROUPE_" + absl::AsciiStrToUpper(Absl(name));
}
std::string AsFlag(std::string_view name) {
  return absl::StrReplaceAll(Absl(name), {{"_", "-"}});
}

std::optional<size_t> Find(std::string_view name) {
  const auto& knobs = AllKnobs();
  const auto found = std::find_if(knobs.begin(), knobs.end(), [name](const Knob& knob) { return knob.name == name; });
  return found == knobs.end() ? std::nullopt : std::optional<size_t>(found - knobs.begin());
}

absl::Status Unknown(std::string_view from, std::string_view name, std::span<const std::string> names) {
  return absl::InvalidArgumentError(absl::StrCat(Absl(from), ": ", UnknownName("setting", name, names)));
}

bool ParseWhole(std::string_view text, uint64_t* whole) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *whole);
  return error == std::errc() && end == text.data() + text.size();
}

/// A choice as "ssp:K" stands for the word and a number.
bool IsChoice(std::string_view text, std::string_view choice) {
  const size_t colon = choice.find(':');
  if (colon == std::string_view::npos) return text == choice;
  uint64_t number = 0;
  return text.starts_with(choice.substr(0, colon + 1)) && ParseWhole(text.substr(colon + 1), &number) && number <= 1'000'000;
}

bool IsChosen(const Knob& knob, std::string_view text) {
  const auto chosen = [&](std::string_view word) {
    return std::any_of(knob.choices.begin(), knob.choices.end(), [&](std::string_view choice) { return IsChoice(word, choice); });
  };
  if (knob.choices.empty()) return true;
  if (!knob.by_table) return chosen(text);
  const std::vector<std::string> words = absl::StrSplit(Absl(text), ',');
  if (!chosen(words[0])) return false;
  return std::all_of(words.begin() + 1, words.end(), [&](std::string_view word) {
    const size_t equals = word.find('=');
    return equals != std::string_view::npos && equals > 0 && chosen(word.substr(equals + 1));
  });
}

std::string Expected(const Knob& knob) {
  switch (knob.type) {
    case Type::kInteger:
      return absl::StrCat("an integer, ", Exact(knob.min), " to ", absl::StrCat(static_cast<uint64_t>(knob.max)));
    case Type::kBytes:
      return absl::StrCat("a size such as 256M", knob.min > 0 ? absl::StrCat(", at least ", static_cast<uint64_t>(knob.min)) : "");
    case Type::kDuration:
      return absl::StrCat("a duration such as 200ms or 5s, ", Exact(knob.min), " s to ", Exact(knob.max), " s");
    default:
      return knob.choices.empty()
                 ? "a text"
                 : absl::StrJoin(knob.choices.begin(), knob.choices.end(), ", ", [](std::string* out, std::string_view choice) { out->append(choice); });
  }
}

absl::Status BadValue(const Knob& knob, std::string_view from, std::string_view value) {
  return absl::InvalidArgumentError(absl::StrCat(Absl(from), ": ", Absl(knob.name), " is ", Absl(value), ", expected ", Expected(knob)));
}

/// The text of a TOML value of a type that the knob takes; nothing where it is of another.
std::optional<std::string> TextOf(const toml::node& node, Type type) {
  if (const auto* text = node.as_string(); text != nullptr && type != Type::kInteger) return text->get();
  if (const auto* whole = node.as_integer(); whole != nullptr && type != Type::kText) return std::to_string(whole->get());
  if (const auto* number = node.as_floating_point(); number != nullptr && type == Type::kDuration) return Exact(number->get());
  return std::nullopt;
}

/// How a message shows a TOML value of a wrong type: "'text'", "3", "true", "a table".
std::string Shown(const toml::node& node) {
  if (const auto* text = node.as_string()) return absl::StrCat("'", text->get(), "'");
  if (const auto* whole = node.as_integer()) return std::to_string(whole->get());
  if (const auto* number = node.as_floating_point()) return Exact(number->get());
  if (const auto* truth = node.as_boolean()) return truth->get() ? "true" : "false";
  return node.is_table() ? "a table" : node.is_array() ? "an array" : "a date or time";
}

}   // namespace

std::span<const Knob> Knobs() {
  return AllKnobs();
}

std::map<std::string, std::string> ProcessEnvironment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (const size_t equals = text.find('='); equals != std::string_view::npos) variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

Config::Config() : values_(AllKnobs().size()) {
  for (const Knob& knob : AllKnobs()) TROUPE_CHECK(Assign(knob.name, knob.initial, "default").ok());
}

absl::StatusOr<Config> Config::Load(const ConfigSources& sources, Storage& storage) {
  Config config;
  std::vector<std::string> paths;
  if (sources.file.has_value()) {
    paths = {*sources.file};
  } else {
    paths = {"troupe.toml"};
    if (const auto home = sources.environment.find("HOME"); home != sources.environment.end() && !home->second.empty()) {
      paths.push_back(home->second + "/.config/troupe/config.toml");
    }
  }
  for (const std::string& path : paths) {
    const absl::StatusOr<Block> text = storage.Read(path);
    if (absl::IsNotFound(text.status()) && !sources.file.has_value()) continue;
    TROUPE_RETURN_IF_ERROR(text.status());
    TROUPE_RETURN_IF_ERROR(config.ReadToml({reinterpret_cast<const char*>(text->data()), text->size()}, path));
    break;
  }
  for (const auto& [variable, value] : sources.environment) {
    if (variable.starts_with(kJobVariables)) continue;
    if (!variable.starts_with("TROUPE_") || std::find(std::begin(kNoSettings), std::end(kNoSettings), variable) != std::end(kNoSettings)) continue;
    const std::string name = absl::AsciiStrToLower(Absl(std::string_view(variable).substr(7)));
    if (!Find(name).has_value() || InEnvironment(name) != variable) return Unknown("environment", variable, Names(InEnvironment));
    TROUPE_RETURN_IF_ERROR(config.Assign(name, value, variable));
  }
  for (const auto& [flag, value] : sources.flags) {
    const std::string name = absl::StrReplaceAll(flag, {{"-", "_"}});
    if (!Find(name).has_value()) return Unknown("--" + flag, flag, Names(AsFlag));
    TROUPE_RETURN_IF_ERROR(config.Assign(name, value, "--" + AsFlag(name)));
  }
  return config;
}

absl::Status Config::ReadToml(std::string_view text, const std::string& path) {
  const toml::parse_result result = toml::parse(text, path);
  if (!result) {
    const toml::parse_error& error = result.error();
    const std::string what = absl::StrReplaceAll(Absl(error.description()), {{"\n", " "}});
    return absl::InvalidArgumentError(absl::StrCat(path, ":", error.source().begin.line, ": ", what));
  }
  std::vector<std::pair<toml::source_region, std::pair<std::string, const toml::node*>>> settings;
  for (const auto& [key, node] : result.table()) settings.push_back({key.source(), {std::string(key.str()), &node}});
  std::sort(settings.begin(), settings.end(), [](const auto& a, const auto& b) { return a.first.begin < b.first.begin; });   // the first mistake is told first
  for (const auto& [place, setting] : settings) {
    const auto& [name, node] = setting;
    const std::string from = absl::StrCat(path, ":", place.begin.line);
    const auto index = Find(name);
    if (!index.has_value()) return Unknown(from, name, Names(InToml));
    const Knob& knob = AllKnobs()[*index];
    const auto value = TextOf(*node, knob.type);
    if (!value.has_value()) return BadValue(knob, from, Shown(*node));
    TROUPE_RETURN_IF_ERROR(Assign(name, *value, from));
  }
  return absl::OkStatus();
}

absl::Status Config::Set(std::string_view name, std::string_view value) {
  if (!Find(name).has_value()) return Unknown("code", name, Names(InToml));
  return Assign(name, value, "code");
}

absl::Status Config::Assign(std::string_view name, std::string_view text, std::string_view from) {
  const size_t index = Find(name).value();
  const Knob& knob = AllKnobs()[index];
  Value value{.text = std::string(text), .from = std::string(from)};
  bool good = false;
  switch (knob.type) {
    case Type::kInteger:
      good = ParseWhole(text, &value.whole);
      value.number = static_cast<double>(value.whole);
      break;
    case Type::kBytes:
      good = ParseBytes(text, &value.whole).ok();
      value.number = static_cast<double>(value.whole);
      break;
    case Type::kDuration:
      good = ParseDuration(text, &value.number).ok();
      break;
    case Type::kText:
      good = IsChosen(knob, text);
      break;
  }
  if (!good || value.number < knob.min || value.number > knob.max) return BadValue(knob, from, absl::StrCat("'", Absl(text), "'"));
  values_[index] = std::move(value);
  return absl::OkStatus();
}

const Config::Value& Config::Get(std::string_view name, Type type) const {
  const auto index = Find(name);
  TROUPE_CHECK(index.has_value() && AllKnobs()[*index].type == type);
  return values_[*index];
}

int64_t Config::Integer(std::string_view name) const {
  return static_cast<int64_t>(Get(name, Type::kInteger).whole);
}
uint64_t Config::Bytes(std::string_view name) const {
  return Get(name, Type::kBytes).whole;
}
Clock::Duration Config::Duration(std::string_view name) const {
  return std::chrono::round<Clock::Duration>(std::chrono::duration<double>(Get(name, Type::kDuration).number));
}
const std::string& Config::Text(std::string_view name) const {
  return Get(name, Type::kText).text;
}

bool Config::IsSet(std::string_view name) const {
  const auto index = Find(name);
  TROUPE_CHECK(index.has_value());
  return values_[*index].from != "default";
}

std::vector<Config::Row> Config::Explain() const {
  std::vector<Row> rows;
  for (size_t i = 0; i < values_.size(); ++i) {
    const Knob& knob = AllKnobs()[i];
    rows.push_back({std::string(knob.name), values_[i].text, values_[i].from, std::string(knob.doc)});
  }
  return rows;
}

}   // namespace troupe
