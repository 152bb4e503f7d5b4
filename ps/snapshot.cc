#include "ps/snapshot.h"

#include <xxhash.h>

#include <cstring>

#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

// The file: header, directory (an Entry and the name for each section), then each section at the next multiple of kAlignment. Zeros fill the gaps.
constexpr uint64_t kMagic = 0x504e5345'50525426;
constexpr uint32_t kVersion = 1;
constexpr size_t kAlignment = Block::kAlignment;

struct Header {
  uint64_t magic;
  uint32_t version;
  uint32_t sections;
  uint64_t directory_bytes;
  uint64_t checksum;   // XXH3 64 of the fields before it and of the directory, as one run of bytes
};
struct Entry {
  uint64_t bytes;
  uint64_t checksum;   // XXH3 64 of the section
  uint64_t name_bytes;
};
static_assert(sizeof(Header) == 32 && sizeof(Entry) == 24);

size_t Aligned(size_t at) {
  return (at + kAlignment - 1) / kAlignment * kAlignment;
}

template <class T>
void Append(std::string& to, const T& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

uint64_t DirectoryChecksum(const Header& header, std::string_view directory) {
  std::string all(reinterpret_cast<const char*>(&header), offsetof(Header, checksum));
  all += directory;
  return XXH3_64bits(all.data(), all.size());
}

Block Zeros(size_t size) {
  static constexpr std::byte zeros[kAlignment] = {};
  return Block::View(zeros, size, nullptr);
}

bool AllZero(const std::byte* from, const std::byte* end) {
  for (; from != end; ++from) {
    if (*from != std::byte{0}) return false;
  }
  return true;
}

/// Reads a file of this layout; every error is a text that says what is wrong.
class Reader {
 public:
  explicit Reader(const Block& file) : file_(file) {}

  const char* Read(std::vector<SnapshotSection>* sections) {
    Header header;
    if (file_.size() < sizeof header) return "cut in its header";
    std::memcpy(&header, file_.data(), sizeof header);
    if (header.magic != kMagic) return "not a snapshot";
    if (header.version != kVersion) return "a snapshot of another version, expected 1";
    if (header.directory_bytes > file_.size() - sizeof header) return "cut in its directory";
    directory_ = {reinterpret_cast<const char*>(file_.data()) + sizeof header, header.directory_bytes};
    if (DirectoryChecksum(header, directory_) != header.checksum) return "its directory has changed since it was written (checksum differs)";
    at_ = sizeof header + header.directory_bytes;
    for (uint32_t i = 0; i < header.sections; ++i) {
      SnapshotSection section;
      if (const char* error = ReadSection(&section)) return error;
      sections->push_back(std::move(section));
    }
    return directory_.empty() && at_ == file_.size() ? nullptr : "longer than its directory says";
  }

 private:
  const char* ReadSection(SnapshotSection* section) {
    Entry entry;
    if (directory_.size() < sizeof entry) return "its directory is too short";
    std::memcpy(&entry, directory_.data(), sizeof entry);
    directory_.remove_prefix(sizeof entry);
    if (entry.name_bytes > directory_.size()) return "its directory is too short";
    section->name = directory_.substr(0, entry.name_bytes);
    directory_.remove_prefix(entry.name_bytes);
    const size_t begin = Aligned(at_);
    if (begin > file_.size() || entry.bytes > file_.size() - begin) return "cut in a section";
    if (!AllZero(file_.data() + at_, file_.data() + begin)) return "bytes between its sections have changed since it was written";
    if (XXH3_64bits(file_.data() + begin, entry.bytes) != entry.checksum) return "a section has changed since it was written (checksum differs)";
    section->bytes = file_.Slice(begin, entry.bytes);
    at_ = begin + entry.bytes;
    return nullptr;
  }

  const Block& file_;
  std::string_view directory_;   // what is not read yet
  size_t at_ = 0;
};

}   // namespace

uint64_t ChecksumOf(const Block& bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

absl::Status WriteSnapshot(Storage& storage, const std::string& uri, const std::vector<SnapshotSection>& sections, bool durable) {
  std::string directory;
  for (const SnapshotSection& section : sections) {
    Append(directory, Entry{section.bytes.size(), ChecksumOf(section.bytes), section.name.size()});
    directory += section.name;
  }
  Header header{kMagic, kVersion, static_cast<uint32_t>(sections.size()), directory.size(), 0};
  header.checksum = DirectoryChecksum(header, directory);
  std::string start;
  Append(start, header);
  start += directory;

  std::vector<Block> pieces{Block::Copy(start.data(), start.size())};
  size_t at = start.size();
  for (const SnapshotSection& section : sections) {
    pieces.push_back(Zeros(Aligned(at) - at));
    pieces.push_back(section.bytes);
    at = Aligned(at) + section.bytes.size();
  }
  return storage.Write(uri, pieces, durable);
}

absl::StatusOr<std::vector<SnapshotSection>> ReadSnapshot(Storage& storage, const std::string& uri) {
  TROUPE_TRY(const Block file, storage.Read(uri));
  return ParseSnapshot(file, uri);
}

absl::StatusOr<std::vector<SnapshotSection>> ParseSnapshot(const Block& file, const std::string& name) {
  std::vector<SnapshotSection> sections;
  if (const char* error = Reader(file).Read(&sections)) return absl::DataLossError(absl::StrCat(name, ": ", error));
  return sections;
}

}   // namespace troupe
