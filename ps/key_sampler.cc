#include "ps/key_sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "absl/strings/str_cat.h"
#include "actors/check.h"

namespace troupe {
namespace {

absl::Status CheckRange(Key begin, Key end) {
  if (begin < end) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("keys [", begin, ", ", end, ") are none, expected at least one"));
}

}   // namespace

absl::StatusOr<KeySampler> KeySampler::Uniform(Key begin, Key end) {
  if (absl::Status status = CheckRange(begin, end); !status.ok()) return status;
  return KeySampler(Kind::kUniform, begin, end - begin);
}

absl::StatusOr<KeySampler> KeySampler::LogUniform(Key begin, Key end) {
  if (absl::Status status = CheckRange(begin, end); !status.ok()) return status;
  return KeySampler(Kind::kLogUniform, begin, end - begin);
}

absl::StatusOr<KeySampler> KeySampler::Weighted(std::vector<Key> keys, std::span<const double> weights, double power) {
  if (keys.size() != weights.size()) return absl::InvalidArgumentError(absl::StrCat(weights.size(), " weights for ", keys.size(), " keys"));
  if (keys.size() >= std::numeric_limits<uint32_t>::max()) return absl::InvalidArgumentError(absl::StrCat(keys.size(), " keys, expected fewer than 2^32 - 1"));
  if (!std::isfinite(power)) return absl::InvalidArgumentError(absl::StrCat("power is ", power, ", expected a finite number"));
  std::vector<uint32_t> order(keys.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
  KeySampler sampler(Kind::kWeighted, 0, 0);
  sampler.keys_.reserve(keys.size());
  std::vector<double> share;
  double sum = 0;
  std::optional<Key> previous;
  for (const uint32_t i : order) {
    if (!std::isfinite(weights[i]) || weights[i] < 0)
      return absl::InvalidArgumentError(absl::StrCat("weight of key ", keys[i], " is ", weights[i], ", expected a finite number >= 0"));
    if (previous && *previous == keys[i]) return absl::InvalidArgumentError(absl::StrCat("key ", keys[i], " is there twice"));
    previous = keys[i];
    const double raised = weights[i] == 0 ? 0 : std::pow(weights[i], power);
    if (raised == 0) continue;   // such a key is never drawn, whatever rounding does below
    sampler.keys_.push_back(keys[i]);
    share.push_back(raised);
    sum += raised;
  }
  if (!(sum > 0) || !std::isfinite(sum)) return absl::InvalidArgumentError(absl::StrCat("weights add up to ", sum, ", expected a finite number > 0"));
  sampler.n_ = share.size();
  const double n = static_cast<double>(share.size());
  sampler.keep_.assign(share.size(), 1.0f);
  sampler.alias_.resize(share.size());
  std::vector<uint32_t> small, large;   // columns whose share is less than a draw's, and at least that
  for (uint32_t i = 0; i < share.size(); ++i) {
    sampler.probability_.push_back(static_cast<float>(share[i] / sum));
    share[i] = share[i] / sum * n;
    sampler.alias_[i] = i;
    (share[i] < 1 ? small : large).push_back(i);
  }
  while (!small.empty() && !large.empty()) {
    const uint32_t low = small.back(), high = large.back();
    small.pop_back();
    sampler.keep_[low] = static_cast<float>(share[low]);
    sampler.alias_[low] = high;
    share[high] -= 1 - share[low];
    if (share[high] >= 1) continue;
    large.pop_back();
    small.push_back(high);
  }
  return sampler;   // what is left on either side is 1 but for rounding, and keeps all its draws
}

Key KeySampler::Draw(Random& random) const {
  switch (kind_) {
    case Kind::kUniform:
      return begin_ + random.Below(n_);
    case Kind::kLogUniform: {
      // exp(u log(n + 1)) - 1 has the density 1 / ((r + 1) log(n + 1)); its whole part is the rank.
      const double rank = std::exp(random.Uniform() * std::log1p(static_cast<double>(n_))) - 1;
      return begin_ + std::min(static_cast<uint64_t>(std::max(rank, 0.0)), n_ - 1);
    }
    case Kind::kWeighted: {
      const uint64_t column = random.Below(n_);
      return keys_[random.Uniform() < static_cast<double>(keep_[column]) ? column : alias_[column]];
    }
  }
  TROUPE_CHECK(false);
}

double KeySampler::Probability(Key key) const {
  if (kind_ == Kind::kWeighted) {
    const auto found = std::lower_bound(keys_.begin(), keys_.end(), key);
    return found == keys_.end() || *found != key ? 0 : static_cast<double>(probability_[static_cast<size_t>(found - keys_.begin())]);
  }
  if (key < begin_ || key - begin_ >= n_) return 0;
  if (kind_ == Kind::kUniform) return 1 / static_cast<double>(n_);
  const double rank = static_cast<double>(key - begin_);
  return std::log1p(1 / (rank + 1)) / std::log1p(static_cast<double>(n_));
}

ReusedSampler::ReusedSampler(KeySampler sampler, uint32_t pool, uint32_t uses, uint64_t seed)
    : sampler_(std::move(sampler)), random_(seed), uses_(uses), pool_(pool) {
  TROUPE_CHECK(pool > 0 && uses > 0);
  Refill();
}

void ReusedSampler::Refill() {
  sampler_.Draw(random_, pool_);
  used_ = 0;
  next_ = 0;
}

Key ReusedSampler::Draw() {
  const Key key = pool_[next_++];
  if (next_ < pool_.size()) return key;
  next_ = 0;
  if (++used_ == uses_)
    Refill();
  else
    random_.Shuffle(std::span(pool_));
  return key;
}

}   // namespace troupe
