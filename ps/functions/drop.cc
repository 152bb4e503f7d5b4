// Function drop: a branch ends: its rows are as at the start, and its memory is free.
#include "absl/strings/str_cat.h"
#include "ps/function.h"

namespace troupe {
namespace {

class Drop final : public ChangingFunction {
 public:
  void ChangeTables(std::span<Table* const> tables) const override { tables[0]->Reset(); }
};

const RegisterFunction registration({.name = "drop", .change = [](ArgumentReader& arguments) -> std::unique_ptr<ChangingFunction> {
                                       const TableSpec& table = arguments.table();
                                       if (table.branch_of.empty()) arguments.Refuse(absl::StrCat("table '", table.name, "' is no branch"));
                                       return std::make_unique<Drop>();
                                     }});

}   // namespace
}   // namespace troupe
