#include "ps/shard.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "actors/check.h"
#include "actors/network.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/encoding/value_codec.h"

namespace troupe {
namespace {

constexpr uint64_t kLentBytesMin = 64 << 10;   // of a piece, in the mean: smaller ones cost more than a copy, and go through the socket where memory is shared

}   // namespace

Shard::Shard(ShardOptions options) : options_(std::move(options)) {}

absl::Status Validate(const ShardOptions& options) {
  if (options.writers == 0 || options.shards == 0 || options.shard >= PlacesOf(options.tables, options.shards)) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard ", options.shard, " of ", options.shards, " with ", options.writers, " writers: expected at least one of each"));
  }
  if (const uint32_t backup = options.consistency.all.backup; backup >= options.writers) {
    return absl::InvalidArgumentError(absl::StrCat("consistency is 'backup:", backup, "', expected less than the ", options.writers, " splits of the data"));
  }
  for (const TableSpec& spec : options.tables) {
    if (options.consistency.all.backup == 0 || spec.kept_by == KeptBy::kShards) continue;
    return absl::InvalidArgumentError(absl::StrCat("consistency is '", ToString(options.consistency), "', but the workers that keep table '", spec.name,
                                                   "' wait for all of them: expected no backup workers"));
  }
  for (const auto& [name, own] : options.consistency.tables) {
    if (std::any_of(options.tables.begin(), options.tables.end(), [&n = name](const TableSpec& spec) { return spec.name == n; })) continue;
    std::vector<std::string> names;
    for (const TableSpec& spec : options.tables) names.push_back(absl::StrCat("'", spec.name, "'"));
    return absl::InvalidArgumentError(absl::StrCat("consistency names table '", name, "', expected one of ", absl::StrJoin(names, ", ")));
  }
  return ValidateBranches(options.tables);
}

absl::StatusOr<Shard> Shard::Make(ShardOptions options) {
  TROUPE_RETURN_IF_ERROR(Validate(options));
  Shard shard(std::move(options));
  uint32_t slots = 0;
  for (const TableSpec& spec : shard.options_.tables) {
    TROUPE_TRY(Table table, Table::Make(spec, shard.options_.shard, shard.options_.shards, shard.options_.tiers));
    shard.first_slot_.push_back(slots);
    slots += table.partition().ranges();
    shard.tables_.push_back(std::move(table));
    shard.consistency_.push_back(shard.options_.consistency.Of(spec.name));
    shard.any_in_rounds_ |= shard.consistency_.back().in_rounds();
  }
  std::vector<TableSpec> delayed = shard.options_.tables;   // rounds have no delays to make up for
  for (size_t t = 0; t < delayed.size(); ++t) {
    if (!shard.InRounds(static_cast<uint32_t>(t))) continue;
    delayed[t].staleness_scale = false;
    delayed[t].delay_compensation = 0;
  }
  shard.pulled_rows_ = PulledRows(delayed, shard.options_.writers);
  shard.sums_.resize(shard.tables_.size());
  shard.map_ = RangeMap(shard.options_.tables, shard.options_.shards);
  shard.pushed_.resize(slots);
  shard.pulled_.resize(slots);
  shard.arrived_ = Ledger(shard.options_.writers, slots);
  shard.applied_ = shard.arrived_;
  shard.halves_.resize(shard.options_.writers);
  shard.begun_.assign(shard.options_.writers, kFirstRound);
  shard.key_lists_.resize(shard.options_.writers);
  return shard;
}

