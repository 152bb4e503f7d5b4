// Who gets into a cluster of real processes: certificates, tokens and their roles; and what ten thousand others cost it.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>

#include "actors/random.h"
#include "tests/process/cluster_fixture.h"

namespace troupe {
namespace {

using testing::Await;
using testing::Command;
using testing::Ended;
using testing::Holds;
using testing::Lines;
using testing::ReadText;
using testing::Scratch;
using testing::Words;
using testing::WriteText;
using testing::operator+;

constexpr char kTokens[] = "read 0123456789abcdef-read\nsubmit 0123456789abcdef-submit\nadmin 0123456789abcdef-admin\n";

/// An IPv4 address of this host that is no loopback; empty: it has none.
std::string OwnAddress() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return {};
  std::string found;
  for (const ifaddrs* one = all; one != nullptr && found.empty(); one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET_ADDRSTRLEN];
    sockaddr_in address;
    std::memcpy(&address, one->ifa_addr, sizeof address);
    found = ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
  }
  ::freeifaddrs(all);
  return found;
}

long ResidentKib(pid_t pid) {
  const std::string status = ReadText("/proc/" + std::to_string(pid) + "/status");
  const size_t at = status.find("VmRSS:");
  return at == std::string::npos ? -1 : std::atol(status.c_str() + at + 6);
}
size_t Descriptors(pid_t pid) {
  return testing::Names("/proc/" + std::to_string(pid) + "/fd").size();
}

struct SecurityFixture {
  const Scratch scratch;
  std::unique_ptr<Command> head;
  std::string place, head_log;
  std::vector<std::unique_ptr<Command>> nodes;

  Ended Certificate(const std::string& name, const Words& more = {}) { return testing::Run(scratch, Words{"certificate", scratch / name} + more); }
  std::string File(const std::string& name, const std::string& text) {
    WriteText(scratch / name, text);
    return scratch / name;
  }
  Words Tls(const std::string& name) const { return {"--tls", scratch / name}; }

  void StartHead(const std::string& listen, const Words& more) {
    head_log = scratch / "head.log";
    head = std::make_unique<Command>(
        scratch,
        Command::Options{.arguments = Words{"node", "--head", "--listen", listen, "--state", scratch / "head", "--log", head_log} + more, .environment = {}});
    Await("listening", [&] {
      const std::string text = ReadText(head_log);
      const size_t at = text.find(" listening="), end = text.find(' ', at + 1);
      if (at != std::string::npos && end != std::string::npos) place = text.substr(at + 11, end - at - 11);
      return !place.empty() || !head->running();
    });
    if (place.empty()) BOOST_FAIL(head->Wait().err);
  }
  void StartNode(const std::string& name, const Words& more) {
    nodes.push_back(std::make_unique<Command>(scratch, Command::Options{.arguments = Words{"node", "--join", place, "--name", name, "--cores", "2", "--state",
                                                                                           scratch / name, "--log", scratch / (name + ".log")} +
                                                                                     more,
                                                                        .environment = {}}));
  }
  void AwaitUp(const std::string& name, const Words& how) {
    Await(name + " is up", [&] { return Holds(Ask({"status", "--json"}, how).out, "{\"name\":\"" + name + "\",\"state\":\"up\""); });
  }
  Ended Ask(const Words& words, const Words& how) { return testing::Run(scratch, words + Words{"--cluster", place} + how); }
  void AwaitLog(const std::string& text) {
    Await(text, [&] { return Holds(ReadText(head_log), text); });
  }
  std::string Script(const std::string& text) {
    const std::string path = File("script", "#!/bin/sh\n" + text);
    BOOST_REQUIRE(::chmod(path.c_str(), 0755) == 0);
    return path;
  }
};

/// One line, and the exit code of a refusal: 1 where it is the peer's, of a token or a certificate.
bool Refused(const Ended& ended, const std::string& why, int code = 2) {
  BOOST_TEST_INFO(ended.code << " " << ended.err);
  return ended.code == code && Lines(ended.err) == 1 && Holds(ended.err, why);
}

}   // namespace

BOOST_FIXTURE_TEST_SUITE(SecuritySuite, SecurityFixture)

BOOST_AUTO_TEST_CASE(certificates_are_made_and_never_overwritten) {
  const Ended made = Certificate("ca");
  BOOST_TEST(made.code == 0);
  BOOST_TEST(made.out == scratch / "ca" + ": ca.pem, cert.pem, key.pem, ca_key.pem (keep it to yourself)\n");
  BOOST_TEST(Refused(Certificate("ca"), "File exists"));
  BOOST_TEST(Certificate("a", {"--ca", scratch / "ca", "--name", "node a"}).out == scratch / "a" + ": ca.pem, cert.pem, key.pem\n");
  BOOST_TEST((testing::Names(scratch / "a") == Words{"ca.pem", "cert.pem", "key.pem"}));
  BOOST_TEST(Refused(Certificate("b", {"--ca", scratch / "nowhere"}), scratch / "nowhere/ca.pem"));
  BOOST_TEST(Refused(Certificate("b", {"--days", "-1"}), "--days is '-1'"));
}

