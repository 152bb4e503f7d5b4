// Any bytes as a message of every type: refused as InvalidArgument, or decoded and encoded again as a message that decodes to the same bytes. What a shard is
// sent is also given to one, which must refuse it or take it.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "actors/spawner_actor.h"
#include "algorithms/run/wire.h"
#include "ps/call.h"
#include "ps/encoding/packing.h"
#include "ps/group/wire.h"
#include "ps/named_table/wire.h"
#include "ps/shard.h"
#include "ps/wire.h"

namespace troupe {
namespace {

bool Same(const Block& a, const Block& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

template <class Message>
std::optional<Message> Decoded(const Frame& frame) {
  auto message = Codec<Message>::Decode(frame);
  if (!message.ok()) {
    if (!absl::IsInvalidArgument(message.status())) std::abort();
    return std::nullopt;
  }
  const Frame once = Codec<Message>::Encode(*message);
  const auto again = Codec<Message>::Decode(once);
  if (!again.ok()) std::abort();
  const Frame twice = Codec<Message>::Encode(*again);
  if (!Same(once.head, twice.head) || once.bulk.size() != twice.bulk.size()) std::abort();
  for (size_t i = 0; i < once.bulk.size(); ++i) {
    if (!Same(once.bulk[i], twice.bulk[i])) std::abort();
  }
  return std::move(*message);
}

void Check(const absl::Status& status) {
  if (!status.ok() && !absl::IsInvalidArgument(status)) std::abort();
}

Shard SmallShard() {
  TableSpec sparse, dense;
  sparse.name = "sparse";
  sparse.ranges = 1;
  dense.name = "dense";
  dense.rows = 4;
  dense.ranges = 1;
  return std::move(
      *Shard::Make({.tables = {sparse, dense}, .shard = 0, .shards = 1, .writers = 2, .consistency = Consistency{.kind = Consistency::Kind::kAsp}}));
}

/// The arrays as packed ones, with a packing made of the fuzzer's bytes: refused, or a message that is packed and unpacked to the same.
template <class Message>
std::optional<Message> Unpacked(const Frame& frame, const uint8_t* data, size_t size) {
  const auto byte = [&](size_t i) -> uint8_t { return i < size ? data[size - 1 - i] : 0; };
  Packed packed{frame.bulk[0], frame.bulk[1], frame.bulk.size() > 2 ? frame.bulk[2] : Block(), {}};
  for (size_t i = 0; i < byte(0) % 4u; ++i) packed.packing.ranges.push_back(byte(1 + i) % 8 == 7 ? 1u << 30 : byte(1 + i) % 8);
  for (size_t i = 0; i < byte(4) % 4u; ++i) packed.packing.values.push_back({static_cast<ValueCode>(byte(5 + 2 * i) % 6), 0.5F, byte(6 + 2 * i)});
  Message message;
  if (const absl::Status status = Unpack(packed, message); !status.ok()) {
    if (!absl::IsInvalidArgument(status)) std::abort();
    return std::nullopt;
  }
  Message again;
  const Packed once = Pack(message);
  if (!Unpack(once, again).ok()) std::abort();
  if (!Same(again.parts, message.parts) || !Same(again.keys, message.keys)) std::abort();
  return message;
}

/// The first byte chooses the type; the next four are a quarter of the length of each array and of the head; then these follow.
Frame FrameOf(const uint8_t* data, size_t size) {
  Frame frame;
  size_t at = std::min<size_t>(size, 6);
  const auto take = [&](size_t bytes) {
    bytes = std::min(bytes, size - at);
    Block block = Block::Copy(data + at, bytes);
    at += bytes;
    return block;
  };
  const size_t arrays = size > 1 ? data[1] % 7 : 0;
  for (size_t i = 0; i < arrays; ++i) frame.bulk.push_back(take(4 * size_t{2 + i < 6 && 2 + i < size ? data[2 + i] % 32 : 0u}));
  frame.head = take(size);
  return frame;
}

}   // namespace
}   // namespace troupe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  if (size == 0) return 0;
  const Frame frame = FrameOf(data, size);
  switch (data[0] % 41) {
    case 0: {
      // Also without a head that fits: the arrays are what a shard has to check.
      Push push;
      if (auto decoded = Decoded<Push>(frame)) push = *decoded;
      if (frame.bulk.size() >= 3) {
        push.parts = frame.bulk[0];
        push.keys = frame.bulk[1];
        push.values = frame.bulk[2];
        push.round = MakeRound(1, 1);
        push.previous = kFirstRound;
        push.writer = WriterId{0};
      }
      push.after = 0;   // else it may be one that is only too early
      Shard shard = SmallShard();
      Check(shard.OnPush(push).status());
      break;
    }
    case 1: {
      Pull pull;
      if (auto decoded = Decoded<Pull>(frame)) pull = *decoded;
      if (frame.bulk.size() >= 2) {
        pull.parts = frame.bulk[0];
        pull.keys = frame.bulk[1];
      }
      Shard shard = SmallShard();
      uint64_t rows = 0;   // a pull of many rows is allowed; it only takes long
      if (pull.parts.IsArrayOf<PullPart>()) {
        for (const PullPart& part : pull.parts.As<PullPart>()) rows += part.count;
      }
      if (rows < 1 << 16) Check(shard.OnPull(pull).status());
      break;
    }
    case 2:
      Decoded<Pushed>(frame);
      break;
    case 3:
      Decoded<Pulled>(frame);
      break;
    case 4:
      Decoded<PushPull>(frame);
      break;
    case 5:
      Decoded<PushPulled>(frame);
      break;
    case 6:
      if (const auto open = Decoded<Open>(frame)) Check(SmallShard().OnOpen(*open).status());
      break;
    case 7:
      Decoded<Opened>(frame);
      break;
    case 8:
      if (const auto assign = Decoded<Assign>(frame)) Check(SmallShard().OnAssign(*assign));
      break;
    case 9:
      Decoded<Assigned>(frame);
      break;
    case 10:
      Decoded<TakeSnapshot>(frame);
      break;
    case 11:
      Decoded<SnapshotTaken>(frame);
      break;
    case 12:
      Decoded<SaveRows>(frame);
      break;
    case 13:
      Decoded<RowsSaved>(frame);
      break;
    case 14:
      Decoded<RunPhase>(frame);
      break;
    case 15:
      Decoded<PhaseReport>(frame);
      break;
    case 16:
      Decoded<Spawn>(frame);
      break;
    case 17:
      Decoded<Spawned>(frame);
      break;
    case 18:
      Check(DecodeShardJob(frame.head).status());
      break;
    case 19:
      Check(DecodeWorkerJob(frame.head).status());
      break;
    case 20:
      if (frame.bulk.size() >= 3) {
        if (auto push = Unpacked<Push>(frame, data, size)) {
          push->writer = WriterId{0};
          push->round = MakeRound(1, 1);
          push->previous = kFirstRound;
          Shard shard = SmallShard();
          Check(shard.OnPush(*push).status());
        }
      }
      break;
    case 21:
      if (frame.bulk.size() >= 2) Unpacked<Pull>(frame, data, size);
      break;
    case 22: {
      // What decodes is often no function of ours: its arguments are also given to one.
      Shard shard = SmallShard();
      auto call = Decoded<Call>(frame);
      for (const char* name : {"", "norm", "dot", "top_k", "sum", "apply", "histogram_merge", "split_search", "diff"}) {
        if (!call) break;
        if (*name != 0) call->call.function = name;
        const absl::Status started = shard.StartCall(*call).status();
        if (call->view == 0 || !absl::IsNotFound(started)) Check(started);
      }
      for (const Assign& assign : call ? call->assigned : std::vector<Assign>()) Check(shard.OnAssign(assign));
      break;
    }
    case 23: {
      // Also without a head: the arrays are what has to be checked.
      std::optional<Called> called = Decoded<Called>(frame);
      if (!called && frame.bulk.size() >= 3) called = Called{frame.bulk[0], frame.bulk[1], frame.bulk[2], 0};
      const std::vector<TableSpec> tables = SmallShard().options().tables;
      for (uint32_t table = 0; called && table < 2; ++table) {
        for (const char* name : {"norm", "sum"}) Check(MergeCalled({.function = name, .tables = {table}}, tables, {&*called, 1}).status());
        Check(MergeCalled({.function = "top_k", .tables = {table}, .numbers = {{"k", {3}}}}, tables, {&*called, 1}).status());
      }
      break;
    }
    case 24:
      if (const auto prepare = Decoded<Prepare>(frame); prepare && prepare->cut != 0 && !SmallShard().OnPrepare(*prepare).ok()) std::abort();
      break;
    case 25:
      if (auto prepared = Decoded<Prepared>(frame)) Check(CutOf(std::vector{*prepared, *prepared}).status());
      break;
    case 26: {
      Freeze freeze;
      if (auto decoded = Decoded<Freeze>(frame)) freeze = *decoded;
      if (!frame.bulk.empty()) freeze.clocks = frame.bulk[0];
      if (freeze.cut == 0) freeze.cut = 1;
      Shard shard = SmallShard();
      Check(shard.OnPrepare({.cut = freeze.cut}).status());
      Check(shard.OnFreeze(freeze));
      shard.MakeView(freeze.cut);
      break;
    }
    case 27:
      Decoded<Frozen>(frame);
      break;
    case 28:
      Decoded<Release>(frame);
      break;
    case 29:
      Decoded<Released>(frame);
      break;
    case 30:
      if (const auto message = Decoded<ReduceMessage>(frame)) {
        AllReduce member = *AllReduce::Make({.topology = KeptBy::kTree, .member = 1, .members = 4, .floats = 4});
        std::vector<AllReduce::Outgoing> out;
        Check(member.Receive(*message, out));
        Check(member.Contribute(nullptr, {}, out));
      }
      break;
    case 31:
      Decoded<ReduceTaken>(frame);
      break;
    case 32:
      if (const auto assign = Decoded<AssignCopy>(frame)) Check(SmallShard().OnAssign(assign->assign));
      break;
    case 33:
      if (const auto greeting = Decoded<Greeting>(frame)) {
        GroupView view = *GroupView::Make(1, 3, 1);
        Check(view.Hear(*greeting).status());
      }
      break;
    case 34:
      Decoded<FetchState>(frame);
      break;
    case 35:
      Decoded<StatePiece>(frame);
      break;
    case 36:
      Decoded<AskRanges>(frame);
      if (const auto ranges = Decoded<Ranges>(frame)) Check(RangeMap::Decode(SmallShard().options().tables, 1, ranges->map).status());
      break;
    case 37: {
      Stand stand;
      if (auto decoded = Decoded<Stand>(frame)) stand = *decoded;
      if (!frame.bulk.empty()) stand.clocks = frame.bulk[0];
      if (frame.bulk.size() > 1) stand.map = frame.bulk[1];
      if (stand.cut == 0) stand.cut = 1;
      Shard shard = SmallShard();
      Check(shard.OnPrepare({.cut = stand.cut}).status());
      Check(shard.OnStand(stand));
      break;
    }
    case 38:
      Decoded<TakeIn>(frame);
      if (const auto settle = Decoded<Settle>(frame)) {
        Shard shard = SmallShard();
        Check(shard.OnSettle(*settle));
      }
      break;
    case 39:
      Decoded<Standing>(frame);
      Decoded<TakenIn>(frame);
      Decoded<Settled>(frame);
      break;
    case 40:
      Decoded<OpenTable>(frame);
      Decoded<CloseTable>(frame);
      Decoded<DropTable>(frame);
      if (const auto opened = Decoded<TableOpened>(frame)) Check(DecodeShardJob(opened->shard).status());
      break;
    default:
      break;
  }
  return 0;
}
