#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "actors/process_table.h"
#include "actors/reserved_port.h"
#include "actors/status.h"
#include "actors/storage/scratch_folder.h"
#include "algorithms/run/launcher.h"
#include "algorithms/run/process_cluster.h"

namespace troupe {
namespace {

class LocalLauncher final : public Launcher {
 public:
  explicit LocalLauncher(const ProcessOptions& options) : program_(options.program) {}

  absl::Status Open(const ProcessOptions& options, uint32_t processes) {
    TROUPE_TRY(folder_, ScratchFolder::Make(options.tmp));
    for (uint32_t i = 0; i < processes; ++i) {
      if (options.links == Links::kUnix) {
        places_.push_back(absl::StrCat("unix:", folder_.path(), "/node-", i + 1, ".sock"));
      } else {
        TROUPE_TRY(ReservedPort port, ReservedPort::Take());
        places_.push_back(port.place());
        ports_.push_back(std::move(port));
      }
    }
    return absl::OkStatus();
  }

  const std::string& folder() const override { return folder_.path(); }
  std::vector<std::string> listen() const override { return {}; }
  /// A child listens at one place in all its lives, so that the others need not be told of a replacement.
  std::string PlaceOf(NodeId node) const override { return places_[static_cast<uint32_t>(node) - 1]; }
  bool lives_overlap() const override { return false; }   // a life is over before the next begins

  absl::Status Start(Launch launch, const std::string& token) override {
    const auto key = std::pair(launch.name(), launch.incarnation);
    ProcessTable::Launch process{.program = program_, .arguments = {"troupe", launch.role, launch.index}, .inherit = launch.inherit, .ended = nullptr};
    process.arguments.insert(process.arguments.end(), launch.flags.begin(), launch.flags.end());
    for (std::string word : {std::string("--listen"), PlaceOf(launch.node), std::string("--parent"), absl::StrCat(::getpid())}) {
      process.arguments.push_back(std::move(word));
    }
    process.environment = {absl::StrCat(kJobTokenVariable, "=", token)};   // not on a command line, which others can read
    process.ended = [ended = std::move(launch.ended)](int status) {
      ended({.normally = status == 0,
             .certain = true,
             .how = WIFSIGNALED(status) ? absl::StrCat("killed by signal ", WTERMSIG(status)) : absl::StrCat("exit code ", WEXITSTATUS(status))});
    };
    std::lock_guard lock(mutex_);
    TROUPE_TRY(pids_[key], processes_.Start(std::move(process)));
    return absl::OkStatus();
  }
  void Kill(const std::string& name, uint64_t incarnation) override {
    std::lock_guard lock(mutex_);
    const auto it = pids_.find({name, incarnation});
    if (it != pids_.end()) processes_.Kill(it->second);
  }
  void KillAll() override { processes_.KillAll(); }

 private:
  const std::string program_;
  ScratchFolder folder_;
  std::vector<std::string> places_;
  std::vector<ReservedPort> ports_;   // with TCP
  std::mutex mutex_;
  std::map<std::pair<std::string, uint64_t>, pid_t> pids_;
  ProcessTable processes_;   // last: its threads use the others
};

}   // namespace

absl::StatusOr<std::unique_ptr<Launcher>> MakeLocalLauncher(const ProcessOptions& options, uint32_t processes) {
  auto launcher = std::make_unique<LocalLauncher>(options);
  TROUPE_RETURN_IF_ERROR(launcher->Open(options, processes));
  return launcher;
}

}   // namespace troupe
