#include "actors/cluster/head_actor.h"

#include <compare>
#include <deque>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/cluster/programs.h"
#include "actors/cluster/waiting_list.h"
#include "actors/cluster/wire.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/stateful_actor.hpp"

namespace troupe {

namespace {

struct HeadTick {};
struct Committed {
  absl::Status status;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::HeadTick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::Committed)

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kTick{100};
constexpr std::chrono::milliseconds kCommitAgain{500};
constexpr std::chrono::hours kSweep{1};   // how often programs that nobody needs are looked for
constexpr int kCommitsMax = 20;           // that fail in a row, for another reason than another head

int64_t WallMs(const Clock& clock) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(clock.WallNow().time_since_epoch()).count();
}

struct HeadState {
  static inline const char* name = "head";
};
using Self = caf::stateful_actor<HeadState>;

class HeadRunner : public std::enable_shared_from_this<HeadRunner> {
 public:
  HeadRunner(Self* self, System& system, HeadActorOptions options, Head head)
      : self_(self), system_(system), options_(std::move(options)), head_(std::move(head)), programs_(options_.program_folder) {}

  caf::behavior Behavior() {
    self_->delayed_send(self_, kTick, HeadTick{});
    Commit();
    auto me = shared_from_this();
    return {
        [me](const Report& report) { return me->OnReport(report); },
        [me](const Claim& claim) { return me->OnClaim(claim); },
        [me](const Submit& submit) {
          return me->Answer<Submitted>([&]() -> absl::StatusOr<Submitted> {
            if (!me->programs_.Has(submit.spec.program)) return absl::NotFoundError(absl::StrCat("there is no program ", submit.spec.program));
            return me->head_.OnSubmit(submit, me->Now(), me->Wall());
          });
        },
        [me](const Inspect& inspect) { return me->OnInspect(inspect); },
        [me](const StopJob& stop) { return me->Answer<Done>([&] { return me->AsDone(me->head_.OnStop(stop, me->Now(), me->Wall())); }); },
        [me](const DrainNode& drain) { return me->Answer<Done>([&] { return me->AsDone(me->head_.OnDrain(drain, me->Now(), me->Wall())); }); },
        [me](const ReadOutput& read) { return me->OnReadOutput(read); },
        [me](const FindEndpoint& find) { return me->Answer<Endpoint>([&] { return me->head_.OnFindEndpoint(find); }); },
        [me](const PutProgram& put) -> caf::result<ProgramPut> {
          const auto have = me->programs_.Put(put.hash, put.size, put.offset, put.bytes);
          if (!have.ok()) return ToError(have.status());
          return ProgramPut{*have};
        },
        [me](const GetProgram& get) -> caf::result<ProgramPart> {
          ProgramPart part;
          auto bytes = me->programs_.Get(get.hash, get.offset, kChunkBytes, &part.size);
          if (!bytes.ok()) return ToError(bytes.status());
          part.bytes = *std::move(bytes);
          return part;
        },
        [me](const HeadTick&) { me->OnTick(); },
        [me](const Committed& committed) { me->OnCommitted(committed.status); },
        [](const Thunk& thunk) { thunk.run(); },
    };
  }

 private:
  /// What there may be news of.
  struct Topic {
    enum class Kind : uint8_t { kNode, kJob, kCluster } kind;
    uint64_t id = 0;
    auto operator<=>(const Topic&) const = default;
  };
  static Topic TopicOf(NodeId node) { return {Topic::Kind::kNode, static_cast<uint64_t>(node)}; }
  static Topic TopicOf(JobId job) { return job == 0 ? Topic{Topic::Kind::kCluster} : Topic{Topic::Kind::kJob, job}; }

  Clock::Time Now() const { return options_.clock->Now(); }
  int64_t Wall() const { return WallMs(*options_.clock); }
  static absl::StatusOr<Done> AsDone(const absl::Status& status) {
    if (!status.ok()) return status;
    return Done{};
  }

  /// What `act` gives, once all that has changed is kept.
  template <class Reply, class Act>
  caf::result<Reply> Answer(Act&& act) {
    if (!Leads()) return History();
    auto promise = self_->make_response_promise<caf::typed_response_promise<Reply>>();
    absl::StatusOr<Reply> reply = act();
    AfterCommit([promise, reply = std::move(reply)]() mutable { Deliver(promise, std::move(reply)); });
    Wake();
    return promise;
  }
  template <class Promise, class Reply>
  static void Deliver(Promise promise, absl::StatusOr<Reply> reply) {
    if (reply.ok())
      promise.deliver(*std::move(reply));
    else
      promise.deliver(ToError(reply.status()));
  }