absl::Status Shard::Check(const Push& push) {
  if (static_cast<uint32_t>(push.writer) >= options_.writers) {
    return absl::InvalidArgumentError(absl::StrCat("push: writer is ", static_cast<uint32_t>(push.writer), ", expected < ", options_.writers));
  }
  if (!push.parts.IsArrayOf<PushPart>() || !push.keys.IsArrayOf<Key>() || !push.values.IsArrayOf<float>()) {
    return absl::InvalidArgumentError("push: arrays are cut or not aligned");
  }
  uint64_t keys = push.keys.As<Key>().size(), values = push.values.As<float>().size();
  for (const PushPart& part : push.parts.As<PushPart>()) {
    if (part.sequence == 0) return absl::InvalidArgumentError("push: a part's sequence is 0, expected a number");
    if (part.table >= tables_.size()) return absl::InvalidArgumentError(absl::StrCat("push: table is ", part.table, ", expected < ", tables_.size()));
    const Table& table = tables_[part.table];
    if (!table.Owns(part.range))
      return absl::InvalidArgumentError(absl::StrCat("push: range ", part.range, " of table '", table.spec().name, "' is not this shard's"));
    if (part.dense != 0 && !table.partition().dense())
      return absl::InvalidArgumentError(absl::StrCat("push: table '", table.spec().name, "' is sparse, expected keys"));
    const uint64_t need = uint64_t{part.count} * table.spec().width;
    if ((part.dense == 0 && part.count > keys) || need > values) return absl::InvalidArgumentError("push: fewer keys or values than its parts say");
    if (part.dense == 0) keys -= part.count;
    values -= need;
    if (&part != push.parts.As<PushPart>().data() && std::tie((&part)[-1].table, (&part)[-1].range) >= std::tie(part.table, part.range)) {
      return absl::InvalidArgumentError(
          absl::StrCat("push: range ", part.range, " of table ", part.table, " is not behind the one before, expected rising ranges"));
    }
  }
  if (keys != 0 || values != 0) return absl::InvalidArgumentError("push: more keys or values than its parts say");
  absl::Status status = CheckChange(push);
  ByTable(
      push, [](const PushPart&) { return true; },
      [&](Table& table, std::span<const RowsIn> rows, std::span<const PushPart* const>) { status.Update(table.Check(rows)); });
  return status.ok() ? status : WithContext(status, absl::StrCat("push of writer ", static_cast<uint32_t>(push.writer)));
}

absl::Status Shard::CheckChange(const Push& push) const {
  if (push.change == nullptr) return absl::OkStatus();
  if (!push.round_over) return absl::InvalidArgumentError("a function before the end of its round");   // a chunk may come twice, the end counts once
  TROUPE_TRY(const Function function, MakeFunction(*push.change, options_.tables));
  if (function.change != nullptr) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("function '", push.change->function, "' changes nothing, expected one that changes rows"));
}

void Shard::ApplyChange(const Push& push) {
  if (push.change == nullptr) return;
  const auto function = MakeFunction(*push.change, options_.tables);
  TROUPE_CHECK(function.ok());   // as it was checked
  ChangeTables(*push.change, *function->change, tables_);
}

template <class Keep, class Use>
void Shard::ByTable(const Push& push, Keep&& keep, Use&& use) {
  const Key* keys = push.keys.As<Key>().data();
  const float* values = push.values.As<float>().data();
  const std::span<const PushPart> parts = push.parts.As<PushPart>();
  for (size_t begin = 0, end; begin < parts.size(); begin = end) {
    Table& table = tables_[parts[begin].table];
    rows_.clear();
    parts_.clear();
    for (end = begin; end < parts.size() && parts[end].table == parts[begin].table; ++end) {
      const PushPart& part = parts[end];
      if (keep(part)) {
        rows_.push_back({part.dense != 0 ? RowSet::Run(part.range, part.first, part.count) : RowSet::Of(part.range, {keys, part.count}), values});
        parts_.push_back(&part);
      }
      keys += part.dense != 0 ? 0 : part.count;
      values += size_t{part.count} * table.spec().width;
    }
    if (!parts_.empty()) use(table, rows_, parts_);
  }
}

Pushed Shard::Answer(uint32_t writer, Pushed::Outcome outcome) const {
  const Round stable = options_.stable_when_applied ? applied_.clock(writer) : arrived_.stable(writer);
  return {.outcome = outcome,
          .clock = arrived_.clock(writer),
          .stable = stable,
          .closed = options_.consistency.all.backup > 0 ? last_round_ : 0,
          .epoch = map_.epoch(),
          .order = 0};
}

