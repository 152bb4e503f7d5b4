#include "ps/encoding.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

using Filter = Encoding::Filter;

template <class Kind>
struct Word {
  std::string_view name;
  Kind kind;
};
constexpr Word<ValueCode> kValues[] = {
    {"float16", ValueCode::kFloat16}, {"bfloat16", ValueCode::kBfloat16}, {"int8", ValueCode::kInt8}, {"onebit", ValueCode::kOneBit}};
constexpr Word<ValueCode> kPulled[] = {{"pull_float16", ValueCode::kFloat16}, {"pull_bfloat16", ValueCode::kBfloat16}};
constexpr Word<Filter> kFilters[] = {{"top_k", Filter::kTopK}, {"random_k", Filter::kRandomK}, {"threshold", Filter::kThreshold}, {"kkt", Filter::kKkt}};
constexpr Word<bool Encoding::*> kSwitches[] = {{"feedback", &Encoding::feedback}, {"delta", &Encoding::delta_keys}, {"cache", &Encoding::key_cache}};

template <class Kind, size_t n>
std::optional<Kind> Find(const Word<Kind> (&words)[n], std::string_view name) {
  const auto* found = std::find_if(words, words + n, [name](const Word<Kind>& word) { return word.name == name; });
  return found == words + n ? std::nullopt : std::optional(found->kind);
}
template <class Kind, size_t n>
std::string_view NameOf(const Word<Kind> (&words)[n], Kind kind) {
  return std::find_if(words, words + n, [kind](const Word<Kind>& word) { return word.kind == kind; })->name;
}

std::vector<std::string> AllNames() {
  std::vector<std::string> names = {"none"};
  for (const auto& word : kValues) names.emplace_back(word.name);
  for (const auto& word : kPulled) names.emplace_back(word.name);
  for (const auto& word : kFilters) names.emplace_back(word.name);
  for (const auto& word : kSwitches) names.emplace_back(word.name);
  return names;
}

absl::Status Refuse(std::string_view text, std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("encoding is '", Absl(text), "': ", Absl(what)));
}

/// "top_k:0.1" where `filter` is top_k.
absl::Status ParseFilter(std::string_view text, std::string_view word, Filter filter, Encoding& encoding) {
  const size_t colon = std::min(word.find(':'), word.size());
  const std::string_view number = word.substr(std::min(colon + 1, word.size()));
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), encoding.filter_number);
  const bool share = filter == Filter::kTopK || filter == Filter::kRandomK;
  const bool good = error == std::errc() && end == number.data() + number.size() && encoding.filter_number >= 0 &&
                    encoding.filter_number <= (share ? 1 : 1e30) && (!share || encoding.filter_number > 0);
  if (!good) return Refuse(text, absl::StrCat("expected ", Absl(word.substr(0, colon)), share ? ":SHARE with a share in (0, 1]" : ":X with 0 <= X <= 1e30"));
  encoding.filter = filter;
  return absl::OkStatus();
}

absl::Status ParseWord(std::string_view text, std::string_view word, Encoding& encoding) {
  const auto twice = [&] { return Refuse(text, absl::StrCat("'", Absl(word), "' is the second of its kind")); };
  const std::string_view name = word.substr(0, word.find(':'));
  if (const auto filter = Find(kFilters, name)) return encoding.filter != Filter::kNone ? twice() : ParseFilter(text, word, *filter, encoding);
  if (const auto values = Find(kValues, word)) {
    if (std::exchange(encoding.values, *values) != ValueCode::kFloat32) return twice();
    return absl::OkStatus();
  }
  if (const auto pulled = Find(kPulled, word)) {
    if (std::exchange(encoding.pulled, *pulled) != ValueCode::kFloat32) return twice();
    return absl::OkStatus();
  }
  if (const auto flag = Find(kSwitches, word)) {
    if (std::exchange(encoding.*(*flag), true)) return twice();
    return absl::OkStatus();
  }
  return Refuse(text, UnknownName("word", name, AllNames()));
}

}   // namespace

absl::StatusOr<Encoding> ParseEncoding(std::string_view text) {
  Encoding encoding;
  if (text == "none") return encoding;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('+', at), text.size());
    TROUPE_RETURN_IF_ERROR(ParseWord(text, text.substr(at, end - at), encoding));
    at = end + 1;
  }
  if (encoding.feedback && encoding.pushes_exact()) return Refuse(text, "feedback needs something that a push loses");
  return encoding;
}

std::string ToString(const Encoding& encoding) {
  std::string text;
  const auto add = [&text](std::string_view word) { absl::StrAppend(&text, text.empty() ? "" : "+", Absl(word)); };
  if (encoding.values != ValueCode::kFloat32) add(NameOf(kValues, encoding.values));
  if (encoding.pulled != ValueCode::kFloat32) add(NameOf(kPulled, encoding.pulled));
  if (encoding.filter != Filter::kNone) add(absl::StrCat(Absl(NameOf(kFilters, encoding.filter)), ":", Exact(encoding.filter_number)));
  for (const auto& word : kSwitches) {
    if (encoding.*word.kind) add(word.name);
  }
  return text.empty() ? "none" : text;
}

}   // namespace troupe
