// The one file that includes RocksDB. A row's key there is its range and its key, both with the highest byte first, so that they lie by rising key; its value
// are the row's bytes. Nothing is written ahead: what a crash takes with it a snapshot brings back.
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "ps/disk_tier.h"

namespace troupe {
namespace {

constexpr size_t kWriteBufferMin = 64 << 10, kWriteBufferMax = 64 << 20;
constexpr size_t kBatchBytes = 1 << 20;   // of one Get

static_assert(std::endian::native == std::endian::little);

struct RocksKey {
  std::array<char, sizeof(uint32_t) + sizeof(Key)> bytes;

  RocksKey(uint32_t range, Key key) {
    const uint32_t high = __builtin_bswap32(range);
    const Key low = __builtin_bswap64(key);
    std::memcpy(bytes.data(), &high, sizeof high);
    std::memcpy(bytes.data() + sizeof high, &low, sizeof low);
  }
  rocksdb::Slice slice() const { return {bytes.data(), bytes.size()}; }
  static Key KeyOf(const rocksdb::Slice& slice) {
    Key key;
    std::memcpy(&key, slice.data() + sizeof(uint32_t), sizeof key);
    return __builtin_bswap64(key);
  }
};

rocksdb::Slice AsSlice(const std::byte* bytes, size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

class RocksTier final : public RowTier {
 public:
  static absl::StatusOr<std::unique_ptr<RowTier>> Open(const std::string& folder, const TierRequest& request) {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
    std::filesystem::create_directories(folder, error);
    if (error) return absl::InternalError(absl::StrCat(folder, ": cannot be made: ", error.message()));
    // A half for what is being written, a half for what is read, filters and indexes among it.
    rocksdb::BlockBasedTableOptions blocks;
    blocks.block_cache = rocksdb::NewLRUCache(request.memory_max / 2, 0, false, 0.5);   // half of it for filters and indexes first
    blocks.cache_index_and_filter_blocks = true;
    blocks.cache_index_and_filter_blocks_with_high_priority = true;
    blocks.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    blocks.whole_key_filtering = true;
    rocksdb::Options options;
    options.create_if_missing = true;
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(blocks));
    options.write_buffer_size = std::clamp(request.memory_max / 4, kWriteBufferMin, kWriteBufferMax);
    options.max_write_buffer_number = 2;
    options.memtable_whole_key_filtering = true;   // most keys are not among those just written
    options.memtable_prefix_bloom_size_ratio = 0.1;
    options.target_file_size_base = std::max<uint64_t>(options.write_buffer_size, 1 << 20);
    options.max_bytes_for_level_base = 4 * options.target_file_size_base;
    options.compression = rocksdb::kNoCompression;
    options.max_background_jobs = 2;
    options.avoid_flush_during_shutdown = true;
    options.info_log_level = rocksdb::ERROR_LEVEL;
    options.stats_dump_period_sec = 0;
    options.stats_persist_period_sec = 0;
    rocksdb::DB* db = nullptr;
    if (const rocksdb::Status status = rocksdb::DB::Open(options, folder, &db); !status.ok()) return Error(folder, status);
    auto tier = std::unique_ptr<RocksTier>(new RocksTier(folder, request.row_bytes, db));
    tier->cache_ = blocks.block_cache;
    return tier;
  }
  ~RocksTier() override {
    db_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
    std::filesystem::remove(std::filesystem::path(folder_).parent_path(), ignored);   // only where it is empty
  }

  absl::Status Put(uint32_t range, std::span<const Key> keys, const std::byte* rows) override {
    rocksdb::WriteBatch batch(keys.size() * (row_bytes_ + 24));
    for (const Key key : keys) {
      if (const rocksdb::Status status = batch.Put(RocksKey(range, key).slice(), AsSlice(rows, row_bytes_)); !status.ok()) return Error(folder_, status);
      rows += row_bytes_;
    }
    return Write(batch);
  }
  absl::Status Erase(uint32_t range, std::span<const Key> keys) override {
    rocksdb::WriteBatch batch;
    for (const Key key : keys) {
      if (const rocksdb::Status status = batch.Delete(RocksKey(range, key).slice()); !status.ok()) return Error(folder_, status);
    }
    return Write(batch);
  }
  absl::Status Clear(uint32_t range) override {
    rocksdb::WriteBatch batch;
    const RocksKey last(range, ~Key{0});
    rocksdb::Status status = batch.DeleteRange(RocksKey(range, 0).slice(), last.slice());   // without the last
    if (status.ok()) status = batch.Delete(last.slice());
    return status.ok() ? Write(batch) : Error(folder_, status);
  }

  absl::Status Get(std::span<const TierKey> keys, std::byte* rows, bool* found) override {
    const size_t at_once = std::max<size_t>(1, kBatchBytes / (row_bytes_ + sizeof(rocksdb::PinnableSlice)));
    for (size_t begin = 0; begin < keys.size(); begin += at_once) {
      const size_t n = std::min(at_once, keys.size() - begin);
      names_.clear();
      for (size_t i = 0; i < n; ++i) names_.emplace_back(keys[begin + i].range, keys[begin + i].key);
      slices_.resize(n);
      for (size_t i = 0; i < n; ++i) slices_[i] = names_[i].slice();
      std::vector<rocksdb::PinnableSlice> values(n);
      std::vector<rocksdb::Status> statuses(n);
      db_->MultiGet(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), n, slices_.data(), values.data(), statuses.data());
      for (size_t i = 0; i < n; ++i) {
        found[begin + i] = statuses[i].ok();
        if (statuses[i].IsNotFound()) continue;
        if (!statuses[i].ok()) return Error(folder_, statuses[i]);
        if (values[i].size() != row_bytes_) return WrongSize(values[i].size());
        std::memcpy(rows + (begin + i) * row_bytes_, values[i].data(), row_bytes_);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Scan(uint32_t range, Key from, size_t n, std::vector<Key>* keys, std::vector<std::byte>* rows) override {
    keys->clear();
    rows->clear();
    rocksdb::ReadOptions read;
    read.fill_cache = false;
    const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator(read));
    const RocksKey last(range, ~Key{0});
    for (at->Seek(RocksKey(range, from).slice()); at->Valid() && keys->size() < n && at->key().compare(last.slice()) <= 0; at->Next()) {
      if (at->value().size() != row_bytes_) return WrongSize(at->value().size());
      keys->push_back(RocksKey::KeyOf(at->key()));
      const auto* row = reinterpret_cast<const std::byte*>(at->value().data());
      rows->insert(rows->end(), row, row + row_bytes_);
    }
    return at->status().ok() ? absl::OkStatus() : Error(folder_, at->status());
  }

  size_t bytes() const override {
    uint64_t written = 0;
    db_->GetIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &written);
    return written + cache_->GetUsage();
  }

 private:
  RocksTier(std::string folder, size_t row_bytes, rocksdb::DB* db) : folder_(std::move(folder)), row_bytes_(row_bytes), db_(db) {}

  static absl::Status Error(const std::string& folder, const rocksdb::Status& status) {
    const std::string message = absl::StrCat(folder, ": ", absl::StrReplaceAll(status.ToString(), {{"\n", " "}}));
    return status.IsCorruption() ? absl::DataLossError(message) : absl::ResourceExhaustedError(message);
  }
  absl::Status WrongSize(size_t bytes) const { return absl::DataLossError(absl::StrCat(folder_, ": a row has ", bytes, " bytes, expected ", row_bytes_)); }
  absl::Status Write(rocksdb::WriteBatch& batch) {
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    rocksdb::Status status = db_->Write(options, &batch);
    if (!status.ok() && db_->Resume().ok()) status = db_->Write(options, &batch);   // what was wrong may be over
    return status.ok() ? absl::OkStatus() : Error(folder_, status);
  }

  const std::string folder_;
  const size_t row_bytes_;
  std::unique_ptr<rocksdb::DB> db_;
  std::shared_ptr<rocksdb::Cache> cache_;
  std::vector<RocksKey> names_;   // of Get
  std::vector<rocksdb::Slice> slices_;
};

const TierPlugin kPlugin{kTierPluginLayout, RocksTier::Open};

}   // namespace
}   // namespace troupe

extern "C" __attribute__((visibility("default"))) const troupe::TierPlugin* TroupeTierPlugin() {
  return &troupe::kPlugin;
}
