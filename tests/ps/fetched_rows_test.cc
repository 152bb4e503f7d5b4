// What a set of tables has at its own end, against a table that everybody changes: no pull may see less than its own changes, whatever was on its way.
#include "ps/fetched_rows.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <numeric>

#include "actors/random.h"

namespace troupe {
namespace {

using Time = FetchedRows::Time;
constexpr Time kStaleness{100};

std::vector<uint32_t> Positions(std::vector<uint32_t> positions) {
  return positions;
}

struct Fixture {
  FetchedRows rows{1, 100'000, kStaleness};
  std::vector<Key> fetch;
  /// A fetch of one key, whole.
  void Bring(Key key, Time now, float value) {
    const FetchedRows::Fetch number = rows.Begin(std::vector<Key>{key}, now);
    rows.Put(number, key, &value);
    rows.End(number, std::vector<Key>{key});
  }
  FetchedRows::Missing Pull(Key key, Time now, float* value) { return rows.Pull(std::vector<Key>{key}, now, value); }
};

BOOST_AUTO_TEST_SUITE(FetchedRowsTest)

BOOST_AUTO_TEST_CASE(what_is_intended_is_fetched_once_and_serves_until_it_is_old) {
  Fixture f;
  BOOST_TEST(f.rows.Intend(std::vector<Key>{1, 2}, Time(1'000), f.fetch).ok());
  BOOST_TEST(f.fetch == (std::vector<Key>{1, 2}), boost::test_tools::per_element());
  const FetchedRows::Fetch number = f.rows.Begin(f.fetch, Time(1'000));
  std::vector<Key> again;
  BOOST_TEST(f.rows.Intend(std::vector<Key>{2}, Time(1'010), again).ok());
  BOOST_TEST(again.empty());   // on its way
  float values[2] = {0, 0};
  const FetchedRows::Missing missing = f.rows.Pull(std::vector<Key>{3, 2}, Time(1'020), values);
  BOOST_TEST(missing.ask == Positions({0}), boost::test_tools::per_element());
  BOOST_TEST(missing.wait == Positions({1}), boost::test_tools::per_element());
  BOOST_REQUIRE(missing.fetches == (std::vector<FetchedRows::Fetch>{number}));
  BOOST_TEST(!f.rows.Over(number));
  const float one = 10, two = 20;
  f.rows.Put(number, 1, &one);
  f.rows.Put(number, 2, &two);
  f.rows.End(number, f.fetch);
  BOOST_TEST(f.rows.Over(number));
  BOOST_TEST(f.rows.Read(std::vector<Key>{3, 2}, missing.wait, Time(1'030), values).empty());
  BOOST_TEST(values[1] == 20);
  BOOST_TEST(f.Pull(1, Time(1'100), values).ask.empty());   // 100 after its fetch began
  BOOST_TEST(values[0] == 10);
  BOOST_TEST(f.Pull(1, Time(1'101), values).ask == Positions({0}), boost::test_tools::per_element());
  BOOST_TEST(f.rows.Read(std::vector<Key>{1}, std::vector<uint32_t>{0}, Time(1'101), values) == Positions({0}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_cold_key_that_nobody_intends_gets_no_copy_and_a_hot_one_does) {
  Fixture f;
  float value = 0;
  for (int pull = 1; pull <= 5; ++pull) {
    const bool asked = !f.Pull(7, Time(1'000), &value).ask.empty();
    BOOST_TEST(asked == (pull <= 4));   // the fourth shows that it is hot
    if (asked) f.Bring(7, Time(1'000), 3);
    BOOST_TEST(f.rows.rows() == (pull < 4 ? 0u : 1u));
  }
  BOOST_TEST(value == 3);
}

BOOST_AUTO_TEST_CASE(a_change_ends_copies_and_what_is_on_its_way_and_wanted_rows_are_fetched_anew) {
  Fixture f;
  float value = 0;
  BOOST_REQUIRE(f.rows.Intend(std::vector<Key>{1, 2}, Time(1'000), f.fetch).ok());
  const FetchedRows::Fetch before = f.rows.Begin(f.fetch, Time(1'000));
  BOOST_TEST(f.rows.Change(std::vector<Key>{2, 9}, Time(1'001)) == (std::vector<Key>{2}), boost::test_tools::per_element());
  const FetchedRows::Fetch after = f.rows.Begin(std::vector<Key>{2}, Time(1'001));
  const float old = 1, now = 2;
  f.rows.Put(after, 2, &now);
  f.rows.End(after, std::vector<Key>{2});
  f.rows.Put(before, 1, &old);
  f.rows.Put(before, 2, &old);   // comes late
  f.rows.End(before, f.fetch);
  BOOST_TEST(f.Pull(2, Time(1'010), &value).ask.empty());
  BOOST_TEST(value == 2);
  BOOST_TEST(f.rows.Change(std::vector<Key>{2}, Time(1'011)).empty());   // pulled, and not hot
  BOOST_TEST(f.Pull(2, Time(1'012), &value).ask.size() == 1u);
  BOOST_TEST(f.rows.Change(std::vector<Key>{1}, Time(1'101)).empty());   // nobody has come for it in time
  BOOST_TEST(f.rows.rows() == 0u);
}

BOOST_AUTO_TEST_CASE(a_row_that_two_pulls_intend_is_fetched_anew_between_them) {
  Fixture f;
  float value = 0;
  for (int i = 0; i < 2; ++i) BOOST_REQUIRE(f.rows.Intend(std::vector<Key>{1}, Time(1'000), f.fetch).ok());
  f.Bring(1, Time(1'000), 1);
  BOOST_TEST(f.Pull(1, Time(1'000), &value).ask.empty());
  BOOST_TEST(f.rows.Change(std::vector<Key>{1}, Time(1'010)).size() == 1u);
  f.Bring(1, Time(1'010), 2);
  BOOST_TEST(f.Pull(1, Time(1'010), &value).ask.empty());
  BOOST_TEST(value == 2);
  BOOST_TEST(f.rows.Change(std::vector<Key>{1}, Time(1'011)).empty());
}

BOOST_AUTO_TEST_CASE(a_change_of_all_rows_leaves_the_wanted_ones_to_be_fetched) {
  Fixture f;
  float value = 0;
  for (const Key key : {1, 2, 3}) {
    BOOST_REQUIRE(f.rows.Intend(std::vector<Key>{key}, Time(1'000), f.fetch).ok());
    f.Bring(key, Time(1'000), 1);
  }
  BOOST_TEST(f.Pull(2, Time(1'000), &value).ask.empty());
  std::vector<Key> again = f.rows.ChangeAll(Time(1'050));
  std::ranges::sort(again);
  BOOST_TEST(again == (std::vector<Key>{1, 3}), boost::test_tools::per_element());
  BOOST_TEST(f.rows.rows() == 0u);
}

BOOST_AUTO_TEST_CASE(a_fetch_that_fails_leaves_its_rows_to_be_asked_for) {
  Fixture f;
  float value = 0;
  BOOST_REQUIRE(f.rows.Intend(std::vector<Key>{1}, Time(1'000), f.fetch).ok());
  const FetchedRows::Fetch number = f.rows.Begin(f.fetch, Time(1'000));
  BOOST_TEST(f.Pull(1, Time(1'000), &value).wait.size() == 1u);
  f.rows.End(number, f.fetch);
  BOOST_TEST(f.rows.Over(number));
  BOOST_TEST(f.rows.Read(std::vector<Key>{1}, std::vector<uint32_t>{0}, Time(1'000), &value).size() == 1u);
  BOOST_TEST(f.Pull(1, Time(1'000), &value).ask.size() == 1u);
}

BOOST_AUTO_TEST_CASE(intents_beyond_the_room_are_refused_whole_until_old_ones_have_passed) {
  FetchedRows rows(1, 10 * Replicas(1, 0).RowBytes(), kStaleness);
  std::vector<Key> keys(10), fetch;
  std::iota(keys.begin(), keys.end(), Key{1});
  BOOST_REQUIRE(rows.Intend(keys, Time(1'000), fetch).ok());
  const FetchedRows::Fetch number = rows.Begin(fetch, Time(1'000));
  std::vector<Key> more;
  const absl::Status refused = rows.Intend(std::vector<Key>{50}, Time(1'200), more);
  BOOST_TEST(absl::IsResourceExhausted(refused));   // they are on their way still
  BOOST_TEST(refused.message() == "1 rows are intended and 10 wanted already, expected at most 10: those that there is room for");
  rows.End(number, fetch);
  BOOST_TEST(absl::IsResourceExhausted(rows.Intend(std::vector<Key>{50}, Time(1'100), more)));
  BOOST_TEST(more.empty());
  BOOST_TEST(rows.Intend(std::vector<Key>{50}, Time(1'101), more).ok());
  BOOST_TEST(more == (std::vector<Key>{50}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(no_pull_sees_less_than_what_was_changed_before_it) {
  // The table is a counter a key. Requests read it between their beginning and their end, in any order; every pull must see all changes before it, and nothing
  // that is older than the bound.
  constexpr Key kKeys = 6;
  uint64_t copied = 0, again = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    FetchedRows rows(1, (1 + random.Below(8)) * Replicas(1, 0).RowBytes(), kStaleness);
    std::map<Key, float> table;                               // as the shards have it
    std::map<Key, std::vector<std::pair<Time, float>>> was;   // what others made of it, and when
    struct Request {
      FetchedRows::Fetch number;
      std::vector<Key> keys;
      std::map<Key, float> read;
    };
    std::vector<Request> requests;
    Time now(10'000);
    const auto begin = [&](std::vector<Key> keys) {
      if (!keys.empty()) requests.push_back({rows.Begin(keys, now), keys, {}});
    };
    for (int step = 0; step < 1'000; ++step) {
      now += Time(random.Below(5));
      std::vector<Key> keys;
      for (Key key = 0; key < kKeys; ++key)
        if (random.Below(3) == 0) keys.push_back(key);
      const uint64_t what = random.Below(6);
      if (what == 0) {
        for (const Key key : keys) table[key] += 1;
        const std::vector<Key> wanted = rows.Change(keys, now);
        again += wanted.size();
        begin(wanted);
        for (const Key key : keys) was[key].clear();   // from here on all must see it
      } else if (what == 1) {
        std::vector<Key> fetch;
        if (rows.Intend(keys, now, fetch).ok()) begin(fetch);
      } else if (what == 2) {   // somebody else changes
        for (const Key key : keys) {
          was[key].emplace_back(now, table[key]);
          table[key] += 1000;
        }
      } else if (what == 3 && !requests.empty()) {   // a shard reads
        Request& request = requests[random.Below(requests.size())];
        for (const Key key : request.keys) request.read.try_emplace(key, table[key]);
      } else if (what == 4 && !requests.empty()) {   // and its answer comes
        const auto request = requests.begin() + static_cast<std::ptrdiff_t>(random.Below(requests.size()));
        for (const auto& [key, value] : request->read) rows.Put(request->number, key, &value);
        rows.End(request->number, request->keys);
        requests.erase(request);
      } else {
        std::vector<float> values(keys.size(), -1);
        const FetchedRows::Missing missing = rows.Pull(keys, now, values.data());
        for (size_t i = 0; i < keys.size(); ++i) {
          if (std::ranges::count(missing.ask, i) + std::ranges::count(missing.wait, i) > 0) continue;
          ++copied;
          float least = table[keys[i]];
          for (const auto& [time, value] : was[keys[i]])
            if (time >= now - kStaleness) least = std::min(least, value);
          BOOST_REQUIRE_MESSAGE(values[i] >= least && values[i] <= table[keys[i]], "seed " << seed << ", step " << step << ", key " << keys[i] << ": "
                                                                                           << values[i] << ", expected " << least << " .. " << table[keys[i]]);
        }
        if (random.Below(2) == 0) {
          std::vector<Key> asked;
          for (const uint32_t i : missing.ask) asked.push_back(keys[i]);
          begin(asked);
        }
      }
    }
  }
  BOOST_TEST(copied > 1'000u);
  BOOST_TEST(again > 1'000u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
