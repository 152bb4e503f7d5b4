// Rounds, one after the other.
#include "algorithms/run/local_runner.h"

#include <chrono>
#include <deque>
#include <optional>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/status.h"
#include "algorithms/registry.h"
#include "algorithms/run/read_rows.h"
#include "dataflow/split_reader.h"
#include "ps/call.h"
#include "ps/encoding/compressor.h"
#include "ps/encoding/value_codec.h"
#include "ps/export.h"
#include "ps/round_sum.h"

namespace troupe {
namespace {

/// Calls visit(range, positions) for the ranges that `keys` fall into.
template <class Visit>
absl::Status ByRange(const Table& table, std::span<const Key> keys, Visit visit) {
  std::vector<std::vector<uint32_t>> positions(table.partition().ranges());
  for (uint32_t i = 0; i < keys.size(); ++i) {
    if (table.partition().dense() && keys[i] >= *table.spec().rows)
      return absl::InvalidArgumentError(absl::StrCat("key is ", keys[i], ", expected < ", *table.spec().rows));
    positions[table.partition().RangeOf(keys[i])].push_back(i);
  }
  for (uint32_t range = 0; range < positions.size(); ++range)
    if (!positions[range].empty()) TROUPE_RETURN_IF_ERROR(visit(range, positions[range]));
  return absl::OkStatus();
}

struct Rows {
  std::vector<Key> keys;
  std::vector<float> values;
};
Rows Gather(std::span<const Key> keys, const float* values, uint32_t width, const std::vector<uint32_t>& positions) {
  Rows rows;
  for (const uint32_t i : positions) {
    rows.keys.push_back(keys[i]);
    rows.values.insert(rows.values.end(), values + size_t{i} * width, values + (size_t{i} + 1) * width);
  }
  return rows;
}

absl::Status PullRows(const Table& table, std::span<const Key> keys, std::vector<float>& values) {
  const uint32_t width = table.spec().width;
  values.resize(keys.size() * width);
  return ByRange(table, keys, [&](uint32_t range, const std::vector<uint32_t>& positions) {
    Rows rows = Gather(keys, values.data(), width, positions);
    TROUPE_RETURN_IF_ERROR(table.Pull(range, rows.keys, rows.values.data()));
    for (size_t i = 0; i < positions.size(); ++i) std::copy_n(rows.values.data() + i * width, width, values.data() + size_t{positions[i]} * width);
    return absl::OkStatus();
  });
}

class LocalRunner final : public Driver {
 public:
  LocalRunner(const LocalOptions& options, const Algorithm& algorithm, DataShape shape, LocalResult& result)
      : options_(options), algorithm_(algorithm), shape_(std::move(shape)), result_(result), sums_(result.tables.size()) {
    for (const Table& table : result.tables) specs_.push_back(table.spec());
    for (uint32_t split = 0; split < options.splits; ++split) compressors_.emplace_back(specs_, options.seed, split);
  }

  absl::StatusOr<PhaseResult> Run(const Phase& phase) override;
  absl::Status Assign(uint32_t table, std::vector<Key> keys, std::vector<float> values) override {
    Table& target = result_.tables.at(table);
    return ByRange(target, keys, [&](uint32_t range, const std::vector<uint32_t>& positions) {
      const Rows rows = Gather(keys, values.data(), target.spec().width, positions);
      return target.Assign(range, rows.keys, rows.values.data());
    });
  }
  absl::StatusOr<FunctionValue> Call(const FunctionCall& call) override {
    TROUPE_TRY(FunctionValue value, CallTables(call, result_.tables));
    TROUPE_TRY(const Function function, MakeFunction(call, specs_));
    return value;
  }
  void Report(int epoch, std::string_view metric, double value) override { result_.reports.push_back({epoch, std::string(metric), value}); }
  absl::Status Checkpoint(const Numbers& state) override {
    result_.checkpoints.push_back(state);
    return absl::OkStatus();
  }
  const Numbers* resumed() const override { return options_.resumed.empty() ? nullptr : &options_.resumed; }
  int epochs() const override { return options_.epochs; }
  uint64_t seed() const override { return options_.seed; }
  absl::StatusOr<std::vector<std::vector<float>>> ReadRows(const std::string& uri) override { return ReadAllRows(uri, shape_.schema); }
  const DataShape& shape() const override { return shape_; }

