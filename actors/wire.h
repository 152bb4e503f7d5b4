// Heads of messages: a Cap'n Proto struct to a flat, 8-byte aligned Block and back. Included only by codec .cc files, because it brings in capnp/.
#pragma once

#include <capnp/message.h>

#include <type_traits>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "actors/block.h"

namespace troupe {

namespace wire_internal {
inline constexpr size_t kScratchWords = 64;
/// Segment table and segments of `message`, one after the other.
Block Flatten(capnp::MessageBuilder& message);
/// Calls `read` on the flat message in `head`; InvalidArgument where the bytes are no message or `read` met one of capnp's exceptions.
absl::Status Read(const Block& head, absl::FunctionRef<absl::Status(capnp::MessageReader&)> read);
}   // namespace wire_internal

/// The struct `Root` that `fill(Root::Builder)` fills, as a flat message. Under a microsecond for small heads: they are built on the stack.
template <class Root, class Fill>
Block EncodeHead(Fill&& fill) {
  capnp::word scratch[wire_internal::kScratchWords] = {};
  capnp::MallocMessageBuilder message(kj::arrayPtr(scratch, wire_internal::kScratchWords));
  fill(message.initRoot<Root>());
  return wire_internal::Flatten(message);
}

/// The status of `read(Root::Reader)` (ok where it returns nothing), or InvalidArgument where the bytes are cut, out of bounds, too deep or refer to themselves
/// too often to be read. What `read` keeps must be copied: the reader ends with the call.
template <class Root, class Read>
absl::Status DecodeHead(const Block& head, Read&& read) {
  return wire_internal::Read(head, [&read](capnp::MessageReader& message) -> absl::Status {
    if constexpr (std::is_void_v<decltype(read(message.getRoot<Root>()))>) {
      read(message.getRoot<Root>());
      return absl::OkStatus();
    } else {
      return read(message.getRoot<Root>());
    }
  });
}

}   // namespace troupe
