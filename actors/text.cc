// Names, sizes, durations and numbers, from and to text.
#include "actors/text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace troupe {
namespace {

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`, upper and lower case being alike.
size_t EditDistance(std::string_view left, std::string_view right) {
  const std::string a = absl::AsciiStrToLower(Absl(left)), b = absl::AsciiStrToLower(Absl(right));
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);   // rows i-2, i-1 and i of the table of prefixes
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

/// Reads the number at the start of `text` and cuts it off. False unless it starts with a digit or a point and is finite.
bool TakeNumber(std::string_view& text, double* number) {
  if (text.empty() || !(absl::ascii_isdigit(static_cast<unsigned char>(text[0])) || text[0] == '.')) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(*number)) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

template <class T>
std::string ShortestText(T value) {
  std::array<char, 64> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), end);
}

}   // namespace

absl::Status WithContext(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  absl::Status result(status.code(), absl::StrCat(Absl(prefix), ": ", status.message()));
  status.ForEachPayload([&result](absl::string_view url, const absl::Cord& payload) { result.SetPayload(url, payload); });
  return result;
}

std::optional<std::string> NearestName(std::string_view word, std::span<const std::string> candidates) {
  std::optional<std::string> nearest;
  size_t nearest_distance = std::numeric_limits<size_t>::max();
  for (const std::string& candidate : candidates) {
    const size_t longer = std::max(word.size(), candidate.size());
    const size_t distance = EditDistance(word, candidate);
    if (distance >= longer || distance > std::max<size_t>(1, longer / 3) || distance >= nearest_distance) continue;
    nearest = candidate;
    nearest_distance = distance;
  }
  if (nearest || word.size() < 3) return nearest;
  for (const std::string& candidate : candidates) {   // the start of a longer name, perhaps misspelt
    if (candidate.size() <= word.size()) continue;
    const size_t distance = EditDistance(word, std::string_view(candidate).substr(0, word.size()));
    const bool nearer = distance < nearest_distance || (distance == nearest_distance && candidate.size() < nearest->size());
    if (distance > word.size() / 4 || !nearer) continue;
    nearest = candidate;
    nearest_distance = distance;
  }
  return nearest;
}

std::string UnknownName(std::string_view kind, std::string_view word, std::span<const std::string> candidates) {
  const std::string start = absl::StrCat("unknown ", Absl(kind), " '", Absl(word), "'; ");
  if (const auto nearest = NearestName(word, candidates)) return absl::StrCat(start, "did you mean '", *nearest, "'?");
  return absl::StrCat(start, "known: ", candidates.empty() ? "none" : absl::StrJoin(candidates, ", "));
}

absl::Status ParseBytes(std::string_view text, uint64_t* bytes) {
  const absl::Status error = absl::InvalidArgumentError(absl::StrCat("'", Absl(text), "' is not a size; expected bytes, as in 4096, 256M or 1.5G"));
  std::string_view rest = text;
  double number = 0;
  if (!TakeNumber(rest, &number)) return error;
  const std::string_view digits = text.substr(0, text.size() - rest.size());
  std::string unit = absl::AsciiStrToUpper(Absl(rest));
  int shift = 0;
  if (const size_t power = unit.empty() ? std::string::npos : std::string_view("KMGT").find(unit[0]); power != std::string::npos) {
    shift = 10 * (static_cast<int>(power) + 1);
    unit.erase(0, 1);
    if (unit == "IB") unit.clear();
  }
  if (!unit.empty() && unit != "B") return error;
  if (digits.find('.') == std::string_view::npos) {   // whole numbers stay exact beyond 2^53
    uint64_t whole = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), whole).ec != std::errc()) return error;
    if (whole > (std::numeric_limits<uint64_t>::max() >> shift)) return error;
    *bytes = whole << shift;
    return absl::OkStatus();
  }
  const double product = std::ldexp(number, shift);
  if (shift == 0 || product >= 0x1p64) return error;   // half a byte is a mistake
  *bytes = static_cast<uint64_t>(product);
  return absl::OkStatus();
}

absl::Status ParseDuration(std::string_view text, double* seconds) {
  std::string_view unit = text;
  double number = 0;
  if (TakeNumber(unit, &number)) {
    constexpr std::pair<std::string_view, double> kUnits[] = {{"", 1}, {"s", 1}, {"ms", 1e-3}, {"m", 60}, {"h", 3600}};
    for (const auto& [name, length] : kUnits) {
      if (unit != name || !std::isfinite(number * length)) continue;
      *seconds = number * length;
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("'", Absl(text), "' is not a duration; expected a number and ms, s, m or h, as in 200ms or 5s"));
}

std::string WithThousands(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t i = text.size(); i > 3;) text.insert(i -= 3, 1, ',');
  return text;
}

std::string HumanBytes(uint64_t bytes) {
  if (bytes < 1000) return absl::StrCat(bytes, " B");
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  constexpr std::string_view kUnits = "kMGTPE";
  for (; value >= 999.5; value /= 1000) ++unit;   // 999.6 kB would be shown as 1000 kB
  return absl::StrFormat(value < 9.95 ? "%.1f %cB" : "%.0f %cB", value, kUnits[unit]);
}

std::string HumanSeconds(double seconds) {
  if (!(seconds > 0)) return "0 s";
  if (seconds < 0.995) return absl::StrFormat("%.2f s", seconds);
  if (seconds < 9.95) return absl::StrFormat("%.1f s", seconds);
  if (seconds < 59.5) return absl::StrFormat("%.0f s", seconds);
  const auto whole = static_cast<uint64_t>(std::min(seconds, 1e15) + 0.5);
  if (whole < 3600) return absl::StrFormat("%d m %02d s", whole / 60, whole % 60);
  return absl::StrFormat("%d h %02d m", whole / 3600, whole % 3600 / 60);
}

std::string Exact(float value) {
  return ShortestText(value);
}
std::string Exact(double value) {
  return ShortestText(value);
}

}   // namespace troupe
