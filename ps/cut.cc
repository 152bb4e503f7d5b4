#include "ps/cut.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace troupe {
namespace {
constexpr size_t kOverMax = 64;
}

absl::StatusOr<std::vector<Round>> CutOf(std::span<const Prepared> shards) {
  std::vector<Round> cut;
  for (size_t shard = 0; shard < shards.size(); ++shard) {
    if (!shards[shard].clocks.IsArrayOf<Round>()) return absl::InvalidArgumentError(absl::StrCat("cut: clocks of shard ", shard, " are cut or not aligned"));
    const std::span<const Round> clocks = shards[shard].clocks.As<Round>();
    if (shard == 0) cut.resize(clocks.size());
    if (clocks.size() != cut.size()) {
      return absl::InvalidArgumentError(absl::StrCat("cut: shard ", shard, " has ", clocks.size(), " writers, expected ", cut.size(), " as shard 0"));
    }
    for (size_t writer = 0; writer < cut.size(); ++writer) cut[writer] = std::max(cut[writer], clocks[writer]);
  }
  return cut;
}

absl::Status CheckTime(const char* what, std::chrono::milliseconds time, std::chrono::milliseconds max) {
  if (time.count() >= 1 && time <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " is ", time.count(), " ms, expected 1 .. ", max.count()));
}

absl::Status CutGate::Hold(uint64_t cut, std::vector<Round> clocks) {
  if (cut == 0) return absl::InvalidArgumentError("cut is 0, expected a number");
  if (cut_ == cut) return absl::OkStatus();
  if (cut_ != 0) return absl::UnavailableError("another cut is being made");
  if (std::find(over_.begin(), over_.end(), cut) != over_.end()) return absl::UnavailableError("the cut is over");
  cut_ = cut;
  clocks_ = std::move(clocks);
  aimed_ = false;
  return absl::OkStatus();
}

absl::Status CutGate::Aim(uint64_t cut, std::vector<Round> clocks) {
  if (!holds(cut)) return absl::UnavailableError("the cut does not hold here: its time was over, or the shard was replaced");
  if (clocks.size() != clocks_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("cut: clocks of ", clocks.size(), " writers, expected ", clocks_.size()));
  }
  for (size_t writer = 0; writer < clocks.size(); ++writer) {
    if (clocks[writer] >= clocks_[writer]) continue;
    return absl::InvalidArgumentError(absl::StrCat("cut: clock of writer ", writer, " is ", clocks[writer], ", expected at least ", clocks_[writer]));
  }
  clocks_ = std::move(clocks);
  aimed_ = true;
  return absl::OkStatus();
}

bool CutGate::End(uint64_t cut) {
  if (cut != 0 && std::find(over_.begin(), over_.end(), cut) == over_.end()) {
    if (over_.size() < kOverMax) over_.push_back(cut);
    over_[next_over_++ % kOverMax] = cut;
  }
  if (!holds(cut)) return false;
  cut_ = 0;
  return true;
}

bool CutGate::Passes(Round round) const {
  return cut_ == 0 || round <= *std::max_element(clocks_.begin(), clocks_.end());
}

}   // namespace troupe
