// Two parsers of one line. The fast one knows the usual spelling and nothing else; what it does not know goes to the careful one, which knows the whole
// grammar and every error. Both write to scratch arrays that are large enough for any text of that length, so nothing is checked or grown in between.
#include "dataflow/sources/libsvm_parser.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "dataflow/internal/number.h"

namespace troupe::internal {
namespace {

// Where the next row and entry go. Of a row's values only those up to the last one that is not 1 stay.
struct Output {
  Feature* index;
  float* value;
  float* label;
};

// One a thread, kept from piece to piece: fresh memory costs more than parsing into it.
struct Scratch {
  std::unique_ptr<Feature[]> indices;
  std::unique_ptr<float[]> values;
  std::unique_ptr<float[]> labels;
  std::unique_ptr<uint32_t[]> begins, value_begins;
  size_t capacity = 0;   // bytes of text it is enough for

  void Reserve(size_t bytes) {
    if (bytes <= capacity) return;
    indices = std::make_unique_for_overwrite<Feature[]>(bytes / 4 + 1);   // the shortest entry is " 1:1"
    values = std::make_unique_for_overwrite<float[]>(bytes / 4 + 1);
    labels = std::make_unique_for_overwrite<float[]>(bytes / 2 + 1);   // the shortest row is "1\n"
    begins = std::make_unique_for_overwrite<uint32_t[]>(bytes / 2 + 2);
    value_begins = std::make_unique_for_overwrite<uint32_t[]>(bytes / 2 + 2);
    capacity = bytes;
  }
};

bool IsSpace(char c) {
  return c == ' ' || c == '\t';
}
bool IsDelimiter(char c) {
  return c == ' ' || c == '\n' || c == '\r';
}

// One to nineteen digits; null where something else stands, or more may not fit.
inline const char* ParseIndex(const char* p, Feature* index) {
  const uint64_t digits = LoadDigits(p);
  const uint64_t marks = NonDigits(digits);
  if (marks != 0) [[likely]] {
    const unsigned length = FirstMark(marks);
    *index = JoinDigits(length == 0 ? 0 : digits << (8 * (8 - length)));
    return length == 0 ? nullptr : p + length;
  }
  Feature value = JoinDigits(digits);
  unsigned length = 8;
  for (; static_cast<unsigned char>(p[length] - '0') < 10; ++length) {
    if (length == 19) return nullptr;   // 20 digits may not fit: the careful parser looks
    value = value * 10 + static_cast<Feature>(p[length] - '0');
  }
  *index = value;
  return p + length;
}

// A number with a delimiter behind it; null where that is not so.
inline const char* ParseValue(const char* p, const char* end, float* value) {
  const char* after = ParseUsualFloat(p, value);
  if (after != nullptr && IsDelimiter(*after)) [[likely]]
    return after;
  after = ParseAnyFloat(p, end, value);
  return after != nullptr && IsDelimiter(*after) && std::isfinite(*value) ? after : nullptr;
}

inline const char* ParseLabel(const char* p, const char* end, LabelKind kind, float* label) {
  if (kind != LabelKind::kBinary) return ParseValue(p, end, label);
  const bool sign = *p == '-' || *p == '+';
  const char digit = p[sign];
  if ((digit != '1' && (sign || digit != '0')) || !IsDelimiter(p[sign + 1])) return nullptr;
  *label = digit == '1' && *p != '-' ? 1.0f : 0.0f;
  return p + sign + 1;
}

constexpr uint32_t kColonOneSpace = ':' | '1' << 8 | ' ' << 16;

// A line as programs write it: "LABEL INDEX:VALUE INDEX:VALUE\n", single spaces, plain numbers. Returns its newline, or null: look carefully.
inline const char* ParseUsualLine(const char* p, const char* end, LabelKind kind, Output* out) {
  float label;
  p = ParseLabel(p, end, kind, &label);
  if (p == nullptr) return nullptr;
  Feature* index = out->index;
  float* value = out->value;
  float* kept = value;   // behind the last one that is not 1
  Feature previous = 0;
  while (*p == ' ') {
    ++p;
    if (*p == '\n' || *p == '\r') break;   // LIBSVM's own tools leave a space at the end
    Feature current;
    p = ParseIndex(p, &current);
    if (p == nullptr || current <= previous) return nullptr;
    previous = current;
    *index++ = current;
    uint32_t behind;
    std::memcpy(&behind, p, sizeof behind);
    if ((behind & 0xffffff) == kColonOneSpace) {   // most entries of a click log
      *value++ = 1.0f;
      p += 2;
      continue;
    }
    if (*p != ':') return nullptr;
    p = ParseValue(p + 1, end, value);
    if (p == nullptr) return nullptr;
    if (*value++ != 1.0f) kept = value;
  }
  p += *p == '\r';
  if (*p != '\n') return nullptr;
  *out->label++ = label;
  out->index = index;
  out->value = kept;
  return p;
}

// The part of a line that is left to read, word by word.
class Words {
 public:
  explicit Words(std::string_view line) : rest_(line.substr(0, line.find('#'))) {}
  /// Empty at the end.
  std::string_view Next() {
    while (!rest_.empty() && (IsSpace(rest_.front()) || (rest_.front() == '\r' && rest_.size() == 1))) rest_.remove_prefix(1);
    size_t length = 0;
    while (length < rest_.size() && !IsSpace(rest_[length]) && !(rest_[length] == '\r' && length + 1 == rest_.size())) ++length;
    const std::string_view word = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return word;
  }

