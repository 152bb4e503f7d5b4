// The counting of keys that have no rows yet: what it may get wrong, and how often.
#include "ps/internal/admission.h"

#include <boost/test/unit_test.hpp>
#include <memory>
#include <random>
#include <set>

namespace troupe {
namespace {

using internal::Admission;

std::vector<Key> Fresh(std::mt19937_64& random, size_t n) {
  std::vector<Key> keys(n);
  for (Key& key : keys) key = random();
  return keys;
}
size_t Admitted(Admission& admission, std::span<const Key> keys) {
  const auto admitted = std::make_unique<bool[]>(keys.size());
  admission.Touch(keys, admitted.get());
  return static_cast<size_t>(std::count(admitted.get(), admitted.get() + keys.size(), true));
}
std::vector<std::byte> Bytes(const Admission& admission) {
  std::vector<std::byte> bytes;
  admission.AppendTo(&bytes);
  return bytes;
}

BOOST_AUTO_TEST_SUITE(AdmissionTest)

BOOST_AUTO_TEST_CASE(a_key_is_admitted_at_its_nth_touch) {
  for (const uint32_t after : {1U, 2U, 3U, 10U, 255U}) {
    Admission admission(after);
    const Key key = 42;
    for (uint32_t touch = 1; touch < after; ++touch) BOOST_TEST(Admitted(admission, {&key, 1}) == 0U);
    BOOST_TEST(Admitted(admission, {&key, 1}) == 1U);
    BOOST_TEST(Admitted(admission, {&key, 1}) == 1U);
  }
}

BOOST_AUTO_TEST_CASE(within_a_window_no_key_is_admitted_late_and_few_early) {
  std::mt19937_64 random(1);
  Admission admission(2);
  constexpr size_t kStep = 512;
  size_t early = 0, early_at_end = 0;
  std::vector<Key> all;
  for (size_t done = 0; done + kStep < Admission::kWindow; done += kStep) {
    const std::vector<Key> keys = Fresh(random, kStep);
    early_at_end = Admitted(admission, keys);
    early += early_at_end;
    all.insert(all.end(), keys.begin(), keys.end());
  }
  BOOST_TEST_MESSAGE("early over a window " << static_cast<double>(early) / static_cast<double>(all.size()) << ", at its end "
                                            << static_cast<double>(early_at_end) / kStep);
  BOOST_TEST(static_cast<double>(early) < 0.010 * static_cast<double>(all.size()));
  BOOST_TEST(static_cast<double>(early_at_end) < 0.04 * kStep);
  // Few are left before the halving; all of these have been touched before.
  BOOST_TEST(Admitted(admission, std::span(all).first(100)) == 100U);
}

BOOST_AUTO_TEST_CASE(it_forgets_and_stays_as_exact_forever) {
  std::mt19937_64 random(2);
  Admission admission(2);
  const Key once = 7;
  BOOST_TEST(Admitted(admission, {&once, 1}) == 0U);
  size_t early = 0, early_at_ends = 0;
  constexpr size_t kWindows = 40, kTouches = kWindows * Admission::kWindow;
  for (size_t done = 256; done <= kTouches; done += 256) {
    const size_t now = Admitted(admission, Fresh(random, 256));
    early += now;
    if (done % Admission::kWindow == 0) early_at_ends += now;
  }
  BOOST_TEST_MESSAGE("early in the long run " << static_cast<double>(early) / kTouches << ", at the ends of windows "
                                              << static_cast<double>(early_at_ends) / (256 * kWindows));
  BOOST_TEST(static_cast<double>(early) < 0.025 * kTouches);
  BOOST_TEST(static_cast<double>(early_at_ends) < 0.08 * 256 * kWindows);
  Admission late = admission;
  BOOST_TEST(Admitted(late, {&once, 1}) <= 1U);
  // Of a hundred keys touched once, long ago, nearly none is remembered.
  Admission old(2);
  const std::vector<Key> keys = Fresh(random, 100);
  Admitted(old, keys);
  Admitted(old, Fresh(random, 2 * Admission::kWindow));
  BOOST_TEST(Admitted(old, keys) <= 5U);
}

BOOST_AUTO_TEST_CASE(the_order_of_keys_plays_no_part) {
  std::mt19937_64 random(3);
  Admission one(2), other(2);
  for (int round = 0; round < 50; ++round) {
    std::vector<Key> keys;
    for (int i = 0; i < 500; ++i) keys.push_back(random() % 5000);
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    std::vector<Key> shuffled = keys;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    const auto a = std::make_unique<bool[]>(keys.size()), b = std::make_unique<bool[]>(keys.size());
    one.Touch(keys, a.get());
    other.Touch(shuffled, b.get());
    std::set<Key> in_one, in_other;
    for (size_t i = 0; i < keys.size(); ++i) {
      if (a[i]) in_one.insert(keys[i]);
      if (b[i]) in_other.insert(shuffled[i]);
    }
    BOOST_TEST((in_one == in_other));
  }
  BOOST_TEST((Bytes(one) == Bytes(other)));
}

BOOST_AUTO_TEST_CASE(it_comes_back_from_its_bytes_and_refuses_others) {
  std::mt19937_64 random(4);
  Admission admission(3);
  Admitted(admission, Fresh(random, 300));
  const std::vector<std::byte> bytes = Bytes(admission);
  BOOST_TEST(bytes.size() < Admission::kBytes);
  Admission again(3);
  std::span<const std::byte> rest = bytes;
  BOOST_TEST(again.Read(&rest));
  BOOST_TEST(rest.empty());
  BOOST_TEST((Bytes(again) == bytes));
  for (size_t size = 0; size < bytes.size(); size += 7) {
    rest = std::span(bytes).first(size);
    BOOST_TEST(!again.Read(&rest));
    BOOST_TEST(rest.size() == size);
  }
  std::vector<std::byte> damaged = bytes;
  std::fill_n(damaged.begin(), sizeof(uint32_t), std::byte{0xff});   // touches
  rest = damaged;
  BOOST_TEST(!again.Read(&rest));
  damaged = bytes;
  std::fill(damaged.end() - 64, damaged.end(), std::byte{0});   // a block that is said to be there
  rest = damaged;
  BOOST_TEST(!again.Read(&rest));
  BOOST_TEST((Bytes(again) == bytes));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
