// What becomes of etcd's answers, and of those that come late, never, or make no sense: from a server that says what it is told to.
#include "actors/internal/etcd_gateway.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <thread>

#include "actors/internal/http_post.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kSoon{200}, kEver{20'000};

/// Answers each connection with the same bytes, as soon as it has the request's last ones; without bytes it never answers.
class Speaker {
 public:
  explicit Speaker(std::string answer) : answer_(std::move(answer)), fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    BOOST_REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    BOOST_REQUIRE(::listen(fd_, 8) == 0);
    BOOST_REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    place_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { Run(); });
  }
  ~Speaker() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  const std::string& place() const { return place_; }
  int asked() const { return asked_; }

 private:
  void Run() {
    for (int peer; (peer = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      std::string request;
      char part[4096];
      ssize_t n = 1;
      while (request.find("}") == std::string::npos && (n = ::read(peer, part, sizeof part)) > 0) request.append(part, static_cast<size_t>(n));
      ++asked_;
      if (answer_.empty()) {
        while (::read(peer, part, sizeof part) > 0) continue;   // until the other end gives up
      } else {
        for (size_t at = 0; at < answer_.size();) {
          const ssize_t sent = ::send(peer, answer_.data() + at, answer_.size() - at, MSG_NOSIGNAL);
          if (sent <= 0) break;
          at += static_cast<size_t>(sent);
        }
        ::shutdown(peer, SHUT_WR);
        while (::read(peer, part, sizeof part) > 0) continue;
      }
      ::close(peer);
    }
  }
  const std::string answer_;
  const int fd_;
  std::string place_;
  std::atomic<int> asked_ = 0;
  std::thread thread_;
};

std::string Http(const std::string& code, const std::string& body) {
  return "HTTP/1.1 " + code + "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
std::string Ok(const std::string& body) {
  return Http("200 OK", body);
}

}   // namespace

BOOST_AUTO_TEST_SUITE(EtcdGatewaySuite)

BOOST_AUTO_TEST_CASE(a_post_gives_code_and_body_whole_and_in_chunks) {
  const Speaker plain(Http("404 Not Found", "none"));
  const auto reply = HttpPost(plain.place(), "/x", "{}", kEver);
  BOOST_REQUIRE_MESSAGE(reply.ok(), reply.status().ToString());
  BOOST_TEST((reply->code == 404 && reply->body == "none"));
  const Speaker chunked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: t\r\n\r\n");
  const auto parts = HttpPost(chunked.place(), "/x", "{}", kEver);
  BOOST_REQUIRE_MESSAGE(parts.ok(), parts.status().ToString());
  BOOST_TEST((parts->code == 200 && parts->body == "abcde"));
}

BOOST_AUTO_TEST_CASE(a_post_that_is_not_answered_ends_in_time) {
  const Speaker silent("");
  const auto reply = HttpPost(silent.place(), "/x", "{}", kSoon);
  BOOST_TEST(absl::IsDeadlineExceeded(reply.status()), reply.status().ToString());
  BOOST_TEST(reply.status().message() == silent.place() + ": no answer within 200 ms");
  const Speaker half("HTTP/1.1 200 OK\r\nContent-Le");   // and the end of the connection
  BOOST_TEST(absl::IsUnavailable(HttpPost(half.place(), "/x", "{}", kEver).status()));
}

BOOST_AUTO_TEST_CASE(what_is_no_http_no_host_or_too_much_is_an_error) {
  const Speaker other("SSH-2.0-OpenSSH_9.2\r\n\r\n");
  BOOST_TEST(absl::IsUnavailable(HttpPost(other.place(), "/x", "{}", kEver).status()));
  BOOST_TEST(absl::IsUnavailable(HttpPost("127.0.0.1:1", "/x", "{}", kEver).status()));
  BOOST_TEST(absl::IsUnavailable(HttpPost("no.such.host.invalid:1", "/x", "{}", kEver).status()));
  const Speaker large("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx");
  BOOST_TEST(absl::IsUnavailable(HttpPost(large.place(), "/x", "{}", kEver).status()));
}

BOOST_AUTO_TEST_CASE(records_are_read_with_their_numbers) {
  const Speaker etcd(
      Ok("{\"header\":{},\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":\"7\",\"version\":\"2\",\"value\":\"AP8=\",\"lease\":\"-3\"},{\"key\":\"Yg==\"}]}"));
  const auto found = EtcdGateway({etcd.place()}, kEver).Range("a", "c");
  BOOST_REQUIRE_MESSAGE(found.ok(), found.status().ToString());
  BOOST_REQUIRE(found->size() == 2u);
  BOOST_TEST(((*found)[0].key == "a" && (*found)[0].value == std::string("\0\xff", 2)));
  BOOST_TEST(((*found)[0].create_revision == 7 && (*found)[0].version == 2 && (*found)[0].lease == -3));
  BOOST_TEST(((*found)[1].key == "b" && (*found)[1].value.empty() && (*found)[1].version == 0));
}

