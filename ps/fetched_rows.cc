#include "ps/fetched_rows.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace troupe {

FetchedRows::FetchedRows(uint32_t width, size_t bytes_max, Time staleness) : staleness_(staleness), hot_({}), copies_(width, bytes_max), width_(width) {}

FetchedRows::Missing FetchedRows::Pull(std::span<const Key> keys, Time now, float* values) {
  Missing missing;
  const uint64_t oldest = Oldest(now);
  for (uint32_t i = 0; i < keys.size(); ++i) {
    hot_.See(keys[i]);
    const auto waited = waited_.empty() ? waited_.end() : waited_.find(keys[i]);
    const Fetch fetch = waited == waited_.end() ? 0 : waited->second.fetch;
    if (waited != waited_.end()) {
      if (waited->second.pulls > 0) --waited->second.pulls;
      if (waited->second.pulls == 0) waited->second.wanted = kNotWanted;
      if (fetch == 0 && waited->second.pulls == 0) waited_.erase(waited);
    }
    if (const float* row = copies_.Find(keys[i], oldest)) {
      std::memcpy(values + size_t{i} * width_, row, width_ * sizeof(float));
    } else if (fetch != 0) {
      missing.wait.push_back(i);
      if (std::ranges::find(missing.fetches, fetch) == missing.fetches.end()) missing.fetches.push_back(fetch);
    } else {
      missing.ask.push_back(i);
    }
  }
  hot_.EndBatch();
  return missing;
}

std::vector<uint32_t> FetchedRows::Read(std::span<const Key> keys, std::span<const uint32_t> positions, Time now, float* values) {
  std::vector<uint32_t> missing;
  for (const uint32_t i : positions) {
    if (const float* row = copies_.Find(keys[i], Oldest(now)))
      std::memcpy(values + size_t{i} * width_, row, width_ * sizeof(float));
    else
      missing.push_back(i);
  }
  return missing;
}

absl::Status FetchedRows::Intend(std::span<const Key> keys, Time now, std::vector<Key>& fetch) {
  if (waited_.size() + keys.size() > rows_max()) {
    absl::erase_if(waited_, [&](const auto& waited) { return waited.second.fetch == 0 && !Wanted(waited.second, now); });
    if (waited_.size() + keys.size() > rows_max()) {
      return absl::ResourceExhaustedError(absl::StrCat(keys.size(), " rows are intended and ", waited_.size(), " wanted already, expected at most ", rows_max(),
                                                       ": those that there is room for"));
    }
  }
  for (const Key key : keys) {
    Waited& waited = waited_[key];
    waited.pulls = Wanted(waited, now) ? waited.pulls + 1 : 1;
    waited.wanted = now + staleness_;
    if (waited.fetch == 0 && copies_.Find(key, Oldest(now + staleness_ / 2)) == nullptr) fetch.push_back(key);   // an older one may end before it is pulled
  }
  return absl::OkStatus();
}

FetchedRows::Fetch FetchedRows::Begin(std::span<const Key> keys, Time now) {
  began_[++last_] = now;
  for (const Key key : keys) {
    const auto waited = waited_.find(key);
    if (waited != waited_.end())
      waited->second.fetch = last_;
    else if (hot_.IsHot(key))
      waited_[key].fetch = last_;
  }
  return last_;
}

void FetchedRows::Put(Fetch fetch, Key key, const float* row) {
  const auto waited = waited_.find(key);
  if (waited != waited_.end() && waited->second.fetch == fetch) copies_.Put(key, static_cast<uint64_t>(began_.at(fetch).count()), row);
}

void FetchedRows::End(Fetch fetch, std::span<const Key> keys) {
  began_.erase(fetch);
  for (const Key key : keys) {
    const auto waited = waited_.find(key);
    if (waited == waited_.end() || waited->second.fetch != fetch) continue;
    waited->second.fetch = 0;
    if (waited->second.wanted == kNotWanted) waited_.erase(waited);
  }
}

std::vector<Key> FetchedRows::Change(std::span<const Key> keys, Time now) {
  std::vector<Key> again;
  for (const Key key : keys) {
    const auto waited = waited_.find(key);
    const bool here = copies_.Find(key, 0) != nullptr || (waited != waited_.end() && waited->second.fetch != 0);
    if (here && hot_.IsHot(key)) {
      again.push_back(key);
    } else if (waited != waited_.end() && Wanted(waited->second, now)) {
      again.push_back(key);
    }
    copies_.Drop(key);
    if (waited == waited_.end()) continue;
    waited->second.fetch = 0;
    if (!Wanted(waited->second, now)) waited_.erase(waited);
  }
  return again;
}

std::vector<Key> FetchedRows::ChangeAll(Time now) {
  std::vector<Key> again;
  copies_.Clear();
  absl::erase_if(waited_, [&](auto& waited) {
    waited.second.fetch = 0;
    if (!Wanted(waited.second, now)) return true;
    again.push_back(waited.first);
    return false;
  });
  return again;
}

}   // namespace troupe
