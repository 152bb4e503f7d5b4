#include "ps/chain_stream_actor.h"

#include <algorithm>
#include <utility>

#include "actors/caf_status.h"
#include "ps/chain/state_transfer.h"
#include "ps/chain/wire.h"

namespace troupe {
namespace {

constexpr size_t kChangesInFlight = 256;
constexpr size_t kStateInFlight = 16 << 20;   // bytes of a part

size_t BytesOf(const ChainStream::Change& change) {
  if (const auto* push = std::get_if<Push>(&change)) return sizeof(Push) + push->parts.size() + push->keys.size() + push->values.size();
  if (const auto* assign = std::get_if<Assign>(&change)) return sizeof(Assign) + assign->keys.size() + assign->values.size();
  return sizeof change;
}

}   // namespace

template <class Do>
void ChainStream::Later(uint64_t ChainStream::*of, Do&& what) {
  self_->delayed_send(self_, options_.retry, Thunk{[this, of, then = this->*of, what = std::forward<Do>(what)] {
                        if (this->*of == then) what();
                      }});
}

void ChainStream::DropAll() {
  sent_.clear();
  again_.clear();
  kept_bytes_ = 0;
  heard_ = 0;
  under_way_ = 0;
  waits_ = lags_ = false;
  ++turn_;
}

void ChainStream::End() {
  DropAll();
  parts_.clear();
  shard_ = nullptr;
  ++targets_;
  ++attempt_;
  to_.reset();
}

/// What is under way to anybody counts no more.
void ChainStream::Turn(const ChainMember& to) {
  ++turn_;
  heard_ = 0;   // what it had when it joined it may not have for good
  under_way_ = 0;
  waits_ = false;
  again_.clear();
  if (!sent_.empty()) next_ = sent_.front().number;
  if (to_ == to) return;
  if (peer_) {   // until it has no requests any more
    self_->delayed_send(self_, options_.request_timeout, Thunk{[this, old = caf::actor_cast<caf::actor>(peer_)] { system_.Stop(old); }});
  }
  to_ = to;
  ++targets_;
  ++attempt_;
  parts_.clear();
  peer_ = SpawnProxy<ChainPeerActor>(system_, {.to = {to.node, to.incarnation, kChainPeerActor}, .timeout = options_.request_timeout});
}

void ChainStream::ToMember(const ChainMember& to, uint64_t epoch, uint64_t last) {
  Turn(to);
  joins_ = lags_ = false;
  ++attempt_;
  parts_.clear();
  shard_ = nullptr;
  tag_ = epoch;
  last_ = last;
  if (sent_.empty()) next_ = last + 1;
  SendAlign(epoch, last);
  SendAll();
}

void ChainStream::ToJoiner(const ChainMember& to, uint64_t view, const ShardActor& shard, uint64_t last) {
  if (to_ == to && joins_) return;
  Turn(to);
  joins_ = true;
  tag_ = view_ = view;
  shard_ = shard;
  last_ = last;
  BeginState();
}

// --- changes ---

void ChainStream::Keep(Sent sent) {
  if (!to_) return;
  last_ = sent.number;
  kept_bytes_ += sent.bytes;
  sent_.push_back(std::move(sent));
  if (joins_ && !has_state() && kept_bytes_ > options_.backlog_bytes_max) lags_ = true;
  SendAll();
}

void ChainStream::Add(uint64_t number, const Change& change, bool ready) {
  Keep({.number = number, .change = change, .bytes = BytesOf(change), .ready = ready});
}

void ChainStream::Fill(uint64_t number, const Change& change) {
  Sent* sent = Find(number);
  if (sent == nullptr || sent->ready) return;
  sent->change = change;
  sent->ready = true;
  if (number < next_) SendOne(*sent);   // its turn has come
}

ChainStream::Sent* ChainStream::Find(uint64_t number) {
  if (sent_.empty() || number < sent_.front().number || number > sent_.back().number) return nullptr;
  return &sent_[number - sent_.front().number];
}

void ChainStream::SendAll() {
  if (!to_) return;
  const uint64_t end = parts_.empty() ? UINT64_MAX : parts_.front().of.part == 0 ? 0 : parts_.front().of.number;
  for (; under_way_ < kChangesInFlight && next_ <= end; ++next_) {
    const Sent* sent = Find(next_);
    if (sent == nullptr) break;
    if (sent->ready) SendOne(*sent);
  }
}

void ChainStream::SendOne(const Sent& sent) {
  ++under_way_;
  self_->request(peer_, caf::infinite, Forward{.epoch = tag_, .number = sent.number, .change = sent.change})
      .then(
          [this, target = targets_, turn = turn_, joins = joins_](const Forwarded& forwarded) {
            if (target != targets_ || joins != joins_) return;   // as a member it is asked again
            if (turn == turn_) --under_way_;
            OnForwarded(forwarded.through);
          },
          [this, turn = turn_, number = sent.number](const caf::error&) {
            if (turn == turn_) OnChangeFault(number);
          });
}

void ChainStream::OnForwarded(uint64_t through) {
  heard_at_ = self_->clock().now();
  heard_ = std::max(heard_, through);
  Trim();
  next_ = std::max(next_, through + 1);
  again_.erase(again_.begin(), again_.upper_bound(through));
  SendAll();
  Advance();
  events_.has(through);
}

void ChainStream::Trim() {
  const uint64_t through = joins_ && events_.kept ? std::min(heard_, events_.kept()) : heard_;
  while (!sent_.empty() && sent_.front().number <= through) {
    kept_bytes_ -= sent_.front().bytes;
    sent_.pop_front();
  }
  if (kept_bytes_ < options_.backlog_bytes_max / 2) lags_ = false;
}

void ChainStream::OnChangeFault(uint64_t number) {
  --under_way_;
  if (BeginsAnew()) return;
  again_.insert(number);
  if (std::exchange(waits_, true)) return;
  Later(&ChainStream::turn_, [this] {
    waits_ = false;
    for (const uint64_t each : std::exchange(again_, {})) {
      const Sent* sent = Find(each);
      if (sent != nullptr && sent->ready) SendOne(*sent);
    }
    SendAll();
  });
}

void ChainStream::SendAlign(uint64_t epoch, uint64_t number) {
  self_->request(peer_, caf::infinite, Align{.epoch = epoch, .number = number})
      .then([](const Aligned&) {},
            [this, target = targets_, epoch, number](const caf::error&) {
              if (target != targets_ || epoch != tag_) return;
              Later(&ChainStream::turn_, [this, epoch, number] { SendAlign(epoch, number); });
            });
}

// --- the state of one that joins ---

/// Those who wait for one that does not answer at all would wait for ever: what is kept for it goes, and will be in the state.
bool ChainStream::BeginsAnew() {
  if (!lags_ || self_->clock().now() - heard_at_ < options_.request_timeout) return false;
  BeginState();
  return true;
}

void ChainStream::BeginState() {
  if (lags_) {
    System::Deliver(caf::actor(self_), Thunk{[this, target = targets_] {
                      if (target == targets_) events_.has(0);
                    }});
  }
  heard_at_ = self_->clock().now();
  DropAll();
  ++attempt_;
  next_ = last_ + 1;
  next_range_ = 0;
  parts_.clear();
  parts_.push_back({.of = {.view = view_, .attempt = attempt_, .part = 0, .more = true, .number = last_}});
  AskPart();
}

/// The last of parts_, of the shard as it is behind all changes so far.
void ChainStream::AskPart() {
  const caf::actor shard = caf::actor_cast<caf::actor>(shard_);
  const auto fault = [this, attempt = attempt_](const caf::error&) {   // it holds rounds back, say
    if (attempt != attempt_) return;
    Later(&ChainStream::attempt_, [this] {
      if (parts_.back().of.part == 0) return BeginState();
      parts_.back().of.number = last_;
      SendAll();
      AskPart();
    });
  };
  if (parts_.back().of.part == 0) {
    self_->request(shard, caf::infinite, AskState{}).then([this, attempt = attempt_](const ShardState& state) { MakePart(attempt, state, 0); }, fault);
  } else {
    self_->request(shard, caf::infinite, AskSlice{next_range_, options_.slice_bytes})
        .then([this, attempt = attempt_](const ShardSlice& slice) { MakePart(attempt, ShardState{.sections = slice.sections, .waiting = {}}, slice.next); },
              fault);
  }
}

void ChainStream::MakePart(uint64_t attempt, const ShardState& state, uint32_t next) {
  if (attempt != attempt_) return;
  Part& part = parts_.back();
  part.of.more = part.of.part == 0 || next != 0;
  part.pieces = CutState(state, part.of);
  part.made = true;
  next_range_ = next;
  Advance();
}

/// The first part goes out when all changes before it are there; while it travels, the next one is made.
void ChainStream::Advance() {
  if (parts_.empty() || !parts_.front().made) return;
  Part& first = parts_.front();
  if (!first.goes && (sent_.empty() || sent_.front().number > first.of.number || heard_ >= first.of.number)) {
    first.goes = true;
    SendPieces();
  }
  if (parts_.size() > 1 || !first.of.more) return;
  StatePart next = first.of;
  ++next.part;
  next.number = last_;
  parts_.push_back({.of = next});
  AskPart();
}

void ChainStream::SendPieces() {
  Part& part = parts_.front();
  while (part.sent < part.pieces.size() && part.bytes < kStateInFlight) {
    part.bytes += part.pieces[part.sent].bytes.size();
    SendPiece(part.sent++);
  }
}

void ChainStream::SendPiece(size_t piece) {
  const Part& part = parts_.front();
  const auto same = [this, attempt = attempt_, number = part.of.part] { return attempt == attempt_ && !parts_.empty() && parts_.front().of.part == number; };
  self_->request(peer_, caf::infinite, part.pieces[piece])
      .then(
          [this, same, piece](const Adopted&) {
            if (same()) OnPiece(piece);
          },
          [this, same, piece](const caf::error&) {
            if (!same() || BeginsAnew()) return;
            Later(&ChainStream::attempt_, [this, same, piece] {
              if (same()) SendPiece(piece);
            });
          });
}

void ChainStream::OnPiece(size_t piece) {
  heard_at_ = self_->clock().now();
  Part& part = parts_.front();
  part.bytes -= part.pieces[piece].bytes.size();
  part.pieces[piece].bytes = Block();
  if (++part.answered < part.pieces.size()) return SendPieces();
  const bool more = part.of.more;
  parts_.pop_front();
  if (!more) {
    mark_ = last_;
    lags_ = false;
    shard_ = nullptr;
  }
  SendAll();
  Advance();
  events_.has(0);
}

}   // namespace troupe
