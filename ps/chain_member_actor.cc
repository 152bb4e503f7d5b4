#include "ps/chain_member_actor.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/event_based_actor.hpp"
#include "caf/typed_response_promise.hpp"
#include "ps/chain/state_transfer.h"
#include "ps/chain/wire.h"
#include "ps/partition.h"
#include "ps/range_map.h"

namespace troupe {
namespace {

constexpr size_t kChangesInFlight = 256;   // to the next member
constexpr size_t kPiecesInFlight = 4;      // of a state
constexpr size_t kEarlyMax = 4096;         // changes that came before others
constexpr std::chrono::milliseconds kLeaseTick{100};

using Change = std::variant<Push, Assign, CompareRange>;

std::vector<std::pair<uint32_t, uint32_t>> RangesOf(const ShardOptions& shard) {
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  const RangeMap map(shard.tables, shard.shards);
  for (uint32_t table = 0; table < shard.tables.size(); ++table) {
    const uint32_t count = Partition(shard.tables[table], shard.shards).ranges();
    for (uint32_t range = 0; range < count; ++range) {
      if (map.ShardOf(table, range) == shard.shard) ranges.emplace_back(table, range);
    }
  }
  return ranges;
}

class Member {
 public:
  Member(caf::event_based_actor* self, System& system, ChainMemberOptions options) : self_(self), system_(system), options_(std::move(options)) {}

  // --- the chain ---

  caf::result<Configured> OnConfigure(const ChainView& next) {
    if (next.number < view_.number) return Configured{};
    if (next.number > view_.number) {
      const absl::Status status = Follow(next);
      if (!status.ok()) return ToError(status);
    }
    if (!Last() || !view_.joining) return Configured{};
    if (HasJoined()) return Configured{.joined = true};
    auto promise = self_->make_response_promise<caf::typed_response_promise<Configured>>();
    asked_.push_back(promise);
    return promise;
  }

  void OnGranted(const GrantLease& grant) { lease_ = std::max(lease_, grant.until); }

  /// What was acknowledged to be is refused when it cannot be known to be any more.
  void OnLeaseTick() {
    if (!MayServe()) RefuseAll(NoLease());
    self_->delayed_send(self_, kLeaseTick, Thunk{[this] { OnLeaseTick(); }});
  }

  void OnCompareTick() {
    self_->delayed_send(self_, options_.compare_every, Thunk{[this] { OnCompareTick(); }});
    if (Place() != 0 || Last() || !shard_ || !MayServe()) return;
    const auto next = NextRange();
    if (!next) return;
    const uint64_t number = ++last_;
    sent_.push_back({.number = number, .change = *next, .ready = false});   // its place; it goes when it is known what to compare with
    self_->request(caf::actor_cast<caf::actor>(shard_), caf::infinite, AskDigest{next->table, next->range})
        .then([this, number](const Shard::Digest& digest) { SendComparison(number, digest); },
              [this, number](const caf::error&) { SendComparison(number, {}); });
  }

  // --- what clients change ---

  caf::result<Pushed> OnPush(const Push& push) {
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    if (push.keys_kept) return Pushed{.outcome = Pushed::Outcome::kNeedKeys};   // other members would not know them
    return Submit<Pushed>(push, push, [this](Pushed& pushed) { SayStable(pushed); });
  }
  caf::result<PushPulled> OnPushPull(const PushPull& both) {
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    if (view_.members.size() > 1) return ToError(Unavailable("it is not read here"));
    if (both.push.keys_kept) return PushPulled{.pushed = {.outcome = Pushed::Outcome::kNeedKeys}, .pulled = {}};
    return Submit<PushPulled>(both.push, both, [this](PushPulled& answer) { SayStable(answer.pushed); });
  }
  caf::result<Assigned> OnAssign(const Assign& assign) {
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    return Submit<Assigned>(assign, assign, [](Assigned&) {});
  }
  /// What a writer is told here it builds on: not before the last member has it.
  caf::result<Opened> OnOpen(const Open& open) {
    if (const absl::Status status = MayChange(); !status.ok()) return ToError(status);
    auto promise = self_->make_response_promise<caf::typed_response_promise<Opened>>();
    self_->request(shard_, caf::infinite, open)
        .then(
            [this, promise, number = last_](const Opened& opened) mutable {
              WhenAcknowledged(number, [this, promise, opened = Opened(opened)](const absl::Status& status) mutable {
                SayStable(opened);
                status.ok() ? promise.deliver(opened) : promise.deliver(ToError(status));
              });
            },
            [promise](const caf::error& error) mutable { promise.deliver(error); });
    return promise;
  }