BOOST_AUTO_TEST_CASE(beyond_loopback_nobody_listens_without_token_and_certificates) {
  const std::string token = File("token", kTokens);
  BOOST_TEST(Certificate("ca").code == 0);
  const Words listen{"node", "--head", "--listen", "0.0.0.0:0", "--state", scratch / "head"};
  const std::string expected = ", expected a token and certificates (--token-file, --tls), or a loopback address";
  BOOST_TEST(Refused(testing::Run(scratch, listen), "there is no token and no TLS" + expected));
  BOOST_TEST(Refused(testing::Run(scratch, listen + Words{"--token-file", token}), "there is no TLS" + expected));
  BOOST_TEST(Refused(testing::Run(scratch, listen + Tls("ca")), "there is no token" + expected));
  BOOST_TEST(Refused(testing::Run(scratch, listen + Tls("nowhere")), scratch / "nowhere/ca.pem"));
  BOOST_TEST(Refused(testing::Run(scratch, listen + Words{"--token-file", File("readers", "read 0123456789abcdef-read")}),
                     "no token for 'admin', which heads and nodes need"));
  BOOST_TEST(Refused(testing::Run(scratch, {"status", "--cluster", "192.0.2.1:7460", "--token-file", token}), "beyond this host links take certificates"));
}

BOOST_AUTO_TEST_CASE(only_members_get_in_and_a_run_speaks_tls_throughout) {
  const std::string own = OwnAddress();
  const std::string host = own.empty() ? "127.0.0.1" : own;
  BOOST_TEST_MESSAGE("over " << host);
  const Words token{"--token-file", File("token", kTokens)};
  BOOST_TEST(Certificate("ca").code == 0);
  BOOST_TEST(Certificate("member", {"--ca", scratch / "ca"}).code == 0);
  BOOST_TEST(Certificate("late", {"--ca", scratch / "ca", "--days", "0"}).code == 0);
  BOOST_TEST(Certificate("foreign").code == 0);
  StartHead(host + ":0", token + Tls("ca"));
  const Words member = token + Tls("member");
  for (const std::string name : {"a", "b"}) {
    StartNode(name, Words{"--listen", host + ":0"} + member);
    AwaitUp(name, member);
  }
  BOOST_TEST(Refused(Ask({"status"}, token), own.empty() ? "this process has no certificates (--tls)" : "this process has none (--tls)"));
  BOOST_TEST(Refused(Ask({"status"}, token + Tls("late")), "the peer refuses this process's certificate, which it says has expired", 1));
  AwaitLog("the peer's certificate has expired");
  BOOST_TEST(Refused(Ask({"status"}, token + Tls("foreign")), "the peer's certificate is of a foreign authority", 1));
  AwaitLog("the peer refuses this process's certificate, which is of a foreign authority");
  BOOST_TEST(Refused(Ask({"status"}, Words{"--token-file", File("guess", "0123456789abcdef-guess")} + Tls("member")), "the token is wrong", 1));
  AwaitLog("the token is wrong");

  const std::string model = scratch / "model";
  const Ended trained = Ask(
      {"train", "--algorithm", "logistic_regression", "--data", testing::ClickLog(), "--model", model, "--workers", "2", "--shards", "2", "--json"}, member);
  BOOST_TEST_REQUIRE(trained.code == 0, trained.err);
  BOOST_TEST(testing::Number(trained.out, "read") == testing::Number(trained.out, "applied"));
  BOOST_TEST(testing::Run(scratch, {"train", "--algorithm", "logistic_regression", "--data", testing::ClickLog(), "--model", scratch / "here", "--workers", "2",
                                    "--shards", "2"})
                 .code == 0);
  BOOST_TEST((testing::ModelText(scratch, model) == testing::ModelText(scratch, scratch / "here")));
  for (const std::string log : {"head.log", "a.log", "b.log"}) BOOST_TEST(!Holds(ReadText(scratch / log), "0123456789abcdef-"), log << " holds a token");
}

