#include "actors/storage/scratch_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <filesystem>

#include "absl/strings/str_cat.h"

namespace troupe {

absl::StatusOr<ScratchFolder> ScratchFolder::Make(const std::string& base) {
  const char* tmp = getenv("TMPDIR");
  const std::string where = !base.empty() ? base : tmp != nullptr && *tmp != '\0' ? tmp : "/tmp";
  std::string name = absl::StrCat(where, "/troupe-XXXXXX");
  if (mkdtemp(name.data()) == nullptr) return absl::InternalError(absl::StrCat(where, ": cannot make a folder for the job: ", strerror(errno)));
  ScratchFolder folder;
  folder.path_ = std::move(name);
  return folder;
}

void ScratchFolder::Remove() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  path_.clear();
}

}   // namespace troupe
