#include "ps/client.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/caf_status.h"
#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/typed_actor.hpp"

namespace troupe {
namespace {
constexpr std::chrono::milliseconds kCheckInterval{250};
constexpr uint64_t kChecksOfAll = 8;
constexpr uint32_t kPieceBits = 24;   // of Pull::piece: what is above says which of the writer's pulls it is

/// Keys that the shard should remember do not travel again.
template <class Message>
void LeaveKnownKeys(KeyLists& known, Message& message) {
  if (message.keys_hash == 0) return;
  if (known.Find(message.keys_hash) == nullptr) {
    known.Keep(message.keys_hash, Block(), message.keys.size());
  } else {
    message.keys = Block();
    message.keys_kept = true;
  }
}
}   // namespace

Client::Client(caf::event_based_actor* self, std::vector<ShardActor> shards, std::shared_ptr<const Router> router, ClientOptions options, Events events)
    : self_(self), shards_(std::move(shards)), router_(std::move(router)), options_(options), events_(std::move(events)) {}

void Client::Start(WriterId writer) {
  Stream& stream = streams_[writer];
  stream.lanes.resize(shards_.size());
  stream.last.assign(router_->slots(), 0);
  stream.sent = 0;
  stream.rounds.clear();
  stream.pulls.clear();
  stream.starting = shards_.size();
  stream.start_clock = UINT64_MAX;
  stream.furthest = 0;
  stream.epoch = router_->epoch();
  stream.left = false;
  for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
    Lane& lane = stream.lanes[shard];
    DropHeld(lane, lane.held.size());
    lane.unsent = 0;
    lane.in_flight = 0;
    lane.closed = 0;
    lane.live = false;
    lane.combine = lane.checking = false;
    lane.pieces_in_flight = 0;
    SendOpen(writer, shard);
  }
}

void Client::Leave(WriterId writer) {
  const auto it = streams_.find(writer);
  if (it == streams_.end()) return;
  Stream& stream = it->second;
  stream.left = true;
  stream.rounds.clear();
  stream.pulls.clear();
  stream.starting = shards_.size();
  for (Lane& lane : stream.lanes) {
    ++lane.generation;   // answers and retries of before are ignored
    DropHeld(lane, lane.held.size());
    lane.known.Clear();
    lane.live = lane.checking = false;
    lane.broken.Reset();
  }
}

Open Client::OpenOf(WriterId writer, uint32_t shard) const {
  const Lane& lane = streams_.at(writer).lanes[shard];
  return {.writer = writer, .through = lane.held.empty() ? 0 : lane.held.back().message.round};
}

void Client::SendOpen(WriterId writer, uint32_t shard) {
  const uint64_t generation = ++streams_[writer].lanes[shard].generation;
  streams_[writer].lanes[shard].known.Clear();
  self_->request(shards_[shard], caf::infinite, OpenOf(writer, shard))
      .then(
          [this, writer, shard, generation](const Opened& opened) {
            if (streams_[writer].lanes[shard].generation == generation) OnOpened(writer, shard, opened);
          },
          [this, writer, shard, generation](const caf::error& error) {
            if (streams_[writer].lanes[shard].generation == generation) OnFault(writer, shard, FromError(error));
          });
}

void Client::SendCheck(WriterId writer, uint32_t shard) {
  Lane& lane = streams_[writer].lanes[shard];
  lane.checking = true;
  const uint64_t generation = lane.generation;
  const Round known = lane.clock;
  self_->request(shards_[shard], caf::infinite, OpenOf(writer, shard))
      .then(
          [this, writer, shard, generation, known](const Opened& opened) {
            Lane& now = streams_[writer].lanes[shard];
            if (now.generation != generation) return;
            now.checking = false;
            if (OnEpoch(writer, shard, opened.epoch)) return;
            if (opened.clock < known) {
              OnFault(writer, shard, absl::UnavailableError("the shard has lost pushes"));
              return;
            }
            now.stable = std::max(now.stable, opened.stable);
            ReleaseStable(now);
          },
          [this, writer, shard, generation](const caf::error& error) {
            if (streams_[writer].lanes[shard].generation == generation) OnFault(writer, shard, FromError(error));
          });
}