  // --- what clients read ---

  template <class Reply, class Message>
  caf::result<Reply> Read(const Message& message) {
    if (const absl::Status status = MayBeRead(); !status.ok()) return ToError(status);
    auto promise = self_->make_response_promise<caf::typed_response_promise<Reply>>();
    self_->request(shard_, caf::infinite, message)
        .then(
            [this, promise, epoch = view_.epoch](Reply& reply) mutable {
              const bool as_asked = epoch == view_.epoch && MayServe();   // else somebody may be further
              as_asked ? promise.deliver(std::move(reply)) : promise.deliver(ToError(Unavailable("the chain is another one now")));
            },
            [promise](const caf::error& error) mutable { promise.deliver(error); });
    return promise;
  }
  /// Cuts hold pushes back, which one member alone must not where it makes a difference when they are applied.
  template <class Reply, class Message>
  caf::result<Reply> ReadCut(const Message& message) {
    const ShardOptions& shard = options_.shard.shard;
    const bool by_rounds = std::ranges::all_of(shard.tables, [&](const TableSpec& spec) { return shard.consistency.Of(spec.name).in_rounds(); });
    if (!by_rounds)
      return ToError(absl::FailedPreconditionError(
          absl::StrCat("consistency is '", ToString(shard.consistency), "': there are no cuts of shards with replicas, expected 'bsp' or one replica")));
    return Read<Reply>(message);
  }
  absl::Status NoMoves() const { return absl::FailedPreconditionError("ranges of shards with replicas do not move"); }

  // --- what other members say ---

  caf::result<Forwarded> OnForward(const Forward& forward) {
    const bool joins = Place() < 0 && !left_ && shard_ && forward.epoch == adopted_;
    if (!joins && (Place() <= 0 || forward.epoch != view_.epoch)) return ToError(Unavailable("it is not next in this chain"));
    if (!shard_) return ToError(Unavailable("it has no state yet"));
    auto promise = self_->make_response_promise<caf::typed_response_promise<Forwarded>>();
    if (forward.number > last_ + kEarlyMax) {
      promise.deliver(ToError(Unavailable("it is far behind")));
    } else if (forward.number > last_ + 1) {
      Early& early = early_[forward.number];
      early.change = forward.change;
      early.promises.push_back(promise);
    } else {
      if (forward.number == last_ + 1) TakeForwarded(forward.change);
      AnswerForward(forward.number, promise);
      for (auto next = early_.begin(); next != early_.end() && next->first <= last_ + 1; next = early_.erase(next)) {
        if (next->first == last_ + 1) TakeForwarded(next->second.change);
        for (auto& waiting : next->second.promises) AnswerForward(next->first, waiting);
      }
    }
    return promise;
  }

  caf::result<Aligned> OnAlign(const Align& align) {
    if (align.epoch != view_.epoch || Place() <= 0) return ToError(Unavailable("it is not next in this chain"));
    if (last_ < align.number) return ToError(Unavailable("it is behind"));
    readable_ = true;
    return Aligned{};
  }

  caf::result<Adopted> OnAdopt(const Adopt& piece) {
    if (adopted_ == piece.view && shard_) return Adopted{};
    if (Place() >= 0 || (assembly_ && piece.view < assembly_->view()) || piece.view < adopted_) return ToError(Unavailable("it does not join (any more)"));
    if (!assembly_ || assembly_->view() != piece.view) assembly_.emplace(piece);
    absl::Status status = assembly_->Take(piece);
    if (status.ok() && !assembly_->whole()) return Adopted{};
    if (status.ok()) status = TakeState(std::move(*std::exchange(assembly_, std::nullopt)));
    if (status.ok()) return Adopted{};
    Fail(absl::StrCat("it cannot take over the state: ", status.message()));   // whoever comes in its place begins with none
    return ToError(absl::UnavailableError(status.message()));
  }

