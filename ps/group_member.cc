#include "ps/group_member.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/check.h"
#include "actors/status.h"
#include "actors/text.h"

namespace troupe {

absl::StatusOr<GroupMember> GroupMember::Make(GroupMemberOptions options) {
  GroupMember member(std::move(options));
  if (member.options_.writers.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("worker ", member.options_.member, " has no split of the data, expected at least one for each worker that keeps a table (ring, tree)"));
  }
  for (uint32_t t = 0; t < member.options_.tables.size(); ++t) {
    const TableSpec& spec = member.options_.tables[t];
    if (spec.kept_by == KeptBy::kShards) continue;
    TROUPE_RETURN_IF_ERROR(Validate(spec));
    TROUPE_TRY(
        AllReduce reduce,
        AllReduce::Make({.topology = spec.kept_by, .member = member.options_.member, .members = member.options_.members, .floats = *spec.rows * spec.width}));
    member.kept_.push_back({t, Partition(spec, member.options_.shards), std::move(reduce), SpareArrays(*spec.rows * spec.width), std::nullopt});
  }
  if (member.kept_.empty()) return absl::InvalidArgumentError("no table is kept by workers, expected at least one");
  for (const uint32_t writer : member.options_.writers) member.writers_[writer];
  return member;
}

void GroupMember::Begin(const Opened& copy) {
  TROUPE_CHECK(!running_);
  if (copy.clock != over_) given_.reset();   // of a round that is over
  if (copy.clock < over_) {                  // what it had itself was more, or other, than its group knows
    contributions_.clear();
    for (auto& [number, writer] : writers_) writer = {};
  }
  over_ = copy.clock;
  last_ = 0;
  for (const Sequence sequence : copy.applied.As<Sequence>()) last_ = std::max(last_, sequence);
  contributions_.erase(contributions_.begin(), contributions_.upper_bound(over_));
  for (auto& [number, writer] : writers_) writer.clock = std::max(writer.clock, over_);
  EndWriters();
}

void GroupMember::Stop() {
  running_ = false;
  for (Kept& kept : kept_) {
    kept.reduce.Restart();
    kept.sum.reset();
  }
}

void GroupMember::Go(Effects& effects) {
  TROUPE_CHECK(!running_);
  running_ = true;
  Advance(effects);
}

std::optional<size_t> GroupMember::IndexOf(uint32_t table) const {
  const auto found = std::ranges::find(kept_, table, &Kept::table);
  if (found == kept_.end()) return std::nullopt;
  return static_cast<size_t>(found - kept_.begin());
}

Pushed GroupMember::AnswerTo(uint32_t writer) const {
  const Round clock = writers_.at(writer).clock;
  return {.outcome = Pushed::Outcome::kApplied, .clock = clock, .stable = clock, .closed = 0};
}

absl::StatusOr<Opened> GroupMember::OnOpen(const Open& open) const {
  const auto writer = writers_.find(static_cast<uint32_t>(open.writer));
  if (writer == writers_.end())
    return absl::InvalidArgumentError(absl::StrCat("open: writer is ", static_cast<uint32_t>(open.writer), ", expected one of member ", options_.member, "'s"));
  return Opened{.clock = writer->second.clock, .stable = writer->second.clock, .applied = {}};   // rounds say it all: there are no numbers by range
}

absl::Status GroupMember::Check(const Push& push) const {
  if (!push.parts.IsArrayOf<PushPart>() || !push.keys.IsArrayOf<Key>() || !push.values.IsArrayOf<float>())
    return absl::InvalidArgumentError("push: arrays are cut or not aligned");
  if (push.keys_kept) return absl::InvalidArgumentError("push: its keys are left out, expected them: tables that workers keep remember none");
  std::span<const Key> keys = push.keys.As<Key>();
  std::span<const float> values = push.values.As<float>();
  for (const PushPart& part : push.parts.As<PushPart>()) {
    const auto index = IndexOf(part.table);
    if (!index) return absl::InvalidArgumentError(absl::StrCat("push: table ", part.table, " is not kept by workers"));
    const TableSpec& spec = SpecOf(kept_[*index]);
    const uint64_t floats = uint64_t{part.count} * spec.width;
    if ((part.dense == 0 && part.count > keys.size()) || floats > values.size())
      return absl::InvalidArgumentError("push: fewer keys or values than its parts say");
    if (part.dense != 0 && (part.first > *spec.rows || part.count > *spec.rows - part.first))
      return absl::InvalidArgumentError(absl::StrCat("push: rows ", part.first, " + ", part.count, " of table '", spec.name, "', which has ", *spec.rows));
    for (uint32_t i = 0; part.dense == 0 && i < part.count; ++i) {
      if (keys[i] >= *spec.rows) return absl::InvalidArgumentError(absl::StrCat("push: row ", keys[i], " of table '", spec.name, "', which has ", *spec.rows));
    }
    if (spec.non_finite == NonFinite::kRefuse) {
      const auto bad = std::find_if(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(floats), [](float value) { return !std::isfinite(value); });
      if (bad != values.begin() + static_cast<std::ptrdiff_t>(floats)) {
        const auto row = static_cast<uint64_t>(bad - values.begin()) / spec.width;
        return absl::InvalidArgumentError(absl::StrCat("push of writer ", static_cast<uint32_t>(push.writer), ": table '", spec.name, "': the gradient of key ",
                                                       part.dense != 0 ? part.first + row : keys[row], " is ", *bad, ", expected a finite number"));
      }
    }
    if (part.dense == 0) keys = keys.subspan(part.count);
    values = values.subspan(floats);
  }
  if (!keys.empty() || !values.empty()) return absl::InvalidArgumentError("push: more keys or values than its parts say");
  return absl::OkStatus();
}

