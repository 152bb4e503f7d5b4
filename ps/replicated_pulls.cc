#include "ps/replicated_pulls.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace troupe {

absl::Status CheckReplicas(const ReplicaOptions& options, const std::vector<TableSpec>& tables, const Consistencies& consistencies) {
  if (options.bytes_max == 0) return absl::OkStatus();
  bool any = false;
  for (const TableSpec& spec : tables) {
    if (consistencies.Of(spec.name).in_rounds()) continue;
    any = true;
    if (!spec.staleness_scale && spec.delay_compensation == 0) continue;
    return absl::InvalidArgumentError(absl::StrCat("replicas: table '", spec.name, "' has ", spec.staleness_scale ? "staleness_scale" : "delay_compensation",
                                                   ", expected none: its shards must know which rows a writer has"));
  }
  if (any) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("replicas: consistency is '", ToString(consistencies),
                                                 "', expected ssp:K, delay:MS or asp for a table: in rounds a batch needs the rows of the round before"));
}

ReplicatedPulls::ReplicatedPulls(std::shared_ptr<const Router> router, const Consistencies& consistencies, const ReplicaOptions& options)
    : router_(std::move(router)) {
  const auto in_rounds = [&](const TableSpec& spec) { return consistencies.Of(spec.name).in_rounds(); };
  const auto with_copies = router_->tables().size() - static_cast<size_t>(std::ranges::count_if(router_->tables(), in_rounds));
  for (const TableSpec& spec : router_->tables()) {
    if (in_rounds(spec)) {
      tables_.emplace_back();
      continue;
    }
    const Consistency& own = consistencies.Of(spec.name);
    const uint32_t staleness = own.kind == Consistency::Kind::kSsp ? std::min(own.staleness, options.staleness) : options.staleness;
    tables_.emplace_back(OfTable{.bound = {.kind = Consistency::Kind::kSsp, .staleness = staleness},
                                 .hot = HotKeys({}),
                                 .copies = Replicas(spec.width, options.bytes_max / with_copies)});
  }
}

ReplicatedPulls::Answer ReplicatedPulls::Take(const std::shared_ptr<const RoutedPull>& pull, Round round) {
  Answer answer;
  std::vector<std::vector<uint8_t>> known;   // by order, as they are answered
  for (const RoutedPull::Order& order : pull->orders) {
    known.emplace_back(order.position.size());
    answer.asked += order.position.size();
  }
  answer.values.resize(pull->orders.size());
  std::vector<uint8_t>& hot = answer.hot;
  hot.resize(answer.asked);
  size_t next = 0, left = 0;
  for (size_t shard = 0; shard < pull->shards.size(); ++shard) {
    std::span<const Key> keys = pull->shards[shard].keys.As<Key>();
    for (const RoutedPull::Order& order : pull->orders) {
      const size_t run = order.shard_begin[shard + 1] - order.shard_begin[shard];
      if (tables_[order.table]) tables_[order.table]->hot.See(keys.first(run), hot.data() + next);
      keys = keys.subspan(run);
      next += run;
    }
  }
  next = 0;
  Router::ForEachKey(*pull, [&](size_t i, uint32_t j, Key key) {
    const RoutedPull::Order& order = pull->orders[i];
    const bool is_hot = hot[next++] != 0;
    OfTable* const table = is_hot ? &*tables_[order.table] : nullptr;
    const float* row = is_hot ? table->copies.Find(key, table->bound.Needs(round)) : nullptr;   // a cold key has no copy: it is not looked for
    if (row == nullptr) {
      hot[left++] = is_hot;
      return;
    }
    const uint32_t width = router_->tables()[order.table].width;
    if (answer.values[i].empty()) answer.values[i].resize(size_t{order.rows} * width);
    std::memcpy(answer.values[i].data() + size_t{order.position[j]} * width, row, width * sizeof(float));
    known[i][j] = 1;
    ++answer.copied;
  });
  for (const RoutedPull::Order& order : pull->orders) {
    if (tables_[order.table]) tables_[order.table]->hot.EndBatch();
  }
  hot.resize(left);
  answer.asked -= answer.copied;
  if (answer.copied == 0)
    answer.rest = pull;
  else if (answer.asked > 0)
    answer.rest = std::make_shared<const RoutedPull>(router_->Rest(*pull, known));
  return answer;
}

absl::Status ReplicatedPulls::Keep(const Answer& asked, std::span<const Block> values, std::span<const Round> clocks) {
  const uint8_t* hot = asked.hot.data();
  return router_->ForEachRow(*asked.rest, values, [&](uint32_t shard, size_t order, Key key, const float* row) {
    if (*hot++ != 0) tables_[asked.rest->orders[order].table]->copies.Put(key, clocks[shard], row);
  });
}

void ReplicatedPulls::Forget() {
  for (std::optional<OfTable>& table : tables_) {
    if (table) table->copies.Clear();
  }
}

}   // namespace troupe
