// text: lines of ten words out of 200,000, by Zipf.
#include "actors/random.h"
#include "dataflow/generated/distributions.h"
#include "dataflow/generated/generated_rows.h"

namespace troupe {
namespace {

constexpr uint32_t kWords = 200000;
constexpr size_t kWordsPerLine = 10;

class TextRows final : public GeneratedRows {
 public:
  explicit TextRows(uint64_t seed) : rows_(Random(seed).Fork(1)), zipf_(1.2, kWords, true) {}

  std::vector<std::string> formats() const override { return {".txt"}; }

  uint64_t AppendText(const std::string& /*format*/, uint64_t first, size_t n, TextBuffer* out) const override {
    for (uint64_t i = first; i < first + n; ++i) {
      Random random = rows_.Fork(i);
      char* p = out->Room(kWordsPerLine * 16 + 32);
      uint64_t bits = 0;
      for (size_t word = 0; word < kWordsPerLine; ++word, bits >>= 32) {
        if (word % 2 == 0) bits = random.Next();
        *p++ = 'w';
        p = std::to_chars(p, p + 8, zipf_.Draw(static_cast<uint32_t>(bits)), 16).ptr;
        *p++ = word + 1 < kWordsPerLine ? ' ' : '\n';
      }
      out->End(p);
    }
    return 0;
  }

 private:
  const Random rows_;
  const ZipfTable zipf_;
};

}   // namespace

std::unique_ptr<GeneratedRows> MakeTextRows(uint64_t seed) {
  return std::make_unique<TextRows>(seed);
}

}   // namespace troupe
