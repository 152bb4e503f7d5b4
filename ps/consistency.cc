#include "ps/consistency.h"

#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr uint32_t kNumberMax = 1'000'000;

/// The number behind `name` and a colon; nullopt where the text is something else.
std::optional<uint32_t> NumberOf(std::string_view name, std::string_view text) {
  if (!text.starts_with(name) || text.size() < name.size() + 2 || text[name.size()] != ':') return std::nullopt;
  const std::string_view digits = text.substr(name.size() + 1);
  uint32_t number = 0;
  if (digits.find_first_not_of("0123456789") != std::string_view::npos || !absl::SimpleAtoi(Absl(digits), &number) || number > kNumberMax) return std::nullopt;
  return number;
}

}   // namespace

void KeepTables(const Consistencies& consistencies, std::span<TableSpec> tables) {
  for (TableSpec& spec : tables) spec.kept_by = consistencies.Of(spec.name).kept_by;
}

absl::StatusOr<Consistency> ParseConsistency(std::string_view text) {
  using Kind = Consistency::Kind;
  if (text == "bsp") return Consistency{};
  if (text == "ring") return Consistency{.kept_by = KeptBy::kRing};
  if (text == "tree") return Consistency{.kept_by = KeptBy::kTree};
  if (text == "asp") return Consistency{.kind = Kind::kAsp};
  if (const auto staleness = NumberOf("ssp", text)) return Consistency{.kind = Kind::kSsp, .staleness = *staleness};
  if (const auto backup = NumberOf("backup", text)) return Consistency{.kind = Kind::kBsp, .backup = *backup};
  if (const auto delay = NumberOf("delay", text); delay && *delay > 0) return Consistency{.kind = Kind::kDelay, .delay = std::chrono::milliseconds(*delay)};
  return absl::InvalidArgumentError(absl::StrCat("consistency is '", Absl(text), "', expected bsp, backup:K, ssp:K, delay:MS, asp, ring or tree"));
}

std::string ToString(const Consistency& consistency) {
  switch (consistency.kind) {
    case Consistency::Kind::kBsp:
      if (consistency.kept_by != KeptBy::kShards) return consistency.kept_by == KeptBy::kRing ? "ring" : "tree";
      return consistency.backup == 0 ? "bsp" : absl::StrCat("backup:", consistency.backup);
    case Consistency::Kind::kSsp:
      return absl::StrCat("ssp:", consistency.staleness);
    case Consistency::Kind::kDelay:
      return absl::StrCat("delay:", consistency.delay.count());
    case Consistency::Kind::kAsp:
      return "asp";
  }
  return "";
}

absl::StatusOr<Consistencies> ParseConsistencies(std::string_view text) {
  const std::vector<std::string> words = absl::StrSplit(Absl(text), ',');
  Consistencies result;
  TROUPE_TRY(result.all, ParseConsistency(words[0]));
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (equals == 0 || equals == std::string::npos)
      return absl::InvalidArgumentError(absl::StrCat("consistency of a table is '", words[i], "', expected table=consistency as in bsp,weights=asp"));
    const std::string table = words[i].substr(0, equals);
    TROUPE_TRY(const Consistency own, ParseConsistency(std::string_view(words[i]).substr(equals + 1)));
    if (own.backup > 0)
      return absl::InvalidArgumentError(absl::StrCat("consistency of table '", table, "' is '", ToString(own), "', expected it for the whole job"));
    if (!result.tables.emplace(table, own).second) return absl::InvalidArgumentError(absl::StrCat("consistency of table '", table, "' is given twice"));
  }
  return result;
}

std::string ToString(const Consistencies& consistencies) {
  std::string text = ToString(consistencies.all);
  for (const auto& [table, own] : consistencies.tables) absl::StrAppend(&text, ",", table, "=", ToString(own));
  return text;
}

}   // namespace troupe