void Client::OnOpened(WriterId writer, uint32_t shard, const Opened& opened) {
  Stream& stream = streams_[writer];
  Lane& lane = stream.lanes[shard];
  lane.checking = false;
  if (OnEpoch(writer, shard, opened.epoch)) return;
  if (stream.starting > 0) {
    lane.broken.Reset();
    lane.live = true;
    lane.clock = opened.clock;
    lane.stable = opened.stable;
    stream.start_clock = std::min(stream.start_clock, opened.clock);
    stream.furthest = std::max(stream.furthest, opened.clock);
    const auto applied = opened.applied.As<uint64_t>();
    for (const Sequence sequence : applied) stream.furthest = std::max(stream.furthest, Round{sequence >> 8});
    for (size_t slot = 0; slot < std::min(applied.size(), stream.last.size()); ++slot) stream.last[slot] = std::max(stream.last[slot], applied[slot]);
    if (--stream.starting > 0) return;
    // A slot that is ahead of the common clock will recognise what is sent again; the chain of sequence numbers is taken up where all have arrived.
    for (Sequence& last : stream.last) {
      if (last >> 8 > stream.start_clock) last = 0;
    }
    stream.sent = stream.start_clock;
    events_.begin_after(writer, stream.start_clock);
    return;
  }
  // The shard is back: does it want anything that is not here any more?
  lane.clock = opened.clock;
  lane.stable = opened.stable;
  const Round held_from = lane.held.empty() ? stream.sent : lane.held.front().message.previous;
  lane.unsent = 0;
  uint64_t later = 0;   // an answer that was lost: it took effect before the next one at the latest
  for (Held& held : std::views::reverse(lane.held)) later = held.message.order = held.message.order == 0 ? later : held.message.order;
  while (lane.unsent < lane.held.size() && lane.held[lane.unsent].message.round <= opened.clock) ++lane.unsent;
  if (opened.clock < held_from || !Continues(lane, opened)) {
    Start(writer);
    return;
  }
  // Only what is answered shows that the fault is over: a shard that says what it has may still take nothing.
  if (lane.unsent == lane.held.size() && !Waits(stream, shard)) lane.broken.Reset();
  lane.in_flight = 0;
  lane.live = true;
  lane.pieces_in_flight = 0;
  for (Pulling& pulling : stream.pulls) pulling.lanes[shard].sent = pulling.lanes[shard].answered = 0;
  ReleaseStable(lane);
  UpdateAcked(writer);
  Pump(writer, shard);
}

/// Does what is to be sent fit what the shard has? Where a shard was ahead of the others in Start, the numbers before its own are not known; when it then loses
/// what it was ahead by, they are missing.
bool Client::Continues(const Lane& lane, const Opened& opened) const {
  const auto applied = opened.applied.As<Sequence>();
  if (applied.size() != router_->slots()) return true;   // the shard will say what it does not like
  std::vector<Sequence> last(applied.begin(), applied.end());
  for (size_t i = lane.unsent; i < lane.held.size(); ++i) {
    for (const PushPart& part : lane.held[i].message.parts.As<PushPart>()) {
      Sequence& slot = last[router_->Slot(part.table, part.range)];
      if (part.sequence > slot && (options_.rounds_left_out ? part.previous > slot : part.previous != slot)) return false;
      slot = std::max(slot, part.sequence);
    }
  }
  return true;
}

void Client::OnFault(WriterId writer, uint32_t shard, const absl::Status& status) {
  if (failed_) return;
  Lane& lane = streams_[writer].lanes[shard];
  if (!IsRetryable(status) || lane.broken.IsOver(self_->clock().now(), options_.patience)) {
    failed_ = true;
    events_.failed(IsRetryable(status) ? absl::UnavailableError(absl::StrCat("shard ", shard, " does not answer: ", status.message())) : status);
    return;
  }
  lane.live = false;
  lane.checking = false;
  const uint64_t generation = ++lane.generation;
  retries_.push_back({self_->clock().now() + options_.retry, writer, shard, generation});
  for (const auto& [other, stream] : streams_) CheckIdle(other, shard);   // who has nothing under way may hold what a new shard waits for
}

