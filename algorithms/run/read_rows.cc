// Reads piece by piece, then pads.
#include "algorithms/run/read_rows.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "actors/status.h"

namespace troupe {

absl::StatusOr<std::vector<std::vector<float>>> ReadAllRows(const std::string& uri, const Schema& schema) {
  constexpr Feature kColumnsMax = 65536;
  SourceOptions options;
  options.uri = uri;
  options.label_kind = LabelKind::kNone;
  const bool dense = schema.format != "libsvm";
  if (dense) options.expected = Schema{.format = schema.format, .label = "", .columns = schema.columns};
  TROUPE_TRY(const std::shared_ptr<const Source> source, OpenSource(options));
  if (dense != (source->schema().format != "libsvm"))
    return absl::InvalidArgumentError(absl::StrCat(uri, ": format is ", source->schema().format, ", expected one like the data's, which is ", schema.format));
  std::vector<std::vector<float>> rows;
  size_t columns = 0;
  for (uint64_t piece = 0; piece < source->pieces(); ++piece) {
    TROUPE_TRY(const std::shared_ptr<const RowBlock> block, source->Read(piece));
    for (size_t i = 0; i < block->rows; ++i) {
      std::vector<float>& row = rows.emplace_back();
      if (block->is_dense()) {
        row.assign(block->row_dense(i).begin(), block->row_dense(i).end());
      } else if (const SparseRow entries = block->sparse.row(i); !entries.empty()) {
        const Feature last = entries.feature(entries.size() - 1);
        if (last > kColumnsMax) return absl::InvalidArgumentError(absl::StrCat(uri, ": the largest feature is ", last, ", expected at most ", kColumnsMax));
        row.resize(last);
        for (size_t j = 0; j < entries.size(); ++j) row[entries.feature(j) - 1] = entries.value(j);
      }
      columns = std::max(columns, row.size());
    }
  }
  for (std::vector<float>& row : rows) row.resize(columns);
  return rows;
}

}   // namespace troupe