 private:
  /// What one split made in one phase.
  struct Split : Out {
    LocalRunner* runner = nullptr;
    Compressor* compressor = nullptr;
    std::vector<GivenRows> given;                    // to the current batch
    std::vector<bool> pushed;                        // by table, in the current batch
    std::chrono::steady_clock::duration pushing{};   // of the current batch's Work
    absl::Status status;
    PhaseResult sums;
    void Push(uint32_t table, std::vector<Key> keys, std::vector<float> gradient, std::span<const uint32_t> nonzeros) override;
    void Combine(std::span<const double> partial) override;
    void Collect(std::span<const double> numbers) override { sums.collected.insert(sums.collected.end(), numbers.begin(), numbers.end()); }
  };
  absl::Status OneBatch(const Phase& phase, const Batch& batch, Split& split);
  /// As at every shard: batches of all splits are a round, and so is the end of a phase that pushes.
  void EndRound() {
    ++rounds_;
    for (Table& table : result_.tables) {
      table.SetStep(static_cast<double>(rounds_));
      table.SetRounds(rounds_);
    }
  }
  static void Add(std::span<const double> partial, Numbers& sum) {
    if (sum.empty()) sum.resize(partial.size());
    TROUPE_CHECK(sum.size() == partial.size());
    for (size_t i = 0; i < partial.size(); ++i) sum[i] += partial[i];
  }

