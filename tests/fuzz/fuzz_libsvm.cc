// libsvm text of any kind: what is accepted obeys every promise of RowBlock, and skipping bad rows accepts everything.
#include <cmath>
#include <cstdint>
#include <string>

#include "actors/check.h"
#include "dataflow/internal/number.h"
#include "dataflow/sources/libsvm_parser.h"

namespace {

void CheckBlock(const troupe::RowBlock& block, bool labels) {
  TROUPE_CHECK(block.sparse.rows() == block.rows && block.labels.size() == (labels ? block.rows : 0));
  for (const float label : block.labels) TROUPE_CHECK(std::isfinite(label));
  for (size_t row = 0; row < block.rows; ++row) {
    const troupe::SparseRow entries = block.sparse.row(row);
    TROUPE_CHECK(entries.values().size() <= entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
      TROUPE_CHECK(entries.feature(i) > (i == 0 ? 0 : entries.feature(i - 1)));
      TROUPE_CHECK(std::isfinite(entries.value(i)));
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
