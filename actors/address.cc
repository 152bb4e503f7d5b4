// Addresses as text.
#include "actors/address.h"

#include "actors/text.h"

namespace troupe {

std::string ToString(const Address& address) {
  return absl::StrCat(static_cast<uint32_t>(address.node), "/", static_cast<uint64_t>(address.incarnation), "/", static_cast<uint32_t>(address.actor));
}

}   // namespace troupe
