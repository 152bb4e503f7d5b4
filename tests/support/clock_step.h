// A host's clock on the wall that can be set, for real processes: a library that is loaded into them before libc (LD_PRELOAD) and adds what a file says to
// CLOCK_REALTIME. Time-outs take the steady clock, which nobody can set.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace troupe::testing {

class SteppedClock {
 public:
  /// `path`: the file that says it, made here.
  explicit SteppedClock(std::string path) : path_(std::move(path)) { Write(); }
  /// What a process must be started with; its children inherit it.
  std::vector<std::string> environment() const { return {"LD_PRELOAD=" TROUPE_CLOCK_STEP, "CLOCK_STEP_FILE=" + path_}; }
  /// Forward or back, at once, in all of them.
  void Step(int64_t ms) {
    ahead_ns_ += ms * 1'000'000;
    Write();
  }

 private:
  /// In place: the processes have mapped it.
  void Write() const {
    const int file = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    BOOST_REQUIRE_MESSAGE(file >= 0 && ::pwrite(file, &ahead_ns_, sizeof ahead_ns_, 0) == sizeof ahead_ns_, "cannot write " << path_);
    ::close(file);
  }
  const std::string path_;
  int64_t ahead_ns_ = 0;
};

}   // namespace troupe::testing
