#include "actors/cluster/records.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace troupe {

std::string JobKey(JobId job) {
  return absl::StrCat(kJobRecords, absl::Dec(job, absl::kZeroPad20));
}
std::string NodeKey(NodeId node) {
  return absl::StrCat(kNodeRecords, static_cast<uint32_t>(node));
}
std::string LifeKey(JobId job, const std::string& name) {
  return absl::StrCat(kLifeRecords, absl::Dec(job, absl::kZeroPad20), "/", name);
}

absl::StatusOr<LifeRecord> ReadLifeRecord(const std::string& key, const std::string& value) {
  const size_t begin = sizeof kLifeRecords - 1, slash = key.find('/', begin);
  LifeRecord life;
  if (!key.starts_with(kLifeRecords) || slash == std::string::npos || !absl::SimpleAtoi(absl::string_view(key).substr(begin, slash - begin), &life.job) ||
      !absl::SimpleAtoi(value, &life.incarnation) || slash + 1 == key.size()) {
    return absl::DataLossError(absl::StrCat("the head's state: '", key, "' is '", value, "', expected a job, a process and its incarnation"));
  }
  life.name = key.substr(slash + 1);
  return life;
}

}   // namespace troupe
