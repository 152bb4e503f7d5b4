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
  answer.hot.reserve(answer.asked);
  Router::ForEachKey(*pull, [&](size_t i, uint32_t j, Key key) {
    const RoutedPull::Order& order = pull->orders[i];
    std::optional<OfTable>& table = tables_[order.table];
    const bool hot = table && table->hot.See(key);
    const float* row = hot ? table->copies.Find(key, table->bound.Needs(round)) : nullptr;   // a cold key has no copy: it is not looked for
    if (row == nullptr) {
      answer.hot.push_back(hot);
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
