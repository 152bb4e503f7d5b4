// Snapshots whose sections lie in other files come back whole, and what is missing, cut or not what it was is named.
#include "ps/snapshot_places.h"

#include <boost/test/unit_test.hpp>

#include "actors/text.h"

namespace troupe {
namespace {

Block Text(std::string_view text) {
  return Block::Copy(text.data(), text.size());
}
std::string Read(const Block& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
SnapshotSection Placed(const std::string& name, const std::string& file, const std::string& bytes) {
  return PlaceSection(name, {file, bytes.size(), ChecksumOf(Text(bytes))});
}

const std::string kA(100, 'a'), kB(200, 'b');

struct Folder {
  std::unique_ptr<Storage> storage = MakeMemoryStorage();
  Folder() {
    BOOST_REQUIRE(WriteSnapshot(*storage, "mem:/f/one", {{"table/w/0", Text(kA)}, {"other", Text("x")}}, true).ok());
    BOOST_REQUIRE(WriteSnapshot(*storage, "mem:/f/two", {{"table/w/1", Text(kB)}}, true).ok());
  }
  absl::StatusOr<std::vector<SnapshotSection>> Whole(const std::vector<SnapshotSection>& sections) {
    BOOST_REQUIRE(WriteSnapshot(*storage, "mem:/f/head", sections, true).ok());
    return ReadPlacedSnapshot(*storage, "mem:/f/head");
  }
};

BOOST_AUTO_TEST_SUITE(SnapshotPlacesTest)

BOOST_AUTO_TEST_CASE(sections_are_brought_from_where_they_lie) {
  Folder folder;
  const auto whole = folder.Whole({{"ledger", Text("l")}, Placed("table/w/1", "two", kB), Placed("table/w/0", "one", kA), {"table/w/2", Text("here")}});
  BOOST_REQUIRE_MESSAGE(whole.ok(), whole.status().ToString());
  std::string text;
  for (const SnapshotSection& section : *whole) text += section.name + "=" + Read(section.bytes) + " ";
  BOOST_TEST(text == "ledger=l table/w/1=" + kB + " table/w/0=" + kA + " table/w/2=here ");
}

BOOST_AUTO_TEST_CASE(what_is_not_as_it_was_is_named) {
  Folder folder;
  const auto error = [&](const SnapshotSection& section) {
    const auto whole = folder.Whole({section});
    BOOST_REQUIRE(!whole.ok());
    return whole.status();
  };
  const absl::Status missing = error(Placed("table/w/0", "three", kA));
  BOOST_TEST(absl::IsNotFound(missing));
  BOOST_TEST(Message(missing).starts_with("mem:/f/three: "), Message(missing));
  const std::string other(100, 'c');
  const absl::Status changed = error(Placed("table/w/0", "one", other));
  BOOST_TEST(absl::IsDataLoss(changed));
  BOOST_TEST(Message(changed) == "mem:/f/one: section 'table/w/0' is not the one that mem:/f/head refers to");
  BOOST_TEST(absl::IsDataLoss(error(Placed("table/w/0", "one", kA + "a"))));
  const absl::Status lacks = error(Placed("table/w/7", "one", kA));
  BOOST_TEST(absl::IsDataLoss(lacks));
  BOOST_TEST(Message(lacks) == "mem:/f/one: lacks 1 of the sections that mem:/f/head says are there");
  BOOST_TEST(absl::IsInvalidArgument(error({"at/table/w/0", Text("0123456789abcdef")})));
  BOOST_REQUIRE(folder.storage->Write("mem:/f/one", {Text("nothing")}, false).ok());
  BOOST_TEST(Message(error(Placed("table/w/0", "one", kA))).starts_with("mem:/f/one: "));
}

BOOST_AUTO_TEST_CASE(rows_become_places_and_the_rest_stays) {
  Folder folder;
  BOOST_REQUIRE(WriteSnapshot(*folder.storage, "mem:/f/mixed",
                              {{"ledger", Text("l")}, {"table/w/0", Text(kA)}, {"table/w/2", Text("few")}, Placed("table/w/1", "two", kB)}, true)
                    .ok());
  const auto places = ReadPlaces(*folder.storage, "mem:/f/mixed");
  BOOST_REQUIRE_MESSAGE(places.ok(), places.status().ToString());
  BOOST_REQUIRE_EQUAL(places->size(), 4u);
  BOOST_TEST((*places)[0].name == "ledger");
  BOOST_TEST((*places)[2].name == "table/w/2");   // no longer than a place
  const auto first = PlaceOf((*places)[1]);
  BOOST_REQUIRE((first.ok() && first->has_value()));
  BOOST_TEST((*first)->name == "table/w/0");
  BOOST_TEST(((*first)->place == SectionPlace{"mixed", kA.size(), ChecksumOf(Text(kA))}));
  BOOST_TEST((*FilesOf(*places) == std::vector<std::string>{"mixed", "two"}));
  BOOST_TEST(FilesOf({{"at/x", Block()}}).status().code() == absl::StatusCode::kInvalidArgument);
  const auto whole = folder.Whole(*places);
  BOOST_REQUIRE_MESSAGE(whole.ok(), whole.status().ToString());
  BOOST_TEST(Read((*whole)[1].bytes) == kA);
}

BOOST_AUTO_TEST_CASE(a_files_name_is_the_last_part_of_its_uri) {
  BOOST_TEST(FileName("mem:/a/b") == "b");
  BOOST_TEST(FileName("/a/b.snapshot") == "b.snapshot");
  BOOST_TEST(FileName("file:b") == "b");
  BOOST_TEST(FileName("b") == "b");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
