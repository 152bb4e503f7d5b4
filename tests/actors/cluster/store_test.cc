// Stores, the one in memory, the one in SQLite and, as part of integration_test, the one in etcd by the same cases; and files that are no store of ours, are
// damaged, or cannot grow.
#include "actors/cluster/store.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "actors/storage/scratch_folder.h"
#include "actors/text.h"
#ifdef TROUPE_TEST_ETCD
#include "tests/integration/etcd_server.h"
#endif

namespace troupe {
namespace {

using Records = std::map<std::string, std::string>;
using Changes = std::vector<Store::Change>;

enum class Kind { kMemory, kSqlite, kEtcd };
std::ostream& operator<<(std::ostream& out, Kind kind) {
  constexpr const char* kNames[] = {"memory", "sqlite", "etcd"};
  return out << kNames[static_cast<size_t>(kind)];
}
#ifdef TROUPE_TEST_ETCD
const auto kKinds = boost::unit_test::data::make({Kind::kMemory, Kind::kSqlite, Kind::kEtcd});
std::shared_ptr<Store> OpenEtcd(const std::string& prefix) {
  static testing::EtcdServer server;
  auto store = OpenEtcdStore({.endpoints = {server.place()}, .prefix = prefix});
  BOOST_REQUIRE_MESSAGE(store.ok(), store.status().ToString());
  return *std::move(store);
}
#else
const auto kKinds = boost::unit_test::data::make({Kind::kMemory, Kind::kSqlite});
std::shared_ptr<Store> OpenEtcd(const std::string&) {
  return nullptr;   // nobody asks
}
#endif

/// One store, and as many ways into it as are asked for: of SQLite and etcd each has connections of its own.
struct Opened {
  explicit Opened(Kind kind) : kind(kind), folder(*ScratchFolder::Make("")), memory(MakeMemoryStore()) {}
  std::shared_ptr<Store> Open() {
    if (kind == Kind::kMemory) return memory;
    if (kind == Kind::kEtcd) return OpenEtcd("test" + folder.path());
    auto store = OpenSqliteStore(folder.path() + "/head.sqlite");
    BOOST_REQUIRE_MESSAGE(store.ok(), store.status().ToString());
    return *std::move(store);
  }
  Kind kind;
  ScratchFolder folder;
  std::shared_ptr<Store> memory;
};

Records All(Store& store, const std::string& prefix = "") {
  auto records = store.Read(prefix);
  BOOST_REQUIRE_MESSAGE(records.ok(), records.status().ToString());
  return *records;
}
void Put(Store& store, const Changes& changes) {
  const absl::Status status = store.Commit("no such key", std::nullopt, changes);
  BOOST_REQUIRE_MESSAGE(status.ok(), status.ToString());
}

/// The generation of a head at host:1, which wins.
uint64_t Lead(Store& store) {
  const auto election = store.Campaign("host:1");
  BOOST_REQUIRE_MESSAGE(election.ok(), election.status().ToString());
  BOOST_REQUIRE(election->generation != 0u);
  return election->generation;
}

/// Files of this process may not become larger than `bytes` until its end.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit during{bytes, before_.rlim_max};
    BOOST_REQUIRE(setrlimit(RLIMIT_FSIZE, &during) == 0);
  }
  ~FileLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

}   // namespace

BOOST_AUTO_TEST_SUITE(StoreSuite)

BOOST_DATA_TEST_CASE(what_is_committed_is_read_again_changed_and_removed, kKinds, kind) {
  Opened opened(kind);
  const auto store = opened.Open();
  BOOST_TEST(All(*store).empty());
  Put(*store, {{"a", "1"}, {"b", ""}, {"c", std::string("\0x\xff", 3)}});
  BOOST_TEST((All(*store) == Records{{"a", "1"}, {"b", ""}, {"c", std::string("\0x\xff", 3)}}));
  Put(*store, {{"a", std::string(1 << 20, 'z')}, {"b", std::nullopt}, {"never there", std::nullopt}});
  BOOST_TEST((All(*store) == Records{{"a", std::string(1 << 20, 'z')}, {"c", std::string("\0x\xff", 3)}}));
  Put(*store, {{"a", "2"}, {"a", std::nullopt}, {"a", "3"}});   // in their order
  BOOST_TEST(All(*store)["a"] == "3");
  Put(*store, {});
}

