// Programs by the hash of their bytes, as files of a folder: all processes of a job run the same bytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "actors/block.h"

namespace troupe {

/// 32 hexadecimal digits: XXH3, 128 bits, of the file's bytes. Errors: "PATH: why it cannot be read".
absl::StatusOr<std::string> HashOfProgram(const std::string& path);
/// What HashOfProgram gives, of bytes.
std::string HashOfBytes(const Block& bytes);

/// Programs in the folder, whole or in part, that are not among `needed` and have not been given for so long, are removed. What cannot be removed stays.
void RemovePrograms(const std::string& folder, const std::set<std::string>& needed, std::chrono::seconds age_max);
inline constexpr std::chrono::hours kProgramAgeMax{24};

/// Not thread-safe.
class Programs {
 public:
  /// 1 GiB: the largest program that is taken.
  static constexpr uint64_t kSizeMax = uint64_t{1} << 30;
  explicit Programs(std::string folder) : folder_(std::move(folder)) {}

  std::string PathOf(const std::string& hash) const { return folder_ + "/" + hash; }
  bool Has(const std::string& hash) const;
  /// One that is there already counts as given now (RemovePrograms). Else it appends `bytes` where they are the next ones, and answers how many there are now;
  /// `size`: it is complete, its hash is right, and it can be run. InvalidArgument: no hash, too large, or parts that do not belong together. DataLoss: the
  /// bytes have another hash; it begins anew. Else the disk's.
  absl::StatusOr<uint64_t> Put(const std::string& hash, uint64_t size, uint64_t offset, const Block& bytes);
  /// A part of at most `bytes_max`, and the size of the whole. NotFound.
  absl::StatusOr<Block> Get(const std::string& hash, uint64_t offset, size_t bytes_max, uint64_t* size) const;

 private:
  std::string folder_;
};

}   // namespace troupe