 private:
  std::string_view rest_;
};

bool ParseWhole(std::string_view word, float* value) {
  const char* end = word.data() + word.size();
  return !word.empty() && ParseAnyFloat(word.data(), end, value) == end;
}

// "" or what is wrong with the label.
std::string CheckLabel(std::string_view word, LabelKind kind, float* label) {
  const bool number = ParseWhole(word, label);
  if (kind == LabelKind::kBinary) {
    if (number && *label == -1.0f) *label = 0.0f;
    return number && (*label == 0.0f || *label == 1.0f) ? "" : absl::StrCat("label is ", Quoted(word), ", expected 0 or 1");
  }
  if (!number) return absl::StrCat("label is ", Quoted(word), ", expected a number");
  return std::isfinite(*label) ? "" : absl::StrCat("label is ", Quoted(word), ", expected a finite number");
}

// "" or what is wrong with one INDEX:VALUE.
std::string CheckEntry(std::string_view word, Feature previous, Feature* index, float* value) {
  const size_t colon = word.find(':');
  const std::string_view digits = word.substr(0, colon);
  const bool whole = !digits.empty() && digits.find_first_not_of("0123456789") == digits.npos;
  if (colon == word.npos || colon + 1 == word.size() || !whole) return absl::StrCat(Quoted(word), " is not INDEX:VALUE");
  if (std::from_chars(digits.data(), digits.data() + digits.size(), *index).ec != std::errc()) {
    return absl::StrCat("index is ", Quoted(digits), ", expected at most ", UINT64_MAX);
  }
  if (*index == 0) return "index is 0, expected >= 1";
  if (*index <= previous) return absl::StrCat("index ", *index, " follows ", previous, ", expected rising indices");
  const std::string_view number = word.substr(colon + 1);
  if (!ParseWhole(number, value) || !std::isfinite(*value)) return absl::StrCat("value is ", Quoted(number), ", expected a finite number");
  return "";
}

enum class Line { kRow, kBlank, kBad };

// Any line without its newline. `what` is set for kBad, after which the output is where it was.
Line ParseAnyLine(std::string_view line, LabelKind kind, Output* out, std::string* what) {
  Words words(line);
  std::string_view word = words.Next();
  if (word.empty()) return Line::kBlank;
  Output next = *out;
  *next.label = 0;
  if (kind != LabelKind::kNone || word.find(':') == word.npos) {
    *what = CheckLabel(word, kind, next.label);
    if (!what->empty()) return Line::kBad;
    word = words.Next();
  }
  ++next.label;
  float* kept = next.value;
  for (Feature previous = 0; !word.empty(); word = words.Next(), previous = *next.index++) {
    *what = CheckEntry(word, previous, next.index, next.value);
    if (!what->empty()) return Line::kBad;
    if (*next.value++ != 1.0f) kept = next.value;
  }
  next.value = kept;
  *out = next;
  return Line::kRow;
}

}   // namespace

std::optional<BadLine> ParseLibsvm(const char* begin, const char* end, const LibsvmRules& rules, RowBlock* block) {
  constexpr size_t kKeptMax = size_t{1} << 20;
  TROUPE_CHECK(static_cast<uint64_t>(end - begin) < UINT32_MAX);
  static thread_local Scratch scratch;
  scratch.Reserve(static_cast<size_t>(end - begin) + 1);
  Output out{scratch.indices.get(), scratch.values.get(), scratch.labels.get()};
  size_t rows = 0;
  scratch.begins[0] = scratch.value_begins[0] = 0;
  for (const char* p = begin; p < end;) {
    if (const char* newline = ParseUsualLine(p, end, rules.label_kind, &out); newline != nullptr) [[likely]] {
      p = newline + 1;
    } else {
      const char* stop = static_cast<const char*>(std::memchr(p, '\n', static_cast<size_t>(end - p) + 1));
      std::string what;
      const Line line = ParseAnyLine({p, static_cast<size_t>(stop - p)}, rules.label_kind, &out, &what);
      if (line == Line::kBad && !rules.skip_bad_rows) return BadLine{static_cast<size_t>(p - begin), std::move(what)};
      block->bad_rows += line == Line::kBad;
      p = stop + 1;
      if (line != Line::kRow) continue;
    }
    ++rows;
    scratch.begins[rows] = static_cast<uint32_t>(out.index - scratch.indices.get());
    scratch.value_begins[rows] = static_cast<uint32_t>(out.value - scratch.values.get());
  }
  block->rows = rows;
  if (rules.label_kind != LabelKind::kNone) block->labels.assign(scratch.labels.get(), out.label);
  block->sparse = SparseRows({scratch.begins.get(), rows + 1}, {scratch.indices.get(), out.index}, {scratch.value_begins.get(), rows + 1},
                             {scratch.values.get(), out.value});
  if (scratch.capacity > kKeptMax) scratch = {};
  return std::nullopt;
}

}   // namespace troupe::internal
