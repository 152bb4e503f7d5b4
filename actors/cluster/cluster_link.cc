#include "actors/cluster/cluster_link.h"

#include <random>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "actors/cluster/access.h"
#include "actors/cluster/head_finder.h"
#include "actors/internal/place.h"
#include "actors/rpc_network.h"
#include "actors/status.h"
#include "actors/stop_actors.h"

namespace troupe {
namespace {

constexpr char kCluster[] = "troupe cluster";
constexpr char kProtocol[] = "cluster protocol 1";   // nodes, heads and clients need not be the same bytes

}   // namespace

absl::StatusOr<std::unique_ptr<ClusterLink>> ClusterLink::Open(ClusterLinkOptions options) {
  std::unique_ptr<ClusterLink> link(new ClusterLink());
  link->must_be_there_ = options.must_be_there;
  link->cancelled_ = options.cancelled;
  const bool is_head = options.address.head.empty();
  NodeId node = options.node;
  while (!is_head && node == kHeadNode) node = NodeId{std::random_device()()};
  link->system_ = std::make_unique<System>(System::Options{.node = node, .incarnation = options.incarnation, .compute_threads = 1});
  RpcNetwork::Options network_options;
  network_options.node = node;
  network_options.incarnation = options.incarnation;
  network_options.cluster_id = kCluster;
  network_options.token = options.address.token;
  network_options.build_id = kProtocol;
  network_options.listen = options.listen;
  network_options.tokens = std::move(options.tokens);
  if (is_head) network_options.least_role = LeastRole;
  if (!options.address.tls.empty()) {
    TROUPE_TRY(network_options.tls, ReadTlsFolder(options.address.tls));
  }
  network_options.run = [system = link->system_.get()](const std::function<void()>& calls) { system->RunOnLink(calls); };
  network_options.log = [log = std::move(options.log)](const std::string& line) {
    if (log) log(line);
  };
  TROUPE_TRY(std::unique_ptr<RpcNetwork> network, RpcNetwork::Start(std::move(network_options)));
  if (!options.listen.empty()) link->place_ = std::string(absl::StripPrefix(network->places().front(), "tcp:"));
  if (is_head) {
    link->system_->SetNetwork(std::move(network));
  } else {
    std::vector<std::string> places;
    for (const absl::string_view head : absl::StrSplit(options.address.head, ',')) {
      places.push_back(absl::StrCat("tcp:", head));
      if (!ParsePlace(places.back()).ok())
        return absl::InvalidArgumentError(absl::StrCat("the head is said to be at '", absl::CEscape(head), "', expected HOST:PORT"));
    }
    link->system_->SetNetwork(std::make_unique<HeadFinder>(std::move(network), std::move(places)));
    link->head_ = SpawnProxy<HeadActor>(*link->system_, {.to = {kHeadNode, Incarnation{}, kHeadActor}, .timeout = kHeadTimeout});
  }
  return link;
}

ClusterLink::~ClusterLink() {
  if (system_ != nullptr && head_) StopAndWait(*system_, std::vector{head_});
  head_ = nullptr;
}

absl::Status ClusterLink::OfHead(const absl::Status& status) {
  constexpr absl::string_view kName = "node 0 ";
  absl::string_view text = status.message();
  if (!absl::ConsumePrefix(&text, kName)) return status;
  return {status.code(), absl::StrCat("the head ", text)};
}

void ClusterLink::Pause() {
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

}   // namespace troupe
