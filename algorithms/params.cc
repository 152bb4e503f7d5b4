// Text -> checked parameter values, and back.
#include "algorithms/params.h"

#include <charconv>
#include <cmath>
#include <optional>

#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

template <class T>
std::optional<T> Number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// "a whole number", "a number > 0", "a number from 0 to 1".
std::string Expected(const ParamSpec& spec) {
  std::string text = std::holds_alternative<int64_t>(spec.default_value) ? "a whole number" : "a number";
  const bool has_min = std::isfinite(spec.min), has_max = std::isfinite(spec.max);
  if (has_min && has_max && !spec.min_exclusive) return absl::StrCat(text, " from ", Exact(spec.min), " to ", Exact(spec.max));
  if (has_min) absl::StrAppend(&text, spec.min_exclusive ? " > " : " >= ", Exact(spec.min));
  if (has_max) absl::StrAppend(&text, has_min ? " and" : "", " <= ", Exact(spec.max));
  return text;
}

absl::Status Refuse(const ParamSpec& spec, std::string_view text, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(spec.name, " is ", Absl(text.empty() ? "empty" : text), ", expected ", Absl(expected)));
}

absl::StatusOr<ParamValue> ParseBool(const ParamSpec& spec, std::string_view text) {
  if (text == "true" || text == "1") return ParamValue(true);
  if (text == "false" || text == "0") return ParamValue(false);
  return Refuse(spec, text, "true or false");
}

absl::StatusOr<ParamValue> ParseText(const ParamSpec& spec, std::string_view text) {
  if (spec.choices.empty()) return ParamValue(std::string(text));
  std::string known;
  for (const std::string& choice : spec.choices) {
    if (choice == text) return ParamValue(choice);
    absl::StrAppend(&known, known.empty() ? "" : ", ", choice);
  }
  return Refuse(spec, text, "one of " + known);
}

template <class T>
absl::StatusOr<ParamValue> ParseNumber(const ParamSpec& spec, std::string_view text) {
  const std::optional<T> value = Number<T>(text);
  if (!value) return Refuse(spec, text, Expected(spec));
  const double number = static_cast<double>(*value);
  const bool low = spec.min_exclusive ? number <= spec.min : number < spec.min;
  if (!std::isfinite(number) || low || number > spec.max) return Refuse(spec, text, Expected(spec));
  return ParamValue(*value);
}

absl::StatusOr<ParamValue> ParseValue(const ParamSpec& spec, std::string_view text) {
  switch (spec.default_value.index()) {
    case 0:
      return ParseBool(spec, text);
    case 1:
      return ParseNumber<int64_t>(spec, text);
    case 2:
      return ParseNumber<double>(spec, text);
    default:
      return ParseText(spec, text);
  }
}

std::string ToOneText(const ParamValue& value) {
  if (const bool* yes = std::get_if<bool>(&value)) return *yes ? "true" : "false";
  if (const int64_t* whole = std::get_if<int64_t>(&value)) return absl::StrCat(*whole);
  if (const double* real = std::get_if<double>(&value)) return Exact(*real);
  return std::get<std::string>(value);
}

}   // namespace

absl::StatusOr<Params> Params::Parse(const std::vector<ParamSpec>& specs, const std::map<std::string, std::string>& given) {
  Params params;
  std::vector<std::string> names;
  for (const ParamSpec& spec : specs) {
    names.push_back(spec.name);
    params.values_[spec.name] = spec.default_value;
  }
  for (const auto& [name, text] : given) {
    const ParamSpec* spec = nullptr;
    for (const ParamSpec& candidate : specs)
      if (candidate.name == name) spec = &candidate;
    if (spec == nullptr) return absl::NotFoundError(UnknownName("parameter", name, names));
    TROUPE_TRY(params.values_[name], ParseValue(*spec, text));
  }
  return params;
}

const ParamValue& Params::Get(std::string_view name) const {
  const auto found = values_.find(name);
  TROUPE_CHECK(found != values_.end());
  return found->second;
}

bool Params::Bool(std::string_view name) const {
  return std::get<bool>(Get(name));
}
int64_t Params::Int(std::string_view name) const {
  return std::get<int64_t>(Get(name));
}
double Params::Real(std::string_view name) const {
  return std::get<double>(Get(name));
}
const std::string& Params::Text(std::string_view name) const {
  return std::get<std::string>(Get(name));
}

std::map<std::string, std::string> Params::ToText() const {
  std::map<std::string, std::string> text;
  for (const auto& [name, value] : values_) text[name] = ToOneText(value);
  return text;
}

}   // namespace troupe
