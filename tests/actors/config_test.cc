// Config: the order of the sources, where each value came from, and what every source refuses.
#include "actors/config.h"

#include <boost/test/unit_test.hpp>
#include <cstdlib>

#include "actors/log.h"
#include "actors/text.h"

namespace troupe {
namespace {

using namespace std::chrono_literals;

struct Files {
  void Put(const std::string& path, const std::string& text) { BOOST_REQUIRE(storage->Write(path, {Block::Copy(text.data(), text.size())}, false).ok()); }
  absl::StatusOr<Config> Load(const ConfigSources& sources = {}) { return Config::Load(sources, *storage); }
  std::string Error(const ConfigSources& sources = {}) { return std::string(Message(Load(sources).status())); }
  std::string TomlError(const std::string& text) {
    Put("troupe.toml", text);
    return Error();
  }
  std::unique_ptr<Storage> storage = MakeMemoryStorage();
};

Config::Row RowOf(const Config& config, std::string_view name) {
  for (const Config::Row& row : config.Explain()) {
    if (row.name == name) return row;
  }
  return {};
}

}   // namespace

BOOST_AUTO_TEST_SUITE(ConfigSuite)

BOOST_AUTO_TEST_CASE(there_are_few_knobs_each_with_a_good_default_and_a_line_of_help) {
  BOOST_TEST(Knobs().size() <= 20u);
  const Config config;
  for (const Config::Row& row : config.Explain()) {
    BOOST_TEST(row.from == "default");
    BOOST_TEST(!row.doc.empty());
    BOOST_TEST(!config.IsSet(row.name));
  }
  BOOST_TEST(config.Integer("shards") == 1);
  BOOST_TEST(config.Bytes("held_bytes") == uint64_t{64} << 20);
  BOOST_TEST((config.Duration("restart_period") == 60s));
  BOOST_TEST(config.Text("consistency") == "bsp");
  for (const Knob& knob : Knobs()) {
    for (const std::string_view choice : knob.choices) {
      if (knob.name == "log_level") BOOST_TEST(Log::ParseLevel(choice).ok());
    }
  }
}

BOOST_AUTO_TEST_CASE(later_sources_win_and_say_so) {
  Files files;
  files.Put("troupe.toml", "# ours\nworkers = 2\nshards = 3\nsplits = 4\nepochs = 5\nmemory = \"256M\"\n");
  auto config = files.Load({.environment = {{"TROUPE_SHARDS", "30"}, {"TROUPE_SPLITS", "40"}, {"TROUPE_EPOCHS", "50"}, {"PATH", "/bin"}},
                            .flags = {{"splits", "400"}, {"epochs", "500"}, {"request-timeout", "250ms"}, {"on_bad_row", "skip"}}});
  BOOST_REQUIRE(config.ok());
  BOOST_TEST(config->Set("epochs", "5000").ok());
  const auto check = [&](std::string_view name, std::string_view value, std::string_view from) {
    const Config::Row row = RowOf(*config, name);
    BOOST_TEST(row.value == value);
    BOOST_TEST(row.from == from);
  };
  check("seed", "1", "default");
  check("workers", "2", "troupe.toml:2");
  check("memory", "256M", "troupe.toml:6");
  check("shards", "30", "TROUPE_SHARDS");
  check("splits", "400", "--splits");
  check("request_timeout", "250ms", "--request-timeout");
  check("on_bad_row", "skip", "--on-bad-row");
  check("epochs", "5000", "code");
  BOOST_TEST(config->Integer("epochs") == 5000);
  BOOST_TEST(config->Bytes("memory") == uint64_t{256} << 20);
  BOOST_TEST((config->Duration("request_timeout") == 250ms));
  BOOST_TEST((config->IsSet("workers") && !config->IsSet("seed")));
}

BOOST_AUTO_TEST_CASE(the_file_is_the_one_given_or_the_first_that_is_there) {
  Files files;
  const std::map<std::string, std::string> home{{"HOME", "/home/ada"}};
  BOOST_TEST(files.Load({.environment = home}).value().Integer("shards") == 1);
  files.Put("/home/ada/.config/troupe/config.toml", "shards = 2");
  BOOST_TEST(RowOf(files.Load({.environment = home}).value(), "shards").from == "/home/ada/.config/troupe/config.toml:1");
  BOOST_TEST(files.Load({.environment = {{"HOME", ""}}}).value().Integer("shards") == 1);
  files.Put("troupe.toml", "workers = 3");
  BOOST_TEST(files.Load({.environment = home}).value().Integer("shards") == 1);   // one file only
  files.Put("other/mine.toml", "shards = 4");
  const Config mine = files.Load({.file = "other/mine.toml", .environment = home}).value();
  BOOST_TEST(mine.Integer("shards") == 4);
  BOOST_TEST(mine.Integer("workers") == 0);
  const absl::Status absent = files.Load({.file = "absent.toml", .environment = home}).status();
  BOOST_TEST(absl::IsNotFound(absent));
  BOOST_TEST(Message(absent) == "absent.toml: no such file or directory");
  BOOST_TEST(files.Error({.file = "other"}) == "other: is a directory");
}

BOOST_AUTO_TEST_CASE(every_type_is_read_from_toml) {
  Files files;
  files.Put("troupe.toml",
            "memory = 4096\nheld_bytes = '1.5M'\nrequest_timeout = 2\nrestart_period = 0.5\nsnapshot_interval = '3m'\nconsistency = "
            "\"ssp:3,w=delay:250\"\nseed = 0x10");
  const Config config = files.Load().value();
  BOOST_TEST(config.Bytes("memory") == 4096u);
  BOOST_TEST(config.Bytes("held_bytes") == 1572864u);
  BOOST_TEST((config.Duration("request_timeout") == 2s));
  BOOST_TEST((config.Duration("restart_period") == 500ms));
  BOOST_TEST((config.Duration("snapshot_interval") == 3min));
  BOOST_TEST(config.Text("consistency") == "ssp:3,w=delay:250");
  BOOST_TEST(config.Integer("seed") == 16);
}

BOOST_AUTO_TEST_CASE(mistakes_in_a_file_are_named_with_their_line) {
  Files files;
  BOOST_TEST(files.TomlError("\n\nwokers = 4\n") == "troupe.toml:3: unknown setting 'wokers'; did you mean 'workers'?");
  BOOST_TEST(files.TomlError("[train]\nworkers = 4\n").starts_with("troupe.toml:1: unknown setting 'train'; known: workers, splits, "));
  BOOST_TEST(files.TomlError("workers = 'four'") == "troupe.toml:1: workers is 'four', expected an integer, 0 to 1024");
  BOOST_TEST(files.TomlError("workers = '4'") == "troupe.toml:1: workers is '4', expected an integer, 0 to 1024");
  BOOST_TEST(files.TomlError("workers = 4.5") == "troupe.toml:1: workers is 4.5, expected an integer, 0 to 1024");
  BOOST_TEST(files.TomlError("workers = -1") == "troupe.toml:1: workers is '-1', expected an integer, 0 to 1024");
  BOOST_TEST(files.TomlError("workers = 1025") == "troupe.toml:1: workers is '1025', expected an integer, 0 to 1024");
  BOOST_TEST(files.TomlError("workers = true") == "troupe.toml:1: workers is true, expected an integer, 0 to 1024");
  BOOST_TEST(files.TomlError("workers = []") == "troupe.toml:1: workers is an array, expected an integer, 0 to 1024");
  BOOST_TEST(files.TomlError("workers = {}") == "troupe.toml:1: workers is a table, expected an integer, 0 to 1024");
  BOOST_TEST(files.TomlError("workers = 2026-01-01") == "troupe.toml:1: workers is a date or time, expected an integer, 0 to 1024");
  BOOST_TEST(files.TomlError("memory = '1 lot'") == "troupe.toml:1: memory is '1 lot', expected a size such as 256M");
  BOOST_TEST(files.TomlError("held_bytes = 1") == "troupe.toml:1: held_bytes is '1', expected a size such as 256M, at least 65536");
  BOOST_TEST(files.TomlError("request_timeout = 0.0") == "troupe.toml:1: request_timeout is '0', expected a duration such as 200ms or 5s, 0.01 s to 3600 s");
  BOOST_TEST(files.TomlError("request_timeout = inf") == "troupe.toml:1: request_timeout is 'inf', expected a duration such as 200ms or 5s, 0.01 s to 3600 s");
  BOOST_TEST(files.TomlError("consistency = 3") == "troupe.toml:1: consistency is 3, expected bsp, backup:K, ssp:K, delay:MS, asp, ring, tree");
  BOOST_TEST(files.TomlError("consistency = 'ssp:x'") == "troupe.toml:1: consistency is 'ssp:x', expected bsp, backup:K, ssp:K, delay:MS, asp, ring, tree");
  BOOST_TEST(files.TomlError("consistency = 'ssp:K'") == "troupe.toml:1: consistency is 'ssp:K', expected bsp, backup:K, ssp:K, delay:MS, asp, ring, tree");
  BOOST_TEST(files.TomlError("consistency = 'bsp,asp'") == "troupe.toml:1: consistency is 'bsp,asp', expected bsp, backup:K, ssp:K, delay:MS, asp, ring, tree");
  BOOST_TEST(files.TomlError("consistency = 'bsp,w=x'").starts_with("troupe.toml:1: consistency is 'bsp,w=x', expected bsp"));
  BOOST_TEST(files.TomlError("consistency = 'bsp,=asp'").starts_with("troupe.toml:1: consistency is 'bsp,=asp', expected bsp"));
  BOOST_TEST(files.TomlError("on_bad_row = 'skip,w=stop'") == "troupe.toml:1: on_bad_row is 'skip,w=stop', expected stop, skip");
  BOOST_TEST(files.TomlError("tmp = 1") == "troupe.toml:1: tmp is 1, expected a text");
  BOOST_TEST(files.TomlError("zz = 1\nseed = 1\nabc = 2").starts_with("troupe.toml:1: unknown setting 'zz'"));   // in the order of the file
}

BOOST_AUTO_TEST_CASE(broken_toml_is_one_line_with_its_place) {
  Files files;
  for (const std::string text : {"seed = 1\nworkers = \n", "seed = 1\nworkers\n", "seed = 1\nseed = 2\n", "seed = 1\ntmp = \"open\n"}) {
    const std::string error = files.TomlError(text);
    BOOST_TEST(error.starts_with("troupe.toml:2: "), error);
    BOOST_TEST(error.find('\n') == std::string::npos);
    BOOST_TEST(absl::IsInvalidArgument(files.Load().status()));
  }
  BOOST_TEST(files.TomlError("\xff = 2\n").starts_with("troupe.toml:1: "));
}

BOOST_AUTO_TEST_CASE(mistakes_in_the_environment_flags_and_code_are_named) {
  Files files;
  BOOST_TEST(files.Error({.environment = {{"TROUPE_WORKRES", "4"}}}) == "environment: unknown setting 'TROUPE_WORKRES'; did you mean 'TROUPE_WORKERS'?");
  BOOST_TEST(files.Error({.environment = {{"TROUPE_workers", "4"}}}) == "environment: unknown setting 'TROUPE_workers'; did you mean 'TROUPE_WORKERS'?");
  BOOST_TEST(files.Error({.environment = {{"TROUPE_WORKERS", ""}}}) == "TROUPE_WORKERS: workers is '', expected an integer, 0 to 1024");
  BOOST_TEST(files.Load({.environment = {{"TROUPE_CLUSTER", "host:1"}}}).ok());
  BOOST_TEST(files.Error({.flags = {{"request-timout", "1"}}}) == "--request-timout: unknown setting 'request-timout'; did you mean 'request-timeout'?");
  BOOST_TEST(files.Error({.flags = {{"workers", "4x"}}}) == "--workers: workers is '4x', expected an integer, 0 to 1024");
  BOOST_TEST(files.Error({.flags = {{"seed", "99999999999999999999999"}}}) ==
             "--seed: seed is '99999999999999999999999', expected an integer, 0 to 9007199254740992");
  Config config;
  BOOST_TEST(Message(config.Set("wokers", "1")) == "code: unknown setting 'wokers'; did you mean 'workers'?");
  BOOST_TEST(Message(config.Set("shards", "1025")) == "code: shards is '1025', expected an integer, 0 to 1024");
  BOOST_TEST(config.Integer("shards") == 1);
}

BOOST_AUTO_TEST_CASE(the_environment_of_the_process_can_be_read) {
  BOOST_REQUIRE(setenv("TROUPE_TEST_VARIABLE", "a=b", 1) == 0);
  BOOST_TEST(ProcessEnvironment().at("TROUPE_TEST_VARIABLE") == "a=b");
  unsetenv("TROUPE_TEST_VARIABLE");
}

BOOST_AUTO_TEST_SUITE_END()
}   // namespace troupe
