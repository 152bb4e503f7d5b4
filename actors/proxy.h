// Remote actors used like local ones. A proxy is a local actor of the same typed interface that encodes each message, asks the Network, and keeps the promise;
// Expose is its counterpart: it makes a local actor reachable, decoding requests and encoding replies. Messages need a Codec.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/gateway.h"
#include "actors/system.h"
#include "caf/event_based_actor.hpp"
#include "caf/response_promise.hpp"
#include "caf/typed_actor.hpp"
#include "caf/typed_response_promise.hpp"

namespace troupe {

/// How a message travels; specialised beside its schema:
///   static constexpr uint64_t kType;                         // Cap'n Proto type id
///   static Frame Encode(const Message&);
///   static absl::StatusOr<Message> Decode(const Frame&);     // InvalidArgument for anything malformed
/// A request whose answer may be big says so in a member `size_t answer_bytes`, as far as it knows: it chooses the lane. One that must not overtake others, nor
/// be overtaken, says the lane in a member `std::optional<Network::Lane> lane`.
template <class Message>
struct Codec;

struct ProxyOptions {
  Address to;
  /// Every request has an end. Longer than any wait that the receiver allows itself.
  std::chrono::milliseconds timeout{10'000};
};

namespace internal {

/// Of a request that is `bytes` as a frame.
template <class Request>
Network::Lane LaneOf(const Request& request, size_t bytes) {
  if constexpr (requires { request.lane; }) {
    if (request.lane) return *request.lane;
  }
  if constexpr (requires { request.answer_bytes; }) bytes = std::max(bytes, request.answer_bytes);
  return bytes >= kBulkBytes ? Network::Lane::kBulk : Network::Lane::kControl;
}

template <class Request, class Reply>
auto ForwardHandler(caf::event_based_actor* self, System* system, ProxyOptions options) {
  return [self, system, options](const Request& request) -> caf::result<Reply> {
    auto promise = self->make_response_promise<caf::typed_response_promise<Reply>>();
    Frame frame = Codec<Request>::Encode(request);
    const Network::Lane lane = LaneOf(request, frame.size());
    caf::actor proxy(self);
    system->network().Request(options.to, std::move(frame), lane, options.timeout, [proxy, promise](absl::StatusOr<Frame> answer) {
      auto shared = std::make_shared<absl::StatusOr<Frame>>(std::move(answer));
      System::Deliver(proxy, Thunk{[promise, shared]() mutable {
                        if (!shared->ok()) {
                          promise.deliver(ToError(shared->status()));
                        } else if (absl::StatusOr<Reply> reply = Codec<Reply>::Decode(**shared); reply.ok()) {
                          promise.deliver(std::move(*reply));
                        } else {
                          promise.deliver(ToError(reply.status()));
                        }
                      }});
    });
    return promise;
  };
}

template <class Handle>
struct ProxyOf;
template <class... Requests, class... Replies>
struct ProxyOf<caf::typed_actor<caf::typed_mpi<caf::detail::type_list<Requests>, caf::output_tuple<Replies>>...>> {
  static caf::behavior Behavior(caf::event_based_actor* self, System* system, ProxyOptions options) {
    return {ForwardHandler<Requests, Replies>(self, system, options)..., [](const Thunk& thunk) { thunk.run(); }};
  }
  using Handle = caf::typed_actor<caf::typed_mpi<caf::detail::type_list<Requests>, caf::output_tuple<Replies>>...>;
  static void Dispatch(System* system, const Handle& actor, Frame frame, Network::Reply reply) {
    const bool known = (TryDispatch<Requests, Replies>(system, actor, frame, reply) || ...);
    if (!known) reply(absl::UnimplementedError(absl::StrCat("message type ", frame.type, " is not understood by this actor")));
  }
  template <class Request, class Reply>
  static bool TryDispatch(System* system, const Handle& actor, const Frame& frame, const Network::Reply& reply) {
    if (frame.type != Codec<Request>::kType) return false;
    auto request = Codec<Request>::Decode(frame);
    if (!request.ok()) {
      reply(request.status());
      return true;
    }
    struct Call {   // one allocation, whoever refers to it
      Handle actor;
      Request request;
      Network::Reply reply;
    };
    auto call = std::make_shared<Call>(Call{actor, std::move(*request), reply});
    auto* gateway = caf::actor_cast<Gateway*>(system->gateway());
    System::Deliver(system->gateway(), Thunk{[gateway, call] {
                      gateway->Ask<Reply>(
                          call->actor, std::move(call->request), [call](const Reply& answer) { call->reply(Codec<Reply>::Encode(answer)); },
                          [call](const caf::error& error) { call->reply(FromError(error)); });
                    }});
    return true;
  }
};

}   // namespace internal

/// A local stand-in for the actor at `options.to`. It lives until it is sent an exit.
template <class Handle>
Handle SpawnProxy(System& system, ProxyOptions options) {
  caf::actor proxy = system.actors().spawn<caf::hidden>(internal::ProxyOf<Handle>::Behavior, &system, options);
  return caf::actor_cast<Handle>(proxy);
}

/// Makes `actor` reachable as `id` of this node.
template <class Handle>
void Expose(System& system, ActorId id, Handle actor) {
  system.network().Serve(
      id, [&system, actor](Frame frame, Network::Reply reply) { internal::ProxyOf<Handle>::Dispatch(&system, actor, std::move(frame), std::move(reply)); });
}

}   // namespace troupe
