// Two parsers of one line. The fast one knows the usual spelling and nothing else; what it does not know goes to the careful one, which knows the whole
// grammar and every error. Both write to scratch arrays that are large enough for any text of that length, so nothing is checked or grown in between.
#include "dataflow/sources/libsvm_parser.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "dataflow/internal/blanks.h"
#include "dataflow/internal/number.h"

namespace troupe::internal {
namespace {

// Where the next row and entry go. Of a row's values only those up to the last one that is not 1 stay.
struct Output {
  Feature* index;
  float* value;
  float* label;
};

bool IsSpace(char c) {
  return c == ' ' || c == '\t';
}

// One to nineteen digits; null where something else stands, or more may not fit.
[[gnu::noinline]] const char* ParseIndex(const char* p, Feature* index) {
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

// A number that ends at `stop`.
[[gnu::noinline]] bool ParseValue(const char* p, const char* stop, float* value) {
  if (ParseUsualFloat(p, value) == stop) [[likely]]
    return true;
  return ParseAnyFloat(p, stop, value) == stop && std::isfinite(*value);
}

inline bool ParseLabel(const char* p, const char* stop, LabelKind kind, float* label) {
  if (kind != LabelKind::kBinary) return ParseValue(p, stop, label);
  const bool sign = *p == '-' || *p == '+';
  const char digit = p[sign];
  *label = digit == '1' && *p != '-' ? 1.0f : 0.0f;
  return (digit == '1' || (!sign && digit == '0')) && p + sign + 1 == stop;
}

constexpr uint16_t kColonOne = ':' | '1' << 8;

// Some words of a line, INDEX:VALUE each, on the way to numbers. Add only looks where the digits of a word are; Finish makes numbers of the digits of all words
// together, which is quicker than word by word, as no number waits for another.
class WordBlock {
 public:
  static constexpr size_t kPadding = 4;   // indices that Finish may write behind the last one

  void Clear() { words_ = wides_ = numbers_ = 0; }
  bool full() const { return words_ == kWords; }

  // The word from p up to the blank at `stop`. False: look carefully.
  bool Add(const char* p, const char* stop) {
    uint16_t tail;
    std::memcpy(&tail, stop - sizeof tail, sizeof tail);   // of a word of one character: begins at the blank in front
    const size_t digits_of_one = static_cast<size_t>(stop - p) - sizeof tail;
    const uint64_t digits = LoadDigits(p);
    const size_t at = words_++;
    if (tail == kColonOne && digits_of_one - 1 < 8) {   // most words of a click log
      index_[at] = digits << (8 * (8 - digits_of_one));
      return true;
    }
    const uint64_t marks = NonDigits(digits);
    if (marks == 0) [[unlikely]] {
      index_[at] = 0;
      wide_at_[wides_] = static_cast<uint8_t>(at);
      p = ParseIndex(p, &wide_[wides_++]);
    } else {
      const unsigned length = FirstMark(marks);
      if (length == 0) return false;
      index_[at] = digits << (8 * (8 - length));
      p += length;
    }
    return p != nullptr && *p == ':' && AddValue(at, p + 1, stop);
  }

  // Writes the words' indices and values behind those of the line so far, and forgets the words. `kept`: behind the last value that is not 1. False: look
  // carefully.
  bool Finish(Feature*& index, float*& value, float*& kept) {
    for (size_t i = words_; i % kPadding != 0; ++i) index_[i] = 0;
    for (size_t i = numbers_; i % kPadding != 0; ++i) number_[i] = 0;
    if (!JoinDigits(index_, words_, index)) return false;
    for (size_t i = 0; i < wides_; ++i) index[wide_at_[i]] = wide_[i];
    JoinDigits(number_, numbers_, number_);
    std::fill_n(value, words_, 1.0f);
    for (size_t i = 0; i < numbers_; ++i) {
      float* const to = value + number_at_[i];
      *to = static_cast<float>(static_cast<double>(static_cast<int64_t>(number_[i])) * scale_[i]);
      if (*to != 1.0f) kept = to + 1;
    }
    index += words_;
    value += words_;
    Clear();
    return true;
  }

 private:
  static constexpr size_t kWords = 64;

  bool AddValue(size_t at, const char* p, const char* stop) {
    uint64_t& number = number_[numbers_];
    double& scale = scale_[numbers_];
    number_at_[numbers_++] = static_cast<uint8_t>(at);
    if (SplitShortFloat(p, stop, &number, &scale)) [[likely]]
      return true;
    float value;
    number = uint64_t{1} << 56;   // the digit 1
    if (!ParseValue(p, stop, &value)) return false;
    scale = value;
    return true;
  }

  size_t words_ = 0, wides_ = 0, numbers_ = 0;
  uint64_t index_[kWords];   // digits of a word's index, the last one highest
  Feature wide_[kWords];     // the indices of more than eight digits, and whose
  uint8_t wide_at_[kWords];
  uint64_t number_[kWords];   // digits of the values that are not written 1; times `scale_` each; and whose
  double scale_[kWords];
  uint8_t number_at_[kWords];
};

// One a thread, kept from piece to piece: fresh memory costs more than parsing into it.
struct Scratch {
  std::unique_ptr<Feature[]> indices;
  std::unique_ptr<float[]> values;
  std::unique_ptr<float[]> labels;
  std::unique_ptr<uint32_t[]> begins, value_begins;
  std::unique_ptr<uint32_t[]> blanks;
  size_t capacity = 0;   // bytes of text it is enough for

  void Reserve(size_t bytes) {
    if (bytes <= capacity) return;
    indices = std::make_unique_for_overwrite<Feature[]>(bytes / 4 + 1 + WordBlock::kPadding);   // the shortest entry is " 1:1"
    values = std::make_unique_for_overwrite<float[]>(bytes / 4 + 1);
    labels = std::make_unique_for_overwrite<float[]>(bytes / 2 + 1);   // the shortest row is "1\n"
    begins = std::make_unique_for_overwrite<uint32_t[]>(bytes / 2 + 2);
    value_begins = std::make_unique_for_overwrite<uint32_t[]>(bytes / 2 + 2);
    blanks = std::make_unique_for_overwrite<uint32_t[]>(bytes + kBlanksStep + 8);
    capacity = bytes;
  }
};

bool Rising(const Feature* begin, const Feature* end) {
  if (begin == end) return true;
  bool rising = *begin > 0;
  for (const Feature* at = begin + 1; at < end; ++at) rising &= at[-1] < at[0];
  return rising;
}

// A line as programs write it: "LABEL INDEX:VALUE INDEX:VALUE\n", single spaces, plain numbers. `blank`: where the line's blanks stand, counted from `text`.
// Returns the one behind the line, or null: look carefully.
inline const uint32_t* ParseUsualLine(const char* text, const char* p, const uint32_t* blank, LabelKind kind, WordBlock& words, Output* out) {
  const char* stop = text + *blank++;
  float label;
  if (!ParseLabel(p, stop, kind, &label)) return nullptr;
  Feature* index = out->index;
  float* value = out->value;
  float* kept = value;
  words.Clear();
  while (*stop == ' ') {
    p = stop + 1;
    stop = text + *blank++;
    if (stop == p) break;   // LIBSVM's own tools leave a space at the end
    if (!words.Add(p, stop) || (words.full() && !words.Finish(index, value, kept))) return nullptr;
  }
  if (*stop == '\r' && stop[1] == '\n') stop = text + *blank++;
  if (*stop != '\n' || !words.Finish(index, value, kept) || !Rising(out->index, index)) return nullptr;
  *out->label++ = label;
  out->index = index;
  out->value = kept;
  return blank;
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
  WordBlock words;
  size_t rows = 0;
  scratch.begins[0] = scratch.value_begins[0] = 0;
  const uint32_t* blank = scratch.blanks.get();   // the first from p on
  FindBlanks(begin, static_cast<size_t>(end - begin) + 1, scratch.blanks.get());
  for (const char* p = begin; p < end;) {
    if (const uint32_t* next = ParseUsualLine(begin, p, blank, rules.label_kind, words, &out); next != nullptr) [[likely]] {
      blank = next;
      p = begin + blank[-1] + 1;
    } else {
      const char* stop = static_cast<const char*>(std::memchr(p, '\n', static_cast<size_t>(end - p) + 1));
      std::string what;
      const Line line = ParseAnyLine({p, static_cast<size_t>(stop - p)}, rules.label_kind, &out, &what);
      if (line == Line::kBad && !rules.skip_bad_rows) return BadLine{static_cast<size_t>(p - begin), std::move(what)};
      block->bad_rows += line == Line::kBad;
      p = stop + 1;
      while (p < end && begin + *blank < p) ++blank;
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