 private:
  struct Sent {
    uint64_t number;
    Change change;
    bool under_way = false;
    bool ready = true;
  };
  /// What goes to the next member, or to one that joins behind this one.
  struct Stream {
    ChainMember to;
    ChainPeerActor peer;
    uint64_t view = 0;   // the one in which it began
    bool has_state = false;
    uint64_t mark = 0;      // the last change that was acknowledged without it
    uint64_t turn = 0;      // goes up when all that is under way counts as not sent
    size_t under_way = 0;   // changes
    bool waits = false;     // to send again
    std::vector<Adopt> pieces = {};
    size_t sent = 0, answered = 0;
  };
  struct Early {
    Change change;
    std::vector<caf::typed_response_promise<Forwarded>> promises;
  };
  using Told = std::function<void(const absl::Status&)>;

  std::string Name() const { return absl::StrCat("shard ", options_.shard.shard.shard); }
  absl::Status Unavailable(const char* why) const { return absl::UnavailableError(absl::StrCat(Name(), ": ", why)); }
  absl::Status NoLease() const { return Unavailable("it has not heard of its keeper for too long"); }

  /// -1: none.
  int Place() const {
    const auto it = std::ranges::find(view_.members, options_.self);
    return it == view_.members.end() ? -1 : static_cast<int>(it - view_.members.begin());
  }
  bool Last() const { return !view_.members.empty() && view_.members.back() == options_.self; }
  /// Nobody behind it has to have what it acknowledges.
  bool Alone() const { return Last() && (!stream_ || !stream_->has_state); }
  /// The one that joins has all that was acknowledged without it.
  bool HasJoined() const { return stream_ && stream_->has_state && (sent_.empty() || sent_.front().number > stream_->mark); }
  bool MayServe() const { return !options_.leased || self_->clock().now() < lease_; }
  absl::Status MayChange() const {
    if (Place() != 0 || !shard_) return Unavailable("it is not the first of its chain");
    return MayServe() ? absl::OkStatus() : NoLease();
  }
  absl::Status MayBeRead() const {
    if (!Last() || !shard_) return Unavailable("it is not the last of its chain");
    if (!readable_) return Unavailable("it may not have all yet");
    return MayServe() ? absl::OkStatus() : NoLease();
  }

  absl::Status TakeState(StateAssembly&& assembly) {
    const uint64_t number = assembly.number(), view = assembly.view();
    TROUPE_TRY(ShardState state, std::move(assembly).Finish());
    DropShard();
    ShardActorOptions shard = options_.shard;
    shard.snapshot_uri = shard.restore_uri = "";
    if (!shard.tier_folder.empty()) absl::StrAppend(&shard.tier_folder, ".", view);   // one that was dropped may still be there
    shard.state = std::make_shared<const std::vector<SnapshotSection>>(std::move(state.sections));
    TROUPE_RETURN_IF_ERROR(TakeShard(SpawnShard(system_, shard)));
    for (Push& push : state.waiting) System::Deliver(shard_, std::move(push));
    last_ = number;
    adopted_ = view;
    return absl::OkStatus();
  }
  void Fail(const std::string& what) {
    if (options_.failed) options_.failed(absl::StrCat(Name(), ": ", what));
  }

  absl::Status Follow(const ChainView& next) {
    const ChainView before = std::exchange(view_, next);
    for (auto& promise : std::exchange(asked_, {})) promise.deliver(Configured{});
    const bool was_member = std::ranges::find(before.members, options_.self) != before.members.end();
    if (Place() < 0) {   // left out
      if (was_member) system_.network().Withdraw(ChainActorId(before.epoch));
      stream_.reset();
      sent_.clear();
      left_ = was_member;
      RefuseAll(Unavailable("it has left the chain"));
      return absl::OkStatus();
    }
    if (view_.members.size() == 1 && (!shard_ || !was_member)) {
      // What had not joined has not all that was acknowledged; the files have.
      DropShard();
      if (absl::Status status = Begin(); !status.ok()) {
        view_ = before;
        return status;
      }
    }
    if (!shard_) return absl::InternalError(absl::StrCat(Name(), ": it has a place in a chain and no state"));
    assembly_.reset();
    const bool between = was_member && before.members.back() != options_.self;   // what was acknowledged has gone through it
    readable_ = view_.members.size() == 1 || between || (was_member && readable_);
    if (view_.epoch != before.epoch) {
      if (was_member) system_.network().Withdraw(ChainActorId(before.epoch));
      Expose(system_, ChainActorId(view_.epoch), caf::actor_cast<ShardActor>(caf::actor(self_)));
    }
    KeepFiles();
    FollowStream();
    return absl::OkStatus();
  }

