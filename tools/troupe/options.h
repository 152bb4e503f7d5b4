// The flags and arguments of one subcommand, declared once: that makes the parsing, the errors and the help. CLI11 stays in options.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/config.h"
#include "actors/storage/storage.h"

namespace troupe {

class CommandLine {
 public:
  /// name: "train"; usage: what follows it, in one line; summary: one sentence or two; examples: whole lines, shown at the end of the help.
  CommandLine(std::string name, std::string usage, std::string summary, std::string examples = "");
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  /// `flag`: with its "--". The targets must outlive Parse. `doc` says what it does and its default.
  void Switch(const std::string& flag, bool* target, const std::string& doc);
  void Value(const std::string& flag, const std::string& word, std::string* target, const std::string& doc, bool required = false);
  /// May be given more than once.
  void Values(const std::string& flag, const std::string& word, std::vector<std::string>* target, const std::string& doc);
  /// The next argument that is no flag.
  void Argument(const std::string& word, std::string* target, const std::string& doc, bool required = true);
  /// Settings of actors/config.h by name, as flags, and --config FILE. LoadConfig then knows what was given.
  void Settings(const std::vector<std::string>& names);

  /// True: go on. False: --help was asked for and printed.
  /// Errors InvalidArgument: an unknown flag with the nearest, a missing value or argument, one too many.
  absl::StatusOr<bool> Parse(const std::vector<std::string>& arguments);

  /// Settings by default, file, environment and the flags of this command line. After Parse.
  absl::StatusOr<Config> LoadConfig(Storage& storage) const;

 private:
  struct Entry {
    std::string shown;   // "--data URI"
    std::string doc;
    bool required = false;
  };
  struct Parser;
  void PrintHelp() const;
  bool TakesValue(const std::string& argument) const;
  absl::Status CheckGiven(const std::vector<std::string>& unknown) const;

  const std::string name_, usage_, summary_, examples_;
  std::vector<Entry> arguments_, flags_;
  std::vector<std::pair<std::string, const std::string*>> required_;   // as shown, and where the value lands
  std::map<std::string, std::string> settings_;                        // value by knob; empty: not given
  std::string config_file_;
  std::unique_ptr<Parser> parser_;
};

/// "N is 'x', expected a whole number, MIN to MAX" after the flag's name.
absl::Status ParseWhole(const std::string& flag, const std::string& text, uint64_t min, uint64_t max, uint64_t* value);
/// "NAME=COUNT" of a flag that may be given more than once, into `counts`: "FLAG is 'x', expected NAME=N, N from MIN to MAX".
absl::Status ParseCount(const std::string& flag, const std::string& text, const std::string& word, uint64_t min, uint64_t max,
                        std::map<std::string, uint32_t>* counts);
/// "NAME=VALUE" of a flag that may be given more than once, into `values`; the last of one name counts. "FLAG is 'x', expected NAME=VALUE".
absl::Status ParsePair(const std::string& flag, const std::string& text, std::map<std::string, std::string>* values);
/// The setting `workers`, or all cores.
uint32_t Workers(const Config& config);

}   // namespace troupe
