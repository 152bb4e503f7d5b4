#include "ps/chain_keeper_actor.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/caf_status.h"
#include "actors/stop_actors.h"
#include "caf/event_based_actor.hpp"
#include "ps/chain/wire.h"
#include "ps/chain_client_actor.h"
#include "ps/chain_member_actor.h"

namespace troupe {
namespace {

std::string ToString(const ChainMember& member) {
  return absl::StrCat(static_cast<uint32_t>(member.node), "/", static_cast<uint64_t>(member.incarnation));
}
std::string ToString(const ChainView& view) {
  std::vector<std::string> names;
  for (const ChainMember& member : view.members) names.push_back(ToString(member));
  return absl::StrCat("epoch ", view.epoch, ": ", names.empty() ? "nobody" : absl::StrJoin(names, " -> "),
                      view.joining ? absl::StrCat(", ", ToString(*view.joining), " joins") : "");
}

}   // namespace

/// Everything happens in the actor's context.
struct ChainKeepers::State : std::enable_shared_from_this<State> {
  State(System& of, ChainKeepersOptions with) : system(of), options(std::move(with)) {
    for (uint32_t shard = 0; shard < options.shards; ++shard) chains.push_back({.keeper = ChainKeeper(options.epochs_after)});
  }

  void Change(uint32_t shard, const std::function<bool(ChainKeeper&)>& change) {
    Chain& chain = chains[shard];
    const ChainView before = chain.keeper.view();
    const auto route = chain.keeper.route(shard);
    const bool changed = change(chain.keeper);
    WatchLeases(shard);
    if (!changed) return;
    const ChainView& view = chain.keeper.view();
    if (options.log) options.log(absl::StrCat("chain of shard ", shard, ", ", ToString(view)));
    if (options.changed) options.changed(shard, view);
    std::vector<ChainMember> told = view.members;
    for (const ChainMember& member : before.members) {   // who is left out
      if (std::ranges::find(told, member) == told.end()) told.push_back(member);
    }
    for (const ChainMember& member : told) Tell(shard, member, view);
    if (chain.keeper.route(shard) == route) return;
    if (const auto now = chain.keeper.route(shard)) options.routed(*now);
    for (const ChainMember& client : clients) TellClient(client, ++routes_told);
  }

  void Tell(uint32_t shard, const ChainMember& member, const ChainView& view) {
    Request<Configured>({member.node, member.incarnation, kChainPeerActor}, Configure{view},
                        [this, shard, member, view](const absl::StatusOr<Configured>& configured) {
                          ChainKeeper& keeper = chains[shard].keeper;
                          if (keeper.view().number != view.number) return;
                          if (configured.ok()) {
                            if (configured->joined) Change(shard, [&view](ChainKeeper& each) { return each.Joined(view.number); });
                          } else if (!IsRetryable(configured.status())) {
                            options.failed(configured.status());
                          } else if (keeper.Serves(member)) {
                            Later([this, shard, member, view] {
                              if (chains[shard].keeper.view().number == view.number) Tell(shard, member, view);
                            });
                          }
                        });
  }

  void TellClient(const ChainMember& client, uint64_t number) {
    troupe::SetRoutes message;
    for (uint32_t shard = 0; shard < options.shards; ++shard) {
      if (const auto route = chains[shard].keeper.route(shard)) message.routes.push_back(*route);
    }
    if (message.routes.empty()) return;
    told[client.node] = number;
    Request<RoutesSet>({client.node, client.incarnation, kChainClientsActor}, message, [this, client, number](const absl::StatusOr<RoutesSet>& set) {
      if (set.ok() || told[client.node] != number || std::ranges::find(clients, client) == clients.end()) return;
      Later([this, client, number] {
        if (told[client.node] == number && std::ranges::find(clients, client) != clients.end()) TellClient(client, number);
      });
    });
  }

