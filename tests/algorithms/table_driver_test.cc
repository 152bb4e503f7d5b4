// What a named table's driver is told, and what drivers say of their tables. The driver itself is tried by tests/process/tables_test.cc.
#include "algorithms/run/table_driver.h"

#include <boost/test/unit_test.hpp>

namespace troupe {
namespace {

TableJob Some() {
  return {
      .spec = {.name = "w-1.a", .width = 3, .rows = {}, .rule = "sgd", .rule_options = {{"learning_rate", 0.5}}, .ranges = 256}, .shards = 4, .folder = "/f"};
}
std::string ErrorOf(const TableJob& job) {
  return std::string(Validate(job).message());
}

}   // namespace

BOOST_AUTO_TEST_SUITE(TableDriverTest)

BOOST_AUTO_TEST_CASE(its_command_line_says_everything) {
  std::vector<std::string> arguments = TableDriverArguments(Some());
  BOOST_TEST(arguments[0] == "table-driver");
  BOOST_TEST(arguments[1] == "w-1.a");
  arguments.erase(arguments.begin());
  const auto again = ParseTableDriver(arguments);
  BOOST_REQUIRE_MESSAGE(again.ok(), again.status().ToString());
  BOOST_TEST((again->spec == Some().spec && again->shards == 4 && again->folder == "/f"));
  BOOST_TEST((!again->replication && again->replication_default == 1));
  TableJob held = Some();
  held.replication_default = 2;
  BOOST_TEST(ParseTableDriver({"w-1.a", TableDriverArguments(held)[2], TableDriverArguments(held)[3]})->replication_default == 2u);
  held.replication = 3;
  BOOST_TEST(ParseTableDriver({"w-1.a", TableDriverArguments(held)[2], TableDriverArguments(held)[3]})->replication.value() == 3u);
  std::vector<std::vector<std::string>> wrong = {{},
                                                 {"w"},
                                                 {"w", arguments[1], "1"},
                                                 {arguments[0], "zz", "1"},
                                                 {arguments[0], "abc", "1"},
                                                 {arguments[0], "", "1"},
                                                 {arguments[0], arguments[1]},
                                                 {arguments[0], arguments[1], "0"},
                                                 {arguments[0], arguments[1], "9"},
                                                 {arguments[0], arguments[1], "default:"}};
  for (size_t cut = 2; cut < arguments[1].size(); cut += 16) wrong.push_back({"other", arguments[1].substr(0, cut), "1"});
  for (const auto& words : wrong) {
    const auto parsed = ParseTableDriver(words);
    BOOST_TEST(absl::IsInvalidArgument(parsed.status()));
  }
}

BOOST_AUTO_TEST_CASE(what_no_named_table_can_be_is_refused) {
  BOOST_TEST(ErrorOf(Some()) == "");
  TableJob job = Some();
  for (const char* name : {"", "a b", "../a", ".a", "-a", "a/b", "\xc3\xa4"}) {
    job.spec.name = name;
    BOOST_TEST(ErrorOf(job).starts_with("table's name is '"), name);
  }
  job.spec.name = std::string(101, 'a');
  BOOST_TEST(ErrorOf(job).starts_with("table's name is '"));
  job = Some();
  job.shards = 0;
  BOOST_TEST(ErrorOf(job) == "shards is 0, expected 1 to 1024");
  job.shards = 1025;
  BOOST_TEST(ErrorOf(job) == "shards is 1025, expected 1 to 1024");
  job = Some();
  job.replication = 9;
  BOOST_TEST(ErrorOf(job) == "replication is 9, expected 1 to 8");
  job = Some();
  job.folder = "";
  BOOST_TEST(ErrorOf(job) == "table 'w-1.a' has no folder");
  job.folder = "s3://bucket";
  BOOST_TEST(absl::IsInvalidArgument(Validate(job)));
  job = Some();
  job.spec.rule = "no";
  BOOST_TEST(ErrorOf(job).find("unknown") != std::string::npos, ErrorOf(job));
  job = Some();
  job.spec.limits.ttl = 5;
  BOOST_TEST(ErrorOf(job) == "table 'w-1.a' has limits: there is no cut of its rows, expected none");
  job = Some();
  job.spec.staleness_scale = true;
  BOOST_TEST(ErrorOf(job).starts_with("table 'w-1.a' makes up for delays"));
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
