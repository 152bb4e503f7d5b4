// Registration of metrics and their text.
#include "actors/metrics.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "actors/check.h"
#include "actors/text.h"

namespace troupe {
namespace {

bool IsName(std::string_view name, bool colons) {
  const auto allowed = [colons](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (colons && c == ':'); };
  return !name.empty() && !(name[0] >= '0' && name[0] <= '9') && std::all_of(name.begin(), name.end(), allowed);
}

/// a="1",b="2", sorted: the identity of a series, and how it is shown.
std::string LabelText(Metrics::Labels labels) {
  std::sort(labels.begin(), labels.end());
  return absl::StrJoin(labels, ",", [](std::string* out, const auto& label) {
    TROUPE_CHECK(IsName(label.first, false));
    absl::StrAppend(out, label.first, "=\"", absl::StrReplaceAll(label.second, {{"\\", "\\\\"}, {"\"", "\\\""}, {"\n", "\\n"}}), "\"");
  });
}

std::string NumberText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return Exact(value);
}

void AppendSample(std::string* text, std::string_view name, std::string_view suffix, std::string_view labels, std::string_view value) {
  absl::StrAppend(text, Absl(name), Absl(suffix));
  if (!labels.empty()) absl::StrAppend(text, "{", Absl(labels), "}");
  absl::StrAppend(text, " ", Absl(value), "\n");
}

void AppendHistogram(std::string* text, std::string_view name, const std::string& labels, const Histogram& histogram) {
  const std::string start = labels.empty() ? "" : labels + ",";
  const std::vector<uint64_t> counts = histogram.counts();
  uint64_t below = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    below += counts[i];
    const std::string bound = i < histogram.bounds().size() ? NumberText(histogram.bounds()[i]) : "+Inf";
    AppendSample(text, name, "_bucket", absl::StrCat(start, "le=\"", bound, "\""), std::to_string(below));
  }
  AppendSample(text, name, "_sum", labels, NumberText(histogram.sum()));
  AppendSample(text, name, "_count", labels, std::to_string(below));
}

}   // namespace

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), counts_(new std::atomic<uint64_t>[bounds_.size() + 1]()) {
  TROUPE_CHECK(std::adjacent_find(bounds_.begin(), bounds_.end(), [](double a, double b) { return !(a < b); }) == bounds_.end());
  TROUPE_CHECK(std::all_of(bounds_.begin(), bounds_.end(), [](double bound) { return std::isfinite(bound); }));
}

void Histogram::Observe(double value) {
  size_t bucket = 0;
  while (bucket < bounds_.size() && !(value <= bounds_[bucket])) ++bucket;
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

std::vector<uint64_t> Histogram::counts() const {
  std::vector<uint64_t> counts(bounds_.size() + 1);
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = counts_[i].load(std::memory_order_relaxed);
  return counts;
}

std::vector<double> ExponentialBounds(double start, double factor, int count) {
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i) bounds.push_back(start * std::pow(factor, i));
  return bounds;
}

Metrics::Series& Metrics::Get(std::string_view name, std::string_view help, Type type, Labels labels) {
  auto family = families_.find(name);
  if (family == families_.end()) {
    TROUPE_CHECK(IsName(name, true));
    family = families_.emplace(std::string(name), Family{type, std::string(help), {}}).first;
  }
  TROUPE_CHECK(family->second.type == type);
  return family->second.series[LabelText(std::move(labels))];
}

Counter& Metrics::GetCounter(std::string_view name, std::string_view help, Labels labels) {
  std::lock_guard lock(mutex_);
  auto& counter = Get(name, help, Type::kCounter, std::move(labels)).counter;
  if (!counter) counter = std::make_unique<Counter>();
  return *counter;
}

Gauge& Metrics::GetGauge(std::string_view name, std::string_view help, Labels labels) {
  std::lock_guard lock(mutex_);
  auto& gauge = Get(name, help, Type::kGauge, std::move(labels)).gauge;
  if (!gauge) gauge = std::make_unique<Gauge>();
  return *gauge;
}

Histogram& Metrics::GetHistogram(std::string_view name, std::string_view help, std::vector<double> bounds, Labels labels) {
  std::lock_guard lock(mutex_);
  auto& histogram = Get(name, help, Type::kHistogram, std::move(labels)).histogram;
  if (!histogram) histogram = std::make_unique<Histogram>(bounds);
  TROUPE_CHECK(std::ranges::equal(histogram->bounds(), bounds));
  return *histogram;
}

std::string Metrics::Text() const {
  constexpr std::string_view kTypes[] = {"counter", "gauge", "histogram"};
  std::string text;
  std::lock_guard lock(mutex_);
  for (const auto& [name, family] : families_) {
    if (!family.help.empty()) absl::StrAppend(&text, "# HELP ", name, " ", absl::StrReplaceAll(family.help, {{"\\", "\\\\"}, {"\n", "\\n"}}), "\n");
    absl::StrAppend(&text, "# TYPE ", name, " ", Absl(kTypes[static_cast<size_t>(family.type)]), "\n");
    for (const auto& [labels, series] : family.series) {
      if (series.counter) AppendSample(&text, name, "", labels, std::to_string(series.counter->value()));
      if (series.gauge) AppendSample(&text, name, "", labels, NumberText(series.gauge->value()));
      if (series.histogram) AppendHistogram(&text, name, labels, *series.histogram);
    }
  }
  return text;
}

}   // namespace troupe
