// Tables that share ranges: each reads what a table of its own would hold, whatever is done to the others, and memory is only taken for what differs.
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <map>
#include <optional>

#include "actors/random.h"
#include "actors/text.h"
#include "ps/table.h"

namespace troupe {
namespace {

struct Shape {
  std::string rule;
  uint32_t width;
  std::optional<uint64_t> rows;
  RowInit init = {};
};
const std::vector<Shape> kShapes = {{"add", 1, {}, {}},  {"ftrl", 2, {}, {}}, {"adagrad", 12, {}, {RowInit::Kind::kNormal, 0.5, 3}},
                                    {"adam", 3, 50, {}}, {"add", 2, 50, {}},  {"sgd", 1, 50, {RowInit::Kind::kUniform, 1, 3}}};

TableSpec Spec(const Shape& shape, bool branch = false) {
  TableSpec spec;
  spec.name = branch ? "branch" : "w";
  spec.rule = shape.rule;
  spec.width = shape.width;
  spec.rows = shape.rows;
  spec.init = shape.init;
  spec.ranges = 4;
  if (branch) spec.branch_of = "w";
  return spec;
}
Table Make(const TableSpec& spec) {
  auto table = Table::Make(spec, 0, 1);
  BOOST_REQUIRE_MESSAGE(table.ok(), table.status().ToString());
  return std::move(*table);
}
std::string Bytes(const Table& table) {
  std::string bytes;
  for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
    const Block block = table.Save(range);
    bytes.append(reinterpret_cast<const char*>(block.data()), block.size());
  }
  return bytes;
}
/// Some rows of one range get a gradient, or values.
void Write(Table& table, Random random) {
  std::vector<Key> keys;
  const uint32_t range = static_cast<uint32_t>(random.Below(4));
  for (Key key = 0; key < 50; ++key) {
    if (table.partition().RangeOf(key) == range && random.Below(2) == 0) keys.push_back(key);
  }
  std::vector<float> numbers(keys.size() * table.spec().width);
  for (float& x : numbers) x = static_cast<float>(random.Normal());
  if (random.Below(4) == 0) {
    BOOST_REQUIRE(table.Assign(range, keys, numbers.data()).ok());
  } else {
    BOOST_REQUIRE(table.Apply(range, keys, numbers.data()).ok());
  }
}

BOOST_AUTO_TEST_SUITE(TableForkTest)

BOOST_AUTO_TEST_CASE(forks_of_forks_are_as_tables_of_their_own) {
  for (const Shape& shape : kShapes) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      Random random(seed);
      std::vector<Table> shared, own;   // own: what the same calls do to tables that share nothing
      shared.push_back(Make(Spec(shape)));
      own.push_back(Make(Spec(shape)));
      for (uint64_t step = 0; step < 60; ++step) {
        const size_t at = random.Below(shared.size());
        const uint64_t what = random.Below(10);
        if (what == 0 && shared.size() < 6) {
          shared.push_back(shared[at].Fork());
          own.push_back(Make(Spec(shape)));
          for (uint32_t range = 0; range < 4; ++range) BOOST_REQUIRE(own.back().Load(range, own[at].Save(range)).ok());
        } else if (what == 1) {
          const size_t from = random.Below(shared.size());
          BOOST_REQUIRE(shared[at].Become(shared[from]).ok());
          for (uint32_t range = 0; range < 4; ++range) BOOST_REQUIRE(own[at].Load(range, own[from].Save(range)).ok());
        } else if (what == 2) {
          shared[at].Reset();
          own[at].Reset();
        } else if (what == 3) {
          const uint32_t range = static_cast<uint32_t>(random.Below(4));
          const auto twice = [](const TableRows& rows, double* values) {
            for (size_t i = 0; i < rows.n * rows.width; ++i) values[i] *= 2;
          };
          shared[at].Change(range, twice);
          own[at].Change(range, twice);
        } else if (what == 4) {
          const uint32_t range = static_cast<uint32_t>(random.Below(4));
          const Block saved = own[random.Below(own.size())].Save(range);
          BOOST_REQUIRE(shared[at].Load(range, saved).ok() && own[at].Load(range, saved).ok());
        } else if (what == 5 && shared.size() > 1) {
          shared.erase(shared.begin() + static_cast<ptrdiff_t>(at));
          own.erase(own.begin() + static_cast<ptrdiff_t>(at));
        } else {
          Write(shared[at], random.Fork(step));
          Write(own[at], random.Fork(step));
        }
      }
      for (size_t i = 0; i < shared.size(); ++i) BOOST_TEST(Bytes(shared[i]) == Bytes(own[i]), shape.rule << " seed " << seed << " table " << i);
    }
  }
}

