#include "ps/schedule.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/text.h"

namespace troupe {
namespace {

struct Form {
  std::string_view name;
  Schedule::Kind kind;
  size_t numbers;
};
constexpr Form kForms[] = {{"constant", Schedule::Kind::kConstant, 0},       {"linear", Schedule::Kind::kLinear, 1},
                           {"cosine", Schedule::Kind::kCosine, 1},           {"step", Schedule::Kind::kStep, 2},
                           {"exponential", Schedule::Kind::kExponential, 2}, {"inverse", Schedule::Kind::kInverse, 1},
                           {"inverse_root", Schedule::Kind::kInverseRoot, 1}};

std::vector<std::string_view> Words(std::string_view text, char separator) {
  std::vector<std::string_view> words;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return words;
}

std::optional<double> Number(std::string_view text, double low, double high) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !(number >= low && number <= high)) return std::nullopt;
  return number;
}

/// "cosine:1000" into `schedule`; false: something else.
bool ParseDecay(std::string_view text, Schedule& schedule) {
  const std::vector<std::string_view> words = Words(text, ':');
  const auto form = std::find_if(std::begin(kForms), std::end(kForms), [&](const Form& f) { return f.name == words[0]; });
  if (form == std::end(kForms) || words.size() != form->numbers + 1) return false;
  schedule.kind = form->kind;
  if (form->numbers > 0) {
    const auto steps = Number(words[1], 1, 1e15);
    if (!steps) return false;
    schedule.steps = *steps;
  }
  if (form->numbers > 1) {
    const auto factor = Number(words[2], 1e-12, 1);
    if (!factor) return false;
    schedule.factor = *factor;
  }
  return true;
}

}   // namespace

double Schedule::At(double step) const {
  if (step < warmup) return (step + 1) / (warmup + 1);
  const double t = (step - warmup) / steps;
  switch (kind) {
    case Kind::kConstant:
      return 1;
    case Kind::kLinear:
      return std::max(0.0, 1 - t);
    case Kind::kCosine:
      return t >= 1 ? 0 : (1 + std::cos(std::numbers::pi * t)) / 2;
    case Kind::kStep:
      return std::pow(factor, std::floor(t));
    case Kind::kExponential:
      return std::pow(factor, t);
    case Kind::kInverse:
      return 1 / (1 + t);
    case Kind::kInverseRoot:
      return 1 / std::sqrt(1 + t);
  }
  return 1;
}

absl::StatusOr<Schedule> ParseSchedule(std::string_view text) {
  Schedule schedule;
  std::string_view rest = text;
  bool good = true;
  if (rest.starts_with("warmup:")) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const auto warmup = Number(rest.substr(7, comma - 7), 0, 1e15);
    good = warmup.has_value();
    schedule.warmup = warmup.value_or(0);
    rest = comma == rest.size() ? "constant" : rest.substr(comma + 1);
  }
  if (good && ParseDecay(rest, schedule)) return schedule;
  return absl::InvalidArgumentError(
      absl::StrCat("schedule is '", Absl(text),
                   "', expected constant, linear:STEPS, cosine:STEPS, step:STEPS:FACTOR, exponential:STEPS:FACTOR, inverse:STEPS or "
                   "inverse_root:STEPS, perhaps behind warmup:STEPS, with steps >= 1 and a factor in (0, 1]"));
}

std::string ToString(const Schedule& schedule) {
  std::string text = schedule.warmup > 0 ? absl::StrCat("warmup:", Exact(schedule.warmup), ",") : "";
  for (const Form& form : kForms) {
    if (form.kind != schedule.kind) continue;
    absl::StrAppend(&text, Absl(form.name));
    if (form.numbers > 0) absl::StrAppend(&text, ":", Exact(schedule.steps));
    if (form.numbers > 1) absl::StrAppend(&text, ":", Exact(schedule.factor));
  }
  return text;
}

}   // namespace troupe
