#include "ps/push_log.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"

namespace troupe {
namespace {

// A file: one record after the other. A record: its header, the lengths of the frame's blocks, head, blocks.
struct RecordHeader {
  uint64_t checksum;   // XXH3 64 of all that follows
  uint64_t bytes;      // of the record behind this header
  uint64_t type;
  uint64_t blocks;   // with the head
  uint64_t synced;   // of the file: what stands before this byte had been synced when the record was written
};
static_assert(sizeof(RecordHeader) == 40);

absl::Status DiskError(const std::string& file, int error) {
  const std::string message = absl::StrCat(file, ": ", error == ENOSPC || error == EDQUOT ? "no space left on device" : std::generic_category().message(error));
  return error == ENOSPC || error == EDQUOT ? absl::ResourceExhaustedError(message) : absl::InternalError(message);
}

uint64_t Checksum(const RecordHeader& header, const std::vector<std::pair<const void*, size_t>>& pieces) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  XXH3_64bits_reset(state.get());
  XXH3_64bits_update(state.get(), &header.bytes, sizeof header - offsetof(RecordHeader, bytes));
  for (const auto& [data, size] : pieces) {
    if (size > 0) XXH3_64bits_update(state.get(), data, size);
  }
  return XXH3_64bits_digest(state.get());
}

/// Reads the record at `at`, which then lies behind it. False: what is there is no whole record.
bool ReadRecord(const Block& file, size_t& at, RecordHeader& header, Frame& frame) {
  if (file.size() - at < sizeof header) return false;
  std::memcpy(&header, file.data() + at, sizeof header);
  const size_t begin = at + sizeof header;
  if (header.bytes > file.size() - begin || header.blocks == 0 || header.blocks > kFrameBlocksMax + 1 || header.bytes < header.blocks * sizeof(uint64_t))
    return false;
  if (Checksum(header, {{file.data() + begin, header.bytes}}) != header.checksum) return false;
  std::vector<uint64_t> lengths(header.blocks);
  std::memcpy(lengths.data(), file.data() + begin, lengths.size() * sizeof(uint64_t));
  size_t next = begin + lengths.size() * sizeof(uint64_t);
  frame = Frame{.type = header.type, .head = {}, .bulk = {}};
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] > begin + header.bytes - next) return false;
    Block block = Block::Copy(file.data() + next, lengths[i]);   // records lie at any byte, arrays must not
    next += lengths[i];
    if (i == 0)
      frame.head = std::move(block);
    else
      frame.bulk.push_back(std::move(block));
  }
  at = begin + header.bytes;
  return next == at;
}

absl::Status CutFile(const std::string& path, size_t bytes) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  const bool cut = fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes)) == 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  return cut ? absl::OkStatus() : DiskError(path, error);
}

/// Visits a file's records. `last`: what was written to it last may be there in part, or not at all.
absl::Status ReadFile(Storage& storage, const std::string& path, bool last, const PushLog::Visit& visit) {
  TROUPE_TRY(const Block file, storage.Read(path));
  for (size_t at = 0; at < file.size();) {
    RecordHeader header;
    Frame frame;
    const size_t begin = at;
    if (!ReadRecord(file, at, header, frame)) {
      bool damaged = !last;   // or a later record says that this one was synced
      for (size_t later = begin + 1; !damaged && later + sizeof header <= file.size(); ++later) {
        size_t next = later;
        damaged = ReadRecord(file, next, header, frame) && header.synced > begin;
      }
      return damaged ? absl::DataLossError(absl::StrCat(path, ": damaged at byte ", begin)) : CutFile(path, begin);
    }
    if (absl::Status status = visit(frame); !status.ok()) return WithContext(status, absl::StrCat(path, ": byte ", begin));
  }
  return absl::OkStatus();
}

absl::Status SyncFolder(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  return synced ? absl::OkStatus() : DiskError(folder, error);
}

}   // namespace

absl::StatusOr<std::unique_ptr<PushLog>> PushLog::Open(const std::string& folder, const std::string& name, uint64_t from, const Visit& visit,
                                                       std::chrono::milliseconds patience) {
  TROUPE_TRY(FileLock lock, Lock(folder, name, patience));
  return Open(std::move(lock), folder, name, from, visit);
}

absl::StatusOr<FileLock> PushLog::Lock(const std::string& folder, const std::string& name, std::chrono::milliseconds patience) {
  TROUPE_TRY(const std::string path, LocalPath(folder));
  TROUPE_RETURN_IF_ERROR(MakeLocalStorage()->MakeFolder(path));
  return FileLock::Take(absl::StrCat(path, "/", name, ".lock"), patience);
}

