// What a client sends on a connection, as bytes: for tests and fuzzers that speak without a network.
#pragma once

#include <capnp/message.h>
#include <capnp/rpc.capnp.h>
#include <capnp/serialize.h>

#include <string>

#include "actors/internal/link_frame.h"

namespace troupe::testing {

inline std::string Flat(capnp::MessageBuilder& message) {
  const auto words = capnp::messageToFlatArray(message);
  return {words.asChars().begin(), words.asChars().size()};
}

struct RawHello {
  std::string cluster_id, token = "", build_id = "";
  uint64_t link = 0;
};
/// What comes first: question 0 asks for the interface, question 1 is Hello on its answer. It offers to share memory.
inline std::string Greeting(const RawHello& from) {
  capnp::MallocMessageBuilder bootstrap, call;
  bootstrap.initRoot<capnp::rpc::Message>().initBootstrap().setQuestionId(0);
  auto to = call.initRoot<capnp::rpc::Message>().initCall();
  to.setQuestionId(1);
  to.initTarget().initPromisedAnswer().setQuestionId(0);
  to.setInterfaceId(capnp::typeId<wire::Link>());
  to.setMethodId(0);
  auto hello = to.initParams().getContent().initAs<wire::Link::HelloParams>().initHello();
  hello.setProtocol(kProtocol);
  hello.setClusterId(from.cluster_id);
  hello.setToken(from.token);
  hello.setBuildId(from.build_id);
  hello.setShares(true);
  hello.setLink(from.link);
  return Flat(bootstrap) + Flat(call);
}

struct RawRequest {
  uint32_t question = 2;
  uint32_t actor = 0;
  uint64_t order = 0;
  bool shared = false;   // one of its two arrays lies in a segment whose descriptor never comes
};
inline std::string Request(const RawRequest& from) {
  capnp::MallocMessageBuilder call;
  auto to = call.initRoot<capnp::rpc::Message>().initCall();
  to.setQuestionId(from.question);
  to.initTarget().initPromisedAnswer().setQuestionId(0);
  to.setInterfaceId(capnp::typeId<wire::Link>());
  to.setMethodId(1);
  auto params = to.initParams().getContent().initAs<wire::Link::RequestParams>();
  params.setActor(from.actor);
  params.setOrder(from.order);
  params.initHead(16);
  auto bulk = params.initBulk(2)[1];
  if (!from.shared) {
    bulk.initInline(40);
    return Flat(call);
  }
  auto place = bulk.initShared();
  place.setSegment(1);
  place.setCounter(1);
  place.setOffset(16 << 10);
  place.setSize(40);
  place.setFresh(true);
  return Flat(call);
}

}   // namespace troupe::testing
