// The settings of a process and where each came from: default < TOML file < environment TROUPE_* < flags < code. At most 20, all listed in Knobs().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/clock.h"
#include "actors/storage/storage.h"

namespace troupe {

/// One setting, declared once: the command's flags, `troupe config explain` and the checks of every source come from this.
struct Knob {
  enum class Type : uint8_t { kInteger, kBytes, kDuration, kText };
  std::string_view name;   // "request_timeout": request_timeout in TOML, TROUPE_REQUEST_TIMEOUT, --request-timeout
  Type type;
  std::string_view initial;                // the default, as one would write it
  double min = 0, max = 0;                 // of a number; bytes; seconds
  std::vector<std::string_view> choices;   // of a text; "ssp:K" stands for ssp: and a whole number up to 1000000; empty: any text
  std::string_view doc;                    // one line
  bool by_table = false;                   // of a text: ",table=choice" may follow, as often as wanted
};
std::span<const Knob> Knobs();

/// What a configuration is read from. Nothing is looked up elsewhere.
struct ConfigSources {
  /// --config FILE. Without it ./troupe.toml, or else ~/.config/troupe/config.toml, if there.
  std::optional<std::string> file = {};
  /// NAME, value, all variables of the process; those that do not start with TROUPE_ are passed over (HOME is used).
  std::map<std::string, std::string> environment = {};
  /// Name of the knob or of its flag without "--", value, as given on the command line.
  std::vector<std::pair<std::string, std::string>> flags = {};
};
/// The environment of this process.
std::map<std::string, std::string> ProcessEnvironment();

class Config {
 public:
  /// All defaults.
  Config();

  /// Errors InvalidArgument: "troupe.toml:3: unknown setting 'wokers'; did you mean 'workers'?", "TROUPE_WORKERS: workers is 'x', expected an integer, 0 to
  /// 1024", what the TOML parser says; NotFound and the like: `file` cannot be read.
  static absl::StatusOr<Config> Load(const ConfigSources& sources, Storage& storage);

  /// From code, over everything else. InvalidArgument: unknown name or bad value.
  absl::Status Set(std::string_view name, std::string_view value);

  /// The value of a knob of that type; another name or type is a mistake of ours and ends the process.
  int64_t Integer(std::string_view name) const;
  uint64_t Bytes(std::string_view name) const;
  Clock::Duration Duration(std::string_view name) const;
  const std::string& Text(std::string_view name) const;
  /// Someone chose it: not the default.
  bool IsSet(std::string_view name) const;

  struct Row {
    std::string name;
    std::string value;   // as it was written
    std::string from;    // "default", "troupe.toml:3", "TROUPE_WORKERS", "--workers", "code"
    std::string doc;
  };
  /// Every knob, in the order of Knobs().
  std::vector<Row> Explain() const;

 private:
  struct Value {
    std::string text;
    double number = 0;    // seconds
    uint64_t whole = 0;   // integer, bytes
    std::string from;
  };

  absl::Status Assign(std::string_view name, std::string_view text, std::string_view from);
  absl::Status ReadToml(std::string_view text, const std::string& path);
  const Value& Get(std::string_view name, Knob::Type type) const;

  std::vector<Value> values_;   // Invariant: values_[i] is of Knobs()[i].
};

}   // namespace troupe