  /// With what is left of the chain before, or of an earlier run.
  absl::Status Begin() {
    ShardActorOptions shard = options_.shard;
    shard.snapshot_uri.clear();
    for (uint64_t epoch = view_.epoch - 1; epoch > 0 && !options_.shard.snapshot_uri.empty(); --epoch) {
      const std::string uri = FileOf(epoch);
      TROUPE_TRY(const bool there, system_.storage().Exists(uri));
      if (!there) continue;
      shard.restore_uri = uri;
      break;
    }
    last_ = 0;
    return TakeShard(SpawnShard(system_, shard));
  }
  absl::Status TakeShard(absl::StatusOr<ShardActor> shard) {
    TROUPE_RETURN_IF_ERROR(shard.status());
    shard_ = std::move(*shard);
    self_->link_to(shard_);
    return absl::OkStatus();
  }
  void DropShard() {
    if (!shard_) return;
    self_->unlink_from(shard_);
    system_.Stop(std::exchange(shard_, nullptr));
    early_.clear();
  }
  std::string FileOf(uint64_t epoch) const { return absl::StrCat(options_.shard.snapshot_uri, ".", epoch); }
  /// One member writes, the last.
  void KeepFiles() {
    if (options_.shard.snapshot_uri.empty()) return;
    const bool alone = view_.members.size() == 1;
    System::Deliver(shard_, KeepSnapshots{.uri = Last() ? FileOf(view_.epoch) : "",
                                          .interval = options_.shard.snapshot_interval * (alone ? 1 : kChainSnapshotFactor),
                                          .needed = alone});
  }

  // --- to the next member ---

  void FollowStream() {
    const auto place = static_cast<size_t>(Place());
    std::optional<ChainMember> to = view_.joining;
    if (!Last()) to = view_.members[place + 1];
    if (!to) {
      stream_.reset();
      sent_.clear();
    } else if (!stream_ || stream_->to != *to) {
      caf::actor old = stream_ ? caf::actor_cast<caf::actor>(stream_->peer) : caf::actor();
      stream_ = std::make_shared<Stream>(
          Stream{.to = *to,
                 .peer = SpawnProxy<ChainPeerActor>(system_, {.to = {to->node, to->incarnation, kChainPeerActor}, .timeout = options_.request_timeout}),
                 .view = view_.number,
                 .has_state = !Last()});
      if (old) self_->delayed_send(self_, options_.request_timeout, Thunk{[this, old] { system_.Stop(old); }});   // when it has no requests any more
      if (Last()) {
        sent_.clear();
        GiveState();
      }
    }
    for (Sent& sent : sent_) sent.under_way = false;   // by the epoch now
    if (stream_) {
      ++stream_->turn;
      stream_->under_way = 0;
    }
    if (stream_ && !Last()) SendAlign(view_.epoch, last_);
    SendAll();
    Acknowledge(Alone() || sent_.empty() ? last_ : sent_.front().number - 1);
  }

  uint64_t Tag() const { return Last() ? stream_->view : view_.epoch; }

  void Later(std::function<void()> what) {
    self_->delayed_send(self_, options_.retry, Thunk{[stream = stream_, this, what = std::move(what)] {
                          if (stream == stream_) what();
                        }});
  }

  void SendAlign(uint64_t epoch, uint64_t number) {
    if (epoch != view_.epoch) return;
    self_->request(stream_->peer, caf::infinite, Align{.epoch = epoch, .number = number})
        .then([](const Aligned&) {},
              [this, stream = stream_, epoch, number](const caf::error&) {
                if (stream == stream_) Later([this, epoch, number] { SendAlign(epoch, number); });
              });
  }