void Client::CheckIdle(WriterId writer, uint32_t shard) {
  const Stream& stream = streams_.at(writer);
  const Lane& lane = stream.lanes[shard];
  // A push under way will tell whether the shard is still the old one. A waiting pull will not: a replacement lets it wait for pushes that it has lost.
  if (stream.starting == 0 && lane.live && !lane.checking && lane.in_flight == 0) SendCheck(writer, shard);
}

void Client::OnPushFault(WriterId writer, uint32_t shard, Round round, uint32_t chunk, const absl::Status& status) {
  Stream& stream = streams_[writer];
  Lane& lane = stream.lanes[shard];
  const auto refused =
      std::find_if(lane.held.begin(), lane.held.end(), [&](const Held& held) { return held.message.round == round && held.message.chunk == chunk; });
  if (!absl::IsInvalidArgument(status) || events_.refused == nullptr || refused == lane.held.end()) {
    OnFault(writer, shard, status);
    return;
  }
  Empty(stream, lane, *refused);
  OnFault(writer, shard, absl::UnavailableError("a push was refused: what is behind it goes out again"));
  events_.refused(writer, round, status);
}

/// Leaves the message's place in the order, and chains what is behind it past its parts.
void Client::Empty(Stream& stream, Lane& lane, Held& refused) {
  const Block parts = std::exchange(refused.message.parts, Block());
  refused.message.keys = refused.message.values = Block();
  refused.message.keys_hash = 0;
  refused.message.packing = {};
  refused.message.change = nullptr;
  for (const PushPart& part : parts.As<PushPart>()) {
    Sequence& last = stream.last[router_->Slot(part.table, part.range)];
    if (last == part.sequence) last = part.previous;
  }
  for (Held& held : lane.held) {
    if (held.message.round <= refused.message.round) continue;
    const auto old = held.message.parts.As<PushPart>();
    std::vector<PushPart> chained(old.begin(), old.end());
    for (PushPart& part : chained) {
      for (const PushPart& gone : parts.As<PushPart>()) {
        if (gone.table == part.table && gone.range == part.range && gone.sequence == part.previous) part.previous = gone.previous;
      }
    }
    held.message.parts = Block::Adopt(std::move(chained));
  }
}

void Client::Push(WriterId writer, Round round, RoutedPush push, bool combine) {
  if (streams_[writer].epoch != router_->epoch()) DealAgain(writer);   // another one that shares the router has heard of a newer map
  Stream& stream = streams_[writer];
  TROUPE_CHECK(stream.starting == 0 && round > stream.sent);
  if (push.epoch != stream.epoch) push = router_->Again(push);
  for (std::vector<RoutedPush::Chunk>& chunks : push.shards) {
    for (RoutedPush::Chunk& chunk : chunks) {
      for (PushPart& part : chunk.parts) {
        Sequence& last = stream.last[router_->Slot(part.table, part.range)];
        part.sequence = round << 8;
        part.previous = last;
        last = part.sequence;
      }
    }
  }
  Hold(stream, writer, {std::move(push), round, stream.sent});
  for (Lane& lane : stream.lanes) lane.combine = combine;
  stream.sent = round;
  stream.rounds.push_back(round);
  for (uint32_t shard = 0; shard < shards_.size(); ++shard) Pump(writer, shard);
}

void Client::Hold(Stream& stream, WriterId writer, HeldRound round) {
  for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
    std::vector<RoutedPush::Chunk>& chunks = round.push.shards[shard];
    for (size_t i = 0; i < chunks.size(); ++i) {
      Held held;
      held.message.writer = writer;
      held.message.round = round.round;
      held.message.previous = round.previous;
      held.message.chunk = static_cast<uint32_t>(i);
      held.message.round_over = i + 1 == chunks.size();
      held.message.after = round.push.after;
      held.message.epoch = round.push.epoch;
      if (held.message.round_over) held.message.change = round.push.change;
      held.message.parts = Block::Adopt(std::move(chunks[i].parts));
      held.message.keys = std::move(chunks[i].keys);
      held.message.values = std::move(chunks[i].values);
      held.message.keys_hash = chunks[i].keys_hash;
      held.message.packing = std::move(chunks[i].packing);
      held.bytes = sizeof(Held) + held.message.parts.size() + held.message.keys.size() + held.message.values.size();
      held_bytes_ += held.bytes;
      held.message.wants_snapshot = held_bytes_ > options_.held_bytes_max / 2;
      stream.lanes[shard].held.push_back(std::move(held));
    }
  }
}

