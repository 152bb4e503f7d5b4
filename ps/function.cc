#include "ps/function.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {
namespace {

std::map<std::string, FunctionEntry>& Registry() {
  static std::map<std::string, FunctionEntry> registry;
  return registry;
}

absl::Status CheckTables(const FunctionEntry& entry, const FunctionCall& call, size_t tables) {
  if (call.tables.empty() || call.tables.size() > entry.tables_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("function '", call.function, "': ", call.tables.size(), " tables, expected ", entry.tables_max == 1 ? "" : "1 .. ", entry.tables_max));
  }
  for (const uint32_t table : call.tables) {
    if (table >= tables) return absl::InvalidArgumentError(absl::StrCat("function '", call.function, "': table is ", table, ", expected < ", tables));
  }
  return absl::OkStatus();
}

}   // namespace

void ArgumentReader::Refuse(const std::string& what) {
  status_.Update(absl::InvalidArgumentError(absl::StrCat("function '", call_.function, "': ", what)));
}

bool ArgumentReader::Given(const std::string& name) {
  numbers_.insert(name);
  return call_.numbers.contains(name);
}

double ArgumentReader::Number(const std::string& name, std::optional<double> otherwise, double low, double high) {
  if (!Given(name)) {
    if (!otherwise) Refuse(absl::StrCat(name, " is missing, expected ", Exact(low), " .. ", Exact(high)));
    return otherwise.value_or(low);
  }
  const std::vector<double>& given = call_.numbers.at(name);
  if (given.size() != 1) {
    Refuse(absl::StrCat(name, " is ", given.size(), " numbers, expected one"));
    return low;
  }
  if (given[0] >= low && given[0] <= high) return given[0];
  Refuse(absl::StrCat(name, " is ", Exact(given[0]), ", expected ", Exact(low), " .. ", Exact(high)));
  return low;
}

uint64_t ArgumentReader::Whole(const std::string& name, std::optional<uint64_t> otherwise, uint64_t low, uint64_t high) {
  const std::optional<double> as_double = otherwise ? std::optional<double>(static_cast<double>(*otherwise)) : std::nullopt;
  const double number = Number(name, as_double, static_cast<double>(low), static_cast<double>(high));
  if (number != std::floor(number)) Refuse(absl::StrCat(name, " is ", Exact(number), ", expected a whole number"));
  return static_cast<uint64_t>(number);
}

std::string ArgumentReader::Word(const std::string& name, const std::vector<std::string>& choices, bool must) {
  words_.insert(name);
  const auto given = call_.words.find(name);
  if (given == call_.words.end()) {
    if (must) Refuse(absl::StrCat(name, " is missing, expected one of ", absl::StrJoin(choices, ", ")));
    return choices[0];
  }
  if (std::find(choices.begin(), choices.end(), given->second) != choices.end()) return given->second;
  Refuse(UnknownName(name, given->second, choices));
  return choices[0];
}

std::vector<uint32_t> ArgumentReader::Columns() {
  const uint32_t width = table().width;
  std::vector<uint32_t> columns;
  if (!Given("columns")) {
    columns.resize(width);
    std::iota(columns.begin(), columns.end(), 0U);
    return columns;
  }
  for (const double column : call_.numbers.at("columns")) {
    if (!(column >= 0 && column < width) || column != std::floor(column)) {
      Refuse(absl::StrCat("column is ", Exact(column), ", expected 0 .. ", width - 1));
      continue;
    }
    columns.push_back(static_cast<uint32_t>(column));
  }
  std::sort(columns.begin(), columns.end());
  if (std::adjacent_find(columns.begin(), columns.end()) != columns.end()) Refuse("columns has one twice");
  if (columns.empty()) Refuse("columns is empty");
  return columns;
}

std::span<const Key> ArgumentReader::keys() {
  rows_ = true;
  return call_.keys;
}

void ArgumentReader::TwoTables() {
  if (tables() != 2 || call_.tables[0] == call_.tables[1]) {
    Refuse(tables() == 2 ? absl::StrCat("table ", call_.tables[0], " twice, expected two tables") : absl::StrCat(tables(), " tables, expected two"));
  } else if (const absl::Status same = CheckSameRows(table(0), table(1)); !same.ok()) {
    Refuse(std::string(Message(same)));
  }
}

absl::Status ArgumentReader::Finish() {
  for (const auto& [name, numbers] : call_.numbers) {
    if (!numbers_.contains(name)) Refuse(UnknownName("argument", name, std::vector<std::string>(numbers_.begin(), numbers_.end())));
  }
  for (const auto& [name, word] : call_.words) {
    if (!words_.contains(name)) Refuse(UnknownName("argument", name, std::vector<std::string>(words_.begin(), words_.end())));
  }
  if (!rows_ && !(call_.keys.empty() && call_.values.empty())) Refuse("rows were given, but it takes none");
  return status_;
}

void ChangingFunction::ChangeTables(std::span<Table* const> tables) const {
  Table& table = *tables[0];
  for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
    if (table.Owns(range)) table.Change(range, [&](const TableRows& rows, double* values) { Change(rows, values); });
  }
}

void ChangingFunction::Change(const TableRows&, double*) const {
  TROUPE_CHECK(false);   // a function overrides this or ChangeTables
}

RegisterFunction::RegisterFunction(FunctionEntry entry) {
  TROUPE_CHECK((entry.read != nullptr) != (entry.change != nullptr));
  std::string name = entry.name;
  TROUPE_CHECK(Registry().emplace(std::move(name), std::move(entry)).second);
}

absl::StatusOr<Function> MakeFunction(const FunctionCall& call, std::span<const TableSpec> tables) {
  const auto found = Registry().find(call.function);
  if (found == Registry().end()) return absl::InvalidArgumentError(UnknownName("function", call.function, FunctionNames()));
  const FunctionEntry& entry = found->second;
  TROUPE_RETURN_IF_ERROR(CheckTables(entry, call, tables.size()));
  ArgumentReader arguments(call, tables);
  Function function;
  if (entry.read != nullptr) {
    function.read = entry.read(arguments);
  } else {
    function.change = entry.change(arguments);
  }
  TROUPE_RETURN_IF_ERROR(arguments.Finish());
  return function;
}

std::vector<std::string> FunctionNames() {
  std::vector<std::string> names;
  for (const auto& [name, entry] : Registry()) names.push_back(name);
  return names;
}

}   // namespace troupe