  void SendAll() {
    if (!stream_ || !stream_->has_state) return;
    for (Sent& sent : sent_) {
      if (stream_->under_way >= kChangesInFlight) break;
      if (!sent.under_way && sent.ready) SendOne(sent);
    }
  }
  void SendOne(Sent& sent) {
    sent.under_way = true;
    ++stream_->under_way;
    self_->request(stream_->peer, caf::infinite, Forward{.epoch = Tag(), .number = sent.number, .change = sent.change})
        .then(
            [this, stream = stream_, turn = stream_->turn](const Forwarded& forwarded) {
              if (stream != stream_) return;
              if (turn == stream_->turn) --stream_->under_way;
              while (!sent_.empty() && sent_.front().number <= forwarded.through) sent_.pop_front();
              Acknowledge(forwarded.through);
              SendAll();
              AnswerJoined();
            },
            [this, stream = stream_, turn = stream_->turn, number = sent.number](const caf::error&) {
              if (stream != stream_ || turn != stream_->turn) return;
              --stream_->under_way;
              const auto it = std::ranges::find(sent_, number, &Sent::number);
              if (it != sent_.end()) it->under_way = false;
              if (std::exchange(stream_->waits, true)) return;
              Later([this] {
                stream_->waits = false;
                SendAll();
              });
            });
  }

  /// To the one that joins: everything up to now; what changes from now on is kept for it until it has that.
  void GiveState() {
    self_->request(caf::actor_cast<caf::actor>(shard_), caf::infinite, AskState{})
        .then(
            [this, stream = stream_, number = last_](const ShardState& state) {
              if (stream != stream_) return;
              stream->pieces = CutState(state, stream->view, number);
              SendPieces();
            },
            [this, stream = stream_](const caf::error&) {
              if (stream == stream_) Later([this] { GiveAgain(); });
            });
  }
  void GiveAgain() {
    sent_.clear();   // they will be in the state
    GiveState();
  }
  void AnswerJoined() {
    if (!Last() || !HasJoined()) return;
    for (auto& promise : std::exchange(asked_, {})) promise.deliver(Configured{.joined = true});
  }
  void SendPieces() {
    while (stream_->sent < stream_->pieces.size() && stream_->sent < stream_->answered + kPiecesInFlight) SendPiece(stream_->sent++);
  }
  void SendPiece(size_t piece) {
    self_->request(stream_->peer, caf::infinite, stream_->pieces[piece])
        .then(
            [this, stream = stream_, piece](const Adopted&) {
              if (stream != stream_) return;
              stream_->pieces[piece].bytes = Block();
              if (++stream_->answered < stream_->pieces.size()) return SendPieces();
              stream_->has_state = true;
              stream_->mark = last_;
              stream_->pieces.clear();
              SendAll();
              AnswerJoined();
            },
            [this, stream = stream_, piece](const caf::error&) {
              if (stream == stream_) Later([this, piece] { SendPiece(piece); });
            });
  }

  // --- changes ---

