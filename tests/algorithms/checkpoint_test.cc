// The folder of a run's checkpoints: what is kept, what goes and when, and which one a run goes on from when files are missing, cut or changed.
#include "algorithms/run/checkpoint.h"

#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/text.h"
#include "ps/snapshot_places.h"

namespace troupe {
namespace {

Block Text(std::string_view text) {
  return Block::Copy(text.data(), text.size());
}

struct Folder {
  std::unique_ptr<Storage> storage = MakeMemoryStorage();
  std::string uri = "mem:/c";

  std::string Names() const {
    const auto names = storage->List(uri);
    return names.ok() ? absl::StrJoin(*names, " ") : std::string(Message(names.status()));
  }
  /// Checkpoint `id` of two shards, whose states are small files; `more`: other files that it needs.
  Checkpoint Make(uint64_t id, std::vector<std::string> more = {}, Round clock = 0) const {
    Checkpoint checkpoint;
    checkpoint.id = checkpoint.phases = id;
    checkpoint.identity = {{"seed", "1"}};
    checkpoint.shards = checkpoint.places = 2;
    checkpoint.files = std::move(more);
    checkpoint.clock = clock;
    for (uint32_t shard = 0; shard < 2; ++shard) {
      const std::string state = SnapshotUri(uri, id, shard);
      BOOST_REQUIRE(WriteSnapshot(*storage, state, {{"ledger", Text(state)}}, true).ok());
      checkpoint.files.emplace_back(FileName(state));
    }
    std::sort(checkpoint.files.begin(), checkpoint.files.end());
    return checkpoint;
  }
  void WriteAll(uint32_t kept, uint64_t n) const {
    CheckpointFolder folder(*storage, uri, kept);
    BOOST_REQUIRE(folder.Begin().ok());
    for (uint64_t i = 0; i < n; ++i) BOOST_REQUIRE(folder.Write(Make(folder.next_id(), {}, MakeRound(1, 10 * (i + 1)))).ok());
  }
  absl::StatusOr<std::optional<CheckpointFolder::Found>> Find(bool accept_loss) const { return CheckpointFolder(*storage, uri, 2).Find(accept_loss); }
  void Cut(const std::string& name) const {
    const Block whole = *storage->Read(absl::StrCat(uri, "/", name));
    BOOST_REQUIRE(storage->Write(absl::StrCat(uri, "/", name), {whole.Slice(0, whole.size() - 1)}, false).ok());
  }
};

BOOST_AUTO_TEST_SUITE(CheckpointFolderTest)

BOOST_AUTO_TEST_CASE(the_newest_ones_are_kept_with_all_that_they_need) {
  Folder files;
  CheckpointFolder folder(*files.storage, files.uri, 2);
  BOOST_REQUIRE(folder.Begin().ok());
  BOOST_TEST(folder.next_id() == 1u);
  BOOST_REQUIRE(folder.Write(files.Make(1)).ok());
  BOOST_TEST(files.Names() == "checkpoint.1.troupe shard-0.1.snapshot shard-1.1.snapshot");
  BOOST_REQUIRE(folder.Write(files.Make(2, {"shard-0.1.snapshot"})).ok());   // it refers to an earlier one's
  BOOST_REQUIRE(folder.Write(files.Make(3)).ok());
  BOOST_TEST(files.Names() ==
             "checkpoint.2.troupe checkpoint.3.troupe shard-0.1.snapshot shard-0.2.snapshot shard-0.3.snapshot shard-1.2.snapshot "
             "shard-1.3.snapshot");
  BOOST_REQUIRE(folder.Write(files.Make(4)).ok());
  BOOST_TEST(files.Names() == "checkpoint.3.troupe checkpoint.4.troupe shard-0.3.snapshot shard-0.4.snapshot shard-1.3.snapshot shard-1.4.snapshot");
  BOOST_REQUIRE(files.storage->Write("mem:/c/notes.txt", {Text("of others")}, false).ok());
  for (const uint64_t id : {5, 6, 7}) BOOST_REQUIRE(CheckpointFolder(*files.storage, files.uri, 1).Write(files.Make(id)).ok());
  BOOST_TEST(files.Names() == "checkpoint.7.troupe notes.txt shard-0.7.snapshot shard-1.7.snapshot");
}

BOOST_AUTO_TEST_CASE(what_is_written_is_found) {
  for (const bool local : {false, true}) {
    Folder files;
    if (local) {
      files.storage = MakeLocalStorage();
      files.uri = (std::filesystem::temp_directory_path() / absl::StrCat("troupe_checkpoint_", getpid())).string();
    }
    BOOST_TEST(!files.Find(true)->has_value());
    BOOST_TEST(absl::IsNotFound(ReadCheckpoint(*files.storage, files.uri).status()));
    CheckpointFolder folder(*files.storage, files.uri, 2);
    Checkpoint checkpoint = files.Make(9, {}, MakeRound(3, 4));
    checkpoint.data_epochs = 2;
    checkpoint.rows = 3;
    checkpoint.nonzeros = 4;
    checkpoint.driver = Numbers{1, 2.5};
    BOOST_REQUIRE(folder.Write(checkpoint).ok());
    const auto found = files.Find(false);
    BOOST_REQUIRE((found.ok() && found->has_value()));
    const Checkpoint& again = (*found)->checkpoint;
    BOOST_TEST((*found)->lost.empty());
    BOOST_TEST((again.id == 9 && again.shards == 2 && again.places == 2 && again.clock == MakeRound(3, 4) && again.phases == 9 && again.data_epochs == 2 &&
                again.rows == 3 && again.nonzeros == 4));
    BOOST_TEST((again.identity == checkpoint.identity && again.driver == checkpoint.driver && again.files == checkpoint.files));
    BOOST_TEST(ReadCheckpoint(*files.storage, files.uri)->id == 9u);
    BOOST_TEST(files.storage->Remove(files.uri).ok());
  }
}

BOOST_AUTO_TEST_CASE(a_damaged_newest_one_is_named_and_an_older_one_costs_an_assent) {
  struct Damage {
    std::string name;
    bool removed;
    std::string says;   // of what is lost
  };
  const std::string known = "what came after it, up to round 20 of phase 1, is lost", unknown = "what came after it is lost";
  for (const Damage& damage : {Damage{"shard-1.2.snapshot", true, known}, Damage{"checkpoint.2.troupe", false, unknown}}) {
    Folder files;
    files.WriteAll(2, 2);
    damage.removed ? void(files.storage->Remove("mem:/c/" + damage.name).IgnoreError()) : files.Cut(damage.name);
    const auto refused = files.Find(false);
    BOOST_REQUIRE(!refused.ok());
    BOOST_TEST(Message(refused.status()).starts_with("mem:/c/" + damage.name + ": "), Message(refused.status()));
    const auto back = files.Find(true);
    BOOST_REQUIRE_MESSAGE(back.ok(), back.status().ToString());
    BOOST_TEST((*back)->checkpoint.id == 1u);
    BOOST_TEST((*back)->lost == absl::StrCat("checkpoint 2 is not whole (", Absl(Message(refused.status())),
                                             "): the run goes on from checkpoint 1, at round 10 of phase 1; ", damage.says));
  }
  // What is cut in the middle of a state is seen by whoever reads it: here only when all is verified.
  Folder files;
  files.WriteAll(2, 2);
  files.Cut("shard-0.2.snapshot");
  BOOST_TEST((*files.Find(false))->checkpoint.id == 2u);
  BOOST_TEST((*files.Find(true))->checkpoint.id == 1u);
  files.Cut("shard-0.1.snapshot");
  const auto none = files.Find(true);
  BOOST_TEST(Message(none.status()).starts_with("mem:/c/shard-0.2.snapshot: "), Message(none.status()));   // of the newest
}

BOOST_AUTO_TEST_CASE(a_run_that_went_back_goes_past_the_damaged_one_and_removes_it) {
  Folder files;
  files.WriteAll(2, 2);
  files.Cut("checkpoint.2.troupe");
  CheckpointFolder folder(*files.storage, files.uri, 2);
  BOOST_REQUIRE((*folder.Find(true))->checkpoint.id == 1u);
  BOOST_TEST(folder.next_id() == 3u);
  BOOST_REQUIRE(folder.Write(files.Make(3)).ok());
  BOOST_TEST(files.Names() == "checkpoint.1.troupe checkpoint.3.troupe shard-0.1.snapshot shard-0.3.snapshot shard-1.1.snapshot shard-1.3.snapshot");
  // A shard that falls begins with what the run was taken up from, as long as the run lasts.
  BOOST_REQUIRE(folder.Write(files.Make(4)).ok());
  BOOST_TEST(files.Names() ==
             "checkpoint.3.troupe checkpoint.4.troupe shard-0.1.snapshot shard-0.3.snapshot shard-0.4.snapshot shard-1.1.snapshot shard-1.3.snapshot "
             "shard-1.4.snapshot");
}

BOOST_AUTO_TEST_CASE(a_new_run_takes_the_place_of_another_when_it_has_a_checkpoint_of_its_own) {
  Folder files;
  files.WriteAll(2, 3);
  BOOST_REQUIRE(files.storage->Write("mem:/c/shard-0.7.snapshot", {Text("of a checkpoint that came to nothing")}, false).ok());
  CheckpointFolder folder(*files.storage, files.uri, 2);
  BOOST_REQUIRE(folder.Begin().ok());
  BOOST_TEST(folder.next_id() == 8u);
  BOOST_TEST((*files.Find(false))->checkpoint.id == 3u);
  BOOST_REQUIRE(folder.Write(files.Make(8)).ok());
  BOOST_TEST(files.Names() == "checkpoint.8.troupe shard-0.8.snapshot shard-1.8.snapshot");
}

BOOST_AUTO_TEST_CASE(whatever_the_power_is_cut_between_there_is_a_whole_one) {
  // Between the states and the small file; and where old files are still there when the new one stands.
  Folder files;
  files.WriteAll(2, 2);
  files.Make(3);
  BOOST_TEST((*files.Find(true))->checkpoint.id == 2u);
  const Checkpoint third = files.Make(3);
  Folder before = Folder();
  before.WriteAll(2, 2);
  CheckpointFolder folder(*files.storage, files.uri, 2);
  BOOST_REQUIRE(folder.Find(false).ok());
  BOOST_REQUIRE(folder.Write(third).ok());
  const std::vector<std::string> names = before.storage->List("mem:/c").value();
  for (const std::string& name : names) {   // what was removed has come back
    BOOST_REQUIRE(files.storage->Write("mem:/c/" + name, {*before.storage->Read("mem:/c/" + name)}, false).ok());
  }
  BOOST_TEST((*files.Find(true))->checkpoint.id == 3u);
  CheckpointFolder next(*files.storage, files.uri, 2);
  BOOST_REQUIRE(next.Find(false).ok());
  BOOST_REQUIRE(next.Write(files.Make(4)).ok());
  BOOST_TEST((*files.Find(true))->checkpoint.id == 4u);
  BOOST_TEST(files.Names().find("shard-0.1.") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_read_is_an_error_and_no_empty_one) {
  Folder files;
  BOOST_REQUIRE(files.storage->Write("mem:/c", {Text("a file")}, false).ok());
  for (const bool accept_loss : {false, true}) BOOST_TEST(Message(files.Find(accept_loss).status()).starts_with("mem:/c: "));
  BOOST_TEST(!CheckpointFolder(*files.storage, files.uri, 2).Begin().ok());
}

BOOST_AUTO_TEST_CASE(a_file_under_anothers_name_is_refused) {
  Folder files;
  files.WriteAll(2, 2);
  BOOST_REQUIRE(files.storage->Write("mem:/c/checkpoint.2.troupe", {*files.storage->Read("mem:/c/checkpoint.1.troupe")}, false).ok());
  BOOST_TEST(Message(files.Find(false).status()) == "mem:/c/checkpoint.2.troupe: is checkpoint 1, expected 2");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