absl::StatusOr<Pushed> Shard::OnPush(const Push& push) {
  const auto writer = static_cast<uint32_t>(push.writer);
  if (push.epoch != map_.epoch() && writer < options_.writers) [[unlikely]] {
    if (push.epoch < map_.epoch()) return Answer(writer, Pushed::Outcome::kMoved);
    return Behind(push.epoch);
  }
  if (push.keys_hash == 0 || writer >= options_.writers) return OnWholePush(push);
  if (!push.keys_kept) {
    key_lists_[writer].Keep(push.keys_hash, push.keys, push.keys.size());
    return OnWholePush(push);
  }
  const Block* keys = key_lists_[writer].Find(push.keys_hash);
  if (keys == nullptr) return Answer(writer, Pushed::Outcome::kNeedKeys);
  Push whole = push;
  whole.keys = *keys;
  return OnWholePush(whole);
}

absl::StatusOr<Pushed> Shard::OnWholePush(const Push& push) {
  TROUPE_RETURN_IF_ERROR(usable());
  TROUPE_RETURN_IF_ERROR(Check(push));
  const auto writer = static_cast<uint32_t>(push.writer);
  const Round clock = arrived_.clock(writer);
  if (push.round <= clock) return Answer(writer, Pushed::Outcome::kApplied);   // a retry of what is known
  // Where rounds may be left out, a writer may leave out some that its predecessor has pushed: then the shard is ahead of what the writer builds on.
  const bool may_be_ahead = options_.consistency.all.backup > 0 || options_.writers_go_on;
  const auto gap = [&](uint64_t previous, uint64_t last) { return may_be_ahead ? previous > last : previous != last; };
  Half& half = halves_[writer];
  const uint32_t chunks = half.round == push.round ? half.chunks : 0;
  if (gap(push.previous, clock) || push.chunk > chunks) return Answer(writer, Pushed::Outcome::kExpect);
  if (!any_in_rounds_ && arrived_.min_clock() < push.after) {
    return absl::UnavailableError(absl::StrCat("shard ", options_.shard, " is catching up: a push comes before what it is to come after"));
  }
  // Within the round each range's part is compared with that range's own history: parts of a big push arrive in several messages, some of them twice, and what
  // a snapshot held of a round may be only what needs no rounds.
  const std::span<const PushPart> parts = push.parts.As<PushPart>();
  size_t known = 0;
  for (const PushPart& part : parts) {
    const Sequence last = arrived_.sequence(Slot(part.table, part.range), writer);
    if (part.sequence <= last) {
      ++known;
    } else if (gap(part.previous, last)) {
      return Answer(writer, Pushed::Outcome::kExpect);
    }
  }
  order_ = push.order == 0 ? order_ + 1 : std::max(order_, push.order);
  begun_[writer] = push.round;
  if (half.round != push.round) half = {.round = push.round};
  if (parts.empty() || known < parts.size()) {
    ApplyNow(push);
    for (const PushPart& part : parts) {
      if (part.sequence <= arrived_.sequence(Slot(part.table, part.range), writer)) continue;
      arrived_.SetSequence(Slot(part.table, part.range), writer, part.sequence);
      pushed_[Slot(part.table, part.range)] += part.count;
      const bool late = InRounds(part.table) && Late(push);
      if (late) late_nonzeros_ += part.nonzeros;
      if (late || !InRounds(part.table)) applied_.SetSequence(Slot(part.table, part.range), writer, part.sequence);
    }
  }
  // For the first time, or cut into other messages than its predecessor's (by a map in between): parts that are there twice count once.
  if (any_in_rounds_ && !Late(push) && (push.chunk == chunks || known < parts.size())) waiting_[push.round][writer].push_back(push);
  if (push.chunk == chunks) half.chunks = chunks + 1;
  if (push.round_over) {
    for (const uint32_t table : half.changed) pulled_rows_.Changed(table);
    half = {};
    arrived_.Advance(writer, push.round);
    pulled_rows_.Forget(writer, push.round);
    if (any_in_rounds_) {
      ApplyCompleteRounds();
    } else {
      applied_.Advance(writer, push.round);
      if (OrdinalOf(push.round) != 0) EndRound();
    }
  }
  Pushed pushed = Answer(writer, Pushed::Outcome::kApplied);
  pushed.order = order_;
  return pushed;
}

