// One loop reads, one class per format turns a chunk into text, one class writes it to the temporary file.
#include "dataflow/internal/spool.h"

#include <fcntl.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "actors/status.h"

namespace troupe::internal {
namespace {

constexpr size_t kChunk = 256 << 10;

class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}

  absl::Status Open() {
    const char* set = std::getenv("TMPDIR");
    folder_ = set != nullptr && *set != '\0' ? set : "/tmp";
    fd_ = Fd(::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (!fd_.valid()) {   // a file system without O_TMPFILE
      std::string name = folder_ + "/troupe-text-XXXXXX";
      fd_ = Fd(::mkostemp(name.data(), O_CLOEXEC));
      if (fd_.valid()) ::unlink(name.c_str());
    }
    return fd_.valid() ? absl::OkStatus() : Failed(errno);
  }

  absl::Status Write(const char* data, size_t n) {
    while (n > 0) {
      const ssize_t put = ::write(fd_.get(), data, n);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return Failed(errno);
      data += put;
      n -= static_cast<size_t>(put);
      size_ += static_cast<uint64_t>(put);
    }
    return absl::OkStatus();
  }

  uint64_t size() const { return size_; }
  Fd Take() { return std::move(fd_); }

 private:
  absl::Status Failed(int error) const {
    const std::string what = absl::StrCat(path_, ": cannot be decompressed in ", folder_, " beyond ", size_, " bytes: ", std::strerror(error));
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? absl::ResourceExhaustedError(what) : absl::InternalError(what);
  }

  std::string path_;
  std::string folder_;
  Fd fd_;
  uint64_t size_ = 0;
};

// Takes compressed bytes and gives text. Positions in messages count compressed bytes.
class Decoder {
 public:
  explicit Decoder(std::string path) : path_(std::move(path)), text_(std::make_unique_for_overwrite<char[]>(kChunk)) {}
  virtual ~Decoder() = default;
  virtual absl::Status Feed(const char* data, size_t n, TemporaryFile* out) = 0;
  virtual bool ended() const = 0;   // at the end of a member or frame
  virtual std::string name() const = 0;

 protected:
  absl::Status Bad(uint64_t at, std::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": ", name(), " stream is damaged before byte ", at, ": ", absl::string_view(what.data(), what.size())));
  }
  absl::Status Foreign(uint64_t at) const {
    if (at == 0) return absl::InvalidArgumentError(absl::StrCat(path_, ": does not start as a ", name(), " stream"));
    return absl::InvalidArgumentError(absl::StrCat(path_, ": byte ", at, " lies behind the end of the ", name(), " stream, expected nothing"));
  }

  std::string path_;
  std::unique_ptr<char[]> text_;
  uint64_t taken_ = 0;   // compressed bytes fed before this chunk
};

class GzipDecoder final : public Decoder {
 public:
  explicit GzipDecoder(std::string path) : Decoder(std::move(path)) { failed_ = ::inflateInit2(&stream_, 15 + 16) != Z_OK; }
  ~GzipDecoder() override { ::inflateEnd(&stream_); }
  bool ended() const override { return ended_; }
  std::string name() const override { return "gzip"; }

  absl::Status Feed(const char* data, size_t n, TemporaryFile* out) override {
    if (failed_) return absl::ResourceExhaustedError(absl::StrCat(path_, ": no memory to decompress"));
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data));
    stream_.avail_in = static_cast<uInt>(n);
    do {
      const uint64_t at = taken_ + n - stream_.avail_in;
      if (ended_) {   // another member, or something else
        if (*stream_.next_in != 0x1f) return Foreign(at);
        ::inflateReset(&stream_);
        ended_ = false;
        member_ = at;
      }
      stream_.next_out = reinterpret_cast<Bytef*>(text_.get());
      stream_.avail_out = kChunk;
      const int code = ::inflate(&stream_, Z_NO_FLUSH);
      if (code == Z_DATA_ERROR && stream_.total_in <= 2 && stream_.total_out == 0) return Foreign(member_);
      if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
        return Bad(taken_ + n - stream_.avail_in, stream_.msg != nullptr ? stream_.msg : "no memory");
      }
      ended_ = code == Z_STREAM_END;
      TROUPE_RETURN_IF_ERROR(out->Write(text_.get(), kChunk - stream_.avail_out));
    } while (stream_.avail_in > 0 || (stream_.avail_out == 0 && !ended_));
    taken_ += n;
    return absl::OkStatus();
  }

 private:
  z_stream stream_{};
  bool failed_ = false;
  bool ended_ = false;
  uint64_t member_ = 0;   // where the current member starts
};

