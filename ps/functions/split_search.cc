// Function split_search: the best split of every tree node, of histograms that workers have added up in a table. Row node * features + feature holds the
// histogram of one feature over the node's rows: of each bin the sum of the gradients, the sum of the hessians, and the number of rows. Workers push them to a
// table of rule add, so that they are merged when they arrive; the histograms never leave the shard.
//   features             of a node, 1 .. 2^32
//   lambda, alpha        l2 and l1 penalty on a leaf's weight: 1 and 0
//   min_child_weight     least sum of hessians on each side: 1
//   min_child_rows       least number of rows on each side: 0
//   min_gain             what a split must bring, and is taken off its gain: 0
// With T(g) = sign(g) max(|g| - alpha, 0) and S = T(G)^2 / (H + lambda):  gain = (S_left + S_right - S_node) / 2 - min_gain.
// Source: Chen, Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016, eq. 7 and algorithm 1; min_gain is its gamma. alpha and the thresholds as in
// XGBoost's parameters of the same names. LightGBM (Ke et al., NIPS 2017) leaves out the half. Bins are taken in their order, none stands for missing values.
//
// Answers for each node that has a split with a gain above 0, rising: keys node, feature, last bin on the left; numbers gain, then sum of gradients, sum of
// hessians and rows on the left, and the same on the right. Of equal gains the lower feature wins, then the lower bin.
#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ps/function.h"

namespace troupe {
namespace {

constexpr size_t kBin = 3;   // gradient, hessian, rows
constexpr size_t kKeys = 3, kNumbers = 7;

struct Options {
  uint64_t features;
  double lambda, alpha, min_child_weight, min_child_rows, min_gain;
};

struct Sums {
  double gradient = 0, hessian = 0, rows = 0;
};

/// A node's best so far.
struct Split {
  std::array<Key, kKeys> keys;   // node, feature, bin
  std::array<double, kNumbers> numbers;
  bool Beats(const Split& other) const { return std::tuple(-numbers[0], keys[1], keys[2]) < std::tuple(-other.numbers[0], other.keys[1], other.keys[2]); }
};

void Append(FunctionValue& to, const Split& split) {
  to.keys.insert(to.keys.end(), split.keys.begin(), split.keys.end());
  to.numbers.insert(to.numbers.end(), split.numbers.begin(), split.numbers.end());
}
Split SplitAt(const FunctionValue& part, size_t i) {
  Split split;
  std::copy_n(part.keys.begin() + static_cast<ptrdiff_t>(i * kKeys), kKeys, split.keys.begin());
  std::copy_n(part.numbers.begin() + static_cast<ptrdiff_t>(i * kNumbers), kNumbers, split.numbers.begin());
  return split;
}

class SplitSearch final : public ReadingFunction {
 public:
  explicit SplitSearch(const Options& options) : options_(options) {}

  FunctionValue Map(const RangeReader& rows) const override {
    FunctionValue part;
    std::optional<Split> best;   // of the node whose rows come: keys rise, so a node's features come one after the other
    rows.Each([&](const TableRows& block) {
      for (size_t i = 0; i < block.n; ++i) {
        const std::optional<Split> split = BestOf(block.key(i), block.row(i));
        if (!split) continue;
        if (best && best->keys[0] != split->keys[0]) {
          Append(part, *best);
          best.reset();
        }
        if (!best || split->Beats(*best)) best = split;
      }
    });
    if (best) Append(part, *best);
    return part;
  }

  absl::Status CheckPart(const FunctionValue& part) const override {
    bool good = part.keys.size() % kKeys == 0 && part.numbers.size() == part.keys.size() / kKeys * kNumbers;
    for (size_t i = kKeys; good && i < part.keys.size(); i += kKeys) good = part.keys[i - kKeys] < part.keys[i];
    if (good) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("split_search: a part of ", part.keys.size(), " keys and ", part.numbers.size(),
                                                   " numbers, expected rising nodes with ", kKeys, " keys and ", kNumbers, " numbers each"));
  }
  FunctionValue Merge(FunctionValue low, FunctionValue high) const override {
    FunctionValue both;
    const size_t lows = low.keys.size() / kKeys, highs = high.keys.size() / kKeys;
    for (size_t i = 0, j = 0; i < lows || j < highs;) {
      if (j == highs || (i < lows && low.keys[i * kKeys] < high.keys[j * kKeys])) {
        Append(both, SplitAt(low, i++));
      } else if (i == lows || high.keys[j * kKeys] < low.keys[i * kKeys]) {
        Append(both, SplitAt(high, j++));
      } else {
        const Split a = SplitAt(low, i++), b = SplitAt(high, j++);
        Append(both, b.Beats(a) ? b : a);
      }
    }
    return both;
  }

 private:
  double Score(const Sums& sums) const {
    const double weight = sums.hessian + options_.lambda, gradient = std::max(std::fabs(sums.gradient) - options_.alpha, 0.0);
    return weight > 0 ? gradient * gradient / weight : 0;
  }
  bool MayBeLeaf(const Sums& sums) const { return sums.hessian >= options_.min_child_weight && sums.rows >= options_.min_child_rows; }

  std::optional<Split> BestOf(Key key, std::span<const double> histogram) const {
    Sums node;
    for (size_t at = 0; at < histogram.size(); at += kBin) {
      node.gradient += histogram[at];
      node.hessian += histogram[at + 1];
      node.rows += histogram[at + 2];
    }
    const double score = Score(node);
    std::optional<Split> best;
    Sums left;
    for (size_t bin = 0; (bin + 1) * kBin < histogram.size(); ++bin) {
      left.gradient += histogram[bin * kBin];
      left.hessian += histogram[bin * kBin + 1];
      left.rows += histogram[bin * kBin + 2];
      const Sums right{node.gradient - left.gradient, node.hessian - left.hessian, node.rows - left.rows};
      if (!MayBeLeaf(left) || !MayBeLeaf(right)) continue;
      const double gain = (Score(left) + Score(right) - score) / 2 - options_.min_gain;
      if (!(gain > (best ? best->numbers[0] : 0))) continue;
      best = Split{{key / options_.features, key % options_.features, bin},
                   {gain, left.gradient, left.hessian, left.rows, right.gradient, right.hessian, right.rows}};
    }
    return best;
  }

  const Options options_;
};

const RegisterFunction registration({.name = "split_search", .read = [](ArgumentReader& arguments) -> std::unique_ptr<ReadingFunction> {
                                       const TableSpec& spec = arguments.table();
                                       if (spec.width % kBin != 0)
                                         arguments.Refuse(absl::StrCat("table '", spec.name, "' has width ", spec.width,
                                                                       ", expected a multiple of 3: gradient, hessian and rows of each bin"));
                                       return std::make_unique<SplitSearch>(Options{.features = arguments.Whole("features", std::nullopt, 1, uint64_t{1} << 32),
                                                                                    .lambda = arguments.Number("lambda", 1, 0, 1e30),
                                                                                    .alpha = arguments.Number("alpha", 0, 0, 1e30),
                                                                                    .min_child_weight = arguments.Number("min_child_weight", 1, 0, 1e30),
                                                                                    .min_child_rows = arguments.Number("min_child_rows", 0, 0, 1e30),
                                                                                    .min_gain = arguments.Number("min_gain", 0, 0, 1e30)});
                                     }});

}   // namespace
}   // namespace troupe
