// Segments, runs of units, and who may use them again.
#include "actors/internal/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/check.h"

namespace troupe {
namespace {

using Counter = std::atomic<uint32_t>;
static_assert(Counter::is_always_lock_free && sizeof(Counter) == sizeof(uint32_t));
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

size_t UnitsFor(size_t bytes) {
  return (bytes + SharedLayout::kUnit - 1) / SharedLayout::kUnit;
}

}   // namespace

struct SharedMemory::Segment {
  uint32_t number = 0;
  int fd = -1;
  std::byte* base = nullptr;
  bool retired = false;                                                         // nothing new is put into it
  std::vector<uint32_t> length = std::vector<uint32_t>(SharedLayout::kUnits);   // of the run that starts at a unit, 0 where none does
  std::vector<uint32_t> start = std::vector<uint32_t>(SharedLayout::kUnits);    // of the run that a unit belongs to, 0: free
  size_t used = 0;                                                              // units
  bool cold = false;                                                            // empty, and its pages are given back

  Counter& counter(size_t unit) const { return reinterpret_cast<Counter*>(base)[unit]; }
  /// The first of `count` free units, 0 where there are none.
  size_t Find(size_t count) const {
    size_t free = 0;
    for (size_t unit = 1; unit < SharedLayout::kUnits;) {
      if (start[unit] != 0) {
        free = 0;
        unit = start[unit] + length[start[unit]];
      } else if (++free == count) {
        return unit + 1 - count;
      } else {
        ++unit;
      }
    }
    return 0;
  }
  ~Segment() {
    if (base != nullptr) ::munmap(base, SharedLayout::kSegmentBytes);
    if (fd >= 0) ::close(fd);
  }
};

SharedMemory::SharedMemory() = default;
SharedMemory::~SharedMemory() = default;

SharedMemory& SharedMemory::OfProcess() {
  static auto* const memory = new SharedMemory;   // blocks may outlive main
  return *memory;
}

void SharedMemory::Use() {
  users_.fetch_add(1);
}

void SharedMemory::Disuse() {
  if (users_.fetch_sub(1) > 1) return;
  ForgetLent();
  std::lock_guard lock(mutex_);
  for (auto it = segments_.begin(); it != segments_.end();) {
    it->second->used == 0 ? it = segments_.erase(it) : ++it;
  }
}

size_t SharedMemory::bytes() const {
  std::lock_guard lock(mutex_);
  const auto warm = std::count_if(segments_.begin(), segments_.end(), [](const auto& s) { return !s.second->cold; });
  return static_cast<size_t>(warm) * SharedLayout::kSegmentBytes;
}

SharedMemory::Segment* SharedMemory::NewSegment() {
  if (unavailable_ || (segments_.size() + 1) * SharedLayout::kSegmentBytes > kBytesMax) return nullptr;
  auto segment = std::make_unique<Segment>();
  segment->fd = ::memfd_create("troupe-blocks", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (segment->fd < 0 || ::ftruncate(segment->fd, SharedLayout::kSegmentBytes) != 0 || ::fcntl(segment->fd, F_ADD_SEALS, kSeals) != 0) {
    unavailable_ = segment->fd < 0 && errno != EMFILE && errno != ENFILE;
    return nullptr;
  }
  void* base = ::mmap(nullptr, SharedLayout::kSegmentBytes, PROT_READ | PROT_WRITE, MAP_SHARED, segment->fd, 0);
  if (base == MAP_FAILED) return nullptr;
  segment->base = static_cast<std::byte*>(base);
  segment->number = ++last_number_;
  Segment* made = segment.get();
  segments_[made->base] = std::move(segment);
  return made;
}

std::shared_ptr<std::byte> SharedMemory::Allocate(size_t bytes) {
  if (!in_use() || bytes < kBlockBytesMin || bytes > kBlockBytesMax) return nullptr;
  const size_t units = UnitsFor(bytes);
  std::lock_guard lock(mutex_);
  CollectReturned();
  Segment* segment = nullptr;
  size_t unit = 0;
  for (const auto& [base, candidate] : segments_) {
    if (candidate->retired || SharedLayout::kUnits - 1 - candidate->used < units || (unit = candidate->Find(units)) == 0) continue;
    segment = candidate.get();
    break;
  }
  if (segment == nullptr) {
    segment = NewSegment();
    if (segment == nullptr) return nullptr;
    unit = 1;
  }
  segment->length[unit] = static_cast<uint32_t>(units);
  std::fill_n(segment->start.begin() + static_cast<std::ptrdiff_t>(unit), units, static_cast<uint32_t>(unit));
  segment->used += units;
  segment->cold = false;
  segment->counter(unit).store(0, std::memory_order_relaxed);
  return {segment->base + unit * SharedLayout::kUnit, [this, segment, unit](std::byte*) { Release(segment, unit); }};
}

void SharedMemory::Release(Segment* segment, size_t unit) {
  std::lock_guard lock(mutex_);
  if (!segment->retired && segment->counter(unit).load(std::memory_order_acquire) > 0) {
    lingering_.push_back({segment, unit});
  } else {
    Free(segment, unit);
  }
}

/// Invalidates `segment` where that was its last run and it is not needed.
void SharedMemory::Free(Segment* segment, size_t unit) {
  const size_t units = std::exchange(segment->length[unit], 0);
  std::fill_n(segment->start.begin() + static_cast<std::ptrdiff_t>(unit), units, 0);
  segment->used -= units;
  DropEmpty(segment);
}

/// Peers keep a segment mapped as long as the link lives, so an empty one is used again rather than replaced; beyond kWarmEmptyMax only its pages are given
/// back.
void SharedMemory::DropEmpty(Segment* segment) {
  if (segment->used > 0) return;
  if (segment->retired || !in_use()) {
    segments_.erase(segment->base);
    return;
  }
  const auto warm = std::count_if(segments_.begin(), segments_.end(), [](const auto& s) { return s.second->used == 0 && !s.second->cold; });
  if (warm <= kWarmEmptyMax) return;
  segment->cold = ::madvise(segment->base + SharedLayout::kUnit, SharedLayout::kSegmentBytes - SharedLayout::kUnit, MADV_REMOVE) == 0;
}

void SharedMemory::CollectReturned() {
  for (size_t i = 0; i < lingering_.size();) {
    const Run run = lingering_[i];
    if (run.segment->counter(run.unit).load(std::memory_order_acquire) > 0) {
      ++i;
      continue;
    }
    lingering_[i] = lingering_.back();
    lingering_.pop_back();
    Free(run.segment, run.unit);
  }
}

std::optional<SharedPlace> SharedMemory::Lend(const void* bytes) {
  const auto* at = static_cast<const std::byte*>(bytes);
  std::lock_guard lock(mutex_);
  auto found = segments_.upper_bound(at);
  if (found == segments_.begin()) return std::nullopt;
  Segment& segment = *(--found)->second;
  const auto offset = static_cast<size_t>(at - segment.base);
  if (offset >= SharedLayout::kSegmentBytes) return std::nullopt;
  const uint32_t counter = segment.start[offset / SharedLayout::kUnit];
  TROUPE_CHECK(counter != 0);   // the caller holds the block
  segment.counter(counter).fetch_add(1, std::memory_order_relaxed);
  return SharedPlace{segment.number, counter, offset};
}

SharedMemory::Segment* SharedMemory::Numbered(uint32_t number) const {
  for (const auto& [base, segment] : segments_) {
    if (segment->number == number) return segment.get();
  }
  return nullptr;
}

void SharedMemory::TakeBack(const SharedPlace& place) {
  std::lock_guard lock(mutex_);
  if (Segment* segment = Numbered(place.segment)) segment->counter(place.counter).fetch_sub(1, std::memory_order_relaxed);
}

int SharedMemory::Descriptor(uint32_t segment) const {
  std::lock_guard lock(mutex_);
  const Segment* found = Numbered(segment);
  return found == nullptr ? -1 : ::fcntl(found->fd, F_DUPFD_CLOEXEC, 0);
}

void SharedMemory::ForgetLent() {
  std::lock_guard lock(mutex_);
  CollectReturned();
  for (const auto& [base, segment] : segments_) {
    for (size_t unit = 1; unit < SharedLayout::kUnits && !segment->retired; ++unit) {
      segment->retired = segment->length[unit] != 0 && segment->counter(unit).load(std::memory_order_acquire) > 0;
    }
  }
  for (const Run& run : std::exchange(lingering_, {})) Free(run.segment, run.unit);   // all of retired segments
}

// ----------------------------------------------------------------------------------------------------------------------------------- the other side

absl::StatusOr<std::shared_ptr<MappedSegment>> MappedSegment::Map(int fd) {
  struct stat status {};
  const int seals = ::fcntl(fd, F_GET_SEALS);
  const bool good = seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && ::fstat(fd, &status) == 0 && status.st_size == off_t{SharedLayout::kSegmentBytes};
  void* base = good ? ::mmap(nullptr, SharedLayout::kSegmentBytes, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
  const int error = errno;
  const bool mapped = base != MAP_FAILED && ::mmap(base, SharedLayout::kUnit, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == base;
  ::close(fd);
  if (!good) return absl::InvalidArgumentError("a shared segment is no sealed memory of the size expected");
  if (!mapped) {
    if (base != MAP_FAILED) ::munmap(base, SharedLayout::kSegmentBytes);
    return absl::ResourceExhaustedError(absl::StrCat("mmap of a shared segment: ", std::strerror(error)));
  }
  return std::shared_ptr<MappedSegment>(new MappedSegment(static_cast<std::byte*>(base)));
}

MappedSegment::~MappedSegment() {
  ::munmap(base_, SharedLayout::kSegmentBytes);
}

absl::StatusOr<std::shared_ptr<const void>> MappedSegment::Borrow(uint64_t offset, uint64_t size, uint32_t counter) {
  if (counter == 0 || counter >= SharedLayout::kUnits || offset < uint64_t{counter} * SharedLayout::kUnit || offset > SharedLayout::kSegmentBytes ||
      size > SharedLayout::kSegmentBytes - offset) {
    return absl::InvalidArgumentError(absl::StrCat("shared bytes ", offset, " + ", size, " of unit ", counter, " are not inside their segment"));
  }
  return std::shared_ptr<const void>(
      base_, [self = shared_from_this(), counter](const void*) { reinterpret_cast<Counter*>(self->base_)[counter].fetch_sub(1, std::memory_order_release); });
}

}   // namespace troupe
