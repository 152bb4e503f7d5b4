// An actor for tests of what carries messages: texts there and back, and one other message so that there are two to tell apart.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/proxy.h"
#include "caf/allowed_unsafe_message_type.hpp"
#include "caf/typed_actor.hpp"
#include "caf/typed_response_promise.hpp"

namespace troupe::testing {

struct Say {
  std::string text;
};
struct Said {
  std::string text;
};
struct Count {
  std::string text;
};
struct Counted {
  uint64_t letters = 0;
};
using Speaker = caf::typed_actor<caf::replies_to<Say>::with<Said>, caf::replies_to<Count>::with<Counted>>;

inline Frame TextFrame(uint64_t type, const std::string& text) {
  return {type, Block::Copy(text.data(), text.size()), {}};
}
inline std::string TextOf(const Frame& frame) {
  return {reinterpret_cast<const char*>(frame.head.data()), frame.head.size()};
}

}   // namespace troupe::testing

namespace troupe {

/// The head is the text; one with a '#' in it is malformed.
template <class Message, uint64_t type>
struct TextCodec {
  static constexpr uint64_t kType = type;
  static Frame Encode(const Message& message) { return testing::TextFrame(type, message.text); }
  static absl::StatusOr<Message> Decode(const Frame& frame) {
    const std::string text = testing::TextOf(frame);
    if (text.find('#') != std::string::npos) return absl::InvalidArgumentError("malformed: '" + text + "'");
    return Message{text};
  }
};
template <>
struct Codec<testing::Say> : TextCodec<testing::Say, 101> {};
template <>
struct Codec<testing::Said> : TextCodec<testing::Said, 102> {};
template <>
struct Codec<testing::Count> : TextCodec<testing::Count, 103> {};
template <>
struct Codec<testing::Counted> {
  static constexpr uint64_t kType = 104;
  static Frame Encode(const testing::Counted& message) { return {kType, {}, {Block::Copy(&message.letters, sizeof message.letters)}}; }
  static absl::StatusOr<testing::Counted> Decode(const Frame& frame) { return testing::Counted{frame.bulk.at(0).As<uint64_t>()[0]}; }
};

}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::testing::Say)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::testing::Said)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::testing::Count)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::testing::Counted)

namespace troupe::testing {

/// Says the text again, with a '!'; refuses "no" with `refusal`; never answers "..."; ends instead of an answer to "end". Notes all it hears.
inline Speaker SpawnSpeaker(System& system, std::vector<std::string>* heard, absl::Status refusal) {
  const caf::actor speaker = system.actors().spawn([heard, refusal = std::move(refusal)](caf::event_based_actor* self) -> caf::behavior {
    return {[self, heard, refusal](const Say& say) -> caf::result<Said> {
              heard->push_back(say.text);
              if (say.text == "no") return ToError(refusal);
              if (say.text == "end") self->quit();
              if (say.text == "end" || say.text == "...") return self->make_response_promise<caf::typed_response_promise<Said>>();
              return Said{say.text + "!"};
            },
            [heard](const Count& count) {
              heard->push_back(count.text);
              return Counted{count.text.size()};
            }};
  });
  return caf::actor_cast<Speaker>(speaker);
}

}   // namespace troupe::testing
