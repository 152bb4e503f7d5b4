// Hosts of a test: network namespaces, each with one address of 10.77.0.0/24, on two switches that one cable joins. Takes root and iproute2.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <string>
#include <vector>

namespace troupe::testing {

/// The calling thread, and what it starts, is on that host until the end of the scope.
class OnHost {
 public:
  explicit OnHost(const std::string& name_space)
      : own_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)), other_(::open(("/run/netns/" + name_space).c_str(), O_RDONLY | O_CLOEXEC)) {
    BOOST_REQUIRE_MESSAGE(own_ >= 0 && other_ >= 0 && ::setns(other_, CLONE_NEWNET) == 0, "cannot enter " << name_space);
  }
  ~OnHost() {
    BOOST_TEST(::setns(own_, CLONE_NEWNET) == 0);
    ::close(own_);
    ::close(other_);
  }
  OnHost(const OnHost&) = delete;
  OnHost& operator=(const OnHost&) = delete;

 private:
  const int own_, other_;
};

class Hosts {
 public:
  enum class Side : bool { kLeft, kRight };

  Hosts() {
    Do("ip netns add " + Name("switches"));
    for (const char* bridge : {"left", "right"}) Do(InSwitches("ip link add name " + std::string(bridge) + " type bridge && ip link set " + bridge + " up"));
    Do(InSwitches("ip link add name cable type veth peer name cable2 && ip link set cable master left up && ip link set cable2 master right up"));
  }
  ~Hosts() {
    for (const std::string& host : hosts_) std::system(("ip netns del " + Name(host)).c_str());
    std::system(("ip netns del " + Name("switches")).c_str());
  }
  Hosts(const Hosts&) = delete;
  Hosts& operator=(const Hosts&) = delete;

  /// A new host; gives its address.
  std::string Add(const std::string& host, Side side) {
    const std::string address = "10.77.0." + std::to_string(hosts_.size() + 1), port = "port" + std::to_string(hosts_.size() + 1);
    hosts_.push_back(host);
    Do("ip netns add " + Name(host));
    Do(InSwitches("ip link add name " + port + " type veth peer name eth0 netns " + Name(host)));
    Do(InSwitches("ip link set " + port + " master " + (side == Side::kLeft ? "left" : "right") + " up"));
    Do("ip -n " + Name(host) + " link set lo up");
    Do("ip -n " + Name(host) + " link set eth0 up");
    Do("ip -n " + Name(host) + " address add " + address + "/24 dev eth0");
    return address;
  }
  /// The cable between the switches. Nobody is told: what is sent is lost.
  void Join(bool joined) { Do(InSwitches(std::string("ip link set cable ") + (joined ? "up" : "down"))); }
  /// Everything that the host sends is late. False: this kernel cannot.
  bool Delay(const std::string& host, const std::string& how) {
    return std::system(("tc -n " + Name(host) + " qdisc add dev eth0 root netem delay " + how + " 2>/dev/null").c_str()) == 0;
  }
  /// For OnHost.
  static std::string Name(const std::string& host) { return "troupe-" + std::to_string(::getpid()) + "-" + host; }

 private:
  static void Do(const std::string& command) { BOOST_REQUIRE_MESSAGE(std::system(command.c_str()) == 0, "failed: " << command); }
  static std::string InSwitches(const std::string& command) { return "ip netns exec " + Name("switches") + " sh -c '" + command + "'"; }
  std::vector<std::string> hosts_;
};

}   // namespace troupe::testing
