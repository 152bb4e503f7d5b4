// The format "libsvm": pieces of text, each parsed to a sparse block.
#include "dataflow/sources/libsvm_parser.h"

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "dataflow/format.h"
#include "dataflow/internal/text_pieces.h"

namespace troupe {
namespace {

using internal::LibsvmRules;
using internal::PieceText;
using internal::TextFile;
using internal::TextPieces;

class LibsvmSource final : public Source {
 public:
  LibsvmSource(TextPieces pieces, LibsvmRules rules) : pieces_(std::move(pieces)), rules_(rules), schema_{.format = "libsvm", .label = "", .columns = {}} {}
  const Schema& schema() const override { return schema_; }
  uint64_t pieces() const override { return pieces_.count(); }
  uint64_t piece_bytes(uint64_t i) const override { return pieces_.bytes(i); }
  std::vector<int> spool_fds() const override { return pieces_.spool_fds(); }

  absl::StatusOr<std::shared_ptr<const RowBlock>> Read(uint64_t i) const override {
    TROUPE_TRY(const PieceText text, pieces_.Read(i));
    auto block = std::make_shared<RowBlock>();
    block->piece = i;
    if (const auto bad = internal::ParseLibsvm(text.begin, text.end, rules_, block.get())) return internal::BadLineError(text, *bad);
    return block;
  }

 private:
  const TextPieces pieces_;
  const LibsvmRules rules_;
  const Schema schema_;
};

absl::StatusOr<std::shared_ptr<const Source>> Open(const SourceOptions& options, std::vector<std::string> paths) {
  TROUPE_TRY(std::vector<TextFile> files, internal::OpenTextFiles(paths, options.spool_fds));
  uint64_t bytes = 0;
  for (const TextFile& file : files) {
    TROUPE_TRY(const bool has_rows, internal::HasRows(file, '#'));
    if (!has_rows) return absl::InvalidArgumentError(absl::StrCat(file.path, ": no rows"));
    bytes += file.size;
  }
  return std::make_shared<LibsvmSource>(TextPieces(std::move(files), internal::PieceSize(bytes, options.splits)),
                                        LibsvmRules{options.label_kind, options.skip_bad_rows});
}

const bool registered = RegisterFormat({.name = "libsvm", .extensions = {".svm", ".libsvm"}, .named_columns = false, .place = 1, .open = Open});

}   // namespace
}   // namespace troupe