  const LocalOptions& options_;
  const Algorithm& algorithm_;
  const DataShape shape_;
  LocalResult& result_;
  std::vector<TableSpec> specs_;
  uint64_t epoch_ = 0;                    // shuffled phases so far
  uint64_t rounds_ = 0;                   // that are over
  std::vector<Compressor> compressors_;   // by split
  std::vector<RoundSum> sums_;            // by table
  std::deque<Rows> round_;                // what they refer to
};

void LocalRunner::Split::Combine(std::span<const double> partial) {
  Add(partial, sums.sum);
}

void LocalRunner::Split::Push(uint32_t index, std::vector<Key> keys, std::vector<float> gradient, std::span<const uint32_t> nonzeros) {
  Table& table = runner->result_.tables.at(index);
  const uint32_t width = table.spec().width;
  TROUPE_CHECK(!pushed[index] && gradient.size() == keys.size() * width && (nonzeros.empty() || nonzeros.size() == keys.size()));
  pushed[index] = true;
  const auto begun = std::chrono::steady_clock::now();
  if (runner->options_.watch != nullptr) runner->options_.watch->Pushed(index, keys);
  TablePush push{.table = index, .keys = std::move(keys), .values = std::move(gradient), .nonzeros = {nonzeros.begin(), nonzeros.end()}};
  compressor->Compress({&push, 1}, given);
  for (const uint32_t n : push.nonzeros) runner->result_.nonzeros_pushed += n;
  for (const uint32_t n : push.filtered_nonzeros) runner->result_.nonzeros_pushed += n;
  status.Update(ByRange(table, push.keys, [&](uint32_t range, const std::vector<uint32_t>& positions) {
    const Rows& rows = runner->round_.emplace_back(Gather(push.keys, push.values.data(), width, positions));
    const RowsIn share{RowSet::Of(range, rows.keys), rows.values.data()};
    TROUPE_RETURN_IF_ERROR(table.Check({&share, 1}));
    runner->sums_[index].Add(share);
    return absl::OkStatus();
  }));
  pushing += std::chrono::steady_clock::now() - begun;
}

absl::Status LocalRunner::OneBatch(const Phase& phase, const Batch& batch, Split& split) {
  using Time = std::chrono::steady_clock;
  const Time::time_point begun = Time::now();
  TROUPE_TRY(const std::unique_ptr<Plan> plan, algorithm_.MakePlan(phase, batch));
  const Time::time_point planned = Time::now();
  std::vector<std::vector<float>> values;
  std::vector<RowsView> views;
  split.given.clear();
  if (plan != nullptr) {
    values.resize(plan->pulls.size());
    for (size_t i = 0; i < values.size(); ++i) {
      const Table& table = result_.tables.at(plan->pulls[i].table);
      TROUPE_RETURN_IF_ERROR(PullRows(table, plan->pulls[i].keys, values[i]));
      if (options_.watch != nullptr) options_.watch->Pulled(plan->pulls[i].table, plan->pulls[i].keys);
      Quantise(table.spec().encoding.pulled, 1, values[i]);
      views.push_back({plan->pulls[i].keys, values[i], table.spec().width});
      split.given.push_back({plan->pulls[i].table, plan->pulls[i].keys, values[i]});
    }
  }
  const Time::time_point pulled = Time::now();
  split.pushing = {};
  TROUPE_RETURN_IF_ERROR(algorithm_.Work(phase, batch, plan.get(), views, split));
  if (options_.watch != nullptr) {
    const Time::duration own = planned - begun + (Time::now() - pulled) - split.pushing;
    options_.watch->Batch(phase, std::chrono::duration<double>(own).count());
  }
  split.sums.rows += batch.rows();
  if (phase.pushes) result_.nonzeros_read += batch.nonzeros();
  return split.status;
}

absl::StatusOr<PhaseResult> LocalRunner::Run(const Phase& phase) {
  std::vector<std::unique_ptr<SplitReader>> readers;   // nullptr: at its end
  std::vector<Split> splits(options_.splits);
  for (uint32_t s = 0; s < options_.splits; ++s) {
    splits[s].runner = this;
    splits[s].compressor = &compressors_[s];
    readers.push_back(std::make_unique<SplitReader>(
        options_.source, nullptr,
        SplitOptions{.split = s, .splits = options_.splits, .batch_rows = phase.batch_rows, .seed = options_.seed, .shuffle = phase.shuffle}));
    TROUPE_RETURN_IF_ERROR(readers.back()->Seek(epoch_, 0));
  }
  for (bool any = true; any;) {
    any = false;
    uint32_t writers = 0;   // with a batch in this round
    for (uint32_t s = 0; s < options_.splits; ++s) {
      if (readers[s] == nullptr) continue;
      TROUPE_TRY(const std::optional<Batch> batch, readers[s]->Next());
      if (!batch) {
        readers[s].reset();
        continue;
      }
      any = true;
      splits[s].pushed.assign(result_.tables.size(), false);
      TROUPE_RETURN_IF_ERROR(OneBatch(phase, *batch, splits[s]));
      ++writers;
    }
    for (size_t t = 0; t < sums_.size(); ++t) {
      Table& table = result_.tables[t];
      sums_[t].ApplyTo(table, table.spec().combine == TableSpec::Combine::kMean ? static_cast<float>(writers) : 1.0f);
    }
    round_.clear();
    if (any && phase.pushes) EndRound();
  }
  for (const Table& table : result_.tables) TROUPE_RETURN_IF_ERROR(table.usable());
  if (phase.shuffle) ++epoch_;
  PhaseResult sums;
  for (Split& split : splits) {
    if (!split.sums.sum.empty()) Add(split.sums.sum, sums.sum);
    sums.collected.insert(sums.collected.end(), split.sums.collected.begin(), split.sums.collected.end());
    sums.rows += split.sums.rows;
  }
  result_.rows += sums.rows;
  return sums;
}

}   // namespace

absl::StatusOr<LocalResult> RunLocal(const LocalOptions& options) {
  TROUPE_TRY(const std::unique_ptr<Algorithm> algorithm, MakeAlgorithm(options.algorithm));
  TROUPE_TRY(const Params params, Params::Parse(algorithm->params(), options.params));
  const DataShape shape = DataShape::Of(options.source->schema());
  TROUPE_TRY(const Blueprint blueprint, algorithm->Declare(params, shape));
  LocalResult result;
  result.manifest.algorithm = options.algorithm;
  result.manifest.params = params.ToText();
  result.manifest.schema = shape.schema;
  result.manifest.labels = algorithm->labels();
  result.manifest.seed = options.seed;
  result.manifest.epochs = options.epochs;
  for (const TableSpec& spec : blueprint.tables) {
    TROUPE_TRY(Table table, Table::Make(spec, 0, 1, MemoryTiers()));
    result.tables.push_back(std::move(table));
    result.manifest.tables.push_back({spec.name, spec.width, 0});
  }
  LocalRunner runner(options, *algorithm, shape, result);
  TROUPE_RETURN_IF_ERROR(algorithm->Drive(runner));
  return result;
}

absl::StatusOr<std::unique_ptr<const Model>> MakeModel(const LocalResult& result) {
  std::vector<std::vector<ExportedRows>> rows;
  for (const Table& table : result.tables) {
    rows.emplace_back();
    for (uint32_t range = 0; range < table.partition().ranges(); ++range) rows.back().push_back(RowsOf(table, range));
  }
  return Model::Make(result.manifest, std::move(rows));
}

}   // namespace troupe