void Shard::EndRound() {
  ++rounds_over_;
  TellRounds(false);
}

void Shard::TellRounds(bool restored) {
  for (Table& table : tables_) table.SetRounds(any_in_rounds_ ? rounds_over_ : rounds_over_ / options_.writers, restored);
}

absl::Status Shard::usable() const {
  absl::Status status;
  for (const Table& table : tables_) status.Update(table.usable());
  return status;
}

/// What needs no rounds of a push, and is not known.
void Shard::ApplyNow(const Push& push) {
  const double step = static_cast<double>(rounds_over_) / (any_in_rounds_ ? 1 : options_.writers);
  const auto writer = static_cast<uint32_t>(push.writer);
  const auto keep = [&](const PushPart& part) { return !InRounds(part.table) && part.sequence > arrived_.sequence(Slot(part.table, part.range), writer); };
  bool changed = false;
  ByTable(push, keep, [&](Table& table, std::span<const RowsIn> rows, std::span<const PushPart* const> parts) {
    table.SetStep(step);
    ApplyRows(table, push, rows, parts);
    for (const PushPart* part : parts) nonzeros_ += part->nonzeros;
    changed = true;
  });
  if (!any_in_rounds_) ApplyChange(push);
  if (changed || !any_in_rounds_) ++version_;
}

/// Makes up for what has happened since the writer was given the rows, where the table wants it.
void Shard::ApplyRows(Table& table, const Push& push, std::span<const RowsIn> rows, std::span<const PushPart* const> parts) {
  const TableSpec& spec = table.spec();
  const uint32_t number = parts.front()->table;
  const auto writer = static_cast<uint32_t>(push.writer);
  float scale = 1;
  if (spec.staleness_scale) scale /= static_cast<float>(std::max<uint64_t>(pulled_rows_.ChangesSince(writer, push.round, number), 1));
  if (spec.delay_compensation == 0) {
    table.Apply(rows, scale);
  } else {
    size_t floats = 0;
    for (const RowsIn& in : rows) floats += in.rows.n * spec.width;
    std::vector<float> now(floats), gradients(floats);
    std::vector<RowsOut> current;
    std::vector<RowsIn> compensated;
    size_t at = 0;
    for (const RowsIn& in : rows) {
      current.push_back({in.rows, now.data() + at});
      compensated.push_back({in.rows, gradients.data() + at});
      std::copy_n(in.numbers, in.rows.n * spec.width, gradients.data() + at);
      at += in.rows.n * spec.width;
    }
    if (!table.Pull(current).ok()) return;   // the push was checked: a tier has lost rows, and the shard takes nothing any more (usable)
    for (size_t i = 0; i < rows.size(); ++i) {
      const size_t offset = static_cast<size_t>(current[i].values - now.data());
      pulled_rows_.Compensate(writer, push.round, table, number, rows[i], current[i].values, gradients.data() + offset);
    }
    table.Apply(compensated, scale);
  }
  std::vector<uint32_t>& changed = halves_[writer].changed;
  if (std::ranges::find(changed, number) == changed.end()) changed.push_back(number);
}

absl::Status Shard::Behind(MapEpoch epoch) const {
  return absl::UnavailableError(absl::StrCat("shard ", options_.shard, " has map ", map_.epoch(), " of the ranges, not ", epoch, " yet"));
}

Round Shard::ended() const {
  const Round all = arrived_.min_clock();
  const uint32_t backup = options_.consistency.all.backup;
  if (backup == 0) return all;
  std::vector<Round> clocks = arrived_.clocks();
  std::nth_element(clocks.begin(), clocks.begin() + backup, clocks.end());
  if (PhaseOf(clocks[backup]) == PhaseOf(all)) return clocks[backup];
  return MakeRound(PhaseOf(all) + 1, 0) - 1;   // the end of a phase is for all
}

