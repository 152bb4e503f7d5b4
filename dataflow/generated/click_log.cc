// ctr: a click log. 13 numeric features (log1p of a lognormal number, 4 significant digits) and 26 categorical ones of 4 to 200,000 Zipf-distributed
// values, hashed into features [14, 2^20). The label is drawn from a logistic model of them, so that a good model reaches an AUC of about 0.84.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/random.h"
#include "dataflow/generated/distributions.h"
#include "dataflow/generated/generated_rows.h"

namespace troupe {
namespace {

constexpr size_t kNumeric = 13, kCategorical = 26;
constexpr uint32_t kFirstKey = kNumeric + 1, kKeyEnd = 1 << 20;
constexpr double kValuesMin = 4, kValuesMax = 200000;   // of a categorical field, rising geometrically
constexpr double kCategoryWeight = 0.35, kNumericWeight = 0.3, kNumericCentre = 0.7, kPositives = 0.32;
constexpr size_t kBiasRows = 4096;
constexpr size_t kRowBytesMax = 2 + kNumeric * 11 + kCategorical * 10 + 8;

struct Row {
  bool label;
  uint32_t key_count;
  std::array<uint16_t, kNumeric> numeric;    // slices of the distribution
  std::array<uint32_t, kCategorical> keys;   // rising
};

/// A numeric value as text and as what a parser makes of it.
struct NumericText {
  char text[7];
  uint8_t size;
};

class ClickLog final : public GeneratedRows {
 public:
  explicit ClickLog(uint64_t seed) : rows_(Random(seed).Fork(1)), zipf_(1.25, static_cast<uint32_t>(kValuesMax), true) {
    MakeNumeric();
    MakeModel(Random(seed).Fork(0));
    MakeBias();
  }

  std::vector<std::string> formats() const override { return {".svm", ".libsvm"}; }

  uint64_t AppendText(const std::string& /*format*/, uint64_t first, size_t n, TextBuffer* out) const override {
    uint64_t entries = 0;
    Row row;
    for (uint64_t i = first; i < first + n; ++i) {
      Make(i, &row);
      entries += kNumeric + row.key_count;
      char* p = out->Room(kRowBytesMax);
      *p++ = row.label ? '1' : '0';
      for (size_t j = 0; j < kNumeric; ++j) {
        std::memcpy(p, prefixes_[j].text, 4);   // " j:"
        p += prefixes_[j].size;
        const NumericText& number = numeric_texts_[row.numeric[j]];
        std::memcpy(p, number.text, sizeof(number.text));
        p += number.size;
      }
      for (size_t k = 0; k < row.key_count; ++k) {
        *p++ = ' ';
        p = WriteKey(p, row.keys[k]);
        *p++ = ':';
        *p++ = '1';
      }
      *p++ = '\n';
      out->End(p);
    }
    return entries;
  }

  bool FillSparse(uint64_t first, RowBlock* block) const override {
    Row row;
    for (uint64_t i = first; i < first + block->rows; ++i) {
      Make(i, &row);
      block->labels.push_back(row.label ? 1 : 0);
      for (size_t j = 0; j < kNumeric; ++j) block->sparse.Add(j + 1, numeric_values_[row.numeric[j]]);
      for (size_t k = 0; k < row.key_count; ++k) block->sparse.Add(row.keys[k], 1);
      block->sparse.EndRow();
    }
    return true;
  }

 private:
  struct Category {
    uint32_t key;
    float weight;
  };

  void MakeNumeric() {
    for (uint32_t slice = 0; slice < NormalTable::kSlices; ++slice) {
      const double value = std::log1p(std::exp(static_cast<double>(NormalTable::Get().Middle(slice))));
      char text[16];
      const char* end = std::to_chars(text, text + sizeof(text), value, std::chars_format::general, 4).ptr;   // 0.01 .. 4.5: at most 7 bytes
      NumericText number{{}, static_cast<uint8_t>(end - text)};
      TROUPE_CHECK(number.size <= sizeof(number.text));
      std::memcpy(number.text, text, number.size);
      numeric_texts_.push_back(number);
      std::from_chars(text, end, numeric_values_.emplace_back());
    }
    for (size_t j = 0; j < kNumeric; ++j) {
      const std::string prefix = absl::StrCat(" ", j + 1, ":");
      prefix.copy(prefixes_[j].text, sizeof(prefixes_[j].text));
      prefixes_[j].size = static_cast<uint8_t>(prefix.size());
    }
    for (uint32_t i = 0; i < 10000; ++i) {
      for (uint32_t unit : {1000u, 100u, 10u, 1u}) four_digits_.push_back(static_cast<char>('0' + i / unit % 10));
    }
  }

