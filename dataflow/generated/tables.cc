// dense, clusters, ratings: tables of numbers, as CSV, Parquet or (dense) libsvm.
#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "actors/random.h"
#include "dataflow/generated/distributions.h"
#include "dataflow/generated/generated_rows.h"

namespace troupe {
namespace {

constexpr size_t kFeatures = 30;

class Table : public GeneratedRows {
 public:
  Table(uint64_t seed, std::vector<ColumnSpec> columns) : rows_(Random(seed).Fork(1)), columns_(std::move(columns)) {}

  std::vector<std::string> formats() const override { return {".parquet", ".csv"}; }
  std::vector<ColumnSpec> columns() const override { return columns_; }

  void FillTable(uint64_t first, size_t n, float* out) const override {
    for (size_t i = 0; i < n; ++i) {
      Random random = rows_.Fork(first + i);
      Make(&random, out + i * columns_.size());
    }
  }

  void AppendHeader(const std::string& format, TextBuffer* out) const override {
    if (format != ".csv") return;
    for (size_t c = 0; c < columns_.size(); ++c) {
      const std::string cell = absl::StrCat(columns_[c].name, c + 1 < columns_.size() ? "," : "\n");
      out->End(std::copy(cell.begin(), cell.end(), out->Room(cell.size())));
    }
  }

  uint64_t AppendText(const std::string& format, uint64_t first, size_t n, TextBuffer* out) const override {
    const bool csv = format == ".csv";
    std::vector<float> row(columns_.size());
    for (size_t i = 0; i < n; ++i) {
      FillTable(first + i, 1, row.data());
      char* p = out->Room(32 * columns_.size() + 2);
      out->End(csv ? WriteCsv(p, row) : WriteLibsvm(p, row));
    }
    return csv ? 0 : n * (columns_.size() - 1);
  }

 protected:
  virtual void Make(Random* random, float* row) const = 0;

 private:
  char* WriteCsv(char* p, const std::vector<float>& row) const {
    for (size_t c = 0; c < row.size(); ++c) {
      p = columns_[c].type == ColumnSpec::Type::kInt32 ? WriteNumber(p, static_cast<int32_t>(row[c])) : WriteNumber(p, row[c]);
      *p++ = ',';
    }
    p[-1] = '\n';
    return p;
  }

  static char* WriteLibsvm(char* p, const std::vector<float>& row) {
    p = WriteNumber(p, static_cast<int32_t>(row.back()));
    for (size_t c = 0; c + 1 < row.size(); ++c) {
      *p++ = ' ';
      p = WriteNumber(p, c + 1);
      *p++ = ':';
      p = WriteNumber(p, row[c]);
    }
    *p++ = '\n';
    return p;
  }

  const Random rows_;
  const std::vector<ColumnSpec> columns_;
};

std::vector<ColumnSpec> FeatureColumns() {
  std::vector<ColumnSpec> columns;
  for (size_t i = 0; i < kFeatures; ++i) columns.push_back({absl::StrCat("f", i), ColumnSpec::Type::kFloat});
  return columns;
}

/// 30 standard normal numbers; the label follows a linear model with two interactions, which a linear learner cannot find, and logistic noise.
class DenseRows final : public Table {
 public:
  explicit DenseRows(uint64_t seed) : Table(seed, Columns()) {
    Random random = Random(seed).Fork(0);
    NormalTable::Get().Fill(&random, kFeatures, weights_.data());
  }
  std::vector<std::string> formats() const override { return {".parquet", ".csv", ".svm", ".libsvm"}; }

 private:
  static std::vector<ColumnSpec> Columns() {
    auto columns = FeatureColumns();
    columns.push_back({"label", ColumnSpec::Type::kInt32});
    return columns;
  }

  void Make(Random* random, float* row) const override {
    NormalTable::Get().Fill(random, kFeatures, row);
    double margin = 0.5 * row[0] * row[1] + std::fabs(row[2]) * row[3];
    for (size_t i = 0; i < kFeatures; ++i) margin += weights_[i] * row[i];
    row[kFeatures] = random->Uniform() * (1 + std::exp(-margin)) < 1 ? 1 : 0;
  }

