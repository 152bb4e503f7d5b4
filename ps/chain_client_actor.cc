#include "ps/chain_client_actor.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "actors/proxy.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/event_based_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/chain/wire.h"
#include "ps/encoding/key_lists.h"
#include "ps/snapshot_places.h"

namespace troupe {
namespace {

class ChainClient {
 public:
  ChainClient(caf::event_based_actor* self, System& system, const ChainClientOptions& options)
      : self_(self), system_(system), options_(options), shard_(options.shard), timeout_(options.request_timeout) {}

  /// Whoever is asked and has no longer that place may be gone, and its network may take as long as a request may to say so.
  void OnRoute(const ChainRoute& route) {
    if (route.epoch <= route_.epoch) return;
    route_ = route;
    std::vector<std::function<void(const absl::Status&)>> asked_in_vain;
    for (auto it = under_way_.begin(); it != under_way_.end();) {
      if (it->second.to == (it->second.first ? route.first : route.last)) {
        ++it;
      } else {
        asked_in_vain.push_back(std::move(it->second.fail));
        it = under_way_.erase(it);
      }
    }
    for (const auto& fail : asked_in_vain) fail(absl::UnavailableError(absl::StrCat("shard ", shard_, ": the chain is another one now")));
  }

  caf::result<Pushed> OnPush(const Push& push) { return Forwarded<Pushed>(true, WithKeys(push)); }
  caf::result<Pulled> OnPull(const Pull& pull) {
    KeepKeys(pull);
    return Forwarded<Pulled>(false, pull);
  }
  /// Two messages, where they go to two members.
  caf::result<PushPulled> OnPushPull(const PushPull& both) {
    KeepKeys(both.pull);
    const PushPull message{WithKeys(both.push), both.pull};
    if (route_.first == route_.last) return Forwarded<PushPulled>(true, message);
    auto promise = self_->make_response_promise<caf::typed_response_promise<PushPulled>>();
    struct Both {
      std::optional<Pushed> pushed;
      std::optional<Pulled> pulled;
      bool answered = false;
    };
    const auto got = std::make_shared<Both>();
    auto answer = [promise, got](const absl::Status& status) mutable {
      if (got->answered) return;
      const bool refused = got->pushed && got->pushed->outcome != Pushed::Outcome::kApplied;
      if (status.ok() && !refused && (!got->pushed || !got->pulled)) return;
      got->answered = true;
      if (!status.ok()) {
        promise.deliver(ToError(status));
      } else {
        promise.deliver(PushPulled{*got->pushed, refused ? Pulled{} : std::move(*got->pulled)});
      }
    };
    Send<Pushed>(true, message.push, [got, answer](const absl::StatusOr<Pushed>& pushed) mutable {
      if (pushed.ok()) got->pushed = *pushed;
      answer(pushed.status());
    });
    Send<Pulled>(false, message.pull, [got, answer](absl::StatusOr<Pulled> pulled) mutable {
      if (pulled.ok()) got->pulled = std::move(*pulled);
      answer(pulled.status());
    });
    return promise;
  }
  /// The rows that it sets first become all members'.
  template <class Reply, class Message>
  caf::result<Reply> AssignFirst(const Message& message) {
    if (message.assigned.empty()) return Forwarded<Reply>(false, message);
    auto promise = self_->make_response_promise<caf::typed_response_promise<Reply>>();
    const auto rest = std::make_shared<Message>(message);
    const auto open = std::make_shared<size_t>(message.assigned.size());
    const std::vector<Assign> assigned = std::exchange(rest->assigned, {});
    for (const Assign& assign : assigned) {
      Send<Assigned>(true, assign, [this, promise, rest, open](const absl::StatusOr<Assigned>& done) mutable {
        if (*open == 0) return;
        if (!done.ok()) {
          *open = 0;
          promise.deliver(ToError(done.status()));
          return;
        }
        if (--*open > 0) return;
        Send<Reply>(false, *rest, [promise](absl::StatusOr<Reply> reply) mutable {
          reply.ok() ? promise.deliver(std::move(*reply)) : promise.deliver(ToError(reply.status()));
        });
      });
    }
    return promise;
  }
  /// A snapshot in parts. Two members may be writing at a time, one that was the last and knows nothing of it yet, and the last: what each writes is called
  /// after its epoch, and nobody but this actor, when the last one has answered, writes the file that the request names: what its sections are, and where rows
  /// lie.
  caf::result<SnapshotTaken> OnTakeSnapshot(const TakeSnapshot& request) {
    if (!request.in_parts) return Forwarded<SnapshotTaken>(false, request);
    TakeSnapshot asked = request;
    asked.uri = absl::StrCat(absl::StripSuffix(request.uri, ".snapshot"), ".e", route_.epoch, ".snapshot");
    const auto base = written_.find(request.base);
    asked.base = base == written_.end() ? "" : base->second;
    auto promise = self_->make_response_promise<caf::typed_response_promise<SnapshotTaken>>();
    Send<SnapshotTaken>(false, asked, [this, promise, uri = request.uri, at = asked.uri](absl::StatusOr<SnapshotTaken> taken) mutable {
      if (!taken.ok()) {
        promise.deliver(ToError(taken.status()));
        return;
      }
      auto answer = std::make_shared<absl::StatusOr<SnapshotTaken>>(std::move(taken));
      system_.compute().Submit(Compute::Priority::kStep, [this, me = caf::actor(self_), &storage = system_.storage(), promise, uri, at, answer] {
        *answer = Refer(storage, uri, at, *std::move(*answer));
        System::Deliver(me, Thunk{[this, promise, uri, at, answer]() mutable {
                          if (answer->ok()) {
                            written_ = {{uri, at}};   // an earlier one is no base any more
                            promise.deliver(std::move(**answer));
                          } else {
                            promise.deliver(ToError(answer->status()));
                          }
                        }});
      });
    });
    return promise;
  }

