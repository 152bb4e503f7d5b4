// Log lines through spdlog, the only file that knows it.
#include "actors/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr std::string_view kNames[] = {"debug", "info", "warning", "error", "off"};

/// As it is, or in quotes where a reader could not tell its end.
void AppendText(std::string* line, std::string_view text) {
  const auto plain = [](char c) { return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '"' && c != '=' && c != '\\'; };
  const auto readable = [&](char c) { return plain(c) || static_cast<unsigned char>(c) >= 0x80; };
  if (!text.empty() && std::all_of(text.begin(), text.end(), readable)) {
    line->append(text);
    return;
  }
  line->push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      line->push_back('\\');
      line->push_back(c);
    } else if (c == '\n') {
      line->append("\\n");
    } else if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppendFormat(line, "\\x%02x", static_cast<unsigned char>(c));
    } else {
      line->push_back(c);
    }
  }
  line->push_back('"');
}

void AppendField(std::string* line, const Field& field) {
  absl::StrAppend(line, " ", Absl(field.key), "=");
  if (const auto* text = std::get_if<std::string_view>(&field.value)) return AppendText(line, *text);
  if (const auto* number = std::get_if<double>(&field.value)) return line->append(Exact(*number)), void();
  if (const auto* truth = std::get_if<bool>(&field.value)) return line->append(*truth ? "true" : "false"), void();
  if (const auto* whole = std::get_if<int64_t>(&field.value)) return absl::StrAppend(line, *whole);
  absl::StrAppend(line, std::get<uint64_t>(field.value));
}

/// "time=2026-01-31T12:00:00.123Z".
std::string TimeText(Clock::WallTime time) {
  const auto since = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since);
  const auto seconds_since_1970 = static_cast<time_t>(seconds.count());
  std::tm parts{};
  gmtime_r(&seconds_since_1970, &parts);
  return absl::StrFormat("time=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                         parts.tm_sec, (since - seconds).count());
}

}   // namespace

struct Log::File {
  File(const std::string& path, std::string process_name, const Clock* c)
      : logger("", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path)), process(std::move(process_name)), clock(c) {
    logger.set_formatter(std::make_unique<spdlog::pattern_formatter>("%v", spdlog::pattern_time_type::utc, "\n"));
    logger.set_level(spdlog::level::trace);
    logger.flush_on(spdlog::level::trace);                 // one write() a line, so lines of several processes do not mix and a crash loses none
    logger.set_error_handler([](const std::string&) {});   // spdlog's own handler prints to stderr
  }
  mutable spdlog::logger logger;
  std::string process;
  const Clock* clock;
};

Log::Log() = default;
Log::~Log() = default;
Log::Log(Log&&) noexcept = default;
Log& Log::operator=(Log&&) noexcept = default;

absl::StatusOr<Log> Log::Open(const std::string& path, Level level, std::string process, const Clock* clock) {
  Log log;
  try {
    log.file_ = std::make_unique<File>(path, std::move(process), clock);
  } catch (const spdlog::spdlog_ex&) {
    std::string why = std::strerror(errno);   // its message is long and names the path in its own way
    why[0] = absl::ascii_tolower(static_cast<unsigned char>(why[0]));
    return absl::InternalError(absl::StrCat(path, ": cannot write the log: ", why));
  }
  log.level_ = level;
  return log;
}

absl::StatusOr<Log::Level> Log::ParseLevel(std::string_view name) {
  const auto found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames))
    return absl::InvalidArgumentError(UnknownName("log level", name, std::vector<std::string>(std::begin(kNames), std::end(kNames))));
  return static_cast<Level>(found - std::begin(kNames));
}

void Log::Write(Level level, std::string_view event, std::initializer_list<Field> fields) const {
  if (!Enabled(level) || !file_) return;
  std::string line = absl::StrCat(TimeText(file_->clock->WallNow()), " level=", Absl(kNames[static_cast<size_t>(level)]));
  if (!file_->process.empty()) AppendField(&line, Field("process", file_->process));
  AppendField(&line, Field("event", event));
  for (const Field& field : fields) AppendField(&line, field);
  file_->logger.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

}   // namespace troupe
