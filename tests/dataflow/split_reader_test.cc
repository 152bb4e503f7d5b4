#include "dataflow/split_reader.h"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <atomic>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"

namespace troupe {
namespace {

// Piece i has as many rows as `sizes` says, the rows numbered through in their labels. One dense column, also the number.
class NumberedSource final : public Source {
 public:
  explicit NumberedSource(std::vector<uint64_t> sizes) : sizes_(std::move(sizes)) {}
  const Schema& schema() const override { return schema_; }
  uint64_t pieces() const override { return sizes_.size(); }
  uint64_t piece_bytes(uint64_t i) const override { return 10 * sizes_[i]; }
  absl::StatusOr<std::shared_ptr<const RowBlock>> Read(uint64_t i) const override {
    ++reads;
    if (static_cast<int64_t>(i) == broken) return absl::InvalidArgumentError("piece is broken");
    auto block = std::make_shared<RowBlock>();
    block->piece = i;
    block->rows = sizes_[i];
    block->columns = 1;
    block->bad_rows = i % 2;
    uint64_t first = 0;
    for (uint64_t before = 0; before < i; ++before) first += sizes_[before];
    for (uint64_t row = 0; row < sizes_[i]; ++row) {
      block->labels.push_back(static_cast<float>(first + row));
      block->dense.push_back(static_cast<float>(first + row));
    }
    return block;
  }
  uint64_t rows_between(PieceRange range) const {
    uint64_t sum = 0;
    for (uint64_t i = range.first; i < range.last; ++i) sum += sizes_[i];
    return sum;
  }
  mutable std::atomic<uint64_t> reads = 0;
  int64_t broken = -1;