  void WatchLeases(uint32_t shard) {
    Chain& chain = chains[shard];
    const auto next = chain.keeper.next_tick();
    if (!next || chain.ticking) return;
    chain.ticking = true;
    const auto now = self->clock().now();
    self->delayed_send(self, std::max(*next - now, std::chrono::steady_clock::duration::zero()), Thunk{[me = weak_from_this(), shard] {
                         const auto state = me.lock();
                         if (state == nullptr) return;
                         state->chains[shard].ticking = false;
                         state->Change(shard, [&](ChainKeeper& keeper) { return keeper.Tick(state->self->clock().now()); });
                       }});
  }

  template <class Reply, class Message>
  void Request(const Address& to, const Message& message, std::function<void(absl::StatusOr<Reply>)> answer) {
    system.network().Request(to, Codec<Message>::Encode(message), Network::Lane::kControl, options.request_timeout,
                             [actor = caf::actor(self), me = weak_from_this(), answer = std::move(answer)](absl::StatusOr<Frame> reply) {
                               auto shared = std::make_shared<absl::StatusOr<Frame>>(std::move(reply));
                               System::Deliver(actor, Thunk{[me, answer, shared] {
                                                 if (me.lock() == nullptr) return;
                                                 shared->ok() ? answer(Codec<Reply>::Decode(**shared)) : answer(shared->status());
                                               }});
                             });
  }
  void Later(std::function<void()> what) {
    self->delayed_send(self, options.retry, Thunk{[me = weak_from_this(), what = std::move(what)] {
                         if (me.lock() != nullptr) what();
                       }});
  }

  struct Chain {
    ChainKeeper keeper;
    bool ticking = false;
  };
  System& system;
  const ChainKeepersOptions options;
  caf::event_based_actor* self = nullptr;
  std::vector<Chain> chains;
  std::vector<ChainMember> clients;
  std::map<NodeId, uint64_t> told;   // the newest routes that a client is being told
  uint64_t routes_told = 0;
};

ChainKeepers::ChainKeepers(System& system, ChainKeepersOptions options) : state_(std::make_shared<State>(system, std::move(options))), system_(system) {
  actor_ = system.actors().spawn<caf::hidden>([state = state_](caf::event_based_actor* self) -> caf::behavior {
    state->self = self;
    return {[](const Thunk& thunk) { thunk.run(); }};
  });
}

ChainKeepers::~ChainKeepers() {
  system_.Stop(actor_);
}

void ChainKeepers::Ready(uint32_t shard, const ChainMember& process) {
  System::Deliver(actor_, Thunk{[state = state_, shard, process] { state->Change(shard, [&](ChainKeeper& keeper) { return keeper.Ready(process); }); }});
}
void ChainKeepers::Gone(uint32_t shard, const ChainMember& process) {
  System::Deliver(actor_, Thunk{[state = state_, shard, process] { state->Change(shard, [&](ChainKeeper& keeper) { return keeper.Gone(process); }); }});
}
void ChainKeepers::Lost(uint32_t shard, const ChainMember& process) {
  System::Deliver(actor_, Thunk{[state = state_, shard, process] {
                    state->Change(shard, [&](ChainKeeper& keeper) { return keeper.Lost(process, state->self->clock().now()); });
                  }});
}
void ChainKeepers::Grant(uint32_t shard, const ChainMember& process, std::chrono::milliseconds lease, std::function<void(bool)> answer) {
  System::Deliver(actor_, Thunk{[state = state_, shard, process, lease, answer = std::move(answer)] {
                    answer(state->chains[shard].keeper.Grant(process, state->self->clock().now(), lease));
                  }});
}
void ChainKeepers::Listen(const ChainMember& client) {
  System::Deliver(actor_, Thunk{[state = state_, client] {
                    if (std::ranges::find(state->clients, client) != state->clients.end()) return;
                    state->clients.push_back(client);
                    state->TellClient(client, ++state->routes_told);
                  }});
}
void ChainKeepers::Forget(const ChainMember& client) {
  System::Deliver(actor_, Thunk{[state = state_, client] { std::erase(state->clients, client); }});
}

}   // namespace troupe