  caf::result<Orders> OnReport(const Report& report) {
    if (!Leads()) return History();
    auto promise = self_->make_response_promise<caf::typed_response_promise<Orders>>();
    if (const absl::Status status = head_.OnReport(report, Now(), Wall()); !status.ok()) {
      promise.deliver(ToError(status));
      return promise;
    }
    const NodeId node = report.node;
    const Incarnation incarnation = report.incarnation;
    const uint64_t seen = report.seen;
    AnswerAll(waiting_.Take(TopicOf(node)));   // earlier reports: this one takes their place
    AnswerWhen(head_.HasOrders(node, incarnation, seen), TopicOf(node), head_.report_hold(), [this, promise, node, incarnation, seen] {
      AfterCommit([promise, orders = head_.OrdersFor(node, incarnation, seen)]() mutable { promise.deliver(std::move(orders)); });
    });
    Wake();
    return promise;
  }

  caf::result<Claimed> OnClaim(const Claim& claim) {
    if (!Leads()) return History();
    auto promise = self_->make_response_promise<caf::typed_response_promise<Claimed>>();
    if (const absl::Status status = head_.OnClaim(claim, Now(), Wall()); !status.ok()) {
      promise.deliver(ToError(status));
      return promise;
    }
    AnswerWhen(head_.VersionOf(claim.job) != claim.seen, TopicOf(claim.job), kReportHold, [this, promise, job = claim.job, attempt = claim.attempt] {
      AfterCommit([promise, claimed = head_.ClaimedOf(job, attempt)]() mutable { Deliver(promise, std::move(claimed)); });
    });
    Wake();
    return promise;
  }

  caf::result<Inspected> OnInspect(const Inspect& inspect) {
    if (!Leads()) return History();
    auto promise = self_->make_response_promise<caf::typed_response_promise<Inspected>>();
    const uint64_t version = inspect.job == 0 ? head_.version() : head_.VersionOf(inspect.job);
    AnswerWhen(version != inspect.seen || version == 0, TopicOf(inspect.job), kReportHold,
               [this, promise, inspect] { AfterCommit([promise, reply = head_.OnInspect(inspect)]() mutable { Deliver(promise, std::move(reply)); }); });
    Wake();
    return promise;
  }

  caf::result<Output> OnReadOutput(const ReadOutput& read) {
    if (!Leads()) return History();
    const absl::StatusOr<NodeId> node = head_.OutputOf(read.id);
    if (!node.ok()) return ToError(node.status());
    auto promise = self_->make_response_promise<caf::typed_response_promise<Output>>();
    auto [it, fresh] = nodes_.try_emplace(*node);
    if (std::vector<std::string> places = head_.PlacesOf(*node); it->second.places != places) {
      system_.network().Locate(*node, places);
      it->second.places = std::move(places);
    }
    if (fresh) {
      it->second.actor = SpawnProxy<NodeActor>(system_, {.to = {*node, Incarnation{}, kNodeActor}, .timeout = std::chrono::seconds(5)});
    }
    self_->request(it->second.actor, caf::infinite, read)
        .then([promise](const Output& output) mutable { promise.deliver(output); },
              [this, promise, id = read.id](const caf::error& error) mutable {
                const absl::Status gone = head_.OutputOf(id, true).status();
                gone.ok() ? promise.deliver(error) : promise.deliver(ToError(gone));
              });
    return promise;
  }

  void AnswerWhen(bool now, const Topic& topic, Clock::Duration hold, WaitingList<Topic>::Answer answer) {
    if (now)
      answer();
    else
      waiting_.Wait(topic, Now() + hold, std::move(answer));
  }
  static void AnswerAll(const std::vector<WaitingList<Topic>::Answer>& answers) {
    for (const auto& answer : answers) answer();
  }
  /// Answers those who have news, or have waited long enough.
  void Wake() {
    const Head::News news = head_.TakeNews();
    for (const NodeId node : news.nodes) AnswerAll(waiting_.Take(TopicOf(node)));
    for (const JobId job : news.jobs) AnswerAll(waiting_.Take(TopicOf(job)));
    if (std::exchange(told_, head_.version()) != head_.version()) AnswerAll(waiting_.Take({Topic::Kind::kCluster}));
    AnswerAll(waiting_.TakeExpired(Now()));
    Commit();
  }