  /// To the shard and to the next member, as the next change.
  template <class Reply, class Message, class Fix>
  caf::result<Reply> Submit(const Change& change, const Message& message, Fix fix) {
    auto promise = self_->make_response_promise<caf::typed_response_promise<Reply>>();
    const uint64_t number = ++last_;
    Hand(number, change);
    self_->request(shard_, caf::infinite, message)
        .then(
            [this, promise, number, fix](Reply& reply) mutable {
              if (Alone()) {   // the common case of a single member, without a copy
                MayServe() ? (fix(reply), promise.deliver(std::move(reply))) : promise.deliver(ToError(NoLease()));
                return;
              }
              WhenAcknowledged(number, [promise, fix, reply](const absl::Status& status) mutable {
                status.ok() ? (fix(reply), promise.deliver(std::move(reply))) : promise.deliver(ToError(status));
              });
            },
            [this, promise, number](const caf::error& error) {   // a refusal is as much the state's as an answer
              WhenAcknowledged(number, [promise, error](const absl::Status& status) mutable { promise.deliver(status.ok() ? error : ToError(status)); });
            });
    return promise;
  }
  void Hand(uint64_t number, const Change& change) {
    if (!stream_) return;
    sent_.push_back({number, change});
    SendAll();
  }
  void TakeForwarded(const Change& change) {
    Hand(++last_, change);
    if (const auto* compare = std::get_if<CompareRange>(&change)) return Compare(*compare);
    // The first member's answer counts. What one host alone lacks (room on its disk, say) must not make it differ from the others.
    const auto refused = [this](const caf::error& error) {
      const absl::Status status = FromError(error);
      if (absl::IsResourceExhausted(status) || absl::IsDataLoss(status) || absl::IsInternal(status)) Fail(std::string(Message(status)));
    };
    if (const auto* push = std::get_if<Push>(&change)) {
      self_->request(shard_, caf::infinite, *push).then([](const Pushed&) {}, refused);
    } else if (const auto* assign = std::get_if<Assign>(&change)) {
      self_->request(shard_, caf::infinite, *assign).then([](const Assigned&) {}, refused);
    }
  }
  /// The ranges of all tables whose rows are in memory, one after the other.
  std::optional<CompareRange> NextRange() {
    const ShardOptions& shard = options_.shard.shard;
    for (size_t i = 0; i < compared_.size(); ++i) {
      if (next_compared_ >= compared_.size()) next_compared_ = 0;
      const auto [table, range] = compared_[next_compared_++];
      if (shard.tables[table].limits.memory_max == 0) return CompareRange{.table = table, .range = range};
    }
    return std::nullopt;
  }
  void SendComparison(uint64_t number, const Shard::Digest& digest) {
    const auto it = std::ranges::find(sent_, number, &Sent::number);
    if (it == sent_.end()) return;
    auto& compare = std::get<CompareRange>(it->change);
    compare.clocks = digest.clocks;
    compare.rows = digest.rows;
    it->ready = true;
    SendAll();
  }
  void Compare(const CompareRange& compare) {
    self_->request(caf::actor_cast<caf::actor>(shard_), caf::infinite, AskDigest{compare.table, compare.range})
        .then(
            [this, compare](const Shard::Digest& digest) {
              if (digest.clocks != compare.clocks || digest.rows == compare.rows) return;
              Fail(absl::StrCat("range ", compare.range, " of table '", options_.shard.shard.tables[compare.table].name,
                                "' differs from that of the first process that holds it"));
            },
            [](const caf::error&) {});
  }
  void AnswerForward(uint64_t number, caf::typed_response_promise<Forwarded> promise) {
    WhenAcknowledged(
        number, [promise, number](const absl::Status& status) mutable { status.ok() ? promise.deliver(Forwarded{number}) : promise.deliver(ToError(status)); });
  }
  /// What several members have survives any of them. Where one joins, files may be further than what it has got so far, and it may be all that is left soon:
  /// nothing more is promised until it is a member.
  template <class Answer>
  void SayStable(Answer& answer) const {
    if (view_.members.size() > 1) {
      answer.stable = answer.clock;
    } else if (stream_) {
      answer.stable = 0;
    }
  }

  void WhenAcknowledged(uint64_t number, Told told) {
    if (left_) {
      told(Unavailable("it has left the chain"));
    } else if (Place() < 0) {   // joins
      told(absl::OkStatus());
    } else if (!MayServe()) {
      told(NoLease());
    } else if (Alone() || number <= acknowledged_) {
      told(absl::OkStatus());
    } else {
      waiting_.emplace(number, std::move(told));
    }
  }
  void Acknowledge(uint64_t through) {
    acknowledged_ = std::max(acknowledged_, through);
    while (!waiting_.empty() && waiting_.begin()->first <= acknowledged_) {
      const Told told = std::move(waiting_.begin()->second);
      waiting_.erase(waiting_.begin());
      told(MayServe() ? absl::OkStatus() : NoLease());
    }
  }
  void RefuseAll(const absl::Status& why) {
    for (const auto& [number, told] : std::exchange(waiting_, {})) told(why);
  }

