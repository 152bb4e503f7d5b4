// Signals, the time of the start, stdout.
#include "actors/this_process.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <system_error>
#include <thread>

#include "absl/strings/str_cat.h"
#include "actors/process_table.h"

namespace troupe {
namespace {

std::atomic<bool> stop_asked = false;
static_assert(std::atomic<bool>::is_always_lock_free);   // set by a signal handler
const auto fallback_start = std::chrono::steady_clock::now();

}   // namespace

void IgnoreWriteSignals() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void CatchStopSignals() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop_asked = true; };
  action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
  for (const int signal : {SIGINT, SIGTERM}) ::sigaction(signal, &action, nullptr);
}

const std::atomic<bool>& StopAsked() {
  return stop_asked;
}
absl::Status Stopped() {
  return absl::CancelledError("stopped by a signal");
}

int Cores() {
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));   // glibc: of this process's affinity
}

double SecondsSinceStart() {
  timespec now{};
  if (const uint64_t start = StartOfProcess(::getpid()); start > 0 && ::clock_gettime(CLOCK_BOOTTIME, &now) == 0) {
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) - static_cast<double>(start) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - fallback_start).count();
}

absl::Status FlushOutput() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("stdout: ", std::generic_category().message(errno)));
}

}   // namespace troupe
