// Heads of messages: there and back, and bytes that are no message.
#include "actors/wire.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "actors/link.capnp.h"
#include "actors/random.h"
#include "actors/text.h"

namespace troupe {
namespace {

Block Encode(uint32_t node, const std::string& token) {
  return EncodeHead<wire::Hello>([&](wire::Hello::Builder hello) {
    hello.setNode(node);
    hello.setToken(token);
  });
}

absl::Status Decode(const Block& head, uint32_t* node, std::string* token) {
  return DecodeHead<wire::Hello>(head, [&](wire::Hello::Reader hello) -> absl::Status {
    *node = hello.getNode();
    *token = hello.getToken().cStr();
    if (*node == 0) return absl::OutOfRangeError("node 0");
    return absl::OkStatus();
  });
}

}   // namespace

BOOST_AUTO_TEST_SUITE(WireSuite)

BOOST_AUTO_TEST_CASE(a_head_comes_back_whatever_its_size_and_place) {
  for (const size_t size : {0, 1, 100, 1000, 100'000}) {
    const std::string text(size, 'x');
    const Block head = Encode(7, text);
    std::vector<char> moved(head.size() + 3);
    std::memcpy(moved.data() + 3, head.data(), head.size());
    for (const Block& block : {head, Block::View(moved.data() + 3, head.size(), nullptr)}) {
      uint32_t node = 0;
      std::string token;
      BOOST_TEST(Decode(block, &node, &token).ToString() == "OK");
      BOOST_TEST((node == 7 && token == text));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_error_of_the_reader_is_returned) {
  uint32_t node;
  std::string token;
  BOOST_TEST(Decode(Encode(0, ""), &node, &token).ToString() == "OUT_OF_RANGE: node 0");
}

BOOST_AUTO_TEST_CASE(cut_and_changed_bytes_are_errors_or_other_values_never_faults) {
  const Block head = Encode(7, "some token");
  uint32_t node;
  std::string token;
  for (size_t size = 0; size < head.size(); ++size) {
    const absl::Status status = Decode(Block::Copy(head.data(), size), &node, &token);
    BOOST_TEST((status.code() == absl::StatusCode::kInvalidArgument), "cut to " << size << ": " << status.ToString());
    BOOST_TEST(Message(status).find('\n') == std::string_view::npos);
  }
  Random random(5);
  for (int i = 0; i < 5000; ++i) {
    BlockBuilder changed(head.size());
    std::memcpy(changed.data(), head.data(), head.size());
    for (uint64_t n = random.Below(4) + 1; n-- > 0;) changed.data()[random.Below(head.size())] ^= static_cast<std::byte>(random.Next());
    Decode(std::move(changed).Finish(), &node, &token).IgnoreError();
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
