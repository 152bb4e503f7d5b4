// Parquet files for tests, as other programs write them: any type, nulls, small row groups and pages.
#pragma once

#include <cmath>
#include <string>
#include <vector>

namespace troupe::testing {

constexpr double kNull = -987654321;   // stands for null in TestColumn::values

struct TestColumn {
  std::string name;
  std::string type;   ///< "float", "double", "bool", "int8" .. "uint64", "halffloat"; "string", "list", "timestamp", "decimal": nulls only
  std::vector<double> values;
};

struct TestFile {
  std::vector<TestColumn> columns;
  size_t group_rows = 1 << 20;
  size_t page_rows = 20000;
  bool compressed = true;   ///< snappy, and dictionaries
};

/// Aborts where it cannot.
void WriteTestParquet(const std::string& path, const TestFile& file);

}   // namespace troupe::testing
