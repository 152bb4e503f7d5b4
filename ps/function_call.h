// What is asked of all shards at once: a server-side function by name, about which tables, with which arguments; and what it answers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ps/types.h"

namespace troupe {

/// A call, e.g. {.function = "top_k", .numbers = {{"k", {10}}}, .words = {{"by", "norm"}}}. What a function takes stands in its file, ps/functions/<name>.cc.
struct FunctionCall {
  std::string function;
  std::vector<uint32_t> tables = {0};                        ///< numbers of tables; what the function is about comes first
  std::map<std::string, std::vector<double>> numbers = {};   ///< by name, each one number or a list
  std::map<std::string, std::string> words = {};
  /// Rows given with the call, for functions that take some: keys, and keys.size() x width of the first table.
  std::vector<Key> keys = {};
  std::vector<float> values = {};

  bool operator==(const FunctionCall&) const = default;
};

/// What a function answers, about one range or about all of them. Which numbers stand where is the function's own matter.
struct FunctionValue {
  std::vector<Key> keys;
  std::vector<double> numbers;

  bool operator==(const FunctionValue&) const = default;
};

}   // namespace troupe