std::vector<Client::HeldRound> Client::TakeHeld(Stream& stream) {
  struct Gathered {
    HeldRound held;
    size_t whole = 0;   // lanes that have all of it
  };
  std::map<Round, Gathered> rounds;
  Round broken = 0;
  for (size_t shard = 0; shard < stream.lanes.size(); ++shard) {
    uint32_t chunks = 0;
    for (Held& held : stream.lanes[shard].held) {
      ::troupe::Push& message = held.message;
      Gathered& round = rounds[message.round];
      round.held.round = message.round;
      round.held.previous = message.previous;
      round.held.push.shards.resize(stream.lanes.size());
      round.held.push.after = message.after;
      round.held.push.change = message.change;
      const std::span<const PushPart> parts = message.parts.As<PushPart>();
      round.held.push.shards[shard].push_back({{parts.begin(), parts.end()}, message.keys, message.values, message.keys_hash, message.packing});
      chunks = message.chunk == 0 ? 1 : chunks + 1;
      if (message.round_over && chunks == message.chunk + 1) ++round.whole;
    }
  }
  for (const auto& [round, gathered] : rounds) {
    if (gathered.whole < stream.lanes.size()) broken = round;
  }
  for (Lane& lane : stream.lanes) DropHeld(lane, lane.held.size());
  std::vector<HeldRound> taken;
  for (auto& [round, gathered] : rounds) {
    if (round > broken) taken.push_back(std::move(gathered.held));
  }
  return taken;
}

bool Client::OnEpoch(WriterId writer, uint32_t shard, MapEpoch epoch) {
  const Stream& stream = streams_[writer];
  if (epoch == stream.epoch) return false;
  if (epoch < stream.epoch) {
    OnFault(writer, shard, absl::UnavailableError(absl::StrCat("the shard has map ", epoch, " of the ranges, expected ", stream.epoch)));
  } else if (epoch > router_->epoch()) {
    FetchMap(shard, epoch);
  } else {
    DealAgain(writer);
  }
  return true;
}

void Client::FetchMap(uint32_t shard, MapEpoch wanted) {
  wanted_epoch_ = std::max(wanted_epoch_, wanted);
  if (std::exchange(fetching_, true)) return;
  self_->request(shards_[shard], caf::infinite, AskRanges{})
      .then(
          [this, shard](const Ranges& ranges) {
            fetching_ = false;
            auto map = RangeMap::Decode(router_->tables(), router_->map()->shards(), ranges.map);
            if (!map.ok()) {
              failed_ = true;
              events_.failed(WithContext(map.status(), absl::StrCat("shard ", shard)));
              return;
            }
            router_->Follow(std::move(*map));
            std::vector<WriterId> behind;
            for (const auto& [writer, stream] : streams_) {
              if (!stream.left && stream.epoch < router_->epoch()) behind.push_back(writer);
            }
            for (const WriterId writer : behind) DealAgain(writer);
            // A shard that was replaced meanwhile may know less than the one that had told of the map.
            if (router_->epoch() < wanted_epoch_) AskAgainForMap(absl::UnavailableError(absl::StrCat("shard ", shard, " has lost the map of the ranges")));
          },
          [this](const caf::error& error) {
            fetching_ = false;
            AskAgainForMap(FromError(error));
          });
}

void Client::AskAgainForMap(const absl::Status& why) {
  wanted_epoch_ = 0;
  // Each lane hears of the new map again when it is asked; those that have answered to Start need not be.
  for (auto& [writer, stream] : streams_) {
    for (uint32_t lane = 0; lane < stream.lanes.size(); ++lane) {
      if (!stream.left && (stream.starting == 0 || !stream.lanes[lane].live)) OnFault(writer, lane, why);
    }
  }
}

