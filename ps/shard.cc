#include "ps/shard.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"
#include "ps/encoding/value_codec.h"

namespace troupe {
namespace {

/// The section of a snapshot that holds a range.
std::string RangeName(const TableSpec& spec, uint32_t range) {
  return absl::StrCat("table/", spec.name, "/", range);
}

/// In place of a range's bytes: the table whose range it shares.
struct SharedRange {
  uint64_t magic;
  uint32_t table, zero;
};
constexpr uint64_t kSharedRange = 0x31444552'41485326;

struct LedgerHeader {
  uint32_t writers, slots, shard, shards;
  uint64_t nonzeros, rounds_over;
};

}   // namespace

Shard::Shard(ShardOptions options) : options_(std::move(options)) {}

absl::StatusOr<Shard> Shard::Make(ShardOptions options) {
  if (options.writers == 0 || options.shards == 0 || options.shard >= options.shards) {
    return absl::InvalidArgumentError(
        absl::StrCat("shard ", options.shard, " of ", options.shards, " with ", options.writers, " writers: expected at least one of each"));
  }
  TROUPE_RETURN_IF_ERROR(ValidateBranches(options.tables));
  Shard shard(std::move(options));
  uint32_t slots = 0;
  for (const TableSpec& spec : shard.options_.tables) {
    TROUPE_TRY(Table table, Table::Make(spec, shard.options_.shard, shard.options_.shards));
    shard.first_slot_.push_back(slots);
    slots += table.partition().ranges();
    shard.tables_.push_back(std::move(table));
  }
  shard.sums_.resize(shard.tables_.size());
  shard.arrived_ = Ledger(shard.options_.writers, slots);
  shard.applied_ = shard.arrived_;
  shard.chunks_.assign(shard.options_.writers, 0);
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
  ByTable(push, [&](Table& table, std::span<const RowsIn> rows, std::span<const PushPart>) { status.Update(table.Check(rows)); });
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

template <class Use>
void Shard::ByTable(const Push& push, Use&& use) {
  const Key* keys = push.keys.As<Key>().data();
  const float* values = push.values.As<float>().data();
  const std::span<const PushPart> parts = push.parts.As<PushPart>();
  for (size_t begin = 0, end; begin < parts.size(); begin = end) {
    Table& table = tables_[parts[begin].table];
    rows_.clear();
    for (end = begin; end < parts.size() && parts[end].table == parts[begin].table; ++end) {
      const PushPart& part = parts[end];
      rows_.push_back({part.dense != 0 ? RowSet::Run(part.range, part.first, part.count) : RowSet::Of(part.range, {keys, part.count}), values});
      keys += part.dense != 0 ? 0 : part.count;
      values += size_t{part.count} * table.spec().width;
    }
    use(table, rows_, parts.subspan(begin, end - begin));
  }
}

Pushed Shard::Answer(uint32_t writer, Pushed::Outcome outcome) const {
  const Round stable = options_.stable_when_applied ? arrived_.clock(writer) : arrived_.stable(writer);
  return {.outcome = outcome, .clock = arrived_.clock(writer), .stable = stable};
}

absl::StatusOr<Pushed> Shard::OnPush(const Push& push) {
  const auto writer = static_cast<uint32_t>(push.writer);
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
  TROUPE_RETURN_IF_ERROR(Check(push));
  const auto writer = static_cast<uint32_t>(push.writer);
  const Round clock = arrived_.clock(writer);
  if (push.round <= clock) return Answer(writer, Pushed::Outcome::kApplied);   // a retry of what is known
  if (push.previous != clock || push.chunk > chunks_[writer]) return Answer(writer, Pushed::Outcome::kExpect);
  if (!bsp() && arrived_.min_clock() < push.after) {
    return absl::UnavailableError(absl::StrCat("shard ", options_.shard, " is catching up: a push comes before what it is to come after"));
  }
  // Within the round each range's part is compared with that range's own history: parts of a big push arrive in several messages, some of them twice.
  bool known = false, fresh = false;
  for (const PushPart& part : push.parts.As<PushPart>()) {
    const Sequence last = arrived_.sequence(Slot(part.table, part.range), writer);
    if (part.sequence <= last) {
      known = true;
    } else if (part.previous != last) {
      return Answer(writer, Pushed::Outcome::kExpect);
    } else {
      fresh = true;
    }
  }
  if (known && fresh) return absl::InvalidArgumentError("push: some parts of the message are known and some are not");
  begun_[writer] = push.round;
  if (!known) {
    if (bsp()) {
      waiting_[push.round][writer].push_back(push);
    } else {
      ApplyNow(push);
      ++version_;
    }
    for (const PushPart& part : push.parts.As<PushPart>()) {
      arrived_.SetSequence(Slot(part.table, part.range), writer, part.sequence);
      if (!bsp()) applied_.SetSequence(Slot(part.table, part.range), writer, part.sequence);
    }
  }
  chunks_[writer] = push.round_over ? 0 : std::max(chunks_[writer], push.chunk + 1);
  if (push.round_over) {
    arrived_.Advance(writer, push.round);
    if (bsp()) {
      ApplyCompleteRounds();
    } else {
      applied_.Advance(writer, push.round);
      ++rounds_over_;
    }
  }
  return Answer(writer, Pushed::Outcome::kApplied);
}

void Shard::ApplyNow(const Push& push) {
  const double step = static_cast<double>(rounds_over_) / options_.writers;
  ByTable(push, [&](Table& table, std::span<const RowsIn> rows, std::span<const PushPart> parts) {
    table.SetStep(step);
    table.Apply(rows);
    for (const PushPart& part : parts) nonzeros_ += part.nonzeros;
  });
  ApplyChange(push);
}

void Shard::ApplyCompleteRounds() {
  const Round complete = arrived_.min_clock();
  while (!waiting_.empty() && waiting_.begin()->first <= complete) {
    const Round round = waiting_.begin()->first;
    if ((hold_after_ != 0 && round > hold_after_) || !gate_.Passes(round)) break;
    ApplyRound(waiting_.begin()->second);
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

void Shard::ApplyRound(const std::map<uint32_t, std::vector<Push>>& pushes) {
  for (const auto& [writer, messages] : pushes) {
    for (const Push& push : messages) {
      ByTable(push, [&, w = writer](Table&, std::span<const RowsIn> rows, std::span<const PushPart> parts) {
        for (size_t i = 0; i < parts.size(); ++i) {
          sums_[parts[i].table].Add(rows[i]);
          applied_.SetSequence(Slot(parts[i].table, parts[i].range), w, parts[i].sequence);
          nonzeros_ += parts[i].nonzeros;
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
  ++rounds_over_;
}

Round Shard::applied() const {
  return applied_.min_clock();
}

bool Shard::Ready(const Pull& pull) const {
  return Reached(options_.consistency.Needs(pull.round));
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

absl::StatusOr<Pulled> Shard::OnPull(const Pull& pull) const {
  if (pull.keys_kept) return Pulled{.values = {}, .packing = {}, .needs_keys = true};
  if (!pull.parts.IsArrayOf<PullPart>() || !pull.keys.IsArrayOf<Key>()) return absl::InvalidArgumentError("pull: arrays are cut or not aligned");
  const auto view = views_.find(pull.view);
  if (pull.view != 0 && view == views_.end()) {
    return absl::NotFoundError(absl::StrCat("shard ", options_.shard, " has no view ", pull.view, ": its lease has ended, or the shard was replaced"));
  }
  const std::vector<Table>& tables = pull.view == 0 ? tables_ : view->second;
  std::span<const Key> keys = pull.keys.As<Key>();
  uint64_t floats = 0, keys_wanted = 0;
  for (const PullPart& part : pull.parts.As<PullPart>()) {
    if (part.table >= tables.size()) return absl::InvalidArgumentError(absl::StrCat("pull: table is ", part.table, ", expected < ", tables.size()));
    const Table& table = tables[part.table];
    if (part.dense != 0 && !table.partition().dense())
      return absl::InvalidArgumentError(absl::StrCat("pull: table '", table.spec().name, "' is sparse, expected keys"));
    if (part.dense != 0 && (!table.Owns(part.range) || part.count > table.partition().RowsIn(part.range)))
      return absl::InvalidArgumentError(absl::StrCat("pull: ", part.count, " rows of range ", part.range, " of table '", table.spec().name, "' are not here"));
    if (part.dense == 0) keys_wanted += part.count;
    floats += uint64_t{part.count} * table.spec().width;
  }
  if (keys_wanted != keys.size()) return absl::InvalidArgumentError(absl::StrCat("pull: ", keys.size(), " keys, but its parts ask for ", keys_wanted));
  BlockBuilder values(floats * sizeof(float));
  float* out = values.As<float>().data();
  const std::span<const PullPart> parts = pull.parts.As<PullPart>();
  std::vector<RowsOut> rows;
  std::vector<ValueRun> runs;
  bool coded = false;
  for (size_t begin = 0, end; begin < parts.size(); begin = end) {
    const Table& table = tables[parts[begin].table];
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
    const ValueCode code = table.spec().encoding.pulled;
    Quantise(code, 1, {its, out});
    coded |= code != ValueCode::kFloat32;
    runs.push_back({code, 1, static_cast<uint64_t>(out - its)});
  }
  if (!coded) runs.clear();
  return Pulled{std::move(values).Finish(), {.values = std::move(runs), .ranges = {}}};
}

absl::StatusOr<Opened> Shard::OnOpen(const Open& open) const {
  const auto writer = static_cast<uint32_t>(open.writer);
  if (writer >= options_.writers) return absl::InvalidArgumentError(absl::StrCat("open: writer is ", writer, ", expected < ", options_.writers));
  std::vector<uint64_t> sequences(arrived_.slots());
  for (uint32_t slot = 0; slot < arrived_.slots(); ++slot) sequences[slot] = arrived_.sequence(slot, writer);
  const Pushed now = Answer(writer, Pushed::Outcome::kApplied);
  return Opened{.clock = now.clock, .stable = now.stable, .applied = Block::Adopt(std::move(sequences))};
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

absl::StatusOr<Prepared> Shard::OnPrepare(const Prepare& prepare) {
  if (views_.size() >= kViewsMax) return absl::UnavailableError(absl::StrCat("shard ", options_.shard, " keeps ", views_.size(), " views already"));
  TROUPE_RETURN_IF_ERROR(gate_.Hold(prepare.cut, bsp() ? applied_.clocks() : begun_));
  return Prepared{Block::Copy(std::span<const Round>(gate_.clocks()))};
}

absl::Status Shard::OnFreeze(const Freeze& freeze) {
  if (!freeze.clocks.IsArrayOf<Round>()) return absl::InvalidArgumentError("freeze: clocks are cut or not aligned");
  const std::span<const Round> clocks = freeze.clocks.As<Round>();
  TROUPE_RETURN_IF_ERROR(gate_.Aim(freeze.cut, {clocks.begin(), clocks.end()}));
  if (bsp()) ApplyCompleteRounds();
  return absl::OkStatus();
}

bool Shard::Passes(const Push& push) const {
  const auto writer = static_cast<uint32_t>(push.writer);
  return bsp() || writer >= options_.writers || push.round <= arrived_.clock(writer) || gate_.Passes(writer, push.round);
}

bool Shard::MakeView(uint64_t cut) {
  if (!gate_.holds(cut) || !gate_.Reached(applied_.clocks())) return false;
  std::vector<Table>& view = views_[cut];
  for (const Table& table : tables_) view.push_back(table.Fork());
  return true;
}

void Shard::EndCut(uint64_t cut) {
  if (gate_.End(cut) && bsp()) ApplyCompleteRounds();
}

std::vector<SnapshotSection> Shard::Save() const {
  std::vector<SnapshotSection> sections;
  const LedgerHeader header{options_.writers, applied_.slots(), options_.shard, options_.shards, nonzeros_, rounds_over_};
  std::vector<std::byte> ledger;
  const auto add = [&ledger](const void* from, size_t bytes) {
    ledger.insert(ledger.end(), static_cast<const std::byte*>(from), static_cast<const std::byte*>(from) + bytes);
  };
  add(&header, sizeof header);
  add(applied_.clocks().data(), applied_.clocks().size() * sizeof(Round));
  add(applied_.sequences().data(), applied_.sequences().size() * sizeof(Sequence));
  sections.push_back({"ledger", Block::Adopt(std::move(ledger))});
  for (const Table& table : tables_) {
    for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
      if (table.Owns(range)) sections.push_back({RangeName(table.spec(), range), SaveRange(table, range)});
    }
  }
  return sections;
}

Block Shard::SaveRange(const Table& table, uint32_t range) const {
  if (table.Blank(range)) return {};
  for (const Table& earlier : tables_) {
    if (&earlier == &table) break;
    if (!earlier.Shares(table, range)) continue;
    const SharedRange shared{kSharedRange, static_cast<uint32_t>(&earlier - tables_.data()), 0};
    return Block::Copy(std::span<const SharedRange>(&shared, 1));
  }
  return table.Save(range);
}

absl::Status Shard::LoadRange(uint32_t number, uint32_t range, const Block& bytes) {
  Table& table = tables_[number];
  if (bytes.empty() && !table.spec().branch_of.empty()) {
    table.ResetRange(range);
    return absl::OkStatus();
  }
  SharedRange shared;
  if (bytes.size() != sizeof shared) return table.Load(range, bytes);
  std::memcpy(&shared, bytes.data(), sizeof shared);
  if (shared.magic != kSharedRange || shared.table >= number || !CheckSameRows(table.spec(), tables_[shared.table].spec()).ok()) {
    return absl::InvalidArgumentError(absl::StrCat("snapshot: range ", range, " of table '", table.spec().name, "' is said to be that of table ", shared.table,
                                                   ", expected an earlier one like it"));
  }
  table.Share(tables_[shared.table], range);
  return absl::OkStatus();
}

absl::Status Shard::Load(const std::vector<SnapshotSection>& sections) {
  std::map<std::string, const Block*> by_name;
  for (const SnapshotSection& section : sections) by_name[section.name] = &section.bytes;
  const auto ledger = by_name.find("ledger");
  LedgerHeader header{};
  if (ledger == by_name.end() || ledger->second->size() < sizeof(header)) return absl::InvalidArgumentError("snapshot holds no ledger");
  std::memcpy(&header, ledger->second->data(), sizeof(header));
  const size_t expected = sizeof(header) + size_t{options_.writers} * sizeof(Round) + applied_.sequences().size() * sizeof(Sequence);
  if (header.writers != options_.writers || header.slots != applied_.slots() || header.shard != options_.shard || header.shards != options_.shards ||
      ledger->second->size() != expected) {
    return absl::InvalidArgumentError(absl::StrCat("snapshot is of shard ", header.shard, " of ", header.shards, " with ", header.writers,
                                                   " writers, expected shard ", options_.shard, " of ", options_.shards, " with ", options_.writers));
  }
  std::vector<Round> clocks(options_.writers);
  std::vector<Sequence> sequences(applied_.sequences().size());
  const std::byte* from = ledger->second->data() + sizeof(header);
  const auto take = [&from](auto& into) {
    const size_t bytes = into.size() * sizeof(into[0]);
    if (bytes > 0) std::memcpy(into.data(), from, bytes);
    from += bytes;
  };
  take(clocks);
  take(sequences);
  for (uint32_t number = 0; number < tables_.size(); ++number) {
    const Table& table = tables_[number];
    for (uint32_t range = 0; range < table.partition().ranges(); ++range) {
      if (!table.Owns(range)) continue;
      const auto section = by_name.find(RangeName(table.spec(), range));
      if (section == by_name.end()) return absl::InvalidArgumentError(absl::StrCat("snapshot lacks range ", range, " of table '", table.spec().name, "'"));
      TROUPE_RETURN_IF_ERROR(LoadRange(number, range, *section->second));
    }
  }
  applied_.Restore(std::move(clocks), std::move(sequences));
  arrived_ = applied_;
  chunks_.assign(options_.writers, 0);
  begun_ = applied_.clocks();
  for (uint32_t slot = 0; slot < applied_.slots(); ++slot) {   // parts of a round that was not whole yet
    for (uint32_t writer = 0; writer < options_.writers; ++writer) begun_[writer] = std::max(begun_[writer], applied_.sequence(slot, writer) >> 8);
  }
  views_.clear();
  key_lists_.assign(options_.writers, {});
  waiting_.clear();
  last_round_ = *std::max_element(applied_.clocks().begin(), applied_.clocks().end());   // of any writer: what is applied is applied for all
  nonzeros_ = header.nonzeros;
  rounds_over_ = header.rounds_over;
  return absl::OkStatus();
}

void Shard::SetStable(const std::vector<Round>& clocks) {
  for (uint32_t writer = 0; writer < options_.writers; ++writer) {
    arrived_.SetStable(writer, clocks[writer]);
    applied_.SetStable(writer, clocks[writer]);
  }
}

bool Shard::HoldAfter(Round round) {
  if (!bsp()) return true;
  if (last_round_ > round) return false;
  hold_after_ = round;
  return true;
}

void Shard::Resume() {
  hold_after_ = 0;
  ApplyCompleteRounds();
}

}   // namespace troupe
