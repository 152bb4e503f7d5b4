// Copies of rows that a TableSet keeps at this end: pulled, fetched in the background, changed.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/status.h"
#include "ps/table_set_actor/set.h"

namespace troupe {
namespace table_set {
namespace {

constexpr size_t kFetchesMax = 4;   // of changed and intended rows under way at once; what is beyond them is asked for by its pull

}   // namespace

absl::Status CheckReplicas(const TableSetOptions& options) {
  for (const auto& [name, replicas] : options.replicas) {
    const auto spec = std::ranges::find(options.tables, name, &TableSpec::name);
    if (spec == options.tables.end()) return absl::InvalidArgumentError(absl::StrCat("replicas of table '", name, "', expected one of the set's"));
    if (spec->staleness_scale || spec->delay_compensation > 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "replicas of table '", name, "', whose shards must know which rows are read: expected neither staleness_scale nor ", "delay_compensation"));
    }
    if (spec->limits.ttl > 0 || spec->limits.rows_max > 0) {
      return absl::InvalidArgumentError(absl::StrCat("replicas of table '", name, "', whose pushes let other rows go: expected neither ttl nor rows_max"));
    }
    if (Replicas(spec->width, replicas.bytes_max).rows_max() == 0) {
      return absl::InvalidArgumentError(absl::StrCat("replicas of table '", name, "': bytes_max is ", replicas.bytes_max, ", expected room for a row"));
    }
    if (replicas.staleness.count() <= 0) {
      return absl::InvalidArgumentError(absl::StrCat("replicas of table '", name, "': staleness is ", replicas.staleness.count(), " ms, expected more than 0"));
    }
  }
  return absl::OkStatus();
}

}   // namespace table_set

using namespace table_set;

absl::Status TableSet::Impl::AskInto(uint32_t table, std::span<const Key> keys, std::span<const uint32_t> positions, float* values, const PullOptions& how) {
  if (positions.empty()) return absl::OkStatus();
  Copies& here = *copies[table];
  const size_t width = options.tables[table].width;
  std::vector<Key> asked;
  for (const uint32_t i : positions) asked.push_back(keys[i]);
  FetchedRows::Fetch fetch;
  {
    std::lock_guard lock(here.mutex);
    fetch = here.rows.Begin(asked, Copies::Now());
  }
  const absl::StatusOr<std::vector<float>> rows = Ask(table, asked, how);
  for (size_t j = 0; rows.ok() && j < asked.size(); ++j) std::copy_n(rows->data() + j * width, width, values + positions[j] * width);
  std::lock_guard lock(here.mutex);
  for (size_t j = 0; rows.ok() && j < asked.size(); ++j) here.rows.Put(fetch, asked[j], rows->data() + j * width);
  here.rows.End(fetch, asked);
  here.over.notify_all();
  return rows.status();
}

absl::StatusOr<std::vector<float>> TableSet::Impl::PullNear(uint32_t table, std::span<const Key> keys, const PullOptions& how, std::vector<float> values) {
  Copies& here = *copies[table];
  values.resize(keys.size() * options.tables[table].width);
  const std::chrono::milliseconds limit = how.limit.value_or(options.patience);
  const auto end = std::chrono::steady_clock::now() + limit;
  FetchedRows::Missing missing;
  {
    std::lock_guard lock(here.mutex);
    missing = here.rows.Pull(keys, Copies::Now(), values.data());
  }
  if (how.priority > 0) {   // a fetch on its way has none
    missing.ask.insert(missing.ask.end(), missing.wait.begin(), missing.wait.end());
    missing.wait.clear();
  }
  TROUPE_RETURN_IF_ERROR(AskInto(table, keys, missing.ask, values.data(), how));
  if (missing.wait.empty()) return values;
  std::vector<uint32_t> still;
  {
    std::unique_lock lock(here.mutex);
    const auto over = [&] { return std::ranges::all_of(missing.fetches, [&](FetchedRows::Fetch fetch) { return here.rows.Over(fetch); }); };
    if (!here.over.wait_until(lock, end, over)) return TooLong(limit);
    still = here.rows.Read(keys, missing.wait, Copies::Now(), values.data());
  }
  if (still.empty()) return values;   // else changed meanwhile, or the fetch has failed
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
  TROUPE_RETURN_IF_ERROR(AskInto(table, keys, still, values.data(), {.priority = how.priority, .limit = std::max(left, std::chrono::milliseconds(0))}));
  return values;
}

void TableSet::Impl::FetchRows(uint32_t table, std::vector<Key> keys) {
  if (keys.empty()) return;
  if (fetches->fetch_add(1) >= kFetchesMax) {
    fetches->fetch_sub(1);
    return;
  }
  const std::shared_ptr<Copies>& here = copies[table];
  const Router::TablePull wanted[] = {{.table = table, .keys = keys}};
  auto pull = std::make_shared<PullCall>(std::make_shared<const RoutedPull>(router->Pull(wanted)), nullptr);
  FetchedRows::Fetch fetch;
  {
    std::lock_guard lock(here->mutex);
    fetch = here->rows.Begin(keys, Copies::Now());
  }
  pull->over_by = [here, fetch, fetches = fetches, router = router, keys = std::move(keys)](const PullCall& done) {
    fetches->fetch_sub(1);
    std::lock_guard lock(here->mutex);
    if (done.over->ok()) {
      router->ForEachRow(*done.pull, done.values, [&](uint32_t, size_t, Key key, const float* row) { here->rows.Put(fetch, key, row); })
          .IgnoreError();   // whoever pulls them asks himself, and is told
    }
    here->rows.End(fetch, keys);
    here->over.notify_all();
  };
  Do([pull](SetState& state) { state.failure.ok() ? AddPull(state, pull) : pull->End(state.failure); }, LongestOf(*pull->pull));
}

absl::Status TableSet::Impl::Intend(uint32_t table, std::span<const Key> keys) {
  std::vector<Key> fetch;
  {
    std::lock_guard lock(copies[table]->mutex);
    TROUPE_RETURN_IF_ERROR(copies[table]->rows.Intend(keys, Copies::Now(), fetch));
  }
  FetchRows(table, std::move(fetch));
  return absl::OkStatus();
}

void TableSet::Impl::Changed(uint32_t table, std::span<const Key> keys) {
  if (copies[table] == nullptr) return;
  std::vector<Key> again;
  {
    std::lock_guard lock(copies[table]->mutex);
    again = copies[table]->rows.Change(keys, Copies::Now());
  }
  FetchRows(table, std::move(again));
}

void TableSet::Impl::AllChanged(uint32_t table) {
  if (copies[table] == nullptr) return;
  std::vector<Key> again;
  {
    std::lock_guard lock(copies[table]->mutex);
    again = copies[table]->rows.ChangeAll(Copies::Now());
  }
  FetchRows(table, std::move(again));
}

}   // namespace troupe
