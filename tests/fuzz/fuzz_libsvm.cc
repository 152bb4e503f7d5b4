// libsvm text of any kind: what is accepted obeys every promise of RowBlock, and skipping bad rows accepts everything.
#include <cmath>
#include <cstdint>
#include <string>

#include "actors/check.h"
#include "dataflow/internal/number.h"
#include "dataflow/sources/libsvm_parser.h"

namespace {

void CheckBlock(const troupe::RowBlock& block, bool labels) {
  TROUPE_CHECK(block.offsets.size() == block.rows + 1 && block.offsets[0] == 0 && block.offsets.back() == block.indices.size());
  TROUPE_CHECK(block.labels.size() == (labels ? block.rows : 0) && block.values.size() == block.indices.size());
  for (const float value : block.values) TROUPE_CHECK(std::isfinite(value));
  for (const float label : block.labels) TROUPE_CHECK(std::isfinite(label));
  for (size_t row = 0; row < block.rows; ++row) {
    troupe::Feature previous = 0;
    for (const troupe::Feature index : block.row_indices(row)) {
      TROUPE_CHECK(index > previous);
      previous = index;
    }
  }
}

}   // namespace

/// The first byte picks the rules, the rest is the text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  text.append(troupe::internal::kTextPadding, '\n');
  const auto kind = static_cast<troupe::LabelKind>(data[0] % 3);
  const bool skip = (data[0] & 4) != 0;
  troupe::RowBlock block;
  const auto bad = troupe::internal::ParseLibsvm(text.data(), text.data() + size - 1, {kind, skip}, &block);
  TROUPE_CHECK(!bad || (!skip && bad->offset < size && !bad->what.empty()));
  if (!bad) CheckBlock(block, kind != troupe::LabelKind::kNone);
  return 0;
}
