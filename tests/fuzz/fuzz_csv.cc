// CSV text of any kind: line 1 is the header, its columns are used as features, label and ignored ones in turn.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "actors/check.h"
#include "dataflow/internal/number.h"
#include "dataflow/sources/csv_parser.h"

namespace {

using troupe::internal::CsvColumn;
using troupe::internal::CsvRules;

// Every fourth column is ignored, the second one is the label.
CsvRules RulesFor(const std::vector<std::string>& names, uint8_t flags) {
  CsvRules rules;
  rules.label_kind = static_cast<troupe::LabelKind>(flags % 3);
  rules.skip_bad_rows = (flags & 4) != 0;
  for (size_t c = 0; c < names.size(); ++c) {
    CsvColumn& column = rules.columns.emplace_back();
    column.name = names[c];
    if (c == 1 && rules.label_kind != troupe::LabelKind::kNone) {
      column.use = CsvColumn::Use::kLabel;
    } else if (c % 4 != 3) {
      column.use = CsvColumn::Use::kFeature;
      column.feature = rules.features++;
    }
  }
  return rules;
}

}   // namespace

/// The first byte picks the rules, the rest is the text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t header = std::min(text.find('\n'), text.size());
  std::vector<std::string> names;
  if (!troupe::internal::ParseCsvHeader(text.substr(0, header), &names).empty()) return 0;
  const CsvRules rules = RulesFor(names, data[0]);
  text.append(troupe::internal::kTextPadding, '\n');
  const char* begin = text.data() + std::min(header + 1, size - 1);
  const char* end = text.data() + size - 1;
  troupe::RowBlock block;
  const auto bad = troupe::internal::ParseCsv(begin, end, rules, &block);
  TROUPE_CHECK(!bad || (!rules.skip_bad_rows && bad->offset < size && !bad->what.empty()));
  if (bad) return 0;
  const bool labels = rules.label_kind != troupe::LabelKind::kNone && names.size() > 1;
  TROUPE_CHECK(block.dense.size() == block.rows * rules.features && block.labels.size() == (labels ? block.rows : 0));
  for (const float value : block.dense) TROUPE_CHECK(std::isfinite(value));
  for (const float label : block.labels) TROUPE_CHECK(std::isfinite(label));
  return 0;
}