  void OnTick() {
    if (!Leads()) return;
    self_->delayed_send(self_, kTick, HeadTick{});
    head_.Tick(Now(), Wall());
    if (Now() >= sweep_) {
      sweep_ = Now() + kSweep;
      system_.compute().Submit(Compute::Priority::kStep,
                               [folder = options_.program_folder, needed = head_.ProgramsNeeded()] { RemovePrograms(folder, needed, kProgramAgeMax); });
    }
    Wake();
  }

  /// After all that has changed so far is kept: at once, where it is.
  void AfterCommit(std::function<void()> answer) {
    for (Store::Change& change : head_.TakeChanges()) changes_.push_back(std::move(change));
    if (changes_.empty() && !committing_) return Say(answer);
    (changes_.empty() ? answers_committing_ : answers_).push_back(std::move(answer));
  }

  void Commit() {
    for (Store::Change& change : head_.TakeChanges()) changes_.push_back(std::move(change));
    if (committing_ || ended_ || changes_.empty()) return;
    committing_ = true;
    being_committed_ = std::exchange(changes_, {});
    for (auto& answer : std::exchange(answers_, {})) answers_committing_.push_back(std::move(answer));
    SendCommit();
  }
  void SendCommit() {
    auto work = [store = options_.store, generation = head_.generation(), changes = being_committed_, me = caf::actor(self_)] {
      System::Deliver(me, Committed{store->CommitAs(generation, changes)});
    };
    system_.compute().Submit(Compute::Priority::kStep, std::move(work));
  }
  void OnCommitted(const absl::Status& status) {
    if (!status.ok()) {
      if (options_.log != nullptr) options_.log->Error("store", {{"error", Message(status)}});
      if (absl::IsAborted(status) || ++failed_ >= kCommitsMax) return End(status);
      self_->delayed_send(self_, kCommitAgain, Thunk{[me = weak_from_this()] {
                            if (const auto runner = me.lock()) runner->SendCommit();
                          }});
      return;
    }
    failed_ = 0;
    committing_ = false;
    being_committed_.clear();
    for (auto& answer : std::exchange(answers_committing_, {})) Say(answer);
    Commit();
  }

  /// Only the head that leads says anything: another one may know better.
  void Say(const std::function<void()>& answer) {
    if (Leads()) answer();
  }
  bool Leads() {
    if (ended_) return false;
    const absl::Status status = options_.store->Leading();
    if (!status.ok()) End(status);
    return status.ok();
  }
  static caf::error History() { return ToError(absl::UnavailableError("this head leads no more")); }
  void End(const absl::Status& status) {
    if (std::exchange(ended_, true)) return;
    if (options_.log != nullptr) options_.log->Error("history", {{"error", Message(status)}});
    if (options_.ended) options_.ended(status);
    self_->quit();
  }

  Self* const self_;
  System& system_;
  const HeadActorOptions options_;
  Head head_;
  Programs programs_;
  WaitingList<Topic> waiting_;
  uint64_t told_ = 0;     // version of the head when those who wait for news of all were last answered
  Clock::Time sweep_{};   // when programs are looked at next
  struct KnownNode {
    NodeActor actor;
    std::vector<std::string> places;
  };
  std::map<NodeId, KnownNode> nodes_;   // whose output was asked for
  std::vector<Store::Change> changes_, being_committed_;
  std::deque<std::function<void()>> answers_, answers_committing_;   // after changes_, after being_committed_
  bool committing_ = false, ended_ = false;
  int failed_ = 0;
};

}   // namespace

absl::StatusOr<HeadActor> SpawnHead(System& system, HeadActorOptions options) {
  TROUPE_TRY(const auto records, options.store->Read(""));
  TROUPE_TRY(Head head, Head::Make(options.head, options.generation, records, options.clock->Now(), WallMs(*options.clock)));
  caf::actor actor = system.actors().spawn<caf::hidden>([&system, options = std::move(options), head = std::move(head)](Self* self) mutable {
    return std::make_shared<HeadRunner>(self, system, options, std::move(head))->Behavior();
  });
  return caf::actor_cast<HeadActor>(actor);
}

}   // namespace troupe