void Shard::ApplyCompleteRounds() {
  const Round complete = ended();
  while (!waiting_.empty() && waiting_.begin()->first <= complete) {
    const Round round = waiting_.begin()->first;
    if ((hold_after_ != 0 && round > hold_after_) || !gate_.Passes(round)) break;
    ApplyRound(round, waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    last_round_ = round;
    ++version_;
  }
  // What a writer's next unapplied message builds on is what is applied of it.
  std::vector<Round> clocks = arrived_.clocks();
  for (auto round = waiting_.rbegin(); round != waiting_.rend(); ++round) {
    for (const auto& [writer, messages] : round->second) clocks[writer] = messages.front().previous;
  }
  for (uint32_t writer = 0; writer < options_.writers; ++writer) applied_.Advance(writer, clocks[writer]);
}

void Shard::ApplyRound(Round round, std::map<uint32_t, std::vector<Push>>& pushes) {
  // Who has not ended the round is one that is not waited for: what has come of it is too late.
  for (auto it = pushes.begin(); it != pushes.end();) {
    const auto& [writer, messages] = *it;
    if (arrived_.clock(writer) >= round) {
      ++it;
      continue;
    }
    for (const Push& push : messages) {
      for (const PushPart& part : push.parts.As<PushPart>()) {
        if (!InRounds(part.table) || part.sequence <= applied_.sequence(Slot(part.table, part.range), writer)) continue;
        applied_.SetSequence(Slot(part.table, part.range), writer, part.sequence);
        late_nonzeros_ += part.nonzeros;
      }
    }
    it = pushes.erase(it);
  }
  for (const auto& [writer, messages] : pushes) {
    const auto keep = [&, w = writer](const PushPart& part) {
      return InRounds(part.table) && part.sequence > applied_.sequence(Slot(part.table, part.range), w);
    };
    for (const Push& push : messages) {
      ByTable(push, keep, [&, w = writer](Table&, std::span<const RowsIn> rows, std::span<const PushPart* const> parts) {
        for (size_t i = 0; i < parts.size(); ++i) {
          sums_[parts[i]->table].Add(rows[i]);
          applied_.SetSequence(Slot(parts[i]->table, parts[i]->range), w, parts[i]->sequence);
          nonzeros_ += parts[i]->nonzeros;
        }
      });
    }
  }
  for (uint32_t t = 0; t < tables_.size(); ++t) {
    if (sums_[t].empty()) continue;
    tables_[t].SetStep(static_cast<double>(rounds_over_));
    sums_[t].ApplyTo(tables_[t], tables_[t].spec().combine == TableSpec::Combine::kMean ? static_cast<float>(pushes.size()) : 1.0F);
  }
  for (const auto& [writer, messages] : pushes) {
    for (const Push& push : messages) ApplyChange(push);
  }
  if (OrdinalOf(round) != 0) EndRound();   // the end of a phase is no step
}

Round Shard::applied() const {
  return applied_.min_clock();
}

template <class Use>
void Shard::ByConsistency(const Pull& pull, Use&& use) const {
  for (size_t t = 0; t < tables_.size(); ++t) {
    if (pull.tables == 0 || (pull.tables >> std::min<size_t>(t, 63) & 1) != 0) use(consistency_[t]);
  }
}

bool Shard::Ready(const Pull& pull) const {
  if (arrived_.clock(static_cast<uint32_t>(pull.writer)) < pull.after) return false;
  Round needs = 0;
  ByConsistency(pull, [&](const Consistency& consistency) { needs = std::max(needs, consistency.Needs(pull.round)); });
  return Reached(needs);
}

std::chrono::milliseconds Shard::DelayBound(const Pull& pull) const {
  std::chrono::milliseconds bound{0};
  ByConsistency(pull, [&](const Consistency& consistency) {
    if (consistency.kind == Consistency::Kind::kDelay && (bound.count() == 0 || consistency.delay < bound)) bound = consistency.delay;
  });
  return bound;
}

void Shard::FillKeys(Pull& pull) {
  const auto writer = static_cast<uint32_t>(pull.writer);
  if (pull.keys_hash == 0 || writer >= options_.writers) return;
  if (!pull.keys_kept) {
    key_lists_[writer].Keep(pull.keys_hash, pull.keys, pull.keys.size());
  } else if (const Block* keys = key_lists_[writer].Find(pull.keys_hash)) {
    pull.keys = *keys;
    pull.keys_kept = false;
  }
}

absl::StatusOr<std::vector<Block>> Shard::Lend(const Pull& pull, uint64_t bytes) {
  std::vector<Block> pieces;
  const std::span<const PullPart> parts = pull.parts.As<PullPart>();
  if (parts.empty() || parts.size() > kFrameBlocksMax || bytes / parts.size() < kLentBytesMin || pulled_rows_.any()) return pieces;
  const auto view = views_.find(pull.view);
  for (const PullPart& part : parts) {
    const Table& table = pull.view == 0 ? tables_[part.table] : *view->second[part.table];
    const bool whole = part.dense != 0 && part.first == table.partition().FirstRow(part.range) && part.count == table.partition().RowsIn(part.range);
    if (!whole || table.spec().encoding.pulled != ValueCode::kFloat32) return std::vector<Block>();
    TROUPE_TRY(std::optional<Block> piece, table.Lend(part.range));
    if (!piece) return std::vector<Block>();
    pieces.push_back(*std::move(piece));
  }
  if (pull.view == 0) {
    for (const PullPart& part : parts) pulled_[Slot(part.table, part.range)] += part.count;
  }
  return pieces;
}

absl::StatusOr<Pulled> Shard::OnPull(const Pull& pull) {
  if (pull.epoch != map_.epoch() && pull.view == 0) [[unlikely]] {
    if (pull.epoch > map_.epoch()) return Behind(pull.epoch);
    return Pulled{.moved = map_.epoch()};
  }
  if (pull.keys_kept) return Pulled{.needs_keys = true};
  if (!pull.parts.IsArrayOf<PullPart>() || !pull.keys.IsArrayOf<Key>()) return absl::InvalidArgumentError("pull: arrays are cut or not aligned");
  const auto view = views_.find(pull.view);
  if (pull.view != 0 && view == views_.end()) return NoView(pull.view);
  std::span<const Key> keys = pull.keys.As<Key>();
  uint64_t floats = 0, keys_wanted = 0;
  for (const PullPart& part : pull.parts.As<PullPart>()) {
    if (part.table >= tables_.size()) return absl::InvalidArgumentError(absl::StrCat("pull: table is ", part.table, ", expected < ", tables_.size()));
    const Table& table = tables_[part.table];
    if (pull.view != 0 && table.spec().limits.any())
      return absl::FailedPreconditionError(absl::StrCat("pull: table '", table.spec().name, "' has limits, and so no views"));
    if (part.dense != 0 && !table.partition().dense())
      return absl::InvalidArgumentError(absl::StrCat("pull: table '", table.spec().name, "' is sparse, expected keys"));
    if (part.dense != 0 && (!table.Owns(part.range) || part.count > table.partition().RowsIn(part.range)))
      return absl::InvalidArgumentError(absl::StrCat("pull: ", part.count, " rows of range ", part.range, " of table '", table.spec().name, "' are not here"));
    if (part.dense == 0) keys_wanted += part.count;
    floats += uint64_t{part.count} * table.spec().width;
  }
  if (keys_wanted != keys.size()) return absl::InvalidArgumentError(absl::StrCat("pull: ", keys.size(), " keys, but its parts ask for ", keys_wanted));
  if (pull.in_pieces) {
    TROUPE_TRY(std::vector<Block> pieces, Lend(pull, floats * sizeof(float)));
    if (!pieces.empty()) return Pulled{.clock = pull.view == 0 ? min_clock() : 0, .pieces = std::move(pieces)};
  }
  BlockBuilder values(floats * sizeof(float));
  float* out = values.As<float>().data();
  const std::span<const PullPart> parts = pull.parts.As<PullPart>();
  std::vector<RowsOut> rows;
  std::vector<ValueRun> runs;
  bool coded = false;
  for (size_t begin = 0, end; begin < parts.size(); begin = end) {
    const uint32_t number = parts[begin].table;
    const Table& table = pull.view == 0 ? tables_[number] : *view->second[number];
    float* const its = out;
    rows.clear();
    for (end = begin; end < parts.size() && parts[end].table == parts[begin].table; ++end) {
      const PullPart& part = parts[end];
      const std::span<const Key> part_keys = keys.first(part.dense != 0 ? 0 : part.count);
      keys = keys.subspan(part_keys.size());
      rows.push_back({part.dense != 0 ? RowSet::Run(part.range, part.first, part.count) : RowSet::Of(part.range, part_keys), out});
      out += size_t{part.count} * table.spec().width;
    }
    TROUPE_RETURN_IF_ERROR(table.Pull(rows));
    if (pull.view == 0) {
      for (size_t part = begin; part < end; ++part) pulled_[Slot(number, parts[part].range)] += parts[part].count;
    }
    const ValueCode code = table.spec().encoding.pulled;
    Quantise(code, 1, {its, out});
    coded |= code != ValueCode::kFloat32;
    runs.push_back({code, 1, static_cast<uint64_t>(out - its)});
  }
  if (!coded) runs.clear();
  Block block = std::move(values).Finish();
  if (pulled_rows_.any() && pull.view == 0) pulled_rows_.Given(pull, block);
  return Pulled{.values = std::move(block), .packing = {.values = std::move(runs), .ranges = {}}, .clock = pull.view == 0 ? min_clock() : 0};
}

absl::StatusOr<Opened> Shard::OnOpen(const Open& open) const {
  const auto writer = static_cast<uint32_t>(open.writer);
  if (writer >= options_.writers) return absl::InvalidArgumentError(absl::StrCat("open: writer is ", writer, ", expected < ", options_.writers));
  std::vector<uint64_t> sequences(arrived_.slots());
  for (uint32_t slot = 0; slot < arrived_.slots(); ++slot) sequences[slot] = arrived_.sequence(slot, writer);
  const Pushed now = Answer(writer, Pushed::Outcome::kApplied);
  return Opened{.clock = now.clock, .stable = now.stable, .applied = Block::Adopt(std::move(sequences)), .epoch = map_.epoch()};
}

absl::Status Shard::OnAssign(const Assign& assign) {
  if (assign.table >= tables_.size()) return absl::InvalidArgumentError(absl::StrCat("assign: table is ", assign.table, ", expected < ", tables_.size()));
  Table& table = tables_[assign.table];
  const uint32_t width = table.spec().width;
  if (!assign.keys.IsArrayOf<Key>() || !assign.values.IsArrayOf<float>() || assign.values.As<float>().size() != assign.keys.As<Key>().size() * width) {
    return absl::InvalidArgumentError("assign: keys and values differ in number");
  }
  const std::span<const Key> keys = assign.keys.As<Key>();
  const float* values = assign.values.As<float>().data();
  const Partition& partition = table.partition();
  struct Rows {
    std::vector<Key> keys;
    std::vector<float> values;
  };
  std::map<uint32_t, Rows> by_range;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (partition.dense() && keys[i] >= *table.spec().rows)
      return absl::InvalidArgumentError(absl::StrCat("assign: row is ", keys[i], ", expected < ", *table.spec().rows));
    Rows& rows = by_range[partition.RangeOf(keys[i])];
    rows.keys.push_back(keys[i]);
    rows.values.insert(rows.values.end(), values + i * width, values + (i + 1) * width);
  }
  std::vector<RowsIn> rows;
  for (const auto& [range, in] : by_range) rows.push_back({RowSet::Of(range, in.keys), in.values.data()});
  TROUPE_RETURN_IF_ERROR(table.Assign(rows));
  ++version_;
  return absl::OkStatus();
}

