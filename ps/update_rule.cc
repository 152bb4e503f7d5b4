#include "ps/update_rule.h"

#include <algorithm>
#include <map>
#include <utility>

#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

std::map<std::string, RuleEntry>& Registry() {
  static std::map<std::string, RuleEntry> registry;
  return registry;
}

absl::Status CheckOptionNames(const RuleEntry& rule, const TableSpec& spec) {
  std::vector<std::string> known;
  for (const RuleOption& option : rule.options) known.push_back(option.name);
  for (const auto& [name, value] : spec.rule_options) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    if (known.empty()) return absl::InvalidArgumentError(absl::StrCat("rule '", rule.name, "' takes no options, '", name, "' was given"));
    return absl::InvalidArgumentError(absl::StrCat("rule '", rule.name, "': ", UnknownName("option", name, known)));
  }
  return absl::OkStatus();
}

absl::StatusOr<RuleNumbers> Numbers(const RuleEntry& rule, const TableSpec& spec) {
  RuleNumbers numbers{.options = {}, .l1 = spec.l1, .l2 = spec.l2, .weight_decay = spec.weight_decay};
  for (const RuleOption& option : rule.options) {
    const auto given = spec.rule_options.find(option.name);
    const double value = given == spec.rule_options.end() ? option.default_value : given->second;
    if (!(value >= option.low && value <= option.high)) {
      return absl::InvalidArgumentError(
          absl::StrCat("rule '", rule.name, "': ", option.name, " is ", Exact(value), ", expected ", Exact(option.low), " .. ", Exact(option.high)));
    }
    numbers.options.push_back(value);
  }
  for (const auto& [name, value] : {std::pair<const char*, double>{"l1", spec.l1}, {"l2", spec.l2}, {"weight_decay", spec.weight_decay}}) {
    if (!(value >= 0 && value <= 1e30)) return absl::InvalidArgumentError(absl::StrCat(name, " is ", Exact(value), ", expected 0 .. 1e30"));
    if (value > 0 && !rule.penalties)
      return absl::InvalidArgumentError(absl::StrCat(name, " is ", Exact(value), ", but rule '", rule.name, "' has no penalties"));
  }
  if (!rule.scales && (!spec.schedule.constant() || spec.staleness_scale)) {
    return absl::InvalidArgumentError(absl::StrCat("rule '", rule.name, "' has a fixed learning rate, but a schedule or a scale by staleness was given"));
  }
  return numbers;
}

}   // namespace

RegisterRule::RegisterRule(RuleEntry entry) {
  std::string name = entry.name;
  TROUPE_CHECK(Registry().emplace(std::move(name), std::move(entry)).second);
}

void UpdateRule::ReadRows(std::span<float* const> rows, uint32_t width, std::span<const bool>, const float* missing, float* out) const {
  if (width == 1) {
    for (size_t i = 0; i < rows.size(); ++i) out[i] = rows[i] != nullptr ? *rows[i] : missing != nullptr ? missing[i] : 0;
    return;
  }
  for (size_t i = 0; i < rows.size(); ++i, out += width) {
    if (rows[i] != nullptr) {
      std::copy_n(rows[i], width, out);
    } else if (missing != nullptr) {
      std::copy_n(missing + i * width, width, out);
    } else {
      std::fill_n(out, width, 0.0f);
    }
  }
}

void UpdateRule::ReadDense(const DenseRows& rows, float* out) const {
  std::copy_n(rows.arrays + rows.first * rows.width, rows.n * rows.width, out);
}

void UpdateRule::Set(float* row, uint32_t width, bool, const float* values) const {
  std::copy_n(values, width, row);
}

void UpdateRule::SetDense(const DenseRows& rows, const float* values) const {
  std::copy_n(values, rows.n * rows.width, rows.arrays + rows.first * rows.width);
}

double UpdateRule::Value(const float* row, uint32_t /*width*/, uint32_t i, bool) const {
  return row[i];
}

std::vector<std::string> UpdateRuleNames() {
  std::vector<std::string> names;
  for (const auto& [name, entry] : Registry()) names.push_back(name);
  return names;
}

absl::StatusOr<std::unique_ptr<UpdateRule>> MakeUpdateRule(const TableSpec& spec) {
  const auto found = Registry().find(spec.rule);
  if (found == Registry().end()) return absl::NotFoundError(UnknownName("rule", spec.rule, UpdateRuleNames()));
  TROUPE_RETURN_IF_ERROR(CheckOptionNames(found->second, spec));
  TROUPE_TRY(const RuleNumbers numbers, Numbers(found->second, spec));
  return found->second.make(numbers);
}

}   // namespace troupe
