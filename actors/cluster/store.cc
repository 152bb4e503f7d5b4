#include "actors/cluster/store.h"

#include <mutex>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "actors/status.h"

namespace troupe {
namespace {

constexpr char kGeneration[] = "generation";

class MemoryStore final : public Store {
 public:
  absl::StatusOr<std::map<std::string, std::string>> Read(const std::string& prefix) override {
    std::lock_guard lock(mutex_);
    std::map<std::string, std::string> found;
    for (auto it = records_.lower_bound(prefix); it != records_.end() && it->first.starts_with(prefix); ++it) found.insert(*it);
    return found;
  }
  absl::Status Commit(const std::string& key, const std::optional<std::string>& expected, const std::vector<Change>& changes) override {
    std::lock_guard lock(mutex_);
    const auto it = records_.find(key);
    if ((it == records_.end()) == expected.has_value() || (expected && it->second != *expected)) {
      return absl::AbortedError(absl::StrCat("'", key, "' was changed by somebody else"));
    }
    for (const Change& change : changes) {
      if (change.value)
        records_[change.key] = *change.value;
      else
        records_.erase(change.key);
    }
    return absl::OkStatus();
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> records_;
};

}   // namespace

std::unique_ptr<Store> MakeMemoryStore() {
  return std::make_unique<MemoryStore>();
}

absl::StatusOr<Store::Election> Store::Campaign(const std::string&) {
  TROUPE_TRY(const auto found, Read(kGeneration));
  const auto it = found.find(kGeneration);
  uint64_t last = 0;
  if (it != found.end() && !absl::SimpleAtoi(it->second, &last)) {
    return absl::DataLossError(absl::StrCat("the head's state: generation is '", it->second, "', expected a number"));
  }
  const std::optional<std::string> expected = it == found.end() ? std::nullopt : std::optional(it->second);
  TROUPE_RETURN_IF_ERROR(Commit(kGeneration, expected, {{kGeneration, absl::StrCat(last + 1)}}));
  return Election{.generation = last + 1};
}

absl::Status Store::CommitAs(uint64_t generation, const std::vector<Change>& changes) {
  return Commit(kGeneration, absl::StrCat(generation), changes);
}

}   // namespace troupe