BOOST_DATA_TEST_CASE(a_commit_holds_only_where_the_record_is_as_expected_and_changes_nothing_else_wise, kKinds, kind) {
  Opened opened(kind);
  const auto store = opened.Open();
  BOOST_TEST(absl::IsAborted(store->Commit("k", "1", {{"x", "lost"}})));   // there is none
  BOOST_TEST(store->Commit("k", std::nullopt, {{"k", "1"}}).ok());
  BOOST_TEST(absl::IsAborted(store->Commit("k", std::nullopt, {{"x", "lost"}})));
  BOOST_TEST(absl::IsAborted(store->Commit("k", "2", {{"x", "lost"}, {"k", std::nullopt}})));
  BOOST_TEST(absl::IsAborted(store->Commit("k", "", {{"x", "lost"}})));
  BOOST_TEST((All(*store) == Records{{"k", "1"}}));
  BOOST_TEST(store->Commit("k", "1", {{"k", ""}, {"x", "kept"}}).ok());
  BOOST_TEST(store->Commit("k", "", {{"k", std::nullopt}}).ok());   // an empty record is not none
  BOOST_TEST((All(*store) == Records{{"x", "kept"}}));
}

BOOST_DATA_TEST_CASE(a_prefix_is_bytes_whatever_they_are, kKinds, kind) {
  Opened opened(kind);
  const auto store = opened.Open();
  const std::vector<std::string> keys{"a",
                                      "ab",
                                      "a%",
                                      "a_b",
                                      "A",
                                      "a*",
                                      "job/1",
                                      "job/12",
                                      "jobs",
                                      "j'or",
                                      "\xc3\xa9",
                                      "é/1",
                                      "é/2",
                                      "\xc3\xa8",
                                      "\xff\xfe",
                                      std::string("n\0l", 3),
                                      std::string("n\0", 2),
                                      "n"};
  Changes changes;
  for (const std::string& key : keys) changes.push_back({key, "of " + key});
  Put(*store, changes);
  std::vector<std::string> prefixes = keys;
  for (const std::string& more :
       {std::string(""), std::string("é"), std::string("é/"), std::string("\xc3"), std::string("j"), std::string("zz"), std::string("\xff")})
    prefixes.push_back(more);
  for (const std::string& prefix : prefixes) {
    Records expected;
    for (const std::string& key : keys) {
      if (key.starts_with(prefix)) expected[key] = "of " + key;
    }
    BOOST_TEST((All(*store, prefix) == expected), "prefix '" << prefix << "': " << All(*store, prefix).size() << " records, expected " << expected.size());
  }
}

BOOST_DATA_TEST_CASE(generations_rise_and_an_older_head_can_commit_nothing, kKinds, kind) {
  Opened opened(kind);
  const auto first = opened.Open(), second = opened.Open();
  const uint64_t one = Lead(*first);
  BOOST_TEST(first->CommitAs(one, {{"job/1", "a"}}).ok());
  BOOST_TEST(first->Leading().ok());
  if (kind == Kind::kEtcd) {
    const auto election = second->Campaign("second:1");
    BOOST_REQUIRE(election.ok());
    BOOST_TEST((election->generation == 0 && election->leader == "host:1"));
    BOOST_TEST(absl::IsAborted(second->Leading()));
    BOOST_TEST(first->Campaign("host:1")->generation == one);   // goes on
    first->Resign();
    BOOST_TEST(absl::IsAborted(first->Leading()));
    BOOST_TEST(absl::IsAborted(first->CommitAs(one, {{"job/2", "nobody leads"}})));
  }
  const uint64_t two = Lead(*second);
  BOOST_TEST(two > one);
  const absl::Status late = first->CommitAs(one, {{"job/1", "late"}, {"job/2", "late"}});
  BOOST_TEST(absl::IsAborted(late));
  BOOST_TEST(late.message().find(kind == Kind::kEtcd ? "etcd: the head at host:1 leads now" : "'generation' was changed by") != std::string::npos,
             late.ToString());
  BOOST_TEST(second->CommitAs(two, {{"job/3", "c"}}).ok());
  BOOST_TEST(first->CommitAs(two, {{"job/4", "d"}}).ok());   // the number counts, not the way in
  BOOST_TEST(second->CommitAs(two, {{"job/5", "e"}}).ok());
  BOOST_TEST((All(*first, "job/") == Records{{"job/1", "a"}, {"job/3", "c"}, {"job/4", "d"}, {"job/5", "e"}}));
  BOOST_TEST(absl::IsAborted(second->CommitAs(two + 1, {})));
}

