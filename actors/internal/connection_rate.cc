// Buckets as one time each: the generic cell rate algorithm.
#include "actors/internal/connection_rate.h"

#include <algorithm>
#include <cstring>

namespace troupe {
namespace {

constexpr std::chrono::nanoseconds kOne = std::chrono::nanoseconds(std::chrono::seconds(1)) / ConnectionRate::kPerSecond;

}   // namespace

uint64_t SourceOf(const SocketAddress& address) {
  if (address.any.sa_family == AF_INET) return address.ipv4.sin_addr.s_addr;
  if (address.any.sa_family != AF_INET6) return 0;
  const auto* bytes = address.ipv6.sin6_addr.s6_addr;
  uint64_t source = 0;
  if (IN6_IS_ADDR_V4MAPPED(&address.ipv6.sin6_addr))
    std::memcpy(&source, bytes + 12, 4);
  else
    std::memcpy(&source, bytes, sizeof source);
  return source;
}

bool ConnectionRate::Admit(uint64_t source, Time now) {
  if (full_at_.size() >= kSourcesMax && !full_at_.contains(source)) {
    if (now - swept_ < std::chrono::seconds(1)) return true;
    swept_ = now;
    std::erase_if(full_at_, [now](const auto& entry) { return entry.second <= now; });
    if (full_at_.size() >= kSourcesMax) return true;
  }
  Time& full_at = full_at_[source];
  const Time next = std::max(full_at, now) + kOne;
  if (next - now > kBurst * kOne) return false;
  full_at = next;
  return true;
}

void ConnectionRate::GiveBack(uint64_t source) {
  const auto found = full_at_.find(source);
  if (found != full_at_.end()) found->second -= kOne;
}

}   // namespace troupe