absl::Status Shard::NoView(uint64_t view) const {
  return absl::NotFoundError(absl::StrCat("shard ", options_.shard, " has no view ", view, ": its lease has ended, or the shard was replaced"));
}

absl::StatusOr<RunningCall> Shard::StartCall(const Call& call) const {
  if (call.view == 0) return RunningCall::Start(call.call, tables_);
  const auto view = views_.find(call.view);
  if (view == views_.end()) return NoView(call.view);
  std::vector<Table> tables;   // the view may end before the call
  for (size_t i = 0; i < tables_.size(); ++i) {
    if (!view->second[i]) return absl::FailedPreconditionError(absl::StrCat("call: table '", tables_[i].spec().name, "' has limits, and so no views"));
    tables.push_back(view->second[i]->Fork());
  }
  return RunningCall::StartWith(call.call, std::move(tables));
}

absl::StatusOr<Prepared> Shard::OnPrepare(const Prepare& prepare) {
  // One clock for all tables, of rounds that every writer ends.
  if (any_in_rounds_ && (options_.consistency.all.backup > 0 || !std::ranges::all_of(consistency_, &Consistency::in_rounds))) {
    return absl::FailedPreconditionError(
        absl::StrCat("consistency is '", ToString(options_.consistency), "': there are no cuts with backup workers, nor where only some tables go by rounds"));
  }
  if (views_.size() >= kViewsMax) return TooManyViews();
  TROUPE_RETURN_IF_ERROR(gate_.Hold(prepare.cut, any_in_rounds_ ? applied_.clocks() : begun_));
  return Prepared{Block::Copy(std::span<const Round>(gate_.clocks())), map_.epoch()};
}