absl::StatusOr<std::unique_ptr<PushLog>> PushLog::Open(FileLock lock, const std::string& folder, const std::string& name, uint64_t from, const Visit& visit) {
  TROUPE_TRY(const std::string path, LocalPath(folder));
  const std::unique_ptr<Storage> storage = MakeLocalStorage();
  auto log = std::unique_ptr<PushLog>(new PushLog(absl::StrCat(path, "/", name, "."), std::move(lock)));
  TROUPE_TRY(const std::vector<std::string> names, storage->List(path));
  std::vector<uint64_t> numbers;
  for (const std::string& entry : names) {
    const std::string start = name + ".", end = ".log";
    uint64_t number;
    if (entry.size() > start.size() + end.size() && entry.starts_with(start) && entry.ends_with(end) &&
        absl::SimpleAtoi(entry.substr(start.size(), entry.size() - start.size() - end.size()), &number)) {
      numbers.push_back(number);
    }
  }
  std::ranges::sort(numbers);
  log->number_ = std::max<uint64_t>({from, 1, numbers.empty() ? 0 : numbers.back() + 1});
  const auto count = [&](const Frame& frame) {
    log->bytes_ += sizeof(RecordHeader) + frame.size();
    return visit(frame);
  };
  for (const uint64_t number : numbers) {
    if (number >= from) TROUPE_RETURN_IF_ERROR(ReadFile(*storage, log->FileOf(number), number == numbers.back(), count));
  }
  return log;
}

PushLog::~PushLog() {
  if (fd_ >= 0) ::close(fd_);
}

std::string PushLog::FileOf(uint64_t number) const {
  return absl::StrCat(prefix_, number, ".log");
}

void PushLog::Append(Frame frame) {
  bytes_ += sizeof(RecordHeader) + frame.size();
  std::lock_guard lock(mutex_);
  pending_.push_back({number_, std::move(frame)});
}

uint64_t PushLog::Rotate() {
  bytes_ = 0;
  return ++number_;
}

void PushLog::GoOn() {
  if (broken_.ok()) return;
  {
    std::lock_guard lock(mutex_);
    std::erase_if(pending_, [this](const Pending& pending) { return pending.number < number_; });
  }
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  broken_ = absl::OkStatus();
}

absl::Status PushLog::Sync() {
  std::vector<Pending> pending;
  {
    std::lock_guard lock(mutex_);
    pending.swap(pending_);
  }
  if (broken_.ok() && !pending.empty()) broken_ = Write(pending);
  return broken_;
}

absl::Status PushLog::GoTo(uint64_t number) {
  if (fd_ >= 0) {
    if (::fdatasync(fd_) != 0) return DiskError(FileOf(open_number_), errno);
    ::close(fd_);
  }
  const std::string file = FileOf(number);
  fd_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd_ < 0) return DiskError(file, errno);
  open_number_ = number;
  written_ = synced_ = 0;
  return SyncFolder(prefix_.substr(0, prefix_.rfind('/')));
}

absl::Status PushLog::Write(const std::vector<Pending>& pending) {
  for (const auto& [number, frame] : pending) {
    if (fd_ < 0 || number != open_number_) TROUPE_RETURN_IF_ERROR(GoTo(number));
    std::vector<uint64_t> lengths{frame.head.size()};
    for (const Block& block : frame.bulk) lengths.push_back(block.size());
    std::vector<std::pair<const void*, size_t>> pieces{{lengths.data(), lengths.size() * sizeof(uint64_t)}, {frame.head.data(), frame.head.size()}};
    for (const Block& block : frame.bulk) pieces.push_back({block.data(), block.size()});
    RecordHeader header{
        .checksum = 0, .bytes = lengths.size() * sizeof(uint64_t) + frame.size(), .type = frame.type, .blocks = lengths.size(), .synced = synced_};
    header.checksum = Checksum(header, pieces);
    written_ += sizeof header + header.bytes;
    std::array<iovec, kFrameBlocksMax + 3> parts;
    size_t count = 0;
    parts[count++] = {&header, sizeof header};
    for (const auto& [data, size] : pieces) {
      if (size > 0) parts[count++] = {const_cast<void*>(data), size};
    }
    for (size_t first = 0; first < count;) {
      ssize_t written = ::writev(fd_, parts.data() + first, static_cast<int>(count - first));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return DiskError(FileOf(number), errno);
      for (; first < count && static_cast<size_t>(written) >= parts[first].iov_len; ++first) written -= static_cast<ssize_t>(parts[first].iov_len);
      if (first < count) {
        parts[first].iov_base = static_cast<std::byte*>(parts[first].iov_base) + written;
        parts[first].iov_len -= static_cast<size_t>(written);
      }
    }
  }
  if (::fdatasync(fd_) != 0) return DiskError(FileOf(open_number_), errno);
  synced_ = written_;
  return absl::OkStatus();
}

absl::Status PushLog::Drop(uint64_t first) {
  const size_t slash = prefix_.rfind('/');
  const std::string folder = prefix_.substr(0, slash), start = prefix_.substr(slash + 1);
  const std::unique_ptr<Storage> storage = MakeLocalStorage();
  TROUPE_TRY(const std::vector<std::string> names, storage->List(folder));
  for (const std::string& entry : names) {
    uint64_t number;
    if (entry.starts_with(start) && entry.ends_with(".log") && absl::SimpleAtoi(entry.substr(start.size(), entry.size() - start.size() - 4), &number) &&
        number < first)
      TROUPE_RETURN_IF_ERROR(storage->Remove(absl::StrCat(folder, "/", entry)));
  }
  return absl::OkStatus();
}

}   // namespace troupe