void Client::DealAgain(WriterId writer) {
  Stream& stream = streams_[writer];
  if (stream.starting > 0) {
    Start(writer);
    return;
  }
  std::vector<HeldRound> held = TakeHeld(stream);
  stream.epoch = router_->epoch();
  for (HeldRound& round : held) {
    round.push = router_->Again(round.push);
    Hold(stream, writer, std::move(round));
  }
  for (Pulling& pulling : stream.pulls) {
    pulling.pull = pulling.asked->epoch == stream.epoch ? pulling.asked : std::make_shared<const RoutedPull>(router_->Again(*pulling.asked));
    for (PullingLane& lane : pulling.lanes) lane = {};
  }
  for (uint32_t shard = 0; shard < shards_.size(); ++shard) {
    Lane& lane = stream.lanes[shard];
    lane.live = lane.combine = lane.checking = false;
    lane.unsent = 0;
    lane.in_flight = lane.pieces_in_flight = 0;
    SendOpen(writer, shard);
  }
}

PullNumber Client::Pull(WriterId writer, Round round, std::shared_ptr<const RoutedPull> pull, int priority) {
  if (streams_[writer].epoch != router_->epoch()) DealAgain(writer);
  Stream& stream = streams_[writer];
  TROUPE_CHECK(stream.starting == 0 && stream.pulls.size() < kPullsMax);
  uint32_t slot = 0;
  while (std::ranges::find(stream.pulls, slot, &Pulling::slot) != stream.pulls.end()) ++slot;
  const auto behind = std::ranges::find_if(stream.pulls, [priority](const Pulling& other) { return other.priority < priority; });
  std::shared_ptr<const RoutedPull> sent = pull->epoch == stream.epoch ? pull : std::make_shared<const RoutedPull>(router_->Again(*pull));
  stream.pulls.insert(behind,
                      {++stream.last_pull, slot, priority, round, stream.sent, std::move(pull), std::move(sent), std::vector<PullingLane>(shards_.size())});
  for (Lane& lane : stream.lanes) lane.combine = false;
  const PullNumber number = stream.last_pull;
  for (uint32_t shard = 0; shard < shards_.size(); ++shard) Pump(writer, shard);
  return number;
}

void Client::Cancel(WriterId writer, PullNumber number) {
  std::erase_if(streams_[writer].pulls, [number](const Pulling& pulling) { return pulling.number == number; });
}

size_t Client::pulls_under_way(WriterId writer) const {
  const auto stream = streams_.find(writer);
  return stream == streams_.end() ? 0 : stream->second.pulls.size();
}

Client::Pulling* Client::NextPull(Stream& stream, uint32_t shard) {
  const auto next = std::ranges::find_if(stream.pulls, [shard](const Pulling& pulling) {
    return !pulling.lanes[shard].over && pulling.lanes[shard].sent < pulling.pull->shards[shard].messages();
  });
  return next == stream.pulls.end() ? nullptr : &*next;
}

/// Is there a pull of which this shard has not answered all?
bool Client::Waits(const Stream& stream, uint32_t shard) {
  return std::ranges::any_of(stream.pulls, [shard](const Pulling& pulling) { return !pulling.lanes[shard].over; });
}

Pull Client::PullMessage(Stream& stream, Pulling& pulling, WriterId writer, uint32_t shard) const {
  const RoutedPull::Share& share = pulling.pull->shards[shard];
  Lane& lane = stream.lanes[shard];
  PullingLane& of = pulling.lanes[shard];
  if (of.sent == 0) {
    of.values.assign(share.messages(), Block());
    of.clock = UINT64_MAX;
    of.answered = 0;
  }
  const size_t piece = of.sent++;
  ++lane.pieces_in_flight;
  ::troupe::Pull message{.writer = writer,
                         .round = pulling.round,
                         .parts = share.pieces.empty() ? share.parts : Block::Copy(share.PartsOf(piece)),
                         .keys = share.KeysOf(piece),
                         .keys_hash = share.keys_hash,
                         .piece = pulling.slot << kPieceBits | static_cast<uint32_t>(piece),
                         .tables = pulling.pull->tables,
                         .packing = share.PackingOf(piece),
                         .epoch = stream.epoch,
                         .in_pieces = pulling.pull->by_message && events_.piece != nullptr,
                         .after = pulling.after,
                         .answer_bytes = share.FloatsOf(piece) * sizeof(float)};
  LeaveKnownKeys(lane.known, message);
  return message;
}

