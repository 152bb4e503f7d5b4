#include "tools/troupe/node_flags.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/port_range.h"
#include "actors/status.h"
#include "actors/this_process.h"
#include "tools/troupe/cluster_flags.h"

namespace troupe {

void NodeFlags::Declare(CommandLine& line) {
  line.Switch("--head", &head, "be the head: it keeps jobs and nodes, and runs nothing itself");
  line.Value("--join", "HOST:PORT,...", &join, "join the cluster of this head; of several: of the one that leads");
  line.Value("--listen", "HOST:PORT", &listen, "where to listen; beyond loopback with --token-file and --tls; port 0: one that is free (default 127.0.0.1:0)");
  line.Value("--ports", "A-B", &ports, "the processes of this node listen within, and the node where its --listen has port 0 (default: any that are free)");
  line.Value("--store", "etcd:HOST:PORT,...[/PREFIX]", &store,
             "where a head keeps what must outlive it: in etcd, where further heads stand by to take over (default: a file in --state)");
  line.Value("--state", "DIR", &state, "what must outlive this process (default: a head's ~/.troupe, a node's fresh temporary folder)");
  line.Value("--advertise", "HOST", &advertise, "where others reach this head, or the processes of this node (default: the host of --listen)");
  line.Value("--name", "NAME", &name, "of a node, for people (default: its host name and port)");
  line.Value("--cores", "N", &cores, "that a node offers (default: all that this process may use)");
  line.Value("--memory", "BYTES", &memory, "that a node offers, as 8G (default: the machine's)");
  line.Value("--cgroup", "DIR", &cgroup,
             "where a node makes control groups that limit memory; none: it looks itself (default: below its own group where it may)");
  line.Value("--disk", "BYTES", &disk, "that a node offers where its state lies, as 100G (default: what is free there now)");
  line.Values("--accelerator", "KIND=N", &accelerators, "that a node offers, as gpu=2, as often as needed");
  line.Values("--label", "NAME=VALUE", &labels, "what processes may ask for of a node, as often as needed");
  line.Values("--queue", "NAME=WEIGHT", &queues,
              "of a head: the queue's share of the cluster's cores is WEIGHT beside 1 for a queue that has none (1 to 1000)");
  line.Value("--token-file", "FILE", &token_file, "the cluster's token, or a line ROLE TOKEN for each of read, submit and admin: whoever has none is refused");
  line.Value("--tls", "DIR", &tls, "ca.pem, cert.pem and key.pem: speak TLS with members of that authority only (default: $TROUPE_TLS, else none)");
  line.Value("--log", "FILE", &log, "append what happens to this file");
}

absl::Status NodeFlags::Check() const {
  if (head == !join.empty()) return absl::InvalidArgumentError("expected either --head or --join HOST:PORT");
  const std::pair<const char*, bool> of_nodes[] = {{"--name", !name.empty()},     {"--cores", !cores.empty()}, {"--memory", !memory.empty()},
                                                   {"--cgroup", !cgroup.empty()}, {"--disk", !disk.empty()},   {"--accelerator", !accelerators.empty()},
                                                   {"--label", !labels.empty()},  {"--ports", !ports.empty()}};
  for (const auto& [flag, given] : of_nodes) {
    if (head && given) return absl::InvalidArgumentError(absl::StrCat(flag, " is for nodes: a head runs nothing itself"));
  }
  if (!head && !queues.empty()) return absl::InvalidArgumentError("--queue is for heads: nodes know no queues");
  if (!head && !store.empty()) return absl::InvalidArgumentError("--store is for heads: nodes keep nothing there");
  TROUPE_RETURN_IF_ERROR(Queues().status());
  if (!ports.empty() && !ParsePortRange(ports)) return absl::InvalidArgumentError(absl::StrCat("--ports is '", ports, "', expected A-B, as 7500-7599"));
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, uint32_t>> NodeFlags::Queues() const {
  std::map<std::string, uint32_t> weights;
  for (const std::string& queue : queues) {
    if (const absl::Status status = ParseCount("--queue", queue, "WEIGHT", 1, 1000, &weights); !status.ok()) return status;
  }
  return weights;
}

std::string NodeFlags::ListenAt() const {
  const std::string place = listen.empty() ? "127.0.0.1:0" : listen;
  return "tcp:" + (ports.empty() || !place.ends_with(":0") ? place : place.substr(0, place.size() - 1) + ports);
}

std::string HostOf(const std::string& place) {
  return place.substr(0, place.rfind(':'));
}
std::string AdvertisedPlace(const NodeFlags& flags, const std::string& place) {
  return flags.advertise.empty() ? place : flags.advertise + place.substr(place.rfind(':'));
}

absl::StatusOr<NodeAccess> ReadAccess(const NodeFlags& flags) {
  NodeAccess access;
  access.tls = FlagOr(flags.tls, "TROUPE_TLS");
  if (!access.tls.empty()) access.tls = std::filesystem::absolute(access.tls).string();   // processes of jobs start in other folders
  TROUPE_TRY(access.others, ReadTokens(FlagOr(flags.token_file, "TROUPE_TOKEN_FILE")));
  if (access.others.empty()) return access;
  if (access.others.front().role != Role::kAdmin) {
    return absl::InvalidArgumentError(absl::StrCat(flags.token_file, ": no token for 'admin', which heads and nodes need"));
  }
  access.token = std::move(access.others.front().token);
  access.others.erase(access.others.begin());
  return access;
}

absl::Status LockState(const std::string& folder) {
  const std::string path = folder + "/lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);   // closed with the process
  if (fd < 0) return absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno)));
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  ::close(fd);
  return absl::UnavailableError(absl::StrCat(folder, ": another head or node has this state folder"));
}

absl::Status SayLine(const std::string& line) {
  std::printf("%s\n", line.c_str());
  return FlushOutput();
}

}   // namespace troupe