  template <class Reply, class Message>
  caf::result<Reply> Forwarded(bool first, const Message& message) {
    auto promise = self_->make_response_promise<caf::typed_response_promise<Reply>>();
    Send<Reply>(first, message,
                [promise](absl::StatusOr<Reply> reply) mutable { reply.ok() ? promise.deliver(std::move(*reply)) : promise.deliver(ToError(reply.status())); });
    return promise;
  }

 private:
  /// Writes the file at `uri` as what the one at `at` says, with its rows there.
  static absl::StatusOr<SnapshotTaken> Refer(Storage& storage, const std::string& uri, const std::string& at, SnapshotTaken taken) {
    TROUPE_TRY(const std::vector<SnapshotSection> sections, ReadPlaces(storage, at));
    TROUPE_RETURN_IF_ERROR(WriteSnapshot(storage, uri, sections, true));
    TROUPE_TRY(taken.files, FilesOf(sections));
    const std::string file(FileName(uri));
    taken.files.insert(std::ranges::upper_bound(taken.files, file), file);
    return taken;
  }

  /// `answer` is called in this actor's context.
  template <class Reply, class Message>
  void Send(bool first, const Message& message, std::function<void(absl::StatusOr<Reply>)> answer) {
    if (route_.epoch == 0) {
      if (options_.lost) options_.lost();
      return answer(absl::UnavailableError(absl::StrCat("shard ", shard_, " has no chain yet")));
    }
    const ChainMember& member = first ? route_.first : route_.last;
    Frame frame = Codec<Message>::Encode(message);
    const Network::Lane lane = internal::LaneOf(message, frame.size());
    const uint64_t number = ++requests_;
    under_way_[number] = {first, member, [answer](const absl::Status& status) { answer(status); }};
    system_.network().Request({member.node, member.incarnation, ChainActorId(route_.epoch)}, std::move(frame), lane, timeout_,
                              [this, self = caf::actor(self_), number, answer = std::move(answer)](absl::StatusOr<Frame> reply) {
                                auto shared = std::make_shared<absl::StatusOr<Frame>>(std::move(reply));
                                System::Deliver(self, Thunk{[this, number, answer, shared] {
                                                  if (under_way_.erase(number) == 0) return;   // its asker has been told to ask again
                                                  if constexpr (!std::is_same_v<Message, Prepare> && !std::is_same_v<Message, Freeze>) {   // they meet others'
                                                    const absl::Status& status = shared->status();
                                                    if (options_.lost && (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status))) options_.lost();
                                                  }
                                                  shared->ok() ? answer(Codec<Reply>::Decode(**shared)) : answer(shared->status());
                                                }});
                              });
  }