  caf::event_based_actor* self_;
  System& system_;
  const ChainMemberOptions options_;
  ChainView view_;
  ShardActor shard_;    // null: it has no state
  uint64_t last_ = 0;   // the last change that the shard was told
  uint64_t acknowledged_ = 0;
  bool left_ = false;       // it was a member
  bool readable_ = false;   // it has all that was ever acknowledged
  std::chrono::steady_clock::time_point lease_{};
  std::deque<Sent> sent_;   // changes that the next member has not acknowledged
  std::shared_ptr<Stream> stream_;
  std::vector<caf::typed_response_promise<Configured>> asked_;
  std::multimap<uint64_t, Told> waiting_;   // by change
  std::map<uint64_t, Early> early_;
  std::optional<StateAssembly> assembly_;
  uint64_t adopted_ = 0;                                                                         // the view in which this member got its state
  const std::vector<std::pair<uint32_t, uint32_t>> compared_ = RangesOf(options_.shard.shard);   // table, range
  size_t next_compared_ = 0;
};

caf::behavior MemberBehavior(caf::event_based_actor* self, System* system, const ChainMemberOptions& options) {
  auto member = std::make_shared<Member>(self, *system, options);
  if (options.leased) member->OnLeaseTick();
  if (options.compare_every.count() > 0) member->OnCompareTick();
  return {
      [member](const Configure& configure) { return member->OnConfigure(configure.view); },
      [member](const Forward& forward) { return member->OnForward(forward); },
      [member](const Align& align) { return member->OnAlign(align); },
      [member](const Adopt& piece) { return member->OnAdopt(piece); },
      [member](const Push& push) { return member->OnPush(push); },
      [member](const PushPull& both) { return member->OnPushPull(both); },
      [member](const Assign& assign) { return member->OnAssign(assign); },
      [member](const Open& open) { return member->OnOpen(open); },
      [member](const Pull& pull) { return member->Read<Pulled>(pull); },
      [member](const TakeSnapshot& request) { return member->Read<SnapshotTaken>(request); },
      [member](const SaveRows& request) { return member->Read<RowsSaved>(request); },
      [member](const Call& call) { return member->Read<Called>(call); },
      [member](const AskRanges& ask) { return member->Read<Ranges>(ask); },
      [member](const Prepare& prepare) { return member->ReadCut<Prepared>(prepare); },
      [member](const Freeze& freeze) { return member->ReadCut<Frozen>(freeze); },
      [member](const Release& release) { return member->ReadCut<Released>(release); },
      [member](const Stand&) -> caf::result<Standing> { return ToError(member->NoMoves()); },
      [member](const TakeIn&) -> caf::result<TakenIn> { return ToError(member->NoMoves()); },
      [member](const Settle&) -> caf::result<Settled> { return ToError(member->NoMoves()); },
      [member](const GrantLease& grant) { member->OnGranted(grant); },
      [](const Thunk& thunk) { thunk.run(); },
  };
}

}   // namespace

absl::Status ValidateChain(const ShardActorOptions& shard) {
  for (const TableSpec& spec : shard.shard.tables) {
    const bool delayed = spec.staleness_scale || spec.delay_compensation != 0;
    if (!delayed || shard.shard.consistency.Of(spec.name).in_rounds()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("table '", spec.name, "' makes up for delays, which is known where rows are read alone: expected a replication of 1"));
  }
  const std::vector<TableSpec>& tables = shard.shard.tables;
  const auto by_rounds = [&](const TableSpec& spec) { return shard.shard.consistency.Of(spec.name).in_rounds(); };
  const bool some = std::ranges::any_of(tables, by_rounds), all = std::ranges::all_of(tables, by_rounds);
  if (shard.shard.consistency.all.backup > 0 || some != all) {   // when a round is applied makes a difference there, and one member may hold it back
    return absl::InvalidArgumentError(absl::StrCat("consistency is '", ToString(shard.shard.consistency),
                                                   "': with backup workers, or where only some tables go by rounds, expected a replication of 1"));
  }
  if (!shard.log_folder.empty()) return absl::InvalidArgumentError("a shard that logs its pushes has no replicas");
  return absl::OkStatus();
}

absl::StatusOr<ChainMemberActor> SpawnChainMember(System& system, const ChainMemberOptions& options) {
  TROUPE_RETURN_IF_ERROR(ValidateChain(options.shard));
  auto actor = system.actors().spawn([&system, options](caf::event_based_actor* self) { return MemberBehavior(self, &system, options); });
  Expose(system, kChainPeerActor, caf::actor_cast<ChainPeerActor>(actor));
  return caf::actor_cast<ChainMemberActor>(actor);
}

}   // namespace troupe
