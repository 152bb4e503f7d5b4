// Tiers in memory and on disk do the same, and disks leave nothing behind.
#include "ps/row_tier.h"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>

#include "actors/text.h"
#include "ps/disk_tier.h"

namespace troupe {
namespace {

constexpr size_t kRowBytes = 20;

std::string Folder(const char* name) {
  return (std::filesystem::temp_directory_path() / ("troupe-tier-test-" + std::to_string(getpid()) + "-" + name)).string();
}
TierRequest Request() {
  return {.table = "w", .row_bytes = kRowBytes, .memory_max = 256 << 10};
}
std::vector<std::byte> Rows(size_t n, unsigned seed) {
  std::vector<std::byte> rows(n * kRowBytes);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::byte>(seed + i * 7);
  return rows;
}
std::unique_ptr<RowTier> Made(const TierFactory& tiers) {
  auto tier = tiers(Request());
  BOOST_REQUIRE_MESSAGE(tier.ok(), tier.status().ToString());
  return std::move(*tier);
}

BOOST_AUTO_TEST_SUITE(RowTierTest)

BOOST_AUTO_TEST_CASE(both_kinds_do_what_a_map_does) {
  const std::string folder = Folder("map");
  for (const TierFactory& tiers : {MemoryTiers(), DiskTiers(folder)}) {
    const std::unique_ptr<RowTier> tier = Made(tiers);
    std::map<std::pair<uint32_t, Key>, std::vector<std::byte>> expected;
    std::mt19937_64 random(5);
    const auto any_key = [&] { return std::array<Key, 5>{0, ~Key{0}, random() % 50, Key{1} << 63 | random() % 50, random() << 8}[random() % 5]; };
    for (unsigned step = 0; step < 2000; ++step) {
      const auto range = static_cast<uint32_t>(random() % 3 * 255);   // 255, 510: the order of bytes matters
      std::vector<Key> keys(random() % 40);
      for (Key& key : keys) key = any_key();
      const std::vector<std::byte> rows = Rows(keys.size(), step);
      switch (random() % 8) {
        case 0:
          BOOST_REQUIRE(tier->Erase(range, keys).ok());
          for (const Key key : keys) expected.erase({range, key});
          break;
        case 1:
          if (random() % 20 != 0) break;
          BOOST_REQUIRE(tier->Clear(range).ok());
          std::erase_if(expected, [&](const auto& entry) { return entry.first.first == range; });
          break;
        case 2: {
          std::vector<TierKey> wanted;
          for (const Key key : keys) wanted.push_back({static_cast<uint32_t>(random() % 3 * 255), key});
          std::vector<std::byte> got(wanted.size() * kRowBytes);
          const auto found = std::make_unique<bool[]>(wanted.size());
          BOOST_REQUIRE(tier->Get(wanted, got.data(), found.get()).ok());
          for (size_t i = 0; i < wanted.size(); ++i) {
            const auto row = expected.find({wanted[i].range, wanted[i].key});
            BOOST_REQUIRE_EQUAL(found[i], row != expected.end());
            if (found[i]) BOOST_REQUIRE(std::memcmp(got.data() + i * kRowBytes, row->second.data(), kRowBytes) == 0);
          }
          break;
        }
        case 3: {
          const Key from = any_key();
          const size_t n = 1 + random() % 30;
          std::vector<Key> got;
          std::vector<std::byte> got_rows;
          BOOST_REQUIRE(tier->Scan(range, from, n, &got, &got_rows).ok());
          auto row = expected.lower_bound({range, from});
          size_t i = 0;
          for (; i < n && row != expected.end() && row->first.first == range; ++i, ++row) {
            BOOST_REQUIRE(i < got.size());
            BOOST_REQUIRE_EQUAL(got[i], row->first.second);
            BOOST_REQUIRE(std::memcmp(got_rows.data() + i * kRowBytes, row->second.data(), kRowBytes) == 0);
          }
          BOOST_REQUIRE_EQUAL(got.size(), i);
          break;
        }
        default:
          BOOST_REQUIRE(tier->Put(range, keys, rows.data()).ok());
          for (size_t i = 0; i < keys.size(); ++i) {
            const auto* row = rows.data() + i * kRowBytes;
            expected[{range, keys[i]}].assign(row, row + kRowBytes);
          }
      }
    }
  }
  BOOST_TEST(!std::filesystem::exists(folder));
}

BOOST_AUTO_TEST_CASE(a_disks_memory_is_bounded_however_much_it_holds) {
  const std::string folder = Folder("bounded");
  const std::unique_ptr<RowTier> tier = Made(DiskTiers(folder));
  constexpr size_t kRows = 4000;
  std::vector<Key> keys(kRows);
  for (unsigned batch = 0; batch < 40; ++batch) {   // 3 MB
    for (size_t i = 0; i < kRows; ++i) keys[i] = batch + i * 100;
    BOOST_REQUIRE(tier->Put(0, keys, Rows(kRows, batch).data()).ok());
    std::vector<TierKey> wanted;
    for (size_t i = 0; i < kRows; i += 10) wanted.push_back({0, keys[i]});
    std::vector<std::byte> rows(wanted.size() * kRowBytes);
    const auto found = std::make_unique<bool[]>(wanted.size());
    BOOST_REQUIRE(tier->Get(wanted, rows.data(), found.get()).ok());
    BOOST_TEST(tier->bytes() <= 2 * Request().memory_max);
  }
}

BOOST_AUTO_TEST_CASE(what_an_earlier_one_left_is_gone_and_nothing_is_left) {
  const std::string folder = Folder("left");
  std::filesystem::create_directories(folder + "/table-0");
  std::ofstream(folder + "/table-0/CURRENT") << "what a killed process left";
  {
    const TierFactory tiers = DiskTiers(folder);
    const std::unique_ptr<RowTier> one = Made(tiers), other = Made(tiers);
    const Key key = 3;
    BOOST_REQUIRE(one->Put(0, {&key, 1}, Rows(1, 0).data()).ok());
    bool found = true;
    std::vector<std::byte> row(kRowBytes);
    const TierKey wanted{0, key};
    BOOST_REQUIRE(other->Get({&wanted, 1}, row.data(), &found).ok());
    BOOST_TEST(!found);
  }
  BOOST_TEST(!std::filesystem::exists(folder));
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_made_and_a_plugin_that_is_none_are_said) {
  const auto tier = DiskTiers("/proc/none")(Request());
  BOOST_TEST(absl::IsInternal(tier.status()));
  BOOST_TEST(std::string(tier.status().message()).starts_with("/proc/none/table-0: cannot be made: "), tier.status().ToString());
  const auto missing = LoadTierPlugin("/nowhere/libtroupe_rocksdb.so");
  BOOST_TEST(absl::IsInternal(missing.status()));
  BOOST_TEST(
      std::string(missing.status().message()).starts_with("/nowhere/libtroupe_rocksdb.so: cannot be opened, expected Troupe's plugin for rows on disk: "),
      missing.status().ToString());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