BOOST_AUTO_TEST_CASE(another_endpoint_is_asked_where_one_does_not_answer_and_first_the_next_time) {
  const Speaker leaderless(Http("503 Service Unavailable", "{\"error\":\"etcdserver: no leader\",\"code\":14}")), good(Ok("{\"ID\":\"9\"}"));
  EtcdGateway gateway({"127.0.0.1:1", leaderless.place(), good.place()}, kEver);
  BOOST_TEST(gateway.Grant(3).value() == 9);
  BOOST_TEST(gateway.Grant(3).value() == 9);
  BOOST_TEST((leaderless.asked() == 1 && good.asked() == 2));
  EtcdGateway none({"127.0.0.1:1", leaderless.place()}, kEver);
  const absl::Status status = none.Grant(3).status();
  BOOST_TEST(absl::IsUnavailable(status));
  BOOST_TEST(Message(status).starts_with("etcd at 127.0.0.1:1: "), status.ToString());
  BOOST_TEST(Message(status).ends_with("; etcd at " + leaderless.place() + ": etcdserver: no leader"), status.ToString());
}

BOOST_AUTO_TEST_CASE(what_etcd_refuses_is_not_asked_of_another_endpoint) {
  const Speaker full(Http("429 Too Many Requests", "{\"error\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}")), good(Ok("{\"ID\":\"9\"}"));
  const absl::Status status = EtcdGateway({full.place(), good.place()}, kEver).Grant(3).status();
  BOOST_TEST(absl::IsResourceExhausted(status));
  BOOST_TEST(status.message() == "etcd at " + full.place() + ": etcdserver: mvcc: database space exceeded");
  BOOST_TEST(good.asked() == 0);
  const Speaker proxy(Http("502 Bad Gateway", "<html>\nno etcd\n</html>"));
  const absl::Status odd = EtcdGateway({proxy.place()}, kEver).Grant(3).status();
  BOOST_TEST((absl::IsInternal(odd) && odd.message() == "etcd at " + proxy.place() + ": HTTP status 502"), odd.ToString());
}

BOOST_AUTO_TEST_CASE(answers_that_make_no_sense_are_errors_or_nothing) {
  const Speaker text(Ok("certainly")), empty(Ok("{}")), list(Ok("[1,2]")),
      odd(Ok("{\"kvs\":[{\"key\":5,\"value\":\"%%%\",\"version\":\"x\"}],\"succeeded\":\"yes\",\"responses\":{}}"));
  BOOST_TEST(absl::IsInternal(EtcdGateway({text.place()}, kEver).Range("a", "b").status()));
  BOOST_TEST(absl::IsInternal(EtcdGateway({empty.place()}, kEver).Grant(3).status()));
  BOOST_TEST(absl::IsNotFound(EtcdGateway({empty.place()}, kEver).KeepAlive(3)));   // without a time to live
  BOOST_TEST(EtcdGateway({list.place()}, kEver).Range("a", "b")->empty());
  const auto record = EtcdGateway({odd.place()}, kEver).Range("a", "b");
  BOOST_REQUIRE((record.ok() && record->size() == 1));
  BOOST_TEST((record->front().key.empty() && record->front().value.empty() && record->front().version == 0));
  const auto transacted = EtcdGateway({odd.place()}, kEver).Transact({});
  BOOST_REQUIRE(transacted.ok());
  BOOST_TEST((!transacted->done && !transacted->found));
}

BOOST_AUTO_TEST_CASE(more_than_etcd_takes_at_once_is_refused_before_it_is_asked) {
  const Speaker etcd(Ok("{\"succeeded\":true}"));
  EtcdTransaction transaction;
  transaction.changes.resize(kEtcdChangesMax + 1);
  BOOST_TEST(absl::IsResourceExhausted(EtcdGateway({etcd.place()}, kEver).Transact(transaction).status()));
  BOOST_TEST(etcd.asked() == 0);
}

BOOST_AUTO_TEST_CASE(the_end_of_a_prefix_is_the_next_key_that_does_not_begin_with_it) {
  BOOST_TEST(EndOfPrefix("ab") == "ac");
  BOOST_TEST(EndOfPrefix("a\xff\xff") == "b");
  BOOST_TEST(EndOfPrefix("\xff") == std::string(1, '\0'));
  BOOST_TEST(EndOfPrefix("") == std::string(1, '\0'));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
