// s3: URIs: the storage by itself, and a run whose checkpoints lie there, killed and taken up again.
#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "actors/status.h"
#include "actors/storage/storage.h"
#include "actors/text.h"
#include "tests/integration/s3_server.h"
#include "tests/process/cluster_fixture.h"

namespace troupe {
namespace {

using testing::ClickLog;
using testing::Command;
using testing::Ended;
using testing::ModelText;
using testing::S3Server;
using testing::Scratch;
using testing::operator+;
using List = std::vector<std::string>;

Block Of(const std::string& text) {
  return Block::Copy(text.data(), text.size());
}
std::string ReadText(Storage& storage, const std::string& uri) {
  const auto block = storage.Read(uri);
  return block.ok() ? std::string(reinterpret_cast<const char*>(block->data()), block->size()) : std::string(Message(block.status()));
}

struct Server {
  Scratch scratch;
  S3Server server{scratch};
  std::unique_ptr<Storage> storage = MakeStorage();
};

}   // namespace

BOOST_AUTO_TEST_SUITE(S3Suite)

BOOST_FIXTURE_TEST_CASE(what_is_written_is_read_listed_and_removed, Server) {
  const std::string root = "s3://bucket/some/folder";
  BOOST_TEST(storage->Write(root + "/a/b", {Of("one "), Block(), Of("two")}, true).ok());
  BOOST_TEST(ReadText(*storage, root + "/a//b") == "one two");
  BOOST_TEST(ReadText(*storage, "s3:bucket/some/folder/a/./b") == "one two");
  BOOST_TEST(storage->Write(root + "/a/b", {}, false).ok());
  BOOST_TEST(ReadText(*storage, root + "/a/b").empty());
  BOOST_TEST(storage->Write(root + "/c", {Of("x")}, false).ok());
  BOOST_TEST(storage->List(root).value() == (List{"a", "c"}), boost::test_tools::per_element());
  BOOST_TEST(storage->List(root + "/").value() == (List{"a", "c"}), boost::test_tools::per_element());
  BOOST_TEST(storage->List("s3://bucket").value() == List{"some"}, boost::test_tools::per_element());
  BOOST_TEST((storage->Exists(root).value() && storage->Exists(root + "/a/b").value() && !storage->Exists(root + "/b").value()));
  BOOST_TEST(storage->Remove(root + "/c").ok());
  BOOST_TEST(storage->Remove(root + "/c").ok());
  BOOST_TEST(storage->List(root).value() == List{"a"}, boost::test_tools::per_element());
  BOOST_TEST(storage->MakeFolder(root + "/empty").ok());
  BOOST_TEST(storage->List(root + "/empty").value().empty());
  BOOST_TEST(storage->Remove(root).ok());
  BOOST_TEST(!storage->Exists(root + "/a/b").value());
}

BOOST_FIXTURE_TEST_CASE(large_files_go_in_parts, Server) {
  std::vector<uint32_t> numbers(9'000'000);
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<uint32_t>(i * 2654435761u);
  const Block all = Block::Copy(std::span<const uint32_t>(numbers));
  BOOST_TEST(storage->Write("s3://bucket/large", {all.Slice(0, 5), all.Slice(5, 20'000'000), all.Slice(20'000'005, all.size() - 20'000'005)}, true).ok());
  const auto read = storage->Read("s3://bucket/large");
  BOOST_REQUIRE_MESSAGE(read.ok(), read.status().ToString());
  BOOST_TEST(read->size() == all.size());
  BOOST_TEST(std::equal(read->data(), read->data() + read->size(), all.data(), all.data() + all.size()));
}

BOOST_FIXTURE_TEST_CASE(renaming_copies_and_removes, Server) {
  BOOST_TEST(storage->Write("s3://bucket/from/x", {Of("x")}, true).ok());
  BOOST_TEST(storage->Write("s3://bucket/from/deep/y", {Of("y")}, true).ok());
  BOOST_TEST(storage->Write("s3://bucket/to/x", {Of("old")}, true).ok());
  BOOST_TEST(storage->Write("s3://bucket/to/z", {Of("old")}, true).ok());
  BOOST_TEST(storage->Rename("s3://bucket/from", "s3://bucket/to").ok());
  BOOST_TEST(storage->List("s3://bucket/to").value() == (List{"deep", "x"}), boost::test_tools::per_element());
  BOOST_TEST(ReadText(*storage, "s3://bucket/to/x") == "x");
  BOOST_TEST(ReadText(*storage, "s3://bucket/to/deep/y") == "y");
  BOOST_TEST(!storage->Exists("s3://bucket/from").value());
  BOOST_TEST(storage->Rename("s3://bucket/to/x", "s3://bucket/w").ok());
  BOOST_TEST(ReadText(*storage, "s3://bucket/w") == "x");
  BOOST_TEST(!storage->Exists("s3://bucket/to/x").value());
  BOOST_TEST(absl::IsFailedPrecondition(storage->Rename("s3://bucket/w", "s3://bucket/to")));
  BOOST_TEST(absl::IsFailedPrecondition(storage->Rename("s3://bucket/to", "s3://bucket/w")));
  BOOST_TEST(Message(storage->Rename("s3://bucket/to", "s3://bucket/to/in")) == "s3://bucket/to/in: is in s3://bucket/to");
  BOOST_TEST(storage->Exists("s3://bucket/to/deep/y").value());
  BOOST_TEST(Message(storage->Rename("s3://bucket/w", "s3://other/w")) == "s3://other/w: not in the bucket of s3://bucket/w, expected the same one");
  BOOST_TEST(Message(storage->Rename("s3://bucket/w", "mem:w")) == "mem:w: not in the storage of s3://bucket/w, expected the same scheme");
}

BOOST_FIXTURE_TEST_CASE(what_is_missing_is_named, Server) {
  for (const absl::Status& status :
       {storage->Read("s3://bucket/absent").status(), storage->List("s3://bucket/absent").status(), storage->Rename("s3://bucket/absent", "s3://bucket/b")}) {
    BOOST_TEST(absl::IsNotFound(status), status.ToString());
    BOOST_TEST(Message(status) == "s3://bucket/absent: no such file or directory");
  }
  for (const absl::Status& status :
       {storage->Read("s3://none/a").status(), storage->List("s3://none/a").status(), storage->Write("s3://none/a", {Of("x")}, true)}) {
    BOOST_TEST(absl::IsFailedPrecondition(status), status.ToString());
    BOOST_TEST(Message(status) == "s3://none/a: there is no such bucket");
  }
  BOOST_TEST(storage->Write("s3://bucket/folder/file", {Of("x")}, true).ok());
  BOOST_TEST(Message(storage->Read("s3://bucket/folder").status()) == "s3://bucket/folder: is a folder, expected a file");
  BOOST_TEST(Message(storage->List("s3://bucket/folder/file").status()) == "s3://bucket/folder/file: is a file, expected a folder");
  BOOST_TEST(Message(storage->Write("s3://bucket", {Of("x")}, true)) == "s3://bucket: is a folder, expected a file");
  for (const char* uri : {"s3:", "s3://", "s3://../a", "s3://bucket/../other/a"}) {
    BOOST_TEST(Message(storage->Read(uri).status()) == std::string(uri) + ": expected s3://BUCKET/KEY");
  }
  BOOST_TEST(absl::IsInvalidArgument(storage->Remove("s3://bucket")));
}

BOOST_AUTO_TEST_CASE(keys_that_nobody_knows_are_refused) {
  const Scratch scratch;
  const S3Server server(scratch, {"INITIAL_NO_AUTH_ACTION_COUNT=1"});   // the bucket
  const auto storage = MakeStorage();
  for (const absl::Status& status : {storage->Read("s3://bucket/a").status(), storage->Write("s3://bucket/a", {Of("x")}, true)}) {
    BOOST_TEST(absl::IsPermissionDenied(status), status.ToString());
    BOOST_TEST(Message(status).starts_with("s3://bucket/a: "));
    BOOST_TEST(Message(status).find('\n') == std::string::npos);
  }
}

BOOST_FIXTURE_TEST_CASE(a_server_that_is_away_is_an_error_and_no_hang, Server) {
  BOOST_TEST(storage->Write("s3://bucket/a", {Of("x")}, true).ok());
  server.Kill();
  for (const absl::Status& status :
       {storage->Read("s3://bucket/a").status(), storage->Write("s3://bucket/a", {Of("y")}, true), storage->List("s3://bucket/").status()}) {
    BOOST_TEST(absl::IsUnavailable(status), status.ToString());
  }
}

BOOST_FIXTURE_TEST_CASE(a_run_goes_on_from_its_checkpoint_there, Server) {
  const auto arguments = [&](const std::string& model, List more) {
    List all{"train",
             "--algorithm",
             "logistic_regression",
             "--data",
             ClickLog(),
             "--model",
             scratch / model,
             "--workers",
             "2",
             "--splits",
             "4",
             "--shards",
             "2",
             "--json",
             "--epochs",
             "40",
             "--processes"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const auto newest = [&] {
    const auto names = storage->List("s3://bucket/kept");
    size_t count = 0;
    if (names.ok()) count = static_cast<size_t>(std::ranges::count_if(*names, [](const std::string& name) { return name.starts_with("checkpoint."); }));
    return count;
  };
  const Ended calm = testing::Run(scratch, arguments("calm", {}));
  BOOST_REQUIRE_MESSAGE(calm.code == 0, calm.err);
  const List keeping{"--checkpoint", "s3://bucket/kept", "--checkpoint-every", "0.1s"};
  {
    Command command(scratch, {.arguments = arguments("killed", keeping), .environment = {}});
    while (command.running() && newest() == 0) testing::Sleep(0.02);
    BOOST_REQUIRE(command.running());
    command.Signal(SIGKILL);
    BOOST_TEST(command.Wait().code == -SIGKILL);
  }
  List again = keeping;
  again.insert(again.end(), {"--resume", "--shards", "3", "--log", scratch / "log"});
  const Ended resumed = testing::Run(scratch, arguments("killed", again));
  BOOST_REQUIRE_MESSAGE(resumed.code == 0, resumed.err);
  BOOST_TEST(testing::ReadText(scratch / "log").find("the run goes on from checkpoint") != std::string::npos);
  BOOST_TEST((ModelText(scratch, scratch / "killed") == ModelText(scratch, scratch / "calm")));
  BOOST_TEST(newest() <= 2u);
  const Ended refused = testing::Run(scratch, arguments("refused", {"--checkpoint", "s3://none/kept"}));
  BOOST_TEST(refused.code == 2, refused.err);
  BOOST_TEST(refused.err.find("s3://none/kept: there is no such bucket") != std::string::npos, refused.err);
}

/// Its nodes have the keys; where the server is a job says.
BOOST_FIXTURE_TEST_CASE(a_job_of_a_cluster_keeps_its_checkpoints_there, testing::Cluster) {
  const S3Server server(scratch);
  const std::string where = ::getenv("AWS_ENDPOINT_URL");
  ::unsetenv("AWS_ENDPOINT_URL");
  const auto a = Node("a"), b = Node("b");
  ::setenv("AWS_ENDPOINT_URL", where.c_str(), 1);
  const auto arguments = [&](const std::string& model, const List& more) {
    return List{"train",
                "--algorithm",
                "logistic_regression",
                "--data",
                ClickLog(),
                "--model",
                scratch / model,
                "--workers",
                "2",
                "--splits",
                "4",
                "--shards",
                "2",
                "--json",
                "--epochs",
                "10"} +
           more;
  };
  const Ended calm = testing::Run(scratch, arguments("calm", {}));
  BOOST_REQUIRE_MESSAGE(calm.code == 0, calm.err);
  const Ended kept = Ask(arguments("kept", {"--checkpoint", "s3://bucket/kept", "--checkpoint-every", "0.1s"}));
  BOOST_REQUIRE_MESSAGE(kept.code == 0, kept.err);
  BOOST_TEST((ModelText(scratch, scratch / "kept") == ModelText(scratch, scratch / "calm")));
  const auto names = MakeStorage()->List("s3://bucket/kept");
  BOOST_REQUIRE_MESSAGE(names.ok(), names.status().ToString());
  BOOST_TEST(std::ranges::any_of(*names, [](const std::string& name) { return name.starts_with("checkpoint."); }));
  const Ended refused = Ask(List{"train", "--algorithm", "naive_bayes", "--data", ClickLog(), "--model", "s3://bucket/model"});
  BOOST_TEST(refused.code == 2);
  BOOST_TEST(refused.err.starts_with("--model (on a cluster a path, and the job's folder is beside it): s3://bucket/model: "), refused.err);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
