// Snapshots come back whole, and nothing cut or changed is taken for one.
#include "ps/snapshot.h"

#include <boost/test/unit_test.hpp>
#include <cstring>

#include "actors/text.h"

namespace troupe {
namespace {

Block Text(std::string_view text) {
  return Block::Copy(text.data(), text.size());
}

std::vector<SnapshotSection> Sections() {
  return {{"table/w/0", Text(std::string(100, 'a'))}, {"ledger", Text("123")}, {"empty", {}}, {"", Text(std::string(64, 'b'))}};
}

constexpr char kUri[] = "mem:/snapshot";

}   // namespace

BOOST_AUTO_TEST_SUITE(SnapshotTest)

BOOST_AUTO_TEST_CASE(sections_come_back_in_order_and_aligned) {
  const auto storage = MakeMemoryStorage();
  for (const auto& sections : {Sections(), std::vector<SnapshotSection>{}}) {
    BOOST_REQUIRE(WriteSnapshot(*storage, kUri, sections, true).ok());
    const auto read = ReadSnapshot(*storage, kUri);
    BOOST_REQUIRE_MESSAGE(read.ok(), read.status().ToString());
    BOOST_REQUIRE_EQUAL(read->size(), sections.size());
    for (size_t i = 0; i < sections.size(); ++i) {
      BOOST_TEST((*read)[i].name == sections[i].name);
      BOOST_REQUIRE_EQUAL((*read)[i].bytes.size(), sections[i].bytes.size());
      if (!sections[i].bytes.empty()) BOOST_TEST(std::memcmp((*read)[i].bytes.data(), sections[i].bytes.data(), sections[i].bytes.size()) == 0);
      BOOST_TEST((*read)[i].bytes.IsArrayOf<uint64_t>() == (sections[i].bytes.size() % 8 == 0));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_missing_file_is_not_found) {
  BOOST_TEST(ReadSnapshot(*MakeMemoryStorage(), kUri).status().code() == absl::StatusCode::kNotFound);
}

BOOST_AUTO_TEST_CASE(every_cut_and_every_changed_bit_is_noticed) {
  const auto storage = MakeMemoryStorage();
  BOOST_REQUIRE(WriteSnapshot(*storage, kUri, Sections(), false).ok());
  const Block whole = *storage->Read(kUri);
  const std::string bytes(reinterpret_cast<const char*>(whole.data()), whole.size());
  const auto refused = [&](const std::string& changed) {
    BOOST_REQUIRE(storage->Write(kUri, {Text(changed)}, false).ok());
    const absl::Status status = ReadSnapshot(*storage, kUri).status();
    BOOST_REQUIRE_EQUAL(static_cast<int>(status.code()), static_cast<int>(absl::StatusCode::kDataLoss));
    BOOST_REQUIRE(Message(status).starts_with("mem:/snapshot: "));
  };
  for (size_t size = 0; size < bytes.size(); ++size) refused(bytes.substr(0, size));
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      refused(changed);
    }
  }
  refused(bytes + '\0');
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_old_snapshot) {
  const auto storage = MakeMemoryStorage(1000);
  BOOST_REQUIRE(WriteSnapshot(*storage, kUri, Sections(), true).ok());
  const absl::Status status = WriteSnapshot(*storage, kUri, {{"big", Text(std::string(2000, 'c'))}}, true);
  BOOST_TEST(status.code() == absl::StatusCode::kResourceExhausted);
  BOOST_TEST(ReadSnapshot(*storage, kUri)->size() == Sections().size());
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
