// "generate:..." -> rows of generated/.
#include "dataflow/generated_source.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "absl/strings/str_join.h"
#include "actors/status.h"
#include "actors/text.h"
#include "dataflow/generated/generated_rows.h"

namespace troupe {
namespace {

constexpr uint64_t kPieceRowsMin = 256, kPieceRowsMax = 10000;

struct Request {
  std::string kind;
  uint64_t rows = 0, seed = 1, first = 0;
};

absl::StatusOr<Request> ParseRequest(std::string_view uri) {
  Request request;
  std::string_view text = uri.substr(uri.find(':') + 1);
  const size_t question = text.find('?');
  request.kind = text.substr(0, question);
  const std::vector<std::string> kinds = GeneratedKinds();
  if (std::find(kinds.begin(), kinds.end(), request.kind) == kinds.end()) {
    return absl::InvalidArgumentError(absl::StrCat(Absl(uri), ": ", UnknownName("kind", request.kind, kinds)));
  }
  const std::map<std::string, uint64_t*> parameters = {{"rows", &request.rows}, {"seed", &request.seed}, {"first", &request.first}};
  text = question == text.npos ? std::string_view() : text.substr(question + 1);
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const size_t equals = std::min(part.find('='), part.size());
    const std::string name(part.substr(0, equals));
    const auto parameter = parameters.find(name);
    if (parameter == parameters.end()) {
      return absl::InvalidArgumentError(absl::StrCat(Absl(uri), ": ", UnknownName("parameter", name, std::vector<std::string>{"rows", "seed", "first"})));
    }
    const std::string_view value = part.substr(std::min(equals + 1, part.size()));
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), *parameter->second);
    if (error != std::errc() || end != value.data() + value.size()) {
      return absl::InvalidArgumentError(absl::StrCat(Absl(uri), ": ", name, " is '", Absl(value), "', expected a whole number"));
    }
  }
  if (request.rows == 0) return absl::InvalidArgumentError(absl::StrCat(Absl(uri), ": rows is 0, expected >= 1"));
  if (request.first + request.rows < request.rows) return absl::InvalidArgumentError(absl::StrCat(Absl(uri), ": first + rows is beyond 2^64"));
  return request;
}

class GeneratedSource final : public Source {
 public:
  GeneratedSource(const SourceOptions& options, Request request)
      : options_(options), request_(std::move(request)), rows_(MakeGeneratedRows(request_.kind, request_.seed)), columns_(rows_->columns()) {
    const uint64_t piece_rows = std::clamp(request_.rows / (uint64_t{4} * std::max(options.splits, 1u)), kPieceRowsMin, kPieceRowsMax);
    pieces_ = (request_.rows + piece_rows - 1) / piece_rows;
  }

  /// Finds the columns, by the same rules as in a Parquet file.
  absl::Status Open() {
    if (request_.kind == "ratings" || request_.kind == "text") {
      return absl::InvalidArgumentError(absl::StrCat(options_.uri, ": ", request_.kind, " cannot be trained on, expected ctr, dense or clusters"));
    }
    schema_.format = columns_.empty() ? "libsvm" : "parquet";
    if (!columns_.empty() && (!options_.label.empty() || options_.label_kind != LabelKind::kNone)) {
      schema_.label = !options_.label.empty() ? options_.label : options_.expected && !options_.expected->label.empty() ? options_.expected->label : "label";
    }
    if (options_.expected) {
      schema_.columns = options_.expected->columns;
      std::erase(schema_.columns, schema_.label);
    } else {
      for (const ColumnSpec& column : columns_) {
        if (column.name != schema_.label) schema_.columns.push_back(column.name);
      }
    }
    for (const std::string& name : schema_.columns) {
      TROUPE_TRY(features_.emplace_back(), Find(name));
    }
    if (!schema_.label.empty()) {
      TROUPE_TRY(label_, Find(schema_.label));
    }
    return absl::OkStatus();
  }

  const Schema& schema() const override { return schema_; }
  uint64_t pieces() const override { return pieces_; }
  std::optional<uint64_t> rows() const override { return request_.rows; }
  /// About what the rows would be in a file.
  uint64_t piece_bytes(uint64_t i) const override { return (First(i + 1) - First(i)) * (columns_.empty() ? 350 : columns_.size() * sizeof(float)); }

  absl::StatusOr<std::shared_ptr<const RowBlock>> Read(uint64_t i) const override {
    auto block = std::make_shared<RowBlock>();
    block->piece = i;
    block->first_row = First(i);
    block->rows = First(i + 1) - First(i);
    if (!rows_->FillSparse(request_.first + block->first_row, block.get())) return ReadTable(std::move(block));
    if (options_.label_kind == LabelKind::kNone) block->labels.clear();
    return block;
  }

 private:
  uint64_t First(uint64_t piece) const { return static_cast<uint64_t>(static_cast<unsigned __int128>(request_.rows) * piece / pieces_); }

  absl::StatusOr<size_t> Find(const std::string& name) const {
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].name == name) return c;
    }
    const auto append_name = [](std::string* out, const ColumnSpec& column) { out->append(column.name); };
    return absl::InvalidArgumentError(absl::StrCat(options_.uri, ": no column '", name, "', expected one of: ", absl::StrJoin(columns_, ", ", append_name)));
  }

  absl::StatusOr<std::shared_ptr<const RowBlock>> ReadTable(std::shared_ptr<RowBlock> block) const {
    std::vector<float> table(block->rows * columns_.size());
    rows_->FillTable(request_.first + block->first_row, block->rows, table.data());
    block->columns = static_cast<uint32_t>(features_.size());
    block->dense.reserve(block->rows * features_.size());
    for (uint64_t row = 0; row < block->rows; ++row) {
      const float* values = table.data() + row * columns_.size();
      for (const size_t c : features_) block->dense.push_back(values[c]);
      if (schema_.label.empty() || options_.label_kind == LabelKind::kNone) continue;
      block->labels.push_back(values[label_]);
      if (options_.label_kind == LabelKind::kReal || block->labels.back() == 0 || block->labels.back() == 1) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(options_.uri, ": row ", block->first_row + row + 1, ": ", schema_.label, " is ", values[label_], ", expected 0 or 1"));
    }
    return block;
  }

  const SourceOptions options_;
  const Request request_;
  const std::unique_ptr<GeneratedRows> rows_;
  const std::vector<ColumnSpec> columns_;
  uint64_t pieces_;
  Schema schema_;
  std::vector<size_t> features_;   // positions among columns_
  size_t label_ = 0;
};

}   // namespace

absl::StatusOr<std::shared_ptr<const Source>> OpenGeneratedSource(const SourceOptions& options) {
  TROUPE_TRY(Request request, ParseRequest(options.uri));
  auto source = std::make_shared<GeneratedSource>(options, std::move(request));
  TROUPE_RETURN_IF_ERROR(source->Open());
  return source;
}

}   // namespace troupe