BOOST_AUTO_TEST_CASE(a_token_is_good_for_its_role) {
  StartHead("127.0.0.1:0", {"--token-file", File("tokens", kTokens)});
  const auto with = [&](const std::string& role) { return Words{"--token-file", File(role, role + " 0123456789abcdef-" + role)}; };
  StartNode("a", with("admin"));
  AwaitUp("a", with("read"));
  const std::string script = Script("echo done");
  const Words submit{"submit", script};
  BOOST_TEST(Refused(Ask(submit, with("read")), "a token for 'read' is not enough for this, which takes one for 'submit'", 1));
  const Ended ran = Ask(submit, with("submit"));
  BOOST_TEST((ran.code == 0 && ran.out == "done\n"), ran.err);
  BOOST_TEST(Ask({"job", "logs", "1"}, with("read")).out == "done\n");
  BOOST_TEST(Refused(Ask({"job", "stop", "1"}, with("read")), "takes one for 'submit'", 1));
  BOOST_TEST(Refused(Ask({"job", "stop", "1"}, with("submit")), "job 1 is over"));
  BOOST_TEST(Refused(Ask({"drain", "a"}, with("submit")), "a token for 'submit' is not enough for this, which takes one for 'admin'", 1));
  BOOST_TEST(Ask({"drain", "a"}, {"--token-file", scratch / "tokens"}).code == 0);   // of several the strongest
  BOOST_TEST(Refused(Ask({"status"}, {}), "a token is wanted, and none was sent", 1));
}

BOOST_AUTO_TEST_CASE(ten_thousand_strangers_do_not_disturb_a_head) {
  const Words token{"--token-file", File("token", kTokens)};
  BOOST_TEST(Certificate("ca").code == 0);
  StartHead("127.0.0.1:0", token + Tls("ca"));
  StartNode("a", token + Tls("ca"));
  AwaitUp("a", token + Tls("ca"));
  const auto port = static_cast<uint16_t>(std::stoi(place.substr(place.rfind(':') + 1)));
  Random random(3);
  std::string noise(64 << 10, '\0');
  for (char& byte : noise) byte = static_cast<char>(random.Next());
  const auto flood = [&](int count) {
    std::deque<int> open;
    for (int i = 0; i < count; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(port);
      to.sin_addr.s_addr = htonl(0x7f000005);   // 127.0.0.5: another source than the member's
      sockaddr_in from = to;
      from.sin_port = 0;
      BOOST_REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) == 0);
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      BOOST_REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
      const std::string texts[] = {noise.substr(random.Below(60'000), 1 + random.Below(3'000)), "", std::string("\0\0\0\0\xff\xff\xff\x1f", 8),
                                   std::string("\x16\x03\x01\x40\x00\x01\x01\xff\xff", 9), "GET / HTTP/1.1\r\n\r\n"};
      const std::string& text = texts[i % 5];
      ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      open.push_back(fd);
      if (open.size() > 300) {
        ::close(open.front());
        open.pop_front();
      }
      if (i % 1'000 == 999) BOOST_TEST(head->running());
    }
    for (const int fd : open) ::close(fd);
  };
  // What is allocated once. A slow machine lets all of the first in: their bucket fills with time. Which limit is met first is open, and its line is the only
  // one for a while.
  Await("the first are refused", [&] {
    flood(500);
    return Holds(ReadText(head_log), "a connection is refused: ") || !head->running();
  });
  testing::Sleep(2.5);   // their time for Hello
  const size_t descriptors = Descriptors(head->pid());
  // What stays after a flood is what most connections at once have needed, and a later flood may meet more of them than an earlier one did. Memory that is lost
  // with every connection would grow by each flood: 1 MiB of ten thousand is 105 bytes a connection.
  long growth = 0;
  for (int floods = 0; floods == 0 || (growth >= 1 << 10 && floods < 5); ++floods) {
    const long before = ResidentKib(head->pid());
    flood(10'000);
    const Ended status = Ask({"status", "--json"}, token + Tls("ca"));
    BOOST_TEST(Holds(status.out, "{\"name\":\"a\",\"state\":\"up\""), status.err);
    Await("descriptors are given back", [&] { return Descriptors(head->pid()) <= descriptors; });
    growth = ResidentKib(head->pid()) - before;
    BOOST_TEST_MESSAGE("the head's memory: " << before << " KiB, " << growth << " KiB more after a flood; lines of its log: " << Lines(ReadText(head_log)));
  }
#ifndef __SANITIZE_ADDRESS__   // which keeps what is freed for a while, and looks for leaks at the end itself
  BOOST_TEST(growth < 1 << 10);
#endif
  BOOST_TEST(Lines(ReadText(head_log)) < 8'000u);
  const Ended ran = Ask({"submit", Script("echo on")}, token + Tls("ca"));
  BOOST_TEST((ran.code == 0 && ran.out == "on\n"), ran.err);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
