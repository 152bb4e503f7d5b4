#include "ps/table_spec.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "actors/random.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/update_rule.h"

namespace troupe {
namespace {

constexpr uint32_t kWidthMax = 65536;
constexpr uint32_t kRangesMax = 1 << 24;
constexpr uint32_t kRangesDefault = 64;
constexpr uint64_t kDenseElementsMax = uint64_t{1} << 40;
constexpr uint32_t kAdmitAfterMax = 255;
constexpr uint64_t kTtlMax = 1 << 28;
constexpr uint64_t kMemoryMin = 1 << 20;
constexpr uint64_t kRangeElements = (1 << 20) / sizeof(float);

absl::Status Refuse(const TableSpec& spec, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': ", Absl(what)));
}

absl::Status CheckLimits(const TableSpec& spec) {
  const RowLimits& limits = spec.limits;
  if (limits.admit_after < 1 || limits.admit_after > kAdmitAfterMax)
    return Refuse(spec, absl::StrCat("admit_after is ", limits.admit_after, ", expected 1 .. ", kAdmitAfterMax));
  if (limits.ttl > kTtlMax) return Refuse(spec, absl::StrCat("ttl is ", limits.ttl, ", expected at most ", kTtlMax));
  if (limits.rows_max > 0 && limits.rows_max < RangeCount(spec))
    return Refuse(spec, absl::StrCat("rows_max is ", limits.rows_max, ", expected 0 or at least one a range, ", RangeCount(spec)));
  if (limits.memory_max > 0 && limits.memory_max < kMemoryMin)
    return Refuse(spec, absl::StrCat("memory_max is ", limits.memory_max, ", expected 0 or at least ", kMemoryMin));
  if (limits.any() && spec.rows) return Refuse(spec, "is dense, expected a sparse table for admit_after, ttl, rows_max and memory_max");
  if (spec.rule == "add" && (limits.admit_after > 1 || limits.ttl > 0 || limits.rows_max > 0))
    return Refuse(spec, "admit_after, ttl or rows_max is set, but sums of the rule add are exact: expected none of them");
  return absl::OkStatus();
}

}   // namespace

void RowInit::Fill(Key key, uint32_t width, float* values) const {
  if (kind == Kind::kZero) {
    std::fill_n(values, width, 0.0f);
    return;
  }
  uint64_t state = Mix64(Mix64(seed) ^ key);
  const auto uniform = [&state] { return static_cast<double>(Mix64(state += 0x9e3779b97f4a7c15ULL) >> 11) * 0x1p-53; };
  for (uint32_t i = 0; i < width; ++i) {
    if (kind == Kind::kUniform) {
      values[i] = static_cast<float>(scale * (2 * uniform() - 1));
    } else {   // Box, Muller, "A Note on the Generation of Random Normal Deviates", 1958
      const double radius = std::sqrt(-2 * std::log(1 - uniform()));
      values[i] = static_cast<float>(scale * radius * std::cos(2 * std::numbers::pi * uniform()));
    }
  }
}

absl::Status Validate(const TableSpec& spec) {
  if (spec.width < 1 || spec.width > kWidthMax) return Refuse(spec, absl::StrCat("width is ", spec.width, ", expected 1 .. ", kWidthMax));
  if (spec.rows && (*spec.rows < 1 || *spec.rows > kDenseElementsMax / spec.width)) {
    return Refuse(spec, absl::StrCat("rows is ", *spec.rows, ", expected 1 .. ", kDenseElementsMax / spec.width));
  }
  if (spec.ranges > kRangesMax) return Refuse(spec, absl::StrCat("ranges is ", spec.ranges, ", expected at most ", kRangesMax));
  for (const auto& [name, value] : {std::pair<const char*, double>{"clip_value", spec.clip_value},
                                    {"clip_norm", spec.clip_norm},
                                    {"init scale", spec.init.scale},
                                    {"delay_compensation", spec.delay_compensation}}) {
    if (!(value >= 0 && value <= 1e30)) return Refuse(spec, absl::StrCat(name, " is ", Exact(value), ", expected 0 .. 1e30"));
  }
  if (spec.rule == "add" && !spec.encoding.exact()) {
    return Refuse(spec, absl::StrCat("encoding is '", ToString(spec.encoding), "', but sums of the rule add are exact: expected delta or cache"));
  }
  if (spec.encoding.filter == Encoding::Filter::kKkt && !(spec.encoding.filter_number < spec.l1)) {
    return Refuse(spec, absl::StrCat("encoding is '", ToString(spec.encoding), "', expected a number below l1, ", Exact(spec.l1)));
  }
  if (spec.rule == "add" && spec.delay_compensation != 0) return Refuse(spec, "delay_compensation is set, but what the rule add is given are no gradients");
  if (spec.kept_by != KeptBy::kShards) {
    if (!spec.rows) return Refuse(spec, "is sparse, expected a dense table to be kept by its workers (ring, tree)");
    if (spec.encoding != Encoding()) return Refuse(spec, absl::StrCat("encoding is '", ToString(spec.encoding), "', expected none: ring and tree send floats"));
  }
  TROUPE_RETURN_IF_ERROR(CheckLimits(spec));
  if (const auto rule = MakeUpdateRule(spec); !rule.ok()) return WithContext(rule.status(), absl::StrCat("table '", spec.name, "'"));
  return absl::OkStatus();
}

absl::Status CheckSameRows(const TableSpec& table, const TableSpec& expected) {
  const auto differ = [&](std::string_view what, const auto& is, const auto& wanted) {
    return Refuse(table, absl::StrCat(Absl(what), " is ", is, ", expected ", wanted, " as of table '", expected.name, "'"));
  };
  const auto rows = [](const TableSpec& spec) { return spec.rows ? absl::StrCat(*spec.rows) : std::string("without number"); };
  if (table.width != expected.width) return differ("width", table.width, expected.width);
  if (table.rows != expected.rows) return differ("rows", rows(table), rows(expected));
  if (RangeCount(table) != RangeCount(expected)) return differ("ranges", RangeCount(table), RangeCount(expected));
  if (table.rule != expected.rule) return differ("rule", table.rule, expected.rule);
  if (table.init != expected.init) return Refuse(table, absl::StrCat("init differs from that of table '", expected.name, "'"));
  TROUPE_TRY(const auto rule, MakeUpdateRule(expected));
  if (!rule->holds_values() &&
      (table.rule_options != expected.rule_options || table.l1 != expected.l1 || table.l2 != expected.l2 || table.penalised_from != expected.penalised_from)) {
    return Refuse(table,
                  absl::StrCat("rule ", table.rule, " makes values of its state by its numbers, which differ from those of table '", expected.name, "'"));
  }
  return absl::OkStatus();
}

absl::Status ValidateBranches(std::span<const TableSpec> tables) {
  for (const TableSpec& branch : tables) {
    if (branch.branch_of.empty()) continue;
    const auto of = std::find_if(tables.begin(), tables.end(), [&](const TableSpec& spec) { return spec.name == branch.branch_of; });
    if (of == tables.end() || !of->branch_of.empty()) {
      return Refuse(branch, absl::StrCat("branch_of is '", branch.branch_of, "', expected the name of a table that is no branch"));
    }
    if (branch.kept_by != KeptBy::kShards || of->kept_by != KeptBy::kShards)
      return Refuse(branch, "branch_of is set, but tables that workers keep (ring, tree) have no branches and are none");
    if (branch.limits.any() || of->limits.any()) return Refuse(branch, "branch_of is set, but tables with limits have no branches and are none");
    TROUPE_RETURN_IF_ERROR(CheckSameRows(branch, *of));
  }
  return absl::OkStatus();
}

uint32_t RangeCount(const TableSpec& spec) {
  if (spec.ranges > 0) return spec.ranges;
  if (!spec.rows) return kRangesDefault;
  const uint64_t rows_a_range = std::max<uint64_t>(1, kRangeElements / std::max(1u, spec.width));
  const auto blocks = [&](uint64_t size) { return (*spec.rows + size - 1) / size; };
  // Of a narrow table none is empty, for shards have equal numbers of ranges.
  return static_cast<uint32_t>(blocks(blocks(std::clamp<uint64_t>(blocks(rows_a_range), kRangesDefault, kRangesMax))));
}

}   // namespace troupe
