// A target with planted bugs, one per build: shows that the driver finds, saves and names each kind.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool hit = text.find("1e999") != std::string_view::npos;   // a token that the mutator knows and no seed holds
#if defined(PLANTED_CRASH)
  if (hit) std::abort();
#elif defined(PLANTED_HANG)
  volatile bool spin = hit;
  while (spin) {
  }
#elif defined(PLANTED_EXIT)
  if (hit) std::_Exit(3);
#else
  (void)hit;
#endif
  return 0;
}
