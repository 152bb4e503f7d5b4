// A shard whose table has limits: time is its rounds, snapshots hold what lies on the disk, and a full disk refuses pushes without losing any.
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <memory>
#include <set>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/router.h"
#include "ps/shard.h"
#include "tests/support/faulty_tier.h"

namespace troupe {
namespace {

using testing::FaultyTiers;
using testing::TierFaults;

constexpr Consistency kBsp{}, kAsp{.kind = Consistency::Kind::kAsp};
constexpr uint32_t kWriters = 2;
const RowLimits kLimits{.admit_after = 2, .ttl = 30, .rows_max = 100'000, .memory_max = 1 << 20};

std::vector<TableSpec> Tables(RowLimits limits) {
  return {{.name = "w", .width = 2, .rows = {}, .rule = "adagrad", .rule_options = {}, .ranges = 8, .limits = limits}};
}
Shard Make(const Consistency& consistency, RowLimits limits, std::shared_ptr<TierFaults> faults = std::make_shared<TierFaults>()) {
  auto shard = Shard::Make({.tables = Tables(limits), .writers = kWriters, .consistency = consistency, .tiers = FaultyTiers(std::move(faults))});
  BOOST_REQUIRE_MESSAGE(shard.ok(), shard.status().ToString());
  return std::move(*shard);
}
std::string Bytes(const Shard& shard) {
  std::string bytes;
  for (const SnapshotSection& section : shard.Save()) bytes.append(reinterpret_cast<const char*>(section.bytes.data()), section.bytes.size());
  return bytes;
}

/// One writer's batches, each some thousand random keys, numbered as the client numbers them.
class Writer {
 public:
  Writer(uint32_t writer, uint64_t keys) : router_(Tables({}), 1), writer_(writer), keys_(keys), last_(router_.slots()) {}
  Push Next() {
    const Round round = MakeRound(1, ++ordinal_);
    Random random = Random(ordinal_).Fork(writer_);
    TablePush push{.table = 0, .keys = {}, .values = {}, .nonzeros = {}};
    std::set<Key> keys;
    for (int i = 0; i < 3000; ++i) keys.insert(random.Below(keys_));
    for (const Key key : keys) {
      push.keys.push_back(key * 0x9e3779b97f4a7c15ULL);
      push.nonzeros.push_back(1);
      for (int i = 0; i < 2; ++i) push.values.push_back(static_cast<float>(random.Normal()));
    }
    RoutedPush routed = router_.Push({push});
    BOOST_REQUIRE(routed.shards[0].size() == 1U);
    RoutedPush::Chunk& chunk = routed.shards[0][0];
    for (PushPart& part : chunk.parts) {
      part.sequence = round << 8;
      part.previous = std::exchange(last_[router_.Slot(part.table, part.range)], part.sequence);
    }
    return {.writer = WriterId{writer_},
            .round = round,
            .previous = std::exchange(done_, round),
            .parts = Block::Adopt(std::move(chunk.parts)),
            .keys = std::move(chunk.keys),
            .values = std::move(chunk.values)};
  }

 private:
  const Router router_;
  const uint32_t writer_;
  const uint64_t keys_;
  std::vector<Sequence> last_;
  uint64_t ordinal_ = 0;
  Round done_ = kFirstRound;
};

void Send(Shard& shard, const Push& push) {
  const auto pushed = shard.OnPush(push);
  BOOST_REQUIRE_MESSAGE(pushed.ok(), pushed.status().ToString());
  BOOST_REQUIRE(pushed->outcome == Pushed::Outcome::kApplied);
}

BOOST_AUTO_TEST_SUITE(LimitedShardTest)

BOOST_AUTO_TEST_CASE(a_shard_that_falls_goes_on_from_its_snapshot_as_if_it_had_not) {
  for (const Consistency& consistency : {kBsp, kAsp}) {
    Shard whole = Make(consistency, kLimits), falling = Make(consistency, kLimits);
    std::vector<Push> pushes;
    {
      Writer one(0, 120'000), other(1, 120'000);
      for (int i = 0; i < 120; ++i) pushes.push_back(i % 2 == 0 ? one.Next() : other.Next());
    }
    std::vector<SnapshotSection> saved;
    for (size_t i = 0; i < 80; ++i) {
      Send(whole, pushes[i]);
      Send(falling, pushes[i]);
      if (i == 59) saved = falling.Save();   // all that this round needs has come
    }
    BOOST_TEST(falling.tables()[0].spilled() > 0U);
    BOOST_TEST(falling.tables()[0].dropped() > 0U);
    Shard again = Make(consistency, kLimits);
    BOOST_REQUIRE(again.Load(saved).ok());
    BOOST_TEST(again.tables()[0].bytes() <= kLimits.memory_max);
    for (size_t i = 40; i < 120; ++i) Send(again, pushes[i]);   // some of them it has
    for (size_t i = 80; i < 120; ++i) Send(whole, pushes[i]);
    BOOST_TEST(again.tables()[0].evicted() > 0U);
    BOOST_TEST((Bytes(again) == Bytes(whole)));
    BOOST_TEST(again.nonzeros() == whole.nonzeros());
  }
}

BOOST_AUTO_TEST_CASE(a_full_disk_refuses_a_push_that_is_then_applied_once) {
  auto faults = std::make_shared<TierFaults>();
  Shard shard = Make(kAsp, {.memory_max = 1 << 20}, faults), plain = Make(kAsp, {});
  Writer writer(0, 10'000'000);
  absl::Status refused;
  Push push;
  faults->rows_left = 10'000;
  for (int i = 0; i < 40 && refused.ok(); ++i) {
    push = writer.Next();
    refused = shard.OnPush(push).status();
    if (refused.ok()) Send(plain, push);
  }
  BOOST_TEST(absl::IsResourceExhausted(refused));
  BOOST_TEST(Message(refused).starts_with("push of writer 0: table 'w': no new rows are taken, "), Message(refused));
  const auto values = [](const Shard& of) {
    std::string bytes;
    for (uint32_t range = 0; range < 8; ++range) {
      of.tables()[0].Visit(range, [&](Key key, const float* row) {
        bytes.append(reinterpret_cast<const char*>(&key), sizeof key);
        bytes.append(reinterpret_cast<const char*>(row), 4 * sizeof(float));
      });
    }
    return bytes;
  };
  BOOST_TEST((values(shard) == values(plain)));
  BOOST_TEST(shard.nonzeros() == plain.nonzeros());
  BOOST_TEST(absl::IsResourceExhausted(shard.OnPush(push).status()));
  BOOST_TEST(!shard.Save().empty());   // what it has can still be saved
  BOOST_TEST(shard.usable().ok());
  faults->rows_left = UINT64_MAX;
  for (int twice = 0; twice < 2; ++twice) Send(shard, push);
  Send(plain, push);
  BOOST_TEST((values(shard) == values(plain)));
  BOOST_TEST(shard.nonzeros() == plain.nonzeros());
}

BOOST_AUTO_TEST_CASE(a_disk_that_has_lost_rows_ends_the_shard_before_anything_false_is_kept) {
  for (const Consistency& consistency : {kBsp, kAsp}) {
    auto faults = std::make_shared<TierFaults>();
    Shard shard = Make(consistency, {.memory_max = 1 << 20}, faults);
    Writer one(0, 100'000), other(1, 100'000);
    for (int i = 0; i < 30; ++i) {
      Send(shard, one.Next());
      Send(shard, other.Next());
    }
    BOOST_TEST(shard.tables()[0].spilled() > 0U);
    faults->unreadable = true;
    const Push next = one.Next(), last = other.Next();
    static_cast<void>(shard.OnPush(next));
    static_cast<void>(shard.OnPush(last));   // under BSP it completes the round
    BOOST_TEST(absl::IsDataLoss(shard.usable()));
    BOOST_TEST(absl::IsDataLoss(shard.OnPush(one.Next()).status()));
    const Key key = 1;
    const PullPart part{.table = 0, .range = shard.tables()[0].partition().RangeOf(key), .first = 0, .count = 1, .dense = 0};
    BOOST_TEST(absl::IsDataLoss(
        shard.OnPull({.writer = WriterId{0}, .round = 1, .parts = Block::Copy(&part, sizeof part), .keys = Block::Copy(&key, sizeof key)}).status()));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