  /// The writer's account of what keys its shard knows is of one shard: what the last member knows the first may not.
  template <class Message>
  void KeepKeys(const Message& message) {
    if (message.keys_hash != 0 && !message.keys_kept) keys_[message.writer].Keep(message.keys_hash, message.keys, message.keys.size());
  }
  Push WithKeys(const Push& push) {
    KeepKeys(push);
    if (!push.keys_kept) return push;
    Push whole = push;
    if (const Block* keys = keys_[push.writer].Find(push.keys_hash)) {
      whole.keys = *keys;
      whole.keys_kept = false;
    }
    return whole;
  }

  caf::event_based_actor* self_;
  System& system_;
  const ChainClientOptions options_;
  const uint32_t shard_;
  const std::chrono::milliseconds timeout_;
  ChainRoute route_;
  struct UnderWay {
    bool first = false;   // it went to the first member, as that was
    ChainMember to;
    std::function<void(const absl::Status&)> fail;
  };
  std::map<uint64_t, UnderWay> under_way_;   // requests
  uint64_t requests_ = 0;
  std::map<std::string, std::string> written_;   // by the name that was asked for, of the last snapshot in parts: what its writer has called it
  std::map<WriterId, KeyLists> keys_;
};

caf::behavior ClientBehavior(caf::event_based_actor* self, System* system, const ChainClientOptions& options) {
  auto client = std::make_shared<ChainClient>(self, *system, options);
  const bool first = options.cuts_at_first;
  return {
      [client](const Push& push) { return client->OnPush(push); },
      [client](const Pull& pull) { return client->OnPull(pull); },
      [client](const PushPull& both) { return client->OnPushPull(both); },
      [client](const Open& open) { return client->Forwarded<Opened>(true, open); },
      [client](const Assign& assign) { return client->Forwarded<Assigned>(true, assign); },
      [client](const TakeSnapshot& request) { return client->OnTakeSnapshot(request); },
      [client](const SaveRows& request) { return client->AssignFirst<RowsSaved>(request); },
      [client](const Call& call) { return client->AssignFirst<Called>(call); },
      [client, first](const Prepare& prepare) { return client->Forwarded<Prepared>(first, prepare); },
      [client, first](const Freeze& freeze) { return client->Forwarded<Frozen>(first, freeze); },
      [client, first](const Release& release) { return client->Forwarded<Released>(first, release); },
      [client](const AskRanges& ask) { return client->Forwarded<Ranges>(false, ask); },
      [client](const Stand& stand) { return client->Forwarded<Standing>(true, stand); },
      [client](const TakeIn& request) { return client->Forwarded<TakenIn>(true, request); },
      [client](const Settle& settle) { return client->Forwarded<Settled>(true, settle); },
      [client](const ChainRoute& route) { client->OnRoute(route); },
      [](const Thunk& thunk) { thunk.run(); },
  };
}

}   // namespace

bool CutsAtFirst(std::span<const TableSpec> tables, const Consistencies& consistency) {
  return std::ranges::none_of(tables, [&](const TableSpec& spec) { return consistency.Of(spec.name).in_rounds(); });
}

ShardActor SpawnChainClient(System& system, const ChainClientOptions& options) {
  const caf::actor actor = system.actors().spawn<caf::hidden>(ClientBehavior, &system, options);
  return caf::actor_cast<ShardActor>(actor);
}

void SetRoute(const ShardActor& client, const ChainRoute& route) {
  System::Deliver(client, route);
}

void ServeRoutes(System& system, std::vector<ShardActor> clients) {
  system.network().Serve(kChainClientsActor, [clients = std::move(clients)](const Frame& frame, const Network::Reply& reply) {
    const absl::StatusOr<troupe::SetRoutes> set = Codec<SetRoutes>::Decode(frame);
    if (!set.ok()) return reply(set.status());
    for (const ChainRoute& route : set->routes) {
      if (route.shard < clients.size()) SetRoute(clients[route.shard], route);
    }
    reply(Codec<RoutesSet>::Encode({}));
  });
}

}   // namespace troupe