absl::Status Shard::OnFreeze(const Freeze& freeze) {
  if (!freeze.clocks.IsArrayOf<Round>()) return absl::InvalidArgumentError("freeze: clocks are cut or not aligned");
  const std::span<const Round> clocks = freeze.clocks.As<Round>();
  TROUPE_RETURN_IF_ERROR(gate_.Aim(freeze.cut, {clocks.begin(), clocks.end()}));
  if (any_in_rounds_) ApplyCompleteRounds();
  return absl::OkStatus();
}

bool Shard::Passes(const Push& push) const {
  const auto writer = static_cast<uint32_t>(push.writer);
  return any_in_rounds_ || writer >= options_.writers || push.round <= arrived_.clock(writer) || gate_.Passes(writer, push.round);
}

bool Shard::MakeView(uint64_t cut) {
  if (!gate_.holds(cut) || !gate_.Reached(applied_.clocks())) return false;
  AddView(cut);
  return true;
}

void Shard::AddView(uint64_t cut) {
  std::vector<std::optional<Table>>& view = views_[cut];
  for (const Table& table : tables_) table.spec().limits.any() ? void(view.emplace_back()) : void(view.emplace_back(table.Fork()));
}

absl::Status Shard::KeepView(uint64_t cut, const Block& clocks) {
  if (HasView(cut)) return absl::OkStatus();
  if (views_.size() >= kViewsMax) return TooManyViews();
  if (!clocks.IsArrayOf<Round>() || !std::ranges::equal(clocks.As<Round>(), applied_.clocks()))
    return absl::InternalError(absl::StrCat("shard ", options_.shard, " does not stand where a view is to be kept"));
  AddView(cut);
  return absl::OkStatus();
}

absl::Status Shard::TooManyViews() const {
  return absl::UnavailableError(absl::StrCat("shard ", options_.shard, " keeps ", views_.size(), " views already"));
}

void Shard::EndCut(uint64_t cut) {
  if (in_doubt() != 0 && in_doubt() == cut) return;
  if (move_ && move_->cut == cut) move_.reset();
  if (gate_.End(cut) && any_in_rounds_) ApplyCompleteRounds();
}

void Shard::SetStable(const std::vector<Round>& clocks) {
  for (uint32_t writer = 0; writer < options_.writers; ++writer) {
    arrived_.SetStable(writer, clocks[writer]);
    applied_.SetStable(writer, clocks[writer]);
  }
}

bool Shard::HoldAfter(Round round) {
  if (!any_in_rounds_) return true;
  if (last_round_ > round) return false;
  hold_after_ = round;
  return true;
}

void Shard::Resume() {
  hold_after_ = 0;
  ApplyCompleteRounds();
}

}   // namespace troupe
