// Function fork: the first table becomes what the second is, with values and state: a branch begins, or a table goes back to a branch. The tables share their
// ranges until one of them is written to, so that it costs no copy. Tables: {a branch of a table, the table}, or the other way round, or two branches of one.
#include "actors/check.h"
#include "ps/function.h"

namespace troupe {
namespace {

class Fork final : public ChangingFunction {
 public:
  void ChangeTables(std::span<Table* const> tables) const override { TROUPE_CHECK(tables[0]->Become(*tables[1]).ok()); }   // TwoTables has looked
};

const RegisterFunction registration({.name = "fork", .tables_max = 2, .change = [](ArgumentReader& arguments) -> std::unique_ptr<ChangingFunction> {
                                       arguments.TwoTables();
                                       return std::make_unique<Fork>();
                                     }});

}   // namespace
}   // namespace troupe
