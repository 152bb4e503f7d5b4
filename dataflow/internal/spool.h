// .gz and .zst files, decompressed once into a temporary file without a name, which goes away with its last descriptor.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "dataflow/internal/fd.h"

namespace troupe::internal {

enum class Compression : uint8_t { kNone, kGzip, kZstd };

/// By extension: .gz, .zst.
Compression CompressionOf(std::string_view path);
/// `path` without .gz or .zst.
std::string_view WithoutCompression(std::string_view path);

/// Decompresses all of `fd` (several gzip members or zstd frames are one text) into a temporary file in $TMPDIR, or /tmp. `path` is for messages.
/// size    receives the length of the text.
/// Errors  InvalidArgument: cut short, damaged, something else behind the end. ResourceExhausted: no room for the text.
absl::StatusOr<Fd> Decompress(int fd, const std::string& path, Compression compression, uint64_t* size);

}   // namespace troupe::internal