class ZstdDecoder final : public Decoder {
 public:
  explicit ZstdDecoder(std::string path) : Decoder(std::move(path)), stream_(::ZSTD_createDStream(), &::ZSTD_freeDStream) {}
  bool ended() const override { return ended_; }
  std::string name() const override { return "zstd"; }

  absl::Status Feed(const char* data, size_t n, TemporaryFile* out) override {
    if (stream_ == nullptr) return absl::ResourceExhaustedError(absl::StrCat(path_, ": no memory to decompress"));
    ZSTD_inBuffer in{data, n, 0};
    for (;;) {
      if (ended_) frame_ = taken_ + in.pos;
      ZSTD_outBuffer text{text_.get(), kChunk, 0};
      const size_t code = ::ZSTD_decompressStream(stream_.get(), &text, &in);
      if (::ZSTD_isError(code)) {
        const bool foreign = ::ZSTD_getErrorCode(code) == ZSTD_error_prefix_unknown;
        return foreign ? Foreign(frame_) : Bad(taken_ + in.pos, ::ZSTD_getErrorName(code));
      }
      ended_ = code == 0;
      TROUPE_RETURN_IF_ERROR(out->Write(text_.get(), text.pos));
      if (in.pos == in.size && (ended_ || text.pos < kChunk)) break;
    }
    taken_ += n;
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<ZSTD_DStream, decltype(&::ZSTD_freeDStream)> stream_;
  bool ended_ = true;
  uint64_t frame_ = 0;   // where the current frame starts
};

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() > end.size() && text.ends_with(end);
}

}   // namespace

Compression CompressionOf(std::string_view path) {
  return EndsWith(path, ".gz") ? Compression::kGzip : EndsWith(path, ".zst") ? Compression::kZstd : Compression::kNone;
}

std::string_view WithoutCompression(std::string_view path) {
  const Compression compression = CompressionOf(path);
  return path.substr(0, path.size() - (compression == Compression::kGzip ? 3 : compression == Compression::kZstd ? 4 : 0));
}

absl::StatusOr<Fd> Decompress(int fd, const std::string& path, Compression compression, uint64_t* size) {
  std::unique_ptr<Decoder> decoder;
  if (compression == Compression::kGzip) decoder = std::make_unique<GzipDecoder>(path);
  if (compression == Compression::kZstd) decoder = std::make_unique<ZstdDecoder>(path);
  TemporaryFile out(path);
  TROUPE_RETURN_IF_ERROR(out.Open());
  const auto buffer = std::make_unique_for_overwrite<char[]>(kChunk);
  uint64_t bytes = 0;
  for (;;) {
    const ssize_t n = ::read(fd, buffer.get(), kChunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::InternalError(absl::StrCat(path, ": cannot be read: ", std::strerror(errno)));
    if (n == 0) break;
    TROUPE_RETURN_IF_ERROR(decoder->Feed(buffer.get(), static_cast<size_t>(n), &out));
    bytes += static_cast<uint64_t>(n);
  }
  if (!decoder->ended()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", decoder->name(), " stream is cut short after ", bytes, " bytes, expected its end"));
  }
  *size = out.size();
  return out.Take();
}

}   // namespace troupe::internal
