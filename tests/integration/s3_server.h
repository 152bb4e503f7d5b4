// A server of object stores on this host, by another maker (moto), for tests.
#pragma once

#include <signal.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/process/command.h"
#include "tests/support/free_port.h"

namespace troupe::testing {

class S3Server {
 public:
  /// It runs, and has a bucket named "bucket"; this process and its children use it. `environment`: of the server.
  explicit S3Server(const Scratch& scratch, const std::vector<std::string>& environment = {}) {
    for (int tries = 0; tries < 5; ++tries) {   // a port that was free may be taken a moment later
      const std::string port = std::to_string(FreePort());
      place_ = "http://127.0.0.1:" + port;
      Command::Options options{.arguments = {"-H", "127.0.0.1", "-p", port}, .environment = environment};
      options.program = TROUPE_MOTO_SERVER;
      server_ = std::make_unique<Command>(scratch, std::move(options));
      Command::Options make{.arguments = {"-c", kMakeBucket, place_ + "/bucket"}, .environment = {}};
      make.program = TROUPE_MOTO_PYTHON;
      const Ended made = Command(scratch, std::move(make)).Wait();
      if (made.code == 0) break;
      BOOST_REQUIRE_MESSAGE(tries < 4, "moto does not answer: " << made.err << server_->Errors());
    }
    ::setenv("AWS_ENDPOINT_URL", place_.c_str(), 1);
    ::setenv("AWS_ACCESS_KEY_ID", "key", 1);
    ::setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    ::setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
  }
  void Kill() {
    server_->Signal(SIGKILL);
    (void)server_->Wait();
  }

 private:
  static constexpr char kMakeBucket[] = R"(
import sys, time, urllib.request
for _ in range(300):
  try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], method='PUT'), timeout=5)
    sys.exit(0)
  except OSError as error:
    last = error
    time.sleep(0.1)
sys.exit(str(last))
)";

  std::string place_;
  std::unique_ptr<Command> server_;
};

}   // namespace troupe::testing