void Client::SendPull(Pulling& pulling, WriterId writer, uint32_t shard) {
  Stream& stream = streams_[writer];
  const PullNumber number = pulling.number;
  const size_t piece = pulling.lanes[shard].sent;
  const uint64_t generation = stream.lanes[shard].generation;
  self_->request(shards_[shard], caf::infinite, PullMessage(stream, pulling, writer, shard))
      .then(
          [this, writer, shard, generation, number, piece](const Pulled& pulled) {
            if (streams_[writer].lanes[shard].generation == generation) OnPulled(writer, shard, number, piece, pulled);
          },
          [this, writer, shard, generation, number](const caf::error& error) {
            if (streams_[writer].lanes[shard].generation == generation) OnPullFault(writer, shard, number, FromError(error));
          });
}

void Client::OnPullFault(WriterId writer, uint32_t shard, PullNumber number, const absl::Status& status) {
  Stream& stream = streams_[writer];
  const bool wanted = std::ranges::find(stream.pulls, number, &Pulling::number) != stream.pulls.end();
  if (wanted || !IsRetryable(status)) return OnFault(writer, shard, status);
  // One that was cancelled here before: another has its slot at the shard, or it has waited too long. What else is wrong other messages will say.
  if (stream.lanes[shard].pieces_in_flight > 0) --stream.lanes[shard].pieces_in_flight;
  Pump(writer, shard);
}

void Client::Pump(WriterId writer, uint32_t shard) {
  Stream& stream = streams_[writer];
  Lane& lane = stream.lanes[shard];
  if (failed_ || !lane.live || stream.starting > 0) return;
  while (lane.unsent < lane.held.size() && lane.in_flight < options_.pushes_in_flight_max) {
    const ::troupe::Push& next = lane.held[lane.unsent].message;
    const bool last = lane.unsent + 1 == lane.held.size();
    if (last && lane.combine && lane.in_flight == 0) return;   // the pull that follows at once takes it along
    // Order holds within one lane of the network only.
    const bool big = next.parts.size() + next.keys.size() + next.values.size() >= kBulkBytes;
    if (lane.in_flight > 0 && big && lane.network == Network::Lane::kControl) break;
    if (lane.in_flight == 0) lane.network = big ? Network::Lane::kBulk : Network::Lane::kControl;
    // The last chunk of a big push says that the round is over: it must not overtake the others.
    if (next.round_over && lane.in_flight > 0 && lane.unsent > 0 && lane.held[lane.unsent - 1].message.round == next.round) break;
    // Where a refused push is not the end, its pull goes apart: one error would speak for both.
    SendPush(writer, shard, last && events_.refused == nullptr && lane.pieces_in_flight == 0 && NextPull(stream, shard) != nullptr);
  }
  for (Pulling* next; (next = NextPull(stream, shard)) != nullptr;) {
    // Pushes before it go first, not those that have come since.
    if (lane.unsent < lane.held.size() && lane.held[lane.unsent].message.round < next->round) return;
    // The first message of each goes at once: a small pull does not wait for a big one's answers.
    if (lane.pieces_in_flight >= options_.pulls_in_flight_max + (next->lanes[shard].sent > 0 ? 0 : kPullsMax)) return;
    SendPull(*next, writer, shard);
  }
}

void Client::SendPush(WriterId writer, uint32_t shard, bool with_pull) {
  Stream& stream = streams_[writer];
  Lane& lane = stream.lanes[shard];
  ::troupe::Push message = lane.held[lane.unsent++].message;
  LeaveKnownKeys(lane.known, message);
  message.lane = lane.network;
  ++lane.in_flight;
  const uint64_t generation = lane.generation;
  const Round round = message.round;
  const uint32_t chunk = message.chunk;
  const auto fault = [this, writer, shard, generation, round, chunk](const caf::error& error) {
    if (streams_[writer].lanes[shard].generation == generation) OnPushFault(writer, shard, round, chunk, FromError(error));
  };
  if (!with_pull) {
    self_->request(shards_[shard], caf::infinite, std::move(message))
        .then(
            [this, writer, shard, generation, round, chunk](const Pushed& pushed) {
              if (streams_[writer].lanes[shard].generation == generation) OnPushed(writer, shard, round, chunk, pushed);
            },
            fault);
    return;
  }
  Pulling& pulling = *NextPull(stream, shard);
  const size_t piece = pulling.lanes[shard].sent;
  self_->request(shards_[shard], caf::infinite, PushPull{std::move(message), PullMessage(stream, pulling, writer, shard), lane.network})
      .then(
          [this, writer, shard, generation, round, chunk, number = pulling.number, piece](const PushPulled& both) {
            if (streams_[writer].lanes[shard].generation != generation) return;
            OnPushed(writer, shard, round, chunk, both.pushed);
            // The lane has begun again where the push's answer, or the map in the pull's, wanted it.
            const bool same = streams_[writer].lanes[shard].generation == generation;
            if (same && both.pushed.outcome == Pushed::Outcome::kApplied) OnPulled(writer, shard, number, piece, both.pulled);
          },
          fault);
}

