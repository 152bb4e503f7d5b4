#include "actors/cluster/programs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "actors/status.h"

namespace troupe {
namespace {

constexpr size_t kReadBytes = 1 << 20;

absl::Status DiskError(const std::string& path) {
  const int error = errno;
  const std::string text = absl::StrCat(path, ": ", std::strerror(error));
  if (error == ENOENT) return absl::NotFoundError(text);
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(text);
  return absl::InternalError(text);
}

std::string Hex(XXH128_hash_t hash) {
  return absl::StrCat(absl::Hex(hash.high64, absl::kZeroPad16), absl::Hex(hash.low64, absl::kZeroPad16));
}

bool IsHash(const std::string& text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}   // namespace

absl::StatusOr<std::string> HashOfProgram(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return DiskError(path);
  const absl::Cleanup close = [fd] { ::close(fd); };
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_128bits_reset(state.get());
  std::string buffer(kReadBytes, '\0');
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return DiskError(path);
    if (n == 0) return Hex(XXH3_128bits_digest(state.get()));
    XXH3_128bits_update(state.get(), buffer.data(), static_cast<size_t>(n));
  }
}

std::string HashOfBytes(const Block& bytes) {
  return Hex(XXH3_128bits(bytes.data(), bytes.size()));
}

void RemovePrograms(const std::string& folder, const std::set<std::string>& needed, std::chrono::seconds age_max) {
  std::error_code error;
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const bool whole = IsHash(entry.path().filename().string());
    if ((!whole && entry.path().extension() != ".part") || needed.contains(entry.path().filename().string())) continue;
    const auto given = entry.last_write_time(error);
    if (!error && std::filesystem::file_time_type::clock::now() - given >= age_max) old.push_back(entry.path());
  }
  for (const auto& path : old) std::filesystem::remove(path, error);
}

bool Programs::Has(const std::string& hash) const {
  return IsHash(hash) && ::access(PathOf(hash).c_str(), X_OK) == 0;
}

absl::StatusOr<uint64_t> Programs::Put(const std::string& hash, uint64_t size, uint64_t offset, const Block& bytes) {
  if (!IsHash(hash)) return absl::InvalidArgumentError(absl::StrCat("a program's hash is '", hash, "', expected 32 hexadecimal digits"));
  if (size == 0 || size > kSizeMax) return absl::InvalidArgumentError(absl::StrCat("a program of ", size, " bytes, expected 1 to ", kSizeMax));
  if (Has(hash)) {
    ::utimensat(AT_FDCWD, PathOf(hash).c_str(), nullptr, 0);
    return size;
  }
  const std::string path = absl::StrCat(PathOf(hash), ".part");
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0700);
  if (fd < 0) return DiskError(path);
  const absl::Cleanup close = [fd] { ::close(fd); };
  struct stat status {};
  if (::fstat(fd, &status) != 0) return DiskError(path);
  uint64_t have = static_cast<uint64_t>(status.st_size);
  if (have >= size) {   // all there, but under no name: whoever wrote it was killed before the last step, or had another size in mind
    if (::ftruncate(fd, 0) != 0) return DiskError(path);
    have = 0;
  }
  if (offset != have || bytes.size() == 0) return have;   // not the next ones
  if (offset + bytes.size() > size) return absl::InvalidArgumentError(absl::StrCat("more than the ", size, " bytes of the program"));
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t n = ::pwrite(fd, bytes.data() + written, bytes.size() - written, static_cast<off_t>(offset + written));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return DiskError(path);
    written += static_cast<size_t>(n);
  }
  have += bytes.size();
  if (have < size) return have;
  TROUPE_TRY(const std::string found, HashOfProgram(path));
  if (found != hash) {
    ::unlink(path.c_str());
    return absl::DataLossError(absl::StrCat("the bytes of program ", hash, " have the hash ", found));
  }
  if (::fsync(fd) != 0 || ::rename(path.c_str(), PathOf(hash).c_str()) != 0) return DiskError(path);
  return size;
}

absl::StatusOr<Block> Programs::Get(const std::string& hash, uint64_t offset, size_t bytes_max, uint64_t* size) const {
  if (!Has(hash)) return absl::NotFoundError(absl::StrCat("there is no program ", hash));
  const std::string path = PathOf(hash);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return DiskError(path);
  const absl::Cleanup close = [fd] { ::close(fd); };
  struct stat status {};
  if (::fstat(fd, &status) != 0) return DiskError(path);
  *size = static_cast<uint64_t>(status.st_size);
  std::string buffer(std::min<uint64_t>(bytes_max, *size - std::min(*size, offset)), '\0');
  size_t have = 0;
  while (have < buffer.size()) {
    const ssize_t n = ::pread(fd, buffer.data() + have, buffer.size() - have, static_cast<off_t>(offset + have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return DiskError(path);
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  return Block::Copy(buffer.data(), have);
}

}   // namespace troupe