void GroupMember::AddTo(Contribution& contribution, const Push& push) {
  contribution.values.resize(kept_.size());
  const Key* keys = push.keys.As<Key>().data();
  const float* from = push.values.As<float>().data();
  for (const PushPart& part : push.parts.As<PushPart>()) {
    const size_t index = *IndexOf(part.table);
    const TableSpec& spec = SpecOf(kept_[index]);
    std::shared_ptr<std::vector<float>>& values = contribution.values[index];
    if (values == nullptr) {
      values = kept_[index].arrays.Take();
      std::fill(values->begin(), values->end(), 0.0f);
    }
    for (uint32_t i = 0; i < part.count; ++i) {
      float* to = values->data() + (part.dense != 0 ? part.first + i : *keys++) * spec.width;
      for (uint32_t j = 0; j < spec.width; ++j) to[j] += *from++;
    }
    contribution.nonzeros += part.nonzeros;
  }
}

absl::StatusOr<std::optional<Pushed>> GroupMember::OnPush(const Push& push, Effects& effects) {
  const auto found = writers_.find(static_cast<uint32_t>(push.writer));
  if (found == writers_.end())
    return absl::InvalidArgumentError(absl::StrCat("push: writer is ", static_cast<uint32_t>(push.writer), ", expected one of member ", options_.member, "'s"));
  TROUPE_RETURN_IF_ERROR(Check(push));
  auto& [number, writer] = *found;
  if (push.round <= writer.clock) return AnswerTo(number);
  if (push.round == writer.ending) return std::nullopt;   // again
  if (writer.half != push.round) {
    writer.half = push.round;
    writer.chunks = 0;
  }
  // A writer that begins anew may build on what it has had itself, where the others are further.
  if (push.previous > writer.clock || push.chunk > writer.chunks) {
    Pushed expect = AnswerTo(number);
    expect.outcome = Pushed::Outcome::kExpect;
    return expect;
  }
  if (push.chunk < writer.chunks) return AnswerTo(number);
  ++writer.chunks;
  if (OrdinalOf(push.round) == 0) {   // no batch
    writer.ending = push.round;
    Advance(effects);
    if (writer.clock < push.round) return std::nullopt;
    return AnswerTo(number);
  }
  AddTo(contributions_[push.round][number], push);
  if (push.round_over) {
    writer.clock = push.round;
    Advance(effects);
  }
  return AnswerTo(number);
}

absl::Status GroupMember::OnMessage(const ReduceMessage& message, Effects& effects) {
  TROUPE_CHECK(running_);
  const auto index = IndexOf(message.table);
  if (!index) return absl::InvalidArgumentError(absl::StrCat("all-reduce: table ", message.table, " is not kept by workers"));
  const size_t before = effects.messages.size();
  TROUPE_RETURN_IF_ERROR(kept_[*index].reduce.Receive(message, effects.messages));
  for (size_t i = before; i < effects.messages.size(); ++i) effects.messages[i].message.table = message.table;
  Advance(effects);
  return absl::OkStatus();
}

void GroupMember::Advance(Effects& effects) {
  while (running_) {
    if (!Contribute(effects)) return;
    bool all = true;
    for (Kept& kept : kept_) {
      if (!kept.sum) kept.sum = kept.reduce.Take();
      all = all && kept.sum;
    }
    if (!all) return;
    EndRound(effects);
  }
}

