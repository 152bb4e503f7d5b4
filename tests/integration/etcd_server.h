// An etcd of one member on this host, for tests: started, killed, started again with what it kept.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "actors/internal/http_post.h"
#include "actors/storage/scratch_folder.h"

extern char** environ;

namespace troupe::testing {

class EtcdServer {
 public:
  /// `host`: an address of the host that the calling thread is on, and stays on.
  explicit EtcdServer(std::string host = "127.0.0.1") : folder_(*ScratchFolder::Make("")), host_(std::move(host)) {
    for (int tries = 0; tries < 10 && pid_ <= 0; ++tries) {   // a port that was free may be taken a moment later
      port_ = FreePort();
      peer_port_ = FreePort();
      Start();
    }
    BOOST_REQUIRE_MESSAGE(pid_ > 0, "etcd does not start");
  }
  ~EtcdServer() { Kill(); }
  EtcdServer(const EtcdServer&) = delete;
  EtcdServer& operator=(const EtcdServer&) = delete;

  std::string place() const { return host_ + ":" + std::to_string(port_); }

  /// Returns when it answers; without a process where it has ended before.
  void Start() {
    const std::string client = "http://" + place(), peer = "http://" + host_ + ":" + std::to_string(peer_port_);
    std::vector<std::string> words{"etcd",
                                   "--data-dir",
                                   folder_.path() + "/data",
                                   "--listen-client-urls",
                                   client,
                                   "--advertise-client-urls",
                                   client,
                                   "--listen-peer-urls",
                                   peer,
                                   "--initial-advertise-peer-urls",
                                   peer,
                                   "--initial-cluster",
                                   "default=" + peer};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const std::string log = folder_.path() + "/log";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    const int error = posix_spawnp(&pid_, "etcd", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    BOOST_REQUIRE_MESSAGE(error == 0, "cannot start etcd (tools/setup --with-integration installs it)");
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < end) {
      const auto reply = HttpPost(place(), "/v3/kv/range", "{\"key\":\"eA==\"}", std::chrono::seconds(1));
      if (reply.ok() && reply->code == 200) return;
      if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = 0;
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    BOOST_FAIL("etcd does not answer within 30 s");
  }
  void Kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  void Signal(int signal) const { ::kill(pid_, signal); }

 private:
  static int FreePort() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    const bool bound = ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0;
    ::close(fd);
    BOOST_REQUIRE(bound);
    return ntohs(address.sin_port);
  }

  const ScratchFolder folder_;
  const std::string host_;
  int port_ = 0, peer_port_ = 0;
  pid_t pid_ = 0;
};

}   // namespace troupe::testing