void Client::OnPushed(WriterId writer, uint32_t shard, Round round, uint32_t chunk, const Pushed& pushed) {
  Lane& lane = streams_[writer].lanes[shard];
  if (pushed.outcome == Pushed::Outcome::kMoved) {
    OnEpoch(writer, shard, pushed.epoch);
    return;
  }
  if (pushed.outcome == Pushed::Outcome::kExpect) {
    OnFault(writer, shard, absl::UnavailableError("the shard has lost pushes"));
    return;
  }
  lane.broken.Reset();
  if (pushed.outcome == Pushed::Outcome::kNeedKeys) {   // what it has is asked, and the rest goes out again: with all keys, for nothing is known there any more
    lane.live = false;
    lane.known.Clear();
    SendOpen(writer, shard);
    return;
  }
  if (lane.in_flight > 0) --lane.in_flight;
  for (size_t i = pushed.order == 0 ? 0 : lane.unsent; i-- > 0;) {   // from the back: it is among the last that went out
    if (lane.held[i].message.round != round || lane.held[i].message.chunk != chunk) continue;
    lane.held[i].message.order = pushed.order;
    break;
  }
  lane.clock = std::max(lane.clock, pushed.clock);
  lane.stable = std::max(lane.stable, pushed.stable);
  lane.closed = std::max(lane.closed, pushed.closed);
  ReleaseStable(lane);
  UpdateAcked(writer);
  Pump(writer, shard);
}

void Client::OnPulled(WriterId writer, uint32_t shard, PullNumber number, size_t piece, const Pulled& pulled) {
  Stream& stream = streams_[writer];
  Lane& lane = stream.lanes[shard];
  lane.broken.Reset();
  if (pulled.moved != 0) {
    OnEpoch(writer, shard, pulled.moved);
    return;
  }
  if (lane.pieces_in_flight > 0) --lane.pieces_in_flight;
  const auto found = std::ranges::find(stream.pulls, number, &Pulling::number);
  if (found == stream.pulls.end() || found->lanes[shard].over || piece >= found->lanes[shard].sent) {   // cancelled, or asked again
    Pump(writer, shard);
    return;
  }
  PullingLane& of = found->lanes[shard];
  if (pulled.needs_keys) {
    lane.known.Clear();
    of.sent = 0;
    Pump(writer, shard);
    return;
  }
  of.clock = std::min(of.clock, pulled.clock);
  const bool as_asked = found->pull == found->asked;
  const std::span<const Block> blocks = pulled.pieces.empty() ? std::span(&pulled.values, 1) : std::span(pulled.pieces);
  if (!as_asked || events_.piece == nullptr || !events_.piece(writer, number, shard, piece, blocks)) of.values[piece] = pulled.values;
  of.over = ++of.answered == of.values.size();
  Pump(writer, shard);
  if (!of.over || std::ranges::any_of(found->lanes, [](const PullingLane& other) { return !other.over; })) return;
  std::vector<Block> values;
  for (PullingLane& other : found->lanes)
    values.insert(values.end(), std::make_move_iterator(other.values.begin()), std::make_move_iterator(other.values.end()));
  Round all = UINT64_MAX;
  for (const PullingLane& other : found->lanes) all = std::min(all, other.clock);
  for (uint32_t i = 0; i < stream.lanes.size(); ++i) stream.lanes[i].pulled_clock = as_asked ? found->lanes[i].clock : all;
  if (!as_asked) {
    auto restored = AsAsked(writer, *found, values);
    if (!restored.ok()) {
      OnFault(writer, shard, restored.status());
      return;
    }
    values = std::move(*restored);
  }
  stream.pulls.erase(found);
  events_.pulled(writer, number, std::move(values));
}

