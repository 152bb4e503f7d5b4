// Structured log lines (key=value), to the file that --log names or nowhere; never to stderr, which holds the one line of a failure.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

#include "absl/status/statusor.h"
#include "actors/clock.h"

namespace troupe {

/// A key and its value, not owned, formatted only if the line is written.
struct Field {
  std::string_view key;
  std::variant<std::string_view, int64_t, uint64_t, double, bool> value;

  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}
  Field(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
  Field(std::string_view k, bool v) : key(k), value(v) {}
  template <class T>
  requires std::is_arithmetic_v<T> Field(std::string_view k, T v) : key(k) {
    if constexpr (std::is_floating_point_v<T>) {
      value = static_cast<double>(v);
    } else if constexpr (std::is_signed_v<T>) {
      value = static_cast<int64_t>(v);
    } else {
      value = static_cast<uint64_t>(v);
    }
  }
};

/// Thread-safe; several processes may write to one file, each line whole.
class Log {
 public:
  enum class Level : uint8_t { kDebug, kInfo, kWarning, kError, kOff };

  /// Writes nothing.
  Log();
  /// Appends to the file at `path` what is at least `level`. `process` names the writer in each line ("shard 1"). The clock must outlive the log.
  /// Errors Internal: "PATH: why it cannot be written".
  static absl::StatusOr<Log> Open(const std::string& path, Level level, std::string process, const Clock* clock);
  ~Log();
  Log(Log&&) noexcept;
  Log& operator=(Log&&) noexcept;

  /// "debug", "info", "warning", "error", "off"; InvalidArgument otherwise.
  static absl::StatusOr<Level> ParseLevel(std::string_view name);

  bool Enabled(Level level) const { return level >= level_; }
  /// time=2026-01-31T12:00:00.123Z level=info process="shard 1" event=restored rows=12. A full disk loses lines and nothing else.
  void Write(Level level, std::string_view event, std::initializer_list<Field> fields = {}) const;
  void Debug(std::string_view event, std::initializer_list<Field> fields = {}) const { Write(Level::kDebug, event, fields); }
  void Info(std::string_view event, std::initializer_list<Field> fields = {}) const { Write(Level::kInfo, event, fields); }
  void Warning(std::string_view event, std::initializer_list<Field> fields = {}) const { Write(Level::kWarning, event, fields); }
  void Error(std::string_view event, std::initializer_list<Field> fields = {}) const { Write(Level::kError, event, fields); }

 private:
  struct File;
  Level level_ = Level::kOff;
  std::unique_ptr<File> file_;
};

}   // namespace troupe
