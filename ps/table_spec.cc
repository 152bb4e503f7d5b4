#include "ps/table_spec.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/update_rule.h"

namespace troupe {
namespace {

constexpr uint32_t kWidthMax = 65536;
constexpr uint32_t kRangesMax = 1 << 24;
constexpr uint32_t kRangesDefault = 64;
constexpr uint64_t kDenseElementsMax = uint64_t{1} << 40;
constexpr uint64_t kRangeElements = (1 << 20) / sizeof(float);

absl::Status Refuse(const TableSpec& spec, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': ", Absl(what)));
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
  if (const auto rule = MakeUpdateRule(spec); !rule.ok()) return WithContext(rule.status(), absl::StrCat("table '", spec.name, "'"));
  return absl::OkStatus();
}

uint32_t RangeCount(const TableSpec& spec) {
  if (spec.ranges > 0) return spec.ranges;
  if (!spec.rows) return kRangesDefault;
  const uint64_t rows_a_range = std::max<uint64_t>(1, kRangeElements / std::max(1u, spec.width));
  return static_cast<uint32_t>(std::clamp<uint64_t>((*spec.rows + rows_a_range - 1) / rows_a_range, kRangesDefault, kRangesMax));
}

}   // namespace troupe
