// An etcd of one member or several on one host, for tests: started, killed, started again with what it kept.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "actors/internal/http_post.h"
#include "actors/storage/scratch_folder.h"
#include "tests/support/free_port.h"

extern char** environ;

namespace troupe::testing {

class EtcdServer {
 public:
  /// `host`: an address of the host that the calling thread is on, and stays on.
  explicit EtcdServer(std::string host = "127.0.0.1", size_t members = 1) : folder_(*ScratchFolder::Make("")), host_(std::move(host)) {
    for (int tries = 0; tries < 10; ++tries) {   // a port that was free may be taken a moment later
      members_.assign(members, {});
      for (Member& member : members_) member = {.port = FreePort(), .peer_port = FreePort()};
      for (size_t i = 0; i < members; ++i) Spawn(i);
      bool all = true;
      for (size_t i = 0; i < members; ++i) all = all && AwaitAnswer(i);
      if (all) return;
      Kill();
      std::filesystem::remove_all(folder_.path() + "/data");
    }
    BOOST_FAIL("etcd does not start");
  }
  ~EtcdServer() { Kill(); }
  EtcdServer(const EtcdServer&) = delete;
  EtcdServer& operator=(const EtcdServer&) = delete;

  std::string place(size_t member = 0) const { return host_ + ":" + std::to_string(members_[member].port); }
  /// All members', with commas between.
  std::string places() const {
    std::string all;
    for (size_t i = 0; i < members_.size(); ++i) all += (i == 0 ? "" : ",") + place(i);
    return all;
  }
  void Kill() {
    for (size_t i = 0; i < members_.size(); ++i) Kill(i);
  }
  void Kill(size_t member) {
    pid_t& pid = members_[member].pid;
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    pid = 0;
  }
  /// All that do not run, with what they kept; returns when they answer.
  void Start() {
    for (size_t i = 0; i < members_.size(); ++i) {
      if (members_[i].pid == 0) Spawn(i);
    }
    for (size_t i = 0; i < members_.size(); ++i) BOOST_REQUIRE_MESSAGE(AwaitAnswer(i), "etcd does not start again");
  }

 private:
  struct Member {
    int port = 0, peer_port = 0;
    pid_t pid = 0;
  };
  std::string Peer(size_t member) const { return "http://" + host_ + ":" + std::to_string(members_[member].peer_port); }

  void Spawn(size_t member) {
    const std::string number = std::to_string(member), client = "http://" + place(member);
    std::string cluster;
    for (size_t i = 0; i < members_.size(); ++i) cluster += (i == 0 ? "" : ",") + std::to_string(i) + "=" + Peer(i);
    std::vector<std::string> words{"etcd", "--name", number, "--data-dir", folder_.path() + "/data/" + number, "--listen-client-urls", client};
    for (const std::string& word : {std::string("--advertise-client-urls"), client, std::string("--listen-peer-urls"), Peer(member),
                                    std::string("--initial-advertise-peer-urls"), Peer(member), std::string("--initial-cluster"), cluster}) {
      words.push_back(word);
    }
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::filesystem::create_directories(folder_.path() + "/data");
    const std::string log = folder_.path() + "/log" + number;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    const int error = posix_spawnp(&members_[member].pid, "etcd", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    BOOST_REQUIRE_MESSAGE(error == 0, "cannot start etcd (tools/setup --with-integration installs it)");
  }
  /// False: it has ended instead.
  bool AwaitAnswer(size_t member) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < end) {
      const auto reply = HttpPost(place(member), "/v3/kv/range", "{\"key\":\"eA==\"}", std::chrono::seconds(1));
      if (reply.ok() && reply->code == 200) return true;
      if (waitpid(members_[member].pid, nullptr, WNOHANG) == members_[member].pid) {
        members_[member].pid = 0;
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    BOOST_FAIL("etcd does not answer within 30 s");
    return false;
  }

  const ScratchFolder folder_;
  const std::string host_;
  std::vector<Member> members_;
};

}   // namespace troupe::testing