absl::StatusOr<std::vector<Block>> Client::AsAsked(WriterId writer, const Pulling& pulling, std::span<const Block> values) const {
  TROUPE_TRY(std::vector<Block> restored, router_->Restore(*pulling.asked, *pulling.pull, values));
  size_t answer = 0;
  for (uint32_t shard = 0; events_.piece != nullptr && shard < pulling.asked->shards.size(); ++shard) {
    for (size_t message = 0; message < pulling.asked->shards[shard].messages(); ++message, ++answer) {
      if (events_.piece(writer, pulling.number, shard, message, {&restored[answer], 1})) restored[answer] = Block();
    }
  }
  return restored;
}

void Client::DropHeld(Lane& lane, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    held_bytes_ -= lane.held.front().bytes;
    lane.held.pop_front();
  }
  lane.unsent = lane.unsent > count ? lane.unsent - count : 0;
}

void Client::ReleaseStable(Lane& lane) {
  size_t count = 0;
  while (count < lane.unsent && lane.held[count].message.round <= lane.stable) ++count;
  // Beyond the limit what is answered is let go as well: whoever needs it again recomputes it.
  size_t bytes = held_bytes_;
  for (size_t i = 0; i < count; ++i) bytes -= lane.held[i].bytes;
  // All chunks of a round or none: half of one would be taken for the whole.
  while (count < lane.unsent && lane.held[count].message.round <= lane.clock &&
         (bytes > options_.held_bytes_max || (count > 0 && lane.held[count].message.round == lane.held[count - 1].message.round))) {
    bytes -= lane.held[count++].bytes;
  }
  DropHeld(lane, count);
}

void Client::UpdateAcked(WriterId writer) {
  Stream& stream = streams_[writer];
  const Round all = acked(writer);
  bool grown = false;
  while (!stream.rounds.empty() && stream.rounds.front() <= all) {
    stream.rounds.pop_front();
    grown = true;
  }
  if (grown) events_.acked(writer);
}

bool Client::ready(WriterId writer) const {
  const auto stream = streams_.find(writer);
  return stream != streams_.end() && stream->second.starting == 0;
}

Round Client::OfAll(WriterId writer, Round Lane::*of) const {
  const auto stream = streams_.find(writer);
  if (stream == streams_.end()) return 0;
  Round all = UINT64_MAX;
  for (const Lane& lane : stream->second.lanes) all = std::min(all, lane.*of);
  return all;
}

Round Client::acked(WriterId writer) const {
  return OfAll(writer, &Lane::clock);
}

Round Client::stable(WriterId writer) const {
  return OfAll(writer, &Lane::stable);
}

Round Client::pulled_clock(WriterId writer, uint32_t shard) const {
  return streams_.at(writer).lanes[shard].pulled_clock;
}

Round Client::closed(WriterId writer) const {
  return OfAll(writer, &Lane::closed);
}

Round Client::furthest(WriterId writer) const {
  const auto stream = streams_.find(writer);
  return stream == streams_.end() ? 0 : stream->second.furthest;
}

size_t Client::rounds_in_flight(WriterId writer) const {
  const auto stream = streams_.find(writer);
  return stream == streams_.end() ? 0 : stream->second.rounds.size();
}

void Client::Tick() {
  const auto now = self_->clock().now();
  std::vector<Retry> due;
  std::erase_if(retries_, [&](const Retry& retry) {
    if (retry.at > now) return false;
    due.push_back(retry);
    return true;
  });
  for (const Retry& retry : due) {
    if (streams_[retry.writer].lanes[retry.shard].generation == retry.generation) SendOpen(retry.writer, retry.shard);
  }
  if (now - checked_at_ < kCheckInterval) return;
  checked_at_ = now;
  const bool all = ++checks_ % kChecksOfAll == 0;   // also what was stable may be lost, where all that had it are
  for (auto& [writer, stream] : streams_) {
    for (uint32_t shard = 0; shard < stream.lanes.size() && stream.starting == 0; ++shard) {
      const Lane& lane = stream.lanes[shard];
      if (all || lane.pieces_in_flight > 0 || lane.stable < lane.clock) CheckIdle(writer, shard);
    }
  }
}

}   // namespace troupe