bool GroupMember::AddUpOwn() {
  if (given_) return true;
  const Round round = over_ + 1;   // if any writer of the group has a batch left in the phase
  for (const auto& [number, writer] : writers_) {
    if (writer.clock < round && writer.ending < round) return false;
  }
  given_.emplace();
  given_->values.resize(kept_.size());
  const auto pushed = contributions_.extract(round);
  if (!pushed) return true;
  given_->counts.writers = pushed.mapped().size();
  for (auto& [number, contribution] : pushed.mapped()) {
    given_->counts.nonzeros += contribution.nonzeros;
    for (size_t t = 0; t < contribution.values.size(); ++t) {
      if (contribution.values[t] == nullptr) continue;
      if (given_->values[t] == nullptr) {
        given_->values[t] = std::move(contribution.values[t]);
        continue;
      }
      float* into = given_->values[t]->data();
      const std::vector<float>& from = *contribution.values[t];
      for (size_t i = 0; i < from.size(); ++i) into[i] += from[i];
    }
  }
  return true;
}

/// Gives it to the all-reduces that do not have it yet. False: a writer's part of the round is still missing.
bool GroupMember::Contribute(Effects& effects) {
  if (!AddUpOwn()) return false;
  for (size_t t = 0; t < kept_.size(); ++t) {
    if (kept_[t].sum || kept_[t].reduce.contributed()) continue;
    const size_t before = effects.messages.size();
    const absl::Status status = kept_[t].reduce.Contribute(given_->values[t], given_->counts, effects.messages);
    TROUPE_CHECK(status.ok());   // once a turn, and of the right size
    for (size_t i = before; i < effects.messages.size(); ++i) effects.messages[i].message.table = kept_[t].table;
  }
  return true;
}

void GroupMember::EndRound(Effects& effects) {
  const ReduceCounts counts = kept_[0].sum->counts;
  const Round round = counts.writers == 0 ? MakeRound(PhaseOf(over_) + 1, 0) : over_ + 1;
  Push push;
  push.round = round;
  push.previous = over_;
  if (counts.writers == 0) effects.rounds.push_back(push);
  for (size_t t = 0; t < kept_.size(); ++t) {
    AllReduce::Sum sum = std::move(*std::exchange(kept_[t].sum, std::nullopt));
    TROUPE_CHECK(sum.counts == counts);   // the tables' turns are of the same rounds
    if (counts.writers == 0) continue;
    const TableSpec& spec = SpecOf(kept_[t]);
    if (spec.combine == TableSpec::Combine::kMean) {
      const auto writers = static_cast<float>(counts.writers);
      for (float& value : *sum.values) value /= writers;
    }
    std::vector<PushPart> parts;
    for (uint32_t range = 0; range < kept_[t].partition.ranges(); ++range) {
      const auto rows = static_cast<uint32_t>(kept_[t].partition.RowsIn(range));
      if (rows == 0) continue;
      parts.push_back({.table = kept_[t].table,
                       .range = range,
                       .sequence = round << 8,
                       .previous = last_,
                       .first = kept_[t].partition.FirstRow(range),
                       .count = rows,
                       .dense = 1,
                       .nonzeros = t == 0 && parts.empty() ? counts.nonzeros : 0});
    }
    push.chunk = static_cast<uint32_t>(t);
    push.round_over = t + 1 == kept_.size();
    push.parts = Block::Adopt(std::move(parts));
    push.values = Block::View(sum.values->data(), sum.values->size() * sizeof(float), sum.values);
    effects.rounds.push_back(push);
  }
  if (counts.writers > 0) last_ = round << 8;
  over_ = round;
  given_.reset();
  EndWriters();
}

void GroupMember::EndWriters() {
  for (auto& [number, writer] : writers_) {
    if (writer.ending != 0 && writer.ending <= over_) writer.clock = std::max(writer.clock, std::exchange(writer.ending, 0));
  }
}

absl::Status GroupMember::Explain(const Push& round, const absl::Status& refused) const {
  std::span<const float> values = round.values.As<float>();
  for (const PushPart& part : round.parts.As<PushPart>()) {
    const TableSpec& spec = options_.tables[part.table];
    const auto mine = values.first(uint64_t{part.count} * spec.width);
    values = values.subspan(mine.size());
    const auto bad = std::ranges::find_if(mine, [](float value) { return !std::isfinite(value); });
    if (bad == mine.end()) continue;
    return absl::InvalidArgumentError(absl::StrCat("table '", spec.name, "': in batch ", OrdinalOf(round.round), " of phase ", PhaseOf(round.round),
                                                   " the gradients of all workers add up to ", *bad, " for row ",
                                                   part.first + static_cast<uint64_t>(bad - mine.begin()) / spec.width,
                                                   ": each of them is finite, their sum is too large for a float (a smaller learning rate?)"));
  }
  return refused;
}

std::string GroupMember::WaitsFor() const {
  for (const Kept& kept : kept_) {
    const std::string waits = kept.reduce.WaitsFor();
    if (!waits.empty()) return absl::StrCat("table '", SpecOf(kept).name, "' waits in ", waits);
  }
  return "";
}

}   // namespace troupe
