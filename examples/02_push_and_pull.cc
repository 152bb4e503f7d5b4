// Tables straight from code: rows by key on two shards, pulled and pushed to, kept in a folder that a killed process finds again.
#include <cstdio>
#include <filesystem>
#include <string>

#include "actors/status.h"
#include "actors/system.h"
#include "ps/table_set.h"

using namespace troupe;   // an example may

namespace {
constexpr std::chrono::seconds kLimit{10};

void Show(const char* what, const Rows& rows) {
  std::printf("%s\n", what);
  for (size_t i = 0; i < rows.keys.size(); ++i)
    std::printf("  w[%llu] = %g %g\n", static_cast<unsigned long long>(rows.keys[i]), rows.row(i)[0], rows.row(i)[1]);
}

absl::Status Run(const std::string& folder) {
  System system({.compute_threads = 1});
  // No number of rows: sparse, any 64-bit key, rows come into being when they are first pushed to. The shards make steps of what is pushed.
  const TableSpec weights{.name = "w", .width = 2, .rows = {}, .rule = "sgd", .rule_options = {{"learning_rate", 0.5}}};
  const TableSetOptions options{.tables = {weights}, .shards = 2, .folder = folder};
  const std::vector<Key> keys = {3, 17, 1'000'000'007};
  {
    TROUPE_TRY(const auto set, TableSet::Create(system, options));
    TROUPE_TRY(const TableRef w, set->Find("w"));
    TROUPE_TRY(const Rows zeros, w.Pull(keys));
    Show("nothing has been pushed", zeros);
    for (int step = 0; step < 3; ++step) w.Push(keys, {-1, -2, -3, -4, -5, -6});   // need not be waited for one by one
    TROUPE_TRY(const Rows rows, w.Pull(keys));                                     // sees what was pushed before
    Show("after three gradients", rows);
    TROUPE_TRY(const FunctionValue norm, set->Call({.function = "norm"}));   // runs at the shards
    std::printf("the norm of the table is %.4f\n", norm.numbers[0]);
    TROUPE_RETURN_IF_ERROR(set->Change({.function = "apply", .numbers = {{"by", {0.1}}}, .words = {{"op", "scale"}}}));
    TROUPE_RETURN_IF_ERROR(w.Push({17}, {0, 1}).Wait(kLimit));   // every shard has applied it, and it is on the disk
    std::puts(std::string(w.Push({17}, {1}).Wait(kLimit).message()).c_str());
  }
  TROUPE_TRY(const auto again, TableSet::Create(system, options));   // as another process would
  TROUPE_TRY(const TableRef w, again->Find("w"));
  TROUPE_TRY(const Rows rows, w.Pull(keys));
  Show("what the folder has", rows);
  return absl::OkStatus();
}
}   // namespace

int main() {
  std::string folder = (std::filesystem::temp_directory_path() / "troupe-tables-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) return 1;
  const absl::Status status = Run(folder);
  std::filesystem::remove_all(folder);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return ExitCode(status);
}