  std::array<float, kFeatures> weights_;
};

/// 20 groups of unequal size, each a normal distribution stretched in all directions around a centre of its own.
class ClusterRows final : public Table {
 public:
  explicit ClusterRows(uint64_t seed) : Table(seed, FeatureColumns()) {
    Random random = Random(seed).Fork(0);
    double sum = 0;
    for (Group& group : groups_) {
      group.end = sum -= std::log((1 - random.Uniform()) * (1 - random.Uniform()));   // gamma(2): shares that follow a Dirichlet distribution
      NormalTable::Get().Fill(&random, kFeatures, group.centre.data());
      NormalTable::Get().Fill(&random, kFeatures * kFeatures, group.stretch.data());
      for (float& x : group.centre) x *= 4;
      for (float& x : group.stretch) x *= 0.5f;
    }
    for (Group& group : groups_) group.end /= sum;
  }

 private:
  struct Group {
    double end;   // sum of the shares up to it
    std::array<float, kFeatures> centre;
    std::array<float, kFeatures * kFeatures> stretch;
  };

  void Make(Random* random, float* row) const override {
    const double at = random->Uniform();
    const auto group = std::find_if(groups_.begin(), groups_.end() - 1, [at](const Group& candidate) { return at < candidate.end; });
    std::array<float, kFeatures> normals;
    NormalTable::Get().Fill(random, kFeatures, normals.data());
    std::copy(group->centre.begin(), group->centre.end(), row);
    for (size_t k = 0; k < kFeatures; ++k) {
      for (size_t c = 0; c < kFeatures; ++c) row[c] = std::fma(normals[k], group->stretch[k * kFeatures + c], row[c]);
    }
  }

  std::array<Group, 20> groups_;
};

/// 100,000 users, 20,000 items, both by Zipf; ratings 0.5 .. 5 around the product of 8 hidden factors.
class RatingRows final : public Table {
 public:
  explicit RatingRows(uint64_t seed)
      : Table(seed, {{"user", ColumnSpec::Type::kInt32}, {"item", ColumnSpec::Type::kInt32}, {"rating", ColumnSpec::Type::kFloat}}),
        user_zipf_(kExponent, kUsers, false),
        item_zipf_(kExponent, kItems, false),
        users_(kUsers * kRank),
        items_(kItems * kRank) {
    Random random = Random(seed).Fork(0);
    NormalTable::Get().Fill(&random, users_.size(), users_.data());
    NormalTable::Get().Fill(&random, items_.size(), items_.data());
  }

 private:
  static constexpr double kExponent = 1.2;
  static constexpr uint32_t kUsers = 100000, kItems = 20000;
  static constexpr size_t kRank = 8;

  void Make(Random* random, float* row) const override {
    const uint64_t bits = random->Next();
    const uint32_t user = user_zipf_.Draw(static_cast<uint32_t>(bits)), item = item_zipf_.Draw(static_cast<uint32_t>(bits >> 32));
    float product = 0;
    for (size_t k = 0; k < kRank; ++k) product += users_[user * kRank + k] * items_[item * kRank + k];
    const float noise = NormalTable::Get().Draw(static_cast<uint32_t>(random->Next()));
    row[0] = static_cast<float>(user);
    row[1] = static_cast<float>(item);
    row[2] = std::clamp(3 + 0.25f * product + 0.3f * noise, 0.5f, 5.0f);
  }

  const ZipfTable user_zipf_, item_zipf_;
  std::vector<float> users_, items_;
};

}   // namespace

std::unique_ptr<GeneratedRows> MakeDenseRows(uint64_t seed) {
  return std::make_unique<DenseRows>(seed);
}
std::unique_ptr<GeneratedRows> MakeClusterRows(uint64_t seed) {
  return std::make_unique<ClusterRows>(seed);
}
std::unique_ptr<GeneratedRows> MakeRatingRows(uint64_t seed) {
  return std::make_unique<RatingRows>(seed);
}

}   // namespace troupe
