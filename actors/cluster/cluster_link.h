// The way into a cluster: a small system of its own with a link to the head. For nodes, drivers and people alike.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "actors/ask.h"
#include "actors/cluster/messages.h"
#include "actors/cluster/wire.h"
#include "actors/role.h"
#include "actors/system.h"
#include "actors/unreachable.h"

namespace troupe {

struct ClusterAddress {
  std::string head;       ///< HOST:PORT; several, with commas between: whichever of them leads
  std::string token;      ///< empty: a head that listens on loopback without one
  std::string tls = {};   ///< folder of this process's certificates (ReadTlsFolder); empty: none, and no way beyond loopback
};

struct ClusterLinkOptions {
  ClusterAddress address;   ///< head empty: this process is the head
  NodeId node{};            ///< of a node; 0: a client's, chosen at random
  Incarnation incarnation{1};
  /// "tcp:HOST:PORT", at most one; none: nobody reaches this process.
  std::vector<std::string> listen = {};
  std::vector<RoleToken> tokens = {};   ///< of a head: others that get in, besides its own
  /// Of people: a head that has never answered, and where nobody listens, is an error of AskHead after one request (kHeadTimeout).
  bool must_be_there = false;
  /// Of people: ends AskHead at once when it becomes true. May be null.
  const std::atomic<bool>* cancelled = nullptr;
  std::function<void(const std::string&)> log = nullptr;
};

class ClusterLink {
 public:
  /// Listens; connecting to the head happens with the first request. Of several heads the one that leads is looked for again whenever a request fails.
  /// InvalidArgument: no place (of a head, or to listen at), or one that other hosts reach without a token and certificates; certificates that are none.
  /// NotFound and the like: they cannot be read. Unavailable: the place is taken.
  static absl::StatusOr<std::unique_ptr<ClusterLink>> Open(ClusterLinkOptions options);
  ~ClusterLink();

  System& system() { return *system_; }
  /// A proxy of the head, which gives up a request after kHeadTimeout. Not of the head itself.
  const HeadActor& head() const { return head_; }
  /// Where it listens, "HOST:PORT"; empty: nowhere.
  const std::string& place() const { return place_; }

  /// Asks the head, again where it does not answer, for `patience` in all. Not to be called by an actor. Cancelled: ClusterLinkOptions::cancelled; `always`:
  /// not even then.
  template <class Reply, class Request>
  absl::StatusOr<Reply> AskHead(const Request& request, std::chrono::milliseconds patience = std::chrono::seconds(10), bool always = false) {
    const auto end = std::chrono::steady_clock::now() + patience;
    const std::atomic<bool>* cancelled = always ? nullptr : cancelled_;
    for (;;) {
      absl::StatusOr<Reply> reply = AskUnless<Reply>(*system_, head_, request, kHeadTimeout * 2, cancelled);
      if (cancelled != nullptr && *cancelled) return absl::CancelledError("stopped by a signal");
      reached_ = reached_ || !IsUnreachable(reply.status());
      const bool late = std::chrono::steady_clock::now() >= end;
      if (!reached_ && (must_be_there_ || late)) return absl::UnavailableError(absl::StrCat("the head cannot be reached: ", WhyUnreachable(reply.status())));
      if (reply.ok()) return reply;
      if (!IsRetryable(reply.status()) || late) return OfHead(reply.status());
      Pause();
    }
  }

 private:
  ClusterLink() = default;
  static void Pause();
  /// The network knows the head as a node.
  static absl::Status OfHead(const absl::Status& status);
  std::unique_ptr<System> system_;
  HeadActor head_;
  std::string place_;
  bool must_be_there_ = false, reached_ = false;
  const std::atomic<bool>* cancelled_ = nullptr;
};

}   // namespace troupe