  char* WriteKey(char* to, uint32_t key) const {
    if (key < 10000) return WriteNumber(to, key);
    to = WriteNumber(to, key / 10000);
    std::memcpy(to, four_digits_.data() + size_t{4} * (key % 10000), 4);
    return to + 4;
  }

  void MakeModel(Random random) {
    std::vector<float> normals(kNumeric);
    NormalTable::Get().Fill(&random, kNumeric, normals.data());
    for (size_t j = 0; j < kNumeric; ++j) numeric_weights_[j] = static_cast<float>(kNumericWeight) * normals[j];
    for (size_t field = 0; field < kCategorical; ++field) {
      const double share = static_cast<double>(field) / (kCategorical - 1);
      value_counts_[field] = static_cast<uint32_t>(kValuesMin * std::pow(kValuesMax / kValuesMin, share) + 1e-6);
      first_values_[field] = categories_.size();
      normals.resize(value_counts_[field]);
      NormalTable::Get().Fill(&random, normals.size(), normals.data());
      for (uint32_t value = 0; value < value_counts_[field]; ++value) {
        const uint64_t hash = Mix64((uint64_t{field} << 32 | value) + 0x632be59bd9b4e019u) >> 32;   // features mean the same for every seed
        categories_.push_back({kFirstKey + static_cast<uint32_t>(hash * (kKeyEnd - kFirstKey) >> 32), static_cast<float>(kCategoryWeight) * normals[value]});
      }
    }
  }

  /// Few values carry most of the rows, so their weights can move the average far: the bias moves it back.
  void MakeBias() {
    std::vector<double> margins(kBiasRows);
    Row row;
    for (size_t i = 0; i < kBiasRows; ++i) margins[i] = Make(i, &row);
    double low = -50, high = 50;
    for (int step = 0; step < 40; ++step) {
      const double bias = (low + high) / 2;
      double positives = 0;
      for (double margin : margins) positives += 1 / (1 + std::exp(-margin - bias));
      (positives < kPositives * kBiasRows ? low : high) = bias;
    }
    bias_ = low;
  }

  /// Returns the row's margin without the bias.
  double Make(uint64_t i, Row* row) const {
    Random random = rows_.Fork(i);
    double margin = 0;
    uint64_t bits = 0;
    for (size_t j = 0; j < kNumeric; ++j, bits >>= 16) {
      if (j % 4 == 0) bits = random.Next();
      row->numeric[j] = static_cast<uint16_t>(bits);
      margin += numeric_weights_[j] * (numeric_values_[row->numeric[j]] - kNumericCentre);
    }
    for (size_t field = 0; field < kCategorical; ++field, bits >>= 32) {
      if (field % 2 == 0) bits = random.Next();
      const uint32_t value = std::min(zipf_.Draw(static_cast<uint32_t>(bits)), value_counts_[field] - 1);
      const Category& category = categories_[first_values_[field] + value];
      margin += category.weight;
      size_t at = field;
      for (; at > 0 && row->keys[at - 1] > category.key; --at) row->keys[at] = row->keys[at - 1];
      row->keys[at] = category.key;
    }
    row->key_count = static_cast<uint32_t>(std::unique(row->keys.begin(), row->keys.end()) - row->keys.begin());
    row->label = random.Uniform() * (1 + std::exp(-margin - bias_)) < 1;
    return margin;
  }

  const Random rows_;
  const ZipfTable zipf_;
  std::vector<NumericText> numeric_texts_;   // of each slice
  std::vector<float> numeric_values_;
  std::array<NumericText, kNumeric> prefixes_{};
  std::vector<char> four_digits_;   // "0000" .. "9999"
  std::array<float, kNumeric> numeric_weights_{};
  std::array<uint32_t, kCategorical> value_counts_{};
  std::array<size_t, kCategorical> first_values_{};
  std::vector<Category> categories_;   // of all fields
  double bias_ = 0;
};

}   // namespace

std::unique_ptr<GeneratedRows> MakeClickLog(uint64_t seed) {
  return std::make_unique<ClickLog>(seed);
}

}   // namespace troupe
