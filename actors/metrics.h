// What the process counts: counters, gauges and histograms by name and labels, shown in Prometheus' text format. Updates take no lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace troupe {

/// Only rises.
class Counter {
 public:
  void Add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<uint64_t> value_{0};   // a cache line of its own: neighbours are counted by other threads
};

/// Rises and falls.
class Gauge {
 public:
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  void Add(double by) { value_.fetch_add(by, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  alignas(64) std::atomic<double> value_{0};
};

/// How many observations fall below each bound.
class Histogram {
 public:
  /// `bounds`: strictly rising, finite; an observation equal to a bound counts below it.
  explicit Histogram(std::vector<double> bounds);
  void Observe(double value);
  std::span<const double> bounds() const { return bounds_; }
  /// bounds().size() + 1 numbers, each bucket for itself; the last is what lies above all bounds (NaN, too).
  std::vector<uint64_t> counts() const;
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  const std::vector<double> bounds_;
  std::unique_ptr<std::atomic<uint64_t>[]> counts_;
  alignas(64) std::atomic<double> sum_{0};
};

/// start, start * factor, ... (`count` bounds).
std::vector<double> ExponentialBounds(double start, double factor, int count);

/// All metrics of one System. Thread-safe. A metric lives as long as this object: fetch the reference once, update it on the hot path.
class Metrics {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  /// The metric of that name and these labels (in any order), made at the first call. Names are [a-z_:][a-z0-9_:]*, units last ("bytes_sent_total"); a name
  /// has one type, one help text (the first one given) and, for histograms, one set of bounds: anything else is a mistake of ours and ends the process.
  Counter& GetCounter(std::string_view name, std::string_view help, Labels labels = {});
  Gauge& GetGauge(std::string_view name, std::string_view help, Labels labels = {});
  Histogram& GetHistogram(std::string_view name, std::string_view help, std::vector<double> bounds, Labels labels = {});

  /// Prometheus text exposition format 0.0.4, families by name, series by labels.
  std::string Text() const;

 private:
  enum class Type : uint8_t { kCounter, kGauge, kHistogram };
  struct Series {
    std::unique_ptr<Counter> counter;
    std::unique_ptr<Gauge> gauge;
    std::unique_ptr<Histogram> histogram;
  };
  struct Family {
    Type type;
    std::string help;
    std::map<std::string, Series> series;   // by the text of the labels
  };

  Series& Get(std::string_view name, std::string_view help, Type type, Labels labels);

  mutable std::mutex mutex_;
  std::map<std::string, Family, std::less<>> families_;
};

}   // namespace troupe
