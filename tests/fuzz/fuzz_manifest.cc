// Any bytes as a manifest whose checksum is right (that of arbitrary bytes never is): it is refused, or it reads, and what it says can be written and read
// again.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "algorithms/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  (void)ParseManifest(bytes);
  const std::string body = "{\n  \"format\": \"troupe model\",\n" + bytes;
  const auto manifest = ParseManifest(body + ",\n  \"checksum\": \"" + Checksum(body.data(), body.size()) + "\"\n}\n");
  if (manifest.ok() && !ParseManifest(ToJson(*manifest)).ok()) std::abort();
  return 0;
}
