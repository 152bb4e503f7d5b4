// CLI11 cuts the command line into flags and values; what it finds wrong is said in our words. Its exceptions end here.
#include "tools/troupe/options.h"

#include <charconv>
#include <cstdio>
#include <optional>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "absl/strings/str_replace.h"
#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"
#include "actors/this_process.h"
#include "tools/troupe/table.h"

namespace troupe {
namespace {

absl::Status Usage(const std::string& command, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(what, " (troupe ", command, " --help)"));
}

const Knob& KnobOf(const std::string& name) {
  for (const Knob& knob : Knobs()) {
    if (knob.name == name) return knob;
  }
  TROUPE_CHECK(false && "a setting that actors/config.cc does not list");
  __builtin_unreachable();
}

const char* WordOf(const Knob& knob) {
  switch (knob.type) {
    case Knob::Type::kInteger:
      return "N";
    case Knob::Type::kBytes:
      return "SIZE";
    case Knob::Type::kDuration:
      return "TIME";
    default:
      return knob.name == "tmp" ? "DIR" : "WORD";
  }
}

}   // namespace

struct CommandLine::Parser {
  CLI::App app;
};

CommandLine::CommandLine(std::string name, std::string usage, std::string summary, std::string examples)
    : name_(std::move(name)), usage_(std::move(usage)), summary_(std::move(summary)), examples_(std::move(examples)), parser_(std::make_unique<Parser>()) {
  parser_->app.set_help_flag();   // ours
  parser_->app.allow_extras();    // so that we say which flag is near
}
CommandLine::~CommandLine() = default;

void CommandLine::Switch(const std::string& flag, bool* target, const std::string& doc) {
  parser_->app.add_flag(flag, *target);
  flags_.push_back({flag, doc});
}

void CommandLine::Value(const std::string& flag, const std::string& word, std::string* target, const std::string& doc, bool required) {
  parser_->app.add_option(flag, *target)->take_last();
  flags_.push_back({flag + " " + word, doc, required});
  if (required) required_.emplace_back(flag + " " + word, target);
}

void CommandLine::Values(const std::string& flag, const std::string& word, std::vector<std::string>* target, const std::string& doc) {
  parser_->app.add_option(flag, *target)->allow_extra_args(false);
  flags_.push_back({flag + " " + word, doc});
}

void CommandLine::Argument(const std::string& word, std::string* target, const std::string& doc, bool required) {
  parser_->app.add_option(word, *target);
  arguments_.push_back({word, doc, required});
  if (required) required_.emplace_back(word, target);
}

void CommandLine::Settings(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const Knob& knob = KnobOf(name);
    std::string doc(knob.doc);
    if (!knob.choices.empty()) {
      for (size_t i = 0; i < knob.choices.size(); ++i) absl::StrAppend(&doc, i == 0 ? ": " : ", ", Absl(knob.choices[i]));
    }
    const bool says_so = knob.doc.find("not set:") != std::string_view::npos;
    if (!knob.initial.empty() && !says_so) absl::StrAppend(&doc, " (default ", Absl(knob.initial), ")");
    Value("--" + absl::StrReplaceAll(name, {{"_", "-"}}), WordOf(knob), &settings_[name], doc);
  }
  Value("--config", "FILE", &config_file_, "settings as TOML (default ./troupe.toml, else ~/.config/troupe/config.toml, where there is one)");
}

absl::StatusOr<bool> CommandLine::Parse(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") return PrintHelp(), false;
    if (argument.empty()) return Usage(name_, "an argument is empty");
    const bool last = i + 1 == arguments.size();
    const std::string flag = argument.substr(0, argument.find('='));
    const bool nothing_after = flag == argument ? TakesValue(flag) && (last || arguments[i + 1].starts_with("--")) : flag.size() + 1 == argument.size();
    if (flag.starts_with("--") && nothing_after) return Usage(name_, flag + ": value is missing");
  }
  try {
    parser_->app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));   // CLI11 takes them from the back
  } catch (const CLI::Error& error) {
    return Usage(name_, absl::StrReplaceAll(error.what(), {{"\n", " "}}));
  }
  TROUPE_RETURN_IF_ERROR(CheckGiven(parser_->app.remaining()));
  return true;
}

