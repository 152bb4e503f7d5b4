// Rate, time left, and a terminal's line.
#include "tools/troupe/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "absl/strings/str_format.h"
#include "actors/text.h"

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kInterval{200};

size_t TerminalWidth() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1U : 79U;
}

}   // namespace

std::string ProgressLine(const TrainProgress& progress, double seconds, size_t width) {
  std::string line;
  if (progress.epochs > 1) absl::StrAppend(&line, "epoch ", progress.epoch, "/", progress.epochs, "  ");
  absl::StrAppend(&line, progress.phase);
  absl::StrAppendFormat(&line, "  %.0f %%", 100 * progress.share);
  if (progress.rows > 0 && seconds > 0)
    absl::StrAppend(&line, "  ", WithThousands(static_cast<uint64_t>(static_cast<double>(progress.rows) / seconds)), " rows/s");
  if (progress.loss && std::isfinite(*progress.loss)) absl::StrAppendFormat(&line, "  loss %.4f", *progress.loss);
  if (progress.restarts > 0) absl::StrAppend(&line, "  ", progress.restarts, progress.restarts == 1 ? " restart" : " restarts");
  if (progress.share > 0 && progress.share < 1) absl::StrAppend(&line, "  ", HumanSeconds(seconds * (1 - progress.share) / progress.share), " left");
  return line.substr(0, width);
}

Progress::Progress() : on_(::isatty(STDERR_FILENO) == 1), start_(Clock::now()) {}

Progress::~Progress() {
  if (dirty_) std::fputs("\r\x1b[K", stderr);
}

void Progress::Show(const TrainProgress& progress) {
  if (!on_) return;
  const auto now = Clock::now();
  if (dirty_ && now - shown_ < kInterval) return;
  shown_ = now;
  dirty_ = true;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  std::fprintf(stderr, "\r%s\x1b[K", ProgressLine(progress, seconds, TerminalWidth()).c_str());
}

}   // namespace troupe