BOOST_DATA_TEST_CASE(of_heads_that_race_for_a_generation_each_gets_its_own_or_none, kKinds, kind) {
  Opened opened(kind);
  constexpr int kThreads = 4, kRounds = 20;
  std::vector<std::shared_ptr<Store>> stores;
  for (int i = 0; i < kThreads; ++i) stores.push_back(opened.Open());
  std::vector<std::vector<uint64_t>> taken(kThreads);
  std::vector<int> other(kThreads, 0);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < kRounds; ++round) {
        const auto election = stores[i]->Campaign("host:1");
        if (election.ok() && election->generation != 0) {
          taken[i].push_back(election->generation);
          if (kind == Kind::kEtcd) stores[i]->Resign();
        } else {
          other[i] += !election.ok() && !absl::IsAborted(election.status());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<uint64_t> all;
  for (const auto& of_one : taken) {
    BOOST_TEST(std::is_sorted(of_one.begin(), of_one.end()));
    all.insert(all.end(), of_one.begin(), of_one.end());
  }
  std::sort(all.begin(), all.end());
  BOOST_TEST(!all.empty());
  for (size_t i = 0; i < all.size(); ++i) {   // none twice and, where they are counted, none left out
    BOOST_TEST((kind == Kind::kEtcd ? i == 0 || all[i] > all[i - 1] : all[i] == i + 1));
  }
  for (const int errors : other) BOOST_TEST(errors == 0);
}

BOOST_DATA_TEST_CASE(many_changes_are_one_commit, kKinds, kind) {
  Opened opened(kind);
  const auto store = opened.Open();
  const uint64_t generation = Lead(*store);
  Changes changes;
  Records expected;
  for (int i = 0; i < 1000; ++i) {
    changes.push_back({"job/" + std::to_string(i), std::string(200, 'x')});
    expected["job/" + std::to_string(i)] = std::string(200, 'x');
  }
  BOOST_TEST(absl::IsAborted(store->CommitAs(generation + 1, changes)));
  BOOST_TEST(All(*store, "job/").empty());
  BOOST_TEST(store->CommitAs(generation, changes).ok());
  BOOST_TEST((All(*store, "job/") == expected));
}

BOOST_AUTO_TEST_CASE(a_generation_that_is_no_number_is_an_error) {
  for (const Kind kind : {Kind::kMemory, Kind::kSqlite}) {
    Opened opened(kind);
    const auto store = opened.Open();
    Put(*store, {{"generation", "many"}});
    const auto election = store->Campaign("host:1");
    BOOST_TEST(absl::IsDataLoss(election.status()));
    BOOST_TEST(election.status().message() == "the head's state: generation is 'many', expected a number");
  }
}

BOOST_AUTO_TEST_CASE(etcd_s_place_is_members_and_a_prefix) {
  const auto one = ParseEtcdStore("10.0.0.1:2379");
  BOOST_REQUIRE(one.ok());
  BOOST_TEST((one->endpoints == std::vector<std::string>{"10.0.0.1:2379"} && one->prefix == "troupe"));
  const auto three = ParseEtcdStore("a:1,[::1]:2,c:3/teams/blue/");
  BOOST_REQUIRE(three.ok());
  BOOST_TEST((three->endpoints == std::vector<std::string>{"a:1", "[::1]:2", "c:3"} && three->prefix == "teams/blue"));
  BOOST_TEST(ParseEtcdStore("a:1,b").status().message() == "etcd: 'b', expected HOST:PORT");
  for (const char* bad : {"", "a", ":1", "a:0", "a:65536", "a:x", "a:1,,b:2", "a:1,"}) BOOST_TEST(absl::IsInvalidArgument(ParseEtcdStore(bad).status()), bad);
  BOOST_TEST(ParseEtcdStore("a:1/").status().message() == "etcd: 'a:1/', expected a prefix behind the /");
  BOOST_TEST(absl::IsInvalidArgument(OpenEtcdStore({}).status()));
  BOOST_TEST(absl::IsInvalidArgument(OpenEtcdStore({.endpoints = {"a:1"}, .lease = std::chrono::seconds(1)}).status()));
}

BOOST_AUTO_TEST_CASE(where_no_etcd_answers_every_call_ends_with_an_error_that_is_worth_another_try) {
  const auto store = *OpenEtcdStore({.endpoints = {"127.0.0.1:1"}, .prefix = "test"});   // nobody listens there
  const std::vector<absl::Status> all{store->Read("").status(), store->Commit("a", std::nullopt, {}), store->Campaign("host:1").status(),
                                      store->CommitAs(1, {})};
  for (const absl::Status& status : all) {
    BOOST_TEST(absl::IsUnavailable(status), status.ToString());
    BOOST_TEST(Message(status).starts_with("etcd at 127.0.0.1:1: "), status.ToString());
  }
  BOOST_TEST(absl::IsAborted(store->Leading()));
  store->Resign();
}

BOOST_AUTO_TEST_CASE(a_database_is_as_it_was_when_it_is_opened_again) {
  Opened opened(Kind::kSqlite);
  for (uint64_t life = 1; life <= 5; ++life) {
    const auto store = opened.Open();
    BOOST_TEST(Lead(*store) == life);
    BOOST_TEST(All(*store, "job/").size() == life - 1);
    BOOST_TEST(store->CommitAs(life, {{"job/" + std::to_string(life), std::string(5000, 'x')}}).ok());
  }
}

BOOST_AUTO_TEST_CASE(what_was_committed_is_in_the_files_also_when_nobody_closes_them) {
  Opened opened(Kind::kSqlite);
  const auto store = opened.Open();
  Put(*store, {{"a", "1"}});
  const ScratchFolder copy = *ScratchFolder::Make("");   // as after kill -9: the database and its log, not closed
  for (const auto& entry : std::filesystem::directory_iterator(opened.folder.path())) {
    if (!entry.path().string().ends_with("-shm")) std::filesystem::copy(entry.path(), copy.path() + "/" + entry.path().filename().string());
  }
  const auto again = OpenSqliteStore(copy.path() + "/head.sqlite");
  BOOST_REQUIRE(again.ok());
  BOOST_TEST((All(**again) == Records{{"a", "1"}}));
}

BOOST_AUTO_TEST_CASE(a_file_that_is_no_database_or_another_programs_is_refused_and_left_alone) {
  const ScratchFolder folder = *ScratchFolder::Make("");
  const std::string text = folder.path() + "/text", other = folder.path() + "/other";
  std::ofstream(text) << std::string(10'000, 'x');
  const auto no_database = OpenSqliteStore(text);
  BOOST_TEST(absl::IsDataLoss(no_database.status()), no_database.status().ToString());
  BOOST_TEST(no_database.status().message() == text + ": file is not a database");
  BOOST_TEST(std::filesystem::file_size(text) == 10'000u);

  sqlite3* db = nullptr;
  BOOST_REQUIRE(sqlite3_open(other.c_str(), &db) == SQLITE_OK);
  BOOST_REQUIRE(sqlite3_exec(db, "CREATE TABLE records (key TEXT PRIMARY KEY, value BLOB)", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
  const auto foreign = OpenSqliteStore(other);
  BOOST_TEST(absl::IsFailedPrecondition(foreign.status()), foreign.status().ToString());
  BOOST_TEST(foreign.status().message() == other + ": a database of another program, expected the state of a troupe head");
}

BOOST_AUTO_TEST_CASE(a_cut_or_overwritten_database_is_an_error_or_empty_never_a_fault) {
  Opened opened(Kind::kSqlite);
  const std::string path = opened.folder.path() + "/head.sqlite";
  {
    const auto store = opened.Open();
    Changes changes;
    for (int i = 0; i < 200; ++i) changes.push_back({"job/" + std::to_string(i), std::string(300, 'x')});
    Put(*store, changes);
  }
  std::ifstream file(path, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(file)), {});
  BOOST_REQUIRE(whole.size() > 20'000);
  size_t errors = 0;
  for (size_t size = 1; size < whole.size(); size += 1777) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    const auto store = OpenSqliteStore(path);
    const absl::Status status = store.ok() ? (*store)->Read("").status() : store.status();
    if (status.ok()) {   // nothing is lost (the last page was empty), or nothing was there yet
      BOOST_TEST(All(**store).size() == (size < 512 ? 0 : 200), "cut to " << size);
      continue;
    }
    BOOST_TEST((absl::IsDataLoss(status) || absl::IsInternal(status)), status.ToString());
    errors += absl::IsDataLoss(status);
  }
  BOOST_TEST(errors > 5u);
  std::string scribbled = whole;
  for (size_t at = 4096; at + 50 < whole.size(); at += 200) scribbled.replace(at, 50, 50, '\xee');
  std::ofstream(path, std::ios::binary | std::ios::trunc) << scribbled;
  const auto store = OpenSqliteStore(path);
  const absl::Status status = store.ok() ? (*store)->Read("").status() : store.status();
  BOOST_TEST(absl::IsDataLoss(status), status.ToString());
}

BOOST_AUTO_TEST_CASE(a_folder_that_is_missing_and_one_in_the_place_of_the_file_are_errors) {
  const ScratchFolder folder = *ScratchFolder::Make("");
  for (const std::string& path : {folder.path() + "/none/head.sqlite", folder.path()}) {
    const auto store = OpenSqliteStore(path);
    BOOST_TEST(absl::IsInternal(store.status()), store.status().ToString());
    BOOST_TEST(store.status().message() == path + ": unable to open database file");
  }
}

BOOST_AUTO_TEST_CASE(what_cannot_be_written_is_an_error_that_changes_nothing_and_ends_with_its_cause) {
  Opened opened(Kind::kSqlite);
  const auto store = opened.Open();
  Put(*store, {{"generation", "1"}, {"a", "1"}});
  {
    const FileLimit full(64 << 10);   // a full disk
    const absl::Status status = store->CommitAs(1, {{"a", "2"}, {"big", std::string(1 << 20, 'x')}});
    BOOST_TEST((absl::IsInternal(status) || absl::IsResourceExhausted(status)), status.ToString());
    BOOST_TEST((All(*store) == Records{{"generation", "1"}, {"a", "1"}}));
  }
  BOOST_TEST(store->CommitAs(1, {{"a", "3"}}).ok());
  BOOST_TEST((All(*store, "a") == Records{{"a", "3"}}));
}

BOOST_AUTO_TEST_CASE(a_writer_that_holds_the_database_for_ever_is_an_error_in_the_end) {
  Opened opened(Kind::kSqlite);
  const auto store = opened.Open();
  Put(*store, {{"a", "1"}});
  sqlite3* db = nullptr;
  BOOST_REQUIRE(sqlite3_open((opened.folder.path() + "/head.sqlite").c_str(), &db) == SQLITE_OK);
  BOOST_REQUIRE(sqlite3_exec(db, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
  const absl::Status status = store->Commit("a", "1", {{"a", "2"}});
  BOOST_TEST(absl::IsInternal(status));
  BOOST_TEST(status.message().find("database is locked") != std::string::npos, status.ToString());
  BOOST_TEST((All(*store) == Records{{"a", "1"}}));
  BOOST_REQUIRE(sqlite3_exec(db, "ROLLBACK", nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
  BOOST_TEST(store->Commit("a", "1", {{"a", "2"}}).ok());
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
