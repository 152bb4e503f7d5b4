// Any bytes as what arrives on an accepted connection: before Hello, after it, and after a request. The network must serve others afterwards.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <future>
#include <memory>
#include <string>

#include "actors/check.h"
#include "actors/rpc_network.h"
#include "tests/support/raw_link.h"

namespace {

using namespace troupe;

RpcNetwork::Options OptionsOf(NodeId node) {
  RpcNetwork::Options options;
  options.node = node;
  options.cluster_id = "fuzz";
  return options;
}

struct Nodes {
  std::string folder = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "troupe-fuzz-XXXXXX").string();
    TROUPE_CHECK(::mkdtemp(pattern.data()) != nullptr);
    return pattern;
  }();
  std::unique_ptr<RpcNetwork> server, client;

  Nodes() {
    auto options = OptionsOf(NodeId{1});
    options.listen = {"unix:" + folder + "/node"};
    options.handlers = {{ActorId{0}, [](Frame frame, const Network::Reply& reply) { reply(std::move(frame)); }},
                        {ActorId{1}, [](const Frame&, const Network::Reply&) {}}};
    server = RpcNetwork::Start(std::move(options)).value();
    client = RpcNetwork::Start(OptionsOf(NodeId{0})).value();
    client->Locate(NodeId{1}, {"unix:" + folder + "/node"});
  }
  ~Nodes() { std::filesystem::remove_all(folder); }

  bool Serves() {
    std::promise<bool> served;
    client->Request({NodeId{1}, {}, ActorId{0}}, Frame{7, {}, {}}, Network::Lane::kControl, std::chrono::seconds(20),
                    [&](const absl::StatusOr<Frame>& reply) { served.set_value(reply.ok() && reply->type == 7); });
    return served.get_future().get();
  }
};

int Connect(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  TROUPE_CHECK(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

}   // namespace

// data[0]: how much of a proper conversation comes first, whether the connection is one of a link of several, and whether the bytes are cut into two sends or
// laid over the proper request.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Nodes nodes;
  using testing::Greeting, testing::Request;
  static const std::string greeting = Greeting({.cluster_id = "fuzz"}), request = Request({}), shared = Request({.shared = true});
  static const std::string one_of_several = Greeting({.cluster_id = "fuzz", .link = 9}), ordered = Request({.order = 1}) + Request({.question = 3, .order = 3});
  static unsigned runs = 0;
  if (size == 0 || size > (256 << 10)) return 0;
  std::string bytes;
  const bool several = (data[0] & 32) != 0;
  if (data[0] & 1) bytes += several ? one_of_several : greeting;
  if (data[0] & 2) bytes += (data[0] & 16) != 0 ? shared : several ? ordered : request;
  const size_t own = bytes.size();
  bytes.append(reinterpret_cast<const char*>(data + 1), size - 1);
  if ((data[0] & 4) != 0) {   // small changes of proper messages go deeper than noise: pairs of (place, mask)
    bytes.resize(own);
    for (size_t i = 1; i + 2 < size && own > 0; i += 3) bytes[(size_t{data[i]} << 8 | data[i + 1]) % own] ^= static_cast<char>(data[i + 2]);
  }
  const int fd = Connect(nodes.folder + "/node");
  const size_t first = (data[0] & 8) != 0 ? bytes.size() / 2 : bytes.size();
  ::send(fd, bytes.data(), first, MSG_NOSIGNAL);
  ::send(fd, bytes.data() + first, bytes.size() - first, MSG_NOSIGNAL);
  ::shutdown(fd, SHUT_WR);
  char answer[4096];
  pollfd ready{fd, POLLIN, 0};
  while (::poll(&ready, 1, 1000) == 1 && ::read(fd, answer, sizeof answer) > 0) {
  }
  ::close(fd);
  if (++runs % 64 == 0) TROUPE_CHECK(nodes.Serves());
  return 0;
}
