// Any bytes as a snapshot file: refused, or sections that lie inside the file and are written again as the same bytes.
#include <cstdlib>
#include <cstring>

#include "ps/snapshot.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  const auto storage = MakeMemoryStorage();
  const Block file = Block::Copy(data, size);
  if (!storage->Write("mem:/snapshot", {file}, false).ok()) std::abort();
  const auto sections = ReadSnapshot(*storage, "mem:/snapshot");
  if (!sections.ok()) return 0;
  if (!WriteSnapshot(*storage, "mem:/again", *sections, false).ok()) std::abort();
  const auto again = storage->Read("mem:/again");
  if (!again.ok() || again->size() != size || std::memcmp(again->data(), data, size) != 0) std::abort();
  return 0;
}