 private:
  std::vector<uint64_t> sizes_;
  Schema schema_;
};

std::vector<float> Labels(const Batch& batch) {
  std::vector<float> labels;
  for (size_t i = 0; i < batch.rows(); ++i) labels.push_back(batch.label(i));
  return labels;
}

// Batches from where the reader stands to the end of the epoch.
std::vector<std::vector<float>> Rest(SplitReader* reader) {
  std::vector<std::vector<float>> batches;
  for (;;) {
    auto batch = reader->Next();
    BOOST_REQUIRE_MESSAGE(batch.ok(), batch.status());
    if (!batch->has_value()) return batches;
    batches.push_back(Labels(**batch));
  }
}

std::vector<float> Joined(const std::vector<std::vector<float>>& batches) {
  std::vector<float> all;
  for (const auto& batch : batches) all.insert(all.end(), batch.begin(), batch.end());
  return all;
}

std::vector<float> Sorted(std::vector<float> values) {
  std::sort(values.begin(), values.end());
  return values;
}

std::shared_ptr<NumberedSource> Uneven(size_t pieces) {
  std::vector<uint64_t> sizes;
  for (size_t i = 0; i < pieces; ++i) sizes.push_back(i * 7919 % 23);   // some are empty
  return std::make_shared<NumberedSource>(sizes);
}

}   // namespace

BOOST_AUTO_TEST_SUITE(SplitReaderSuite)

BOOST_AUTO_TEST_CASE(splits_cover_all_pieces_once) {
  for (const uint64_t pieces : {0u, 1u, 3u, 7u, 100u}) {
    for (const uint32_t splits : {1u, 2u, 4u, 9u}) {
      uint64_t next = 0;
      for (uint32_t split = 0; split < splits; ++split) {
        const PieceRange range = PiecesOf(pieces, split, splits);
        BOOST_TEST(range.first == next);
        next = range.last;
      }
      BOOST_TEST(next == pieces);
    }
  }
}

BOOST_AUTO_TEST_CASE(every_row_comes_once_an_epoch_in_full_batches) {
  const auto source = Uneven(101);
  for (const uint32_t window : {1u, 3u, 16u, 1000u}) {
    for (const uint32_t batch_rows : {1u, 10u, 64u, 100000u}) {
      std::vector<float> all;
      for (uint32_t split = 0; split < 3; ++split) {
        SplitReader reader(source, nullptr, {.split = split, .splits = 3, .batch_rows = batch_rows, .window_pieces = window});
        const auto batches = Rest(&reader);
        for (size_t i = 0; i + 1 < batches.size(); ++i) BOOST_REQUIRE_EQUAL(batches[i].size(), batch_rows);
        for (const auto& batch : batches) BOOST_REQUIRE(!batch.empty() && batch.size() <= batch_rows);
        const auto rows = Joined(batches);
        BOOST_TEST(rows.size() == source->rows_between(PiecesOf(source->pieces(), split, 3)));
        BOOST_TEST(reader.rows_read() == rows.size());
        BOOST_TEST(reader.bytes_read() == reader.bytes_total());
        all.insert(all.end(), rows.begin(), rows.end());
      }
      all = Sorted(all);
      BOOST_REQUIRE_EQUAL(all.size(), source->rows_between({0, source->pieces()}));
      for (size_t i = 0; i < all.size(); ++i) BOOST_REQUIRE_EQUAL(all[i], static_cast<float>(i));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_batch_depends_on_seed_epoch_split_and_ordinal_only) {
  const auto source = Uneven(60);
  const SplitOptions options{.split = 1, .splits = 2, .batch_rows = 7, .window_pieces = 4};
  std::vector<std::vector<std::vector<float>>> epochs;
  SplitReader reader(source, nullptr, options);
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    BOOST_TEST(reader.Seek(epoch, 0).ok());
    epochs.push_back(Rest(&reader));
  }
  SplitReader other(source, std::make_shared<BlockCache>(1 << 20), options);
  for (const auto& [epoch, ordinal] : {std::pair{2, 5}, {2, 6}, {2, 30}, {2, 3}, {0, 0}, {1, 41}, {0, 17}, {0, 17}}) {
    const auto& expected = epochs[static_cast<size_t>(epoch)];
    BOOST_TEST(other.Seek(static_cast<uint64_t>(epoch), static_cast<uint64_t>(ordinal)).ok());
    const auto batch = other.Next();
    BOOST_REQUIRE(batch.ok() && batch->has_value());
    BOOST_TEST(Labels(**batch) == expected[static_cast<size_t>(ordinal)], boost::test_tools::per_element());
    BOOST_TEST(other.rows_read() == static_cast<uint64_t>(ordinal + 1) * 7);
  }
  BOOST_TEST(other.Seek(1, epochs[1].size()).ok());
  BOOST_TEST(!other.Next()->has_value());
  BOOST_TEST(other.Seek(1, 1000000).ok());
  BOOST_TEST(!other.Next()->has_value());
  BOOST_TEST(!other.Next()->has_value());
}

BOOST_AUTO_TEST_CASE(epochs_seeds_and_splits_have_orders_of_their_own) {
  const auto source = std::make_shared<NumberedSource>(std::vector<uint64_t>(8, 50));
  const auto first = [&](uint64_t seed, uint64_t epoch) {
    SplitReader reader(source, nullptr, {.batch_rows = 400, .seed = seed});
    BOOST_TEST(reader.Seek(epoch, 0).ok());
    return Rest(&reader)[0];
  };
  BOOST_TEST((first(1, 0) == first(1, 0)));
  BOOST_TEST((first(1, 0) != first(1, 1)));
  BOOST_TEST((first(1, 0) != first(2, 0)));
  const auto twice = std::make_shared<NumberedSource>(std::vector<uint64_t>{50, 50});
  SplitReader a(twice, nullptr, {.split = 0, .splits = 2, .batch_rows = 50});
  SplitReader b(twice, nullptr, {.split = 1, .splits = 2, .batch_rows = 50});
  auto rows_a = Rest(&a)[0];
  for (float& row : rows_a) row += 50;
  BOOST_TEST((rows_a != Rest(&b)[0]));
}

// The order is part of what a model is made of: it may change only on purpose.
BOOST_AUTO_TEST_CASE(the_order_is_the_same_on_every_machine) {
  const auto source = std::make_shared<NumberedSource>(std::vector<uint64_t>{4, 4, 4});
  SplitReader reader(source, nullptr, {.batch_rows = 12, .seed = 1});
  const std::vector<float> expected = {0, 9, 2, 7, 11, 6, 5, 8, 1, 10, 4, 3};
  BOOST_TEST(Rest(&reader)[0] == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(small_data_is_mixed_over_the_whole_split) {
  const auto source = std::make_shared<NumberedSource>(std::vector<uint64_t>(8, 100));
  SplitReader reader(source, nullptr, {.batch_rows = 80});
  for (const auto& batch : Rest(&reader)) {
    std::set<int> pieces;
    for (const float row : batch) pieces.insert(static_cast<int>(row) / 100);
    BOOST_TEST(pieces.size() == 8u);
  }
}

BOOST_AUTO_TEST_CASE(large_data_is_mixed_within_windows_only) {
  const auto source = std::make_shared<NumberedSource>(std::vector<uint64_t>(40, 10));
  SplitReader reader(source, nullptr, {.batch_rows = 40, .window_pieces = 4});
  const auto batches = Rest(&reader);
  BOOST_TEST(batches.size() == 10u);
  for (const auto& batch : batches) {
    std::set<int> pieces;
    for (const float row : batch) pieces.insert(static_cast<int>(row) / 10);
    BOOST_TEST(pieces.size() == 4u);
  }
}

BOOST_AUTO_TEST_CASE(unshuffled_batches_are_in_file_order_and_contiguous) {
  const auto source = Uneven(30);
  SplitReader reader(source, nullptr, {.batch_rows = 8, .shuffle = false});
  float next = 0;
  size_t batches = 0;
  for (;; ++batches) {
    const auto batch = reader.Next();
    BOOST_REQUIRE(batch.ok());
    if (!batch->has_value()) break;
    const auto matrix = (*batch)->contiguous();
    BOOST_REQUIRE_EQUAL(matrix.size(), (*batch)->rows());
    for (const float value : matrix) BOOST_REQUIRE_EQUAL(value, next++);
  }
  BOOST_TEST(next == static_cast<float>(source->rows_between({0, 30})));
  uint64_t expected = 0;
  for (uint64_t i = 0; i < 30; ++i) expected += (source->rows_between({i, i + 1}) + 7) / 8;
  BOOST_TEST(batches == expected);
  BOOST_TEST(reader.Seek(0, 3).ok());
  BOOST_TEST(reader.Next()->has_value());
  BOOST_TEST(reader.bad_rows() <= 15u);
}

BOOST_AUTO_TEST_CASE(a_batch_outlives_its_reader) {
  std::optional<Batch> batch;
  {
    SplitReader reader(Uneven(20), nullptr, {.batch_rows = 64});
    batch = *reader.Next();
    while (reader.Next()->has_value()) continue;
  }
  for (size_t i = 0; i < batch->rows(); ++i) BOOST_TEST(batch->label(i) == batch->dense(i)[0]);
  BOOST_TEST(batch->nonzeros() == 64u);
  BOOST_TEST(batch->columns() == 1u);
}

BOOST_AUTO_TEST_CASE(rows_of_several_blocks_are_not_contiguous) {
  const auto block = *NumberedSource({3}).Read(0);
  const auto other = *NumberedSource({3}).Read(0);
  Batch apart;
  apart.Add(block, 0);
  apart.Add(block, 2);
  BOOST_TEST(apart.contiguous().empty());
  Batch together;
  together.Add(block, 1);
  together.Add(block, 2);
  BOOST_TEST(together.contiguous().size() == 2u);
  together.Add(other, 0);
  BOOST_TEST(together.contiguous().empty());
  BOOST_TEST(Batch().contiguous().empty());
  BOOST_TEST(Batch().nonzeros() == 0u);
}

BOOST_AUTO_TEST_CASE(cached_pieces_are_read_once_and_the_rest_again) {
  const auto source = std::make_shared<NumberedSource>(std::vector<uint64_t>(10, 100));
  const size_t bytes = (*source->Read(0))->bytes();
  for (const size_t kept : {0u, 4u, 10u}) {
    const auto cache = std::make_shared<BlockCache>(kept * bytes + bytes / 2);
    SplitReader reader(source, cache, {});
    const auto without = Rest(&reader);
    const uint64_t before = source->reads;
    BOOST_TEST(reader.Seek(0, 0).ok());
    BOOST_TEST((Rest(&reader) == without));
    BOOST_TEST(source->reads - before == 10 - kept);
    BOOST_TEST(cache->bytes() <= kept * bytes + bytes / 2);
  }
}

BOOST_AUTO_TEST_CASE(an_error_stays_until_the_next_seek) {
  const auto source = std::make_shared<NumberedSource>(std::vector<uint64_t>(10, 10));
  source->broken = 7;
  SplitReader reader(source, nullptr, {.batch_rows = 5, .shuffle = false});
  for (int i = 0; i < 14; ++i) BOOST_TEST(reader.Next()->has_value());
  BOOST_TEST(reader.Next().status().message() == "piece is broken");
  BOOST_TEST(reader.Next().status().message() == "piece is broken");
  BOOST_TEST(!reader.Seek(0, 15).ok());
  BOOST_TEST(reader.Seek(0, 13).ok());
  BOOST_TEST(Labels(**reader.Next())[0] == 65);
}

BOOST_AUTO_TEST_CASE(a_split_without_pieces_has_no_batches) {
  SplitReader reader(Uneven(2), nullptr, {.split = 0, .splits = 5});
  BOOST_TEST(!reader.Next()->has_value());
  BOOST_TEST(reader.bytes_total() == 0u);
  BOOST_TEST(reader.rows_read() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
