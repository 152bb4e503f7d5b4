// Staging, verification and the rename.
#include "algorithms/model_writer.h"

#include "absl/strings/str_format.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/export.h"
#include "ps/snapshot.h"

namespace troupe {

absl::StatusOr<std::unique_ptr<ModelWriter>> ModelWriter::Make(Storage& storage, const std::string& uri) {
  std::string target = uri;
  while (target.size() > 1 && target.ends_with('/')) target.pop_back();
  const std::string name = target.substr(target.find_last_of("/:") + 1);
  if (name.empty() || name == "." || name == "..")
    return absl::InvalidArgumentError(absl::StrCat("model folder is '", uri, "', expected the name of a folder"));
  auto writer = std::unique_ptr<ModelWriter>(new ModelWriter(storage, std::move(target)));
  TROUPE_RETURN_IF_ERROR(writer->CheckTarget());
  return writer;
}

ModelWriter::~ModelWriter() {
  if (!staging_.empty()) storage_.Remove(staging_).IgnoreError();   // nobody is there to be told
}

absl::Status ModelWriter::CheckTarget() const {
  TROUPE_TRY(const bool exists, storage_.Exists(uri_));
  if (!exists) return absl::OkStatus();
  if (const auto names = storage_.List(uri_); !names.ok()) return absl::FailedPreconditionError(absl::StrCat(uri_, ": exists and is no folder"));
  const auto text = storage_.Read(uri_ + "/manifest.json");
  if (text.ok() && LooksLikeManifest({reinterpret_cast<const char*>(text->data()), text->size()})) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(uri_, ": folder exists and is no model"));
}

absl::StatusOr<std::string> ModelWriter::StagingUri() {
  if (!staging_.empty()) return staging_;
  const size_t name = uri_.find_last_of("/:") + 1;
  std::string staging = absl::StrCat(uri_.substr(0, name), ".", uri_.substr(name), ".saving");
  TROUPE_RETURN_IF_ERROR(storage_.Remove(staging));
  TROUPE_RETURN_IF_ERROR(storage_.MakeFolder(staging));
  return staging_ = std::move(staging);
}

std::string ModelWriter::PartName(uint32_t shard) {
  return absl::StrFormat("part-%05d.troupe", shard);
}

void ModelWriter::AppendSections(const Table& table, std::vector<SnapshotSection>& sections) {
  for (uint32_t range = 0; range < table.partition().ranges(); ++range)
    if (table.Owns(range)) sections.push_back({absl::StrCat("rows/", table.spec().name, "/", range), ExportRange(table, range)});
}

absl::StatusOr<std::unique_ptr<const Model>> ModelWriter::Open(Manifest manifest) {
  TROUPE_TRY(const std::string staging, StagingUri());
  TROUPE_TRY(manifest.parts, FindParts(storage_, staging));
  return LoadParts(storage_, staging, std::move(manifest));
}

absl::Status ModelWriter::Commit(const Manifest& manifest) {
  TROUPE_TRY(const std::string staging, StagingUri());
  TROUPE_RETURN_IF_ERROR(CheckTarget());   // it may have come into being while the run was on
  const std::string text = ToJson(manifest);
  TROUPE_RETURN_IF_ERROR(storage_.Write(staging + "/manifest.json", {Block::Copy(text.data(), text.size())}, true));
  TROUPE_RETURN_IF_ERROR(storage_.Rename(staging, uri_));
  staging_.clear();
  return absl::OkStatus();
}

}   // namespace troupe