BOOST_AUTO_TEST_CASE(only_ranges_that_are_written_to_take_memory) {
  Table table = Make({.name = "w", .width = 1, .rows = 1 << 20, .rule = "sgd", .rule_options = {}, .ranges = 16});
  const size_t all = table.bytes();
  BOOST_TEST(table.own_bytes() == all);
  {
    Table view = table.Fork();
    BOOST_TEST(view.own_bytes() == 0U);
    BOOST_TEST(table.own_bytes() == 0U);
    const float one = 1;
    BOOST_REQUIRE(table.ApplyDense(3, table.partition().FirstRow(3), 1, &one).ok());
    BOOST_TEST(table.own_bytes() == all / 16);
    BOOST_TEST(view.own_bytes() == all / 16);
    BOOST_TEST(!table.Shares(view, 3));
    BOOST_TEST(table.Shares(view, 2));
  }
  BOOST_TEST(table.own_bytes() == all);
}

BOOST_AUTO_TEST_CASE(a_range_that_fails_its_check_is_not_copied) {
  Table table = Make(Spec(kShapes[0]));
  const Table view = table.Fork();
  const std::vector<Key> elsewhere = {table.partition().RangeOf(5) == 0 ? Key{6} : Key{5}};
  const float nan = std::numeric_limits<float>::quiet_NaN();
  BOOST_TEST(!table.Apply(0, elsewhere, &nan).ok());
  for (uint32_t range = 0; range < 4; ++range) BOOST_TEST(table.Shares(view, range));
}

BOOST_AUTO_TEST_CASE(a_blank_branch_reads_as_a_table_at_the_start_and_takes_no_memory) {
  for (const Shape& shape : kShapes) {
    const Table table = Make(Spec(shape));
    Table branch = Make(Spec(shape, true));
    BOOST_TEST(Bytes(branch) == Bytes(table), shape.rule);
    const bool random_dense = shape.rows && shape.init.kind != RowInit::Kind::kZero;   // each range is another
    for (uint32_t range = 0; range < 4; ++range) BOOST_TEST(branch.Blank(range) == !random_dense);
    if (!random_dense) BOOST_TEST(branch.own_bytes() == 0U);
    Table same = Make(Spec(shape));
    for (uint64_t step = 1; step < 20; ++step) {
      Write(branch, Random(step));
      Write(same, Random(step));
    }
    BOOST_TEST(Bytes(branch) == Bytes(same), shape.rule);
    BOOST_TEST(!branch.Blank(0));
    branch.Reset();
    BOOST_TEST(Bytes(branch) == Bytes(table), shape.rule);
    BOOST_TEST(branch.Blank(0) == !random_dense);
    BOOST_TEST(!table.Blank(0));
  }
}

BOOST_AUTO_TEST_CASE(rows_of_another_kind_are_refused) {
  TableSpec spec = Spec(kShapes[3]);
  Table table = Make(spec);
  const std::string before = Bytes(table);
  const auto refused = [&](const TableSpec& other, std::string_view says) {
    BOOST_TEST(Message(table.Become(Make(other))) == absl::StrCat("table 'w': ", Absl(says)));
    BOOST_TEST(Bytes(table) == before);
  };
  TableSpec other = spec;
  other.name = "o";
  other.width = 4;
  refused(other, "width is 3, expected 4 as of table 'o'");
  other = spec;
  other.name = "o";
  other.rows = {};
  refused(other, "rows is 50, expected without number as of table 'o'");
  other = spec;
  other.name = "o";
  other.ranges = 5;
  refused(other, "ranges is 4, expected 5 as of table 'o'");
  other = spec;
  other.name = "o";
  other.rule = "adamw";
  refused(other, "rule is adam, expected adamw as of table 'o'");
  other = spec;
  other.name = "o";
  other.init = {RowInit::Kind::kNormal, 1, 1};
  refused(other, "init differs from that of table 'o'");
  other = spec;
  other.rule_options["learning_rate"] = 0.5;   // another branch may learn faster
  BOOST_TEST(table.Become(Make(other)).ok());
  TableSpec ftrl = Spec(kShapes[1]), faster = ftrl;
  faster.rule_options["learning_rate"] = 0.5;
  BOOST_TEST(Message(Make(ftrl).Become(Make(faster))) == "table 'w': rule ftrl makes values of its state by its numbers, which differ from those of table 'w'");
}

BOOST_AUTO_TEST_CASE(branches_are_of_tables_of_the_job) {
  const TableSpec w = Spec(kShapes[0]), branch = Spec(kShapes[0], true);
  BOOST_TEST(ValidateBranches(std::vector{w, branch}).ok());
  BOOST_TEST(ValidateBranches(std::vector{branch, w}).ok());
  BOOST_TEST(Message(ValidateBranches(std::vector{branch})) == "table 'branch': branch_of is 'w', expected the name of a table that is no branch");
  TableSpec of_branch = branch;
  of_branch.name = "second";
  of_branch.branch_of = "branch";
  BOOST_TEST(absl::IsInvalidArgument(ValidateBranches(std::vector{w, branch, of_branch})));
  TableSpec wide = branch;
  wide.width = 2;
  BOOST_TEST(Message(ValidateBranches(std::vector{w, wide})) == "table 'branch': width is 2, expected 1 as of table 'w'");
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace
}   // namespace troupe