bool CommandLine::TakesValue(const std::string& argument) const {
  return std::any_of(flags_.begin(), flags_.end(), [&](const Entry& flag) { return flag.shown.starts_with(argument + " "); });
}

absl::Status CommandLine::CheckGiven(const std::vector<std::string>& unknown) const {
  if (!unknown.empty()) {
    if (!unknown[0].starts_with("-")) return Usage(name_, absl::StrCat("argument '", unknown[0], "' is one too many"));
    std::vector<std::string> known;
    for (const Entry& flag : flags_) known.push_back(flag.shown.substr(0, flag.shown.find(' ')));
    const std::string word = unknown[0].substr(0, unknown[0].find('='));
    const auto nearest = NearestName(word, known);
    return Usage(name_, absl::StrCat("unknown flag '", word, "'", nearest ? absl::StrCat("; did you mean '", *nearest, "'?") : ""));
  }
  for (const auto& [shown, value] : required_) {
    if (value->empty()) return Usage(name_, absl::StrCat(shown, " is missing"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Config> CommandLine::LoadConfig(Storage& storage) const {
  ConfigSources sources{.environment = ProcessEnvironment()};
  if (!config_file_.empty()) sources.file = config_file_;
  for (const auto& [name, value] : settings_) {
    if (!value.empty()) sources.flags.emplace_back(name, value);
  }
  return Config::Load(sources, storage);
}

void CommandLine::PrintHelp() const {
  std::printf("usage: troupe %s%s%s\n\n%s\n", name_.c_str(), usage_.empty() ? "" : " ", usage_.c_str(), summary_.c_str());
  TextTable table(2);
  for (const auto* entries : {&arguments_, &flags_}) {
    for (const Entry& entry : *entries) table.Row({entry.shown, entry.doc + (entry.required ? " (required)" : "")});
  }
  table.Row({"--help", "this text"});
  std::printf("\n%s", table.Text().c_str());
  if (!examples_.empty()) std::printf("\nexamples:\n%s", examples_.c_str());
}

absl::Status ParseWhole(const std::string& flag, const std::string& text, uint64_t min, uint64_t max, uint64_t* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (error == std::errc() && end == text.data() + text.size() && *value >= min && *value <= max) return absl::OkStatus();
  const std::string range = max == UINT64_MAX ? absl::StrCat(">= ", min) : absl::StrCat("from ", min, " to ", max);
  return absl::InvalidArgumentError(absl::StrCat(flag, " is '", text, "', expected a whole number ", range));
}

absl::Status ParseCount(const std::string& flag, const std::string& text, const std::string& word, uint64_t min, uint64_t max,
                        std::map<std::string, uint32_t>* counts) {
  const size_t equals = text.rfind('=');
  uint64_t count = 0;
  if (equals == 0 || equals == std::string::npos || !ParseWhole(flag, text.substr(equals + 1), min, max, &count).ok()) {
    return absl::InvalidArgumentError(absl::StrCat(flag, " is '", text, "', expected NAME=", word, ", ", word, " from ", min, " to ", max));
  }
  (*counts)[text.substr(0, equals)] = static_cast<uint32_t>(count);
  return absl::OkStatus();
}

absl::Status ParsePair(const std::string& flag, const std::string& text, std::map<std::string, std::string>* values) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos) return absl::InvalidArgumentError(absl::StrCat(flag, " is '", text, "', expected NAME=VALUE"));
  (*values)[text.substr(0, equals)] = text.substr(equals + 1);
  return absl::OkStatus();
}

uint32_t Workers(const Config& config) {
  const auto workers = static_cast<uint32_t>(config.Integer("workers"));
  return workers != 0 ? workers : static_cast<uint32_t>(Cores());
}

}   // namespace troupe
