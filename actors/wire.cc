// Flat Cap'n Proto messages in Blocks, read under limits and with every exception caught.
#include "actors/wire.h"

#include <capnp/serialize.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "actors/internal/kj_error.h"

namespace troupe::wire_internal {

Block Flatten(capnp::MessageBuilder& message) {
  const auto segments = message.getSegmentsForOutput();
  BlockBuilder block(capnp::computeSerializedSizeInWords(segments) * sizeof(capnp::word));
  const size_t table = (segments.size() / 2 + 1) * sizeof(capnp::word);
  std::memset(block.data(), 0, table);
  auto put = [&block](size_t index, size_t number) {
    const auto entry = static_cast<uint32_t>(number);
    std::memcpy(block.data() + index * sizeof(entry), &entry, sizeof(entry));
  };
  put(0, segments.size() - 1);
  std::byte* to = block.data() + table;
  for (size_t i = 0; i < segments.size(); ++i) {
    const auto bytes = segments[i].asBytes();
    put(i + 1, segments[i].size());
    std::memcpy(to, bytes.begin(), bytes.size());
    to += bytes.size();
  }
  return std::move(block).Finish();
}

absl::Status Read(const Block& head, absl::FunctionRef<absl::Status(capnp::MessageReader&)> read) {
  if (head.size() % sizeof(capnp::word) != 0 || head.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("a message head of ", head.size(), " bytes, expected whole words of ", sizeof(capnp::word)));
  }
  const Block aligned = head.IsArrayOf<uint64_t>() ? head : Block::Copy(head.data(), head.size());
  const auto words = kj::arrayPtr(reinterpret_cast<const capnp::word*>(aligned.data()), aligned.size() / sizeof(capnp::word));
  // A decoder may read a field more than once; a message whose pointers all lead to one big list may not be read for ever.
  const capnp::ReaderOptions limits{.traversalLimitInWords = words.size() * 8 + 1024, .nestingLimit = 32};
  try {
    capnp::FlatArrayMessageReader message(words, limits);
    return read(message);
  } catch (const kj::Exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("a message head that cannot be read: ", Describe(error)));
  }
}

}   // namespace troupe::wire_internal
