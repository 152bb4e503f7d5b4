// Any bytes as a range of a table, and as a model part: refused, or taken and then saved again as the same bytes.
#include <cstdlib>
#include <cstring>

#include "ps/export.h"
#include "ps/table.h"

namespace troupe {
namespace {

Table& TableOf(size_t which) {
  static std::vector<Table>* tables = [] {
    auto* made = new std::vector<Table>;
    for (const char* rule : {"add", "adam"}) {
      for (const std::optional<uint64_t> rows : {std::optional<uint64_t>{}, std::optional<uint64_t>{10}}) {
        TableSpec spec;
        spec.rule = rule;
        spec.width = 2;
        spec.rows = rows;
        spec.ranges = 2;
        made->push_back(std::move(*Table::Make(spec, 0, 1)));
      }
    }
    TableSpec limited;   // what it has of limits lies behind the rows
    limited.rule = "sgd";
    limited.width = 2;
    limited.ranges = 2;
    limited.limits = {.admit_after = 2, .ttl = 5};
    made->push_back(std::move(*Table::Make(limited, 0, 1)));
    return made;
  }();
  return (*tables)[which % tables->size()];
}

void Same(const Block& a, const Block& b) {
  if (a.size() != b.size() || std::memcmp(a.data(), b.data(), a.size()) != 0) std::abort();
}

}   // namespace
}   // namespace troupe

/// The first byte chooses the table (bit 6: the one with limits) and the range; the rest are the bytes. A header of that range is put before them if bit 7 is
/// set, so that keys and rows are met.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace troupe;
  if (size == 0) return 0;
  Table& table = TableOf((data[0] & 0x40) != 0 ? 4 : data[0] & 3);
  const uint32_t range = (data[0] >> 2) & 1;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] & 0x80) {
    const bool limited = table.spec().limits.any();
    const size_t row = table.rule().floats(2) * sizeof(float) + (table.partition().dense() ? 0 : sizeof(Key)) + (limited ? sizeof(uint32_t) : 0);
    const uint64_t rows = limited ? (bytes.empty() ? 0 : static_cast<uint8_t>(bytes[0]) % 4) : bytes.size() / row;
    std::string header(reinterpret_cast<const char*>(table.Save(range).data()), 64);
    std::memcpy(header.data() + 32, &rows, sizeof rows);
    bytes = header + (limited ? bytes.substr(std::min<size_t>(1, bytes.size())) : bytes.substr(0, rows * row));
  }
  const Block block = Block::Copy(bytes.data(), bytes.size());
  const Block before = table.Save(range);
  Same(table.Save(range), table.Load(range, block).ok() ? block : before);
  if (const auto rows = DecodeRows(block); rows.ok()) Same(EncodeRows(*rows), block);
  return 0;
}
