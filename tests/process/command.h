// The real command as a child of the test: started, watched, disturbed, and waited for with a limit, so that what hangs fails instead.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <string>
#include <vector>

namespace troupe::testing {

/// A fresh folder, removed with its owner.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Names of everything in `folder`, hidden ones too, in order.
std::vector<std::string> Names(const std::string& folder);
/// The name of the newest checkpoint's own file in a folder; empty: there is none.
std::string NewestCheckpoint(const std::string& folder);
std::string ReadText(const std::string& path);
void WriteText(const std::string& path, const std::string& text);

struct Ended {
  int code = 0;   ///< the exit code, or minus the signal
  std::string out, err;
  long peak_kib = 0;   ///< resident
};

#ifdef __SANITIZE_ADDRESS__
inline constexpr int kLimit_s = 600;   // forks for snapshots take very long
#else
inline constexpr int kLimit_s = 120;
#endif

class Command {
 public:
  struct Options {
    std::vector<std::string> arguments;      ///< without the program
    std::vector<std::string> environment;    ///< NAME=VALUE, added to the test's own
    rlim_t file_bytes_max = RLIM_INFINITY;   ///< of every file that it writes
    std::string program = TROUPE_PROGRAM;    ///< the command, or a copy of it
  };
  /// Starts it. Its TMPDIR is `scratch`/tmp; what it prints goes to hidden files in `scratch`/out.
  Command(const Scratch& scratch, Options options);
  /// Kills it where it still runs.
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  pid_t pid() const { return pid_; }
  bool running() const;
  /// What has come on stdout so far.
  std::string Printed() const;
  /// And on stderr.
  std::string Errors() const;
  /// Direct children, of every thread.
  std::vector<pid_t> children() const;
  /// These, and what they have started: a node's direct children are guards.
  std::vector<pid_t> descendants() const;
  /// Those of them whose command line holds `words`, e.g. "worker 0".
  std::vector<pid_t> children(const std::string& words) const;
  /// Waits until there are `n` children; false: it ended before.
  bool WaitForChildren(size_t n) const;
  /// Waits until it has a handler for `signal`; false: it ended before.
  bool WaitUntilHandles(int signal) const;
  void Signal(int signal) const;
  /// Waits for the end; after `limit_s` the test fails.
  Ended Wait(int limit_s = kLimit_s);

 private:
  std::string out_, err_;
  pid_t pid_ = -1;
  bool waited_ = false;
};

/// Command, from start to end.
Ended Run(const Scratch& scratch, std::vector<std::string> arguments);
/// A process that ends under the address sanitizer has a copy of itself look for leaks, and waits for it without end: it must not be killed.
bool IsLeakSearch(pid_t pid);
/// Waits until none of `processes` is left (zombies that nobody waits for are gone); false: some are after `limit_s`.
bool WaitUntilGone(const std::vector<pid_t>& processes, int limit_s = 20);
void Sleep(double seconds);

/// The number after "name": in a line of JSON; -1 where there is none.
double Number(const std::string& json, const std::string& name);
size_t Lines(const std::string& text);

/// The click log that all tests train on, made once: 60,000 rows.
const std::string& ClickLog();
/// troupe model show --csv: every number of the model, exact.
std::string ModelText(const Scratch& scratch, const std::string& model);

}   // namespace troupe::testing
