#include "actors/cluster/node_actor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "actors/cluster/programs.h"
#include "actors/cluster/wire.h"
#include "actors/process_guard.h"
#include "actors/process_table.h"
#include "actors/status.h"
#include "actors/text.h"
#include "caf/stateful_actor.hpp"

namespace troupe {
namespace {

struct ProcessGone {
  ProcessId id;
  GuardEnd end;
};

}   // namespace
}   // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ProcessGone)

namespace troupe {
namespace {

constexpr std::chrono::milliseconds kAgainMin{50}, kAgainMax{1000};
constexpr std::chrono::milliseconds kDriverGrace{2000};             // to tidy up, after SIGTERM
constexpr int32_t kOutOfMemoryCode = 137, kCannotStartCode = 127;   // as shells have them
constexpr char kThisProgram[] = "/proc/self/exe";
constexpr std::chrono::milliseconds kLinger{1000};
constexpr std::chrono::hours kSweep{1};
constexpr size_t kJobFoldersMax = 100;

/// "512 MB", as --memory takes it.
std::string MemoryText(uint64_t bytes) {
  return bytes % (1 << 20) == 0 ? absl::StrCat(bytes >> 20, " MB") : absl::StrCat(bytes >> 10, " KB");
}

struct NodeActorState {
  static inline const char* name = "node";
};
using Self = caf::stateful_actor<NodeActorState>;

class NodeRunner : public std::enable_shared_from_this<NodeRunner> {
 public:
  NodeRunner(Self* self, HeadActor head, NodeOptions options)
      : self_(self), head_(std::move(head)), options_(std::move(options)), programs_(options_.state_folder + "/programs") {}
  ~NodeRunner() { table_.KillAll(); }

  caf::behavior Behavior() {
    EndLeftovers();
    Sweep();
    SendReport();
    auto me = shared_from_this();
    return {
        [me](const ReadOutput& read) { return me->OnReadOutput(read); },
        [me](const ProcessGone& gone) { me->OnGone(gone); },
        [me](const LeaveCluster&) {
          me->leaving_ = true;
          me->SendReport();
        },
        [](const Thunk& thunk) { thunk.run(); },
    };
  }

 private:
  struct Running {
    ProcessOrder order;
    ProcessState state = ProcessState::kPlaced;   // kPlaced: its program is being fetched
    pid_t pid = 0;
    int32_t code = 0;
    std::string reason;
    bool cannot_start = false;
    bool unwanted = false;   // to be forgotten when it has ended
  };

  std::string JobFolder(JobId job) const { return absl::StrCat(options_.state_folder, "/jobs/", job); }
  std::string FileOf(const ProcessId& id, const char* suffix) const {
    return absl::StrCat(JobFolder(id.job), "/", absl::StrReplaceAll(id.name, {{" ", "-"}, {"/", "-"}}), ".", id.incarnation, suffix);
  }

  /// Guards of a life of this node that was killed: they are about to end with their processes.
  void EndLeftovers() {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(options_.state_folder + "/jobs", ignored)) {
      if (entry.path().extension() != ".pid") continue;
      std::ifstream file(entry.path());
      pid_t pid = 0;
      uint64_t start = 0;
      if (file >> pid >> start && pid > 0 && start != 0 && StartOfProcess(pid) == start) ::kill(pid, kGuardEnd);
      std::filesystem::remove(entry.path(), ignored);
    }
  }

  /// Programs that nothing has needed here for a day.
  void Sweep() {
    std::set<std::string> needed;
    for (const auto& [id, process] : processes_) needed.insert(process.order.program);
    RemovePrograms(options_.state_folder + "/programs", needed, kProgramAgeMax);
    self_->delayed_send(self_, kSweep, Thunk{[me = weak_from_this()] {
                          if (const auto runner = me.lock()) runner->Sweep();
                        }});
  }

  void SendReport() {
    Report report{.node = options_.node,
                  .incarnation = options_.incarnation,
                  .number = ++number_,
                  .name = options_.name,
                  .host = options_.host,
                  .places = options_.places,
                  .capacity = options_.capacity,
                  .leaving = leaving_,
                  .seen = seen_,
                  .generation = generation_};
    for (const auto& [id, process] : processes_) {   // also those whose program is being fetched: a head that starts again must know of them
      report.processes.push_back({id, process.order.needs, process.state, process.code, process.reason, process.cannot_start});
    }
    const uint64_t number = number_;
    auto me = weak_from_this();
    self_->request(head_, caf::infinite, std::move(report))
        .then(
            [me, number](const Orders& orders) {
              if (const auto runner = me.lock()) runner->OnOrders(number, orders);
            },
            [me, number](const caf::error& error) {
              if (const auto runner = me.lock()) runner->OnNoOrders(number, FromError(error));
            });
  }

  void OnNoOrders(uint64_t number, const absl::Status& status) {
    if (number != number_) return;
    if (!IsRetryable(status)) return End(status);
    if (options_.log != nullptr && again_ == kAgainMin) options_.log->Warning("head", {{"error", Message(status)}});
    const auto now = self_->clock().now();
    if (options_.unanswered && (again_ == kAgainMin || now - said_ >= kSayAgain)) {
      said_ = now;
      options_.unanswered(status);
    }
    self_->delayed_send(self_, again_, Thunk{[me = weak_from_this(), number] {
                          const auto runner = me.lock();
                          if (runner != nullptr && runner->number_ == number) runner->SendReport();
                        }});
    again_ = std::min(again_ * 2, kAgainMax);
  }

  void OnOrders(uint64_t number, const Orders& orders) {
    again_ = kAgainMin;
    if (orders.generation < generation_) {   // a head that does not know yet that it has been replaced
      if (number == number_) OnNoOrders(number, absl::UnavailableError("the head is older than one that this node has obeyed"));
      return;
    }
    if (orders.generation > generation_) seen_ = 0;   // versions are a head's own
    generation_ = orders.generation;
    if (number != number_) return;   // a newer report is under way
    if (options_.joined) std::exchange(options_.joined, nullptr)();
    switch (orders.verdict) {
      case Orders::Verdict::kMember:
        if (!orders.unchanged && orders.version >= seen_) CarryOut(orders);   // else they were overtaken: what they do not know of may have begun since
        break;
      case Orders::Verdict::kRejoin:
        return Rejoin(orders.incarnation);
      case Orders::Verdict::kLeft:
        return Leave();
    }
    SendReport();
  }

  void Rejoin(Incarnation known) {
    if (options_.log != nullptr) options_.log->Warning("rejoin", {{"incarnation", static_cast<uint64_t>(known)}});
    for (auto& [id, process] : processes_) EndProcess(process);
    const auto next = options_.next_incarnation(Incarnation{static_cast<uint64_t>(std::max(known, options_.incarnation)) + 1});
    if (!next.ok()) return End(next.status());
    options_.incarnation = *next;
    number_ = 0;
    seen_ = 0;
    SendReport();
  }

  /// Not before others could read the last words of what ran here.
  void Leave() {
    const auto rest = std::chrono::ceil<std::chrono::milliseconds>(last_gone_ + kLinger - self_->clock().now());
    if (rest.count() <= 0) return End(absl::OkStatus());
    self_->delayed_send(self_, rest, Thunk{[me = weak_from_this()] {
                          if (const auto runner = me.lock()) runner->End(absl::OkStatus());
                        }});
  }

  void End(const absl::Status& status) {
    for (auto& [id, process] : processes_) EndProcess(process);
    if (options_.ended) std::exchange(options_.ended, nullptr)(status);
  }

  void EndProcess(Running& process) {
    process.unwanted = true;
    if (process.pid != 0) table_.Kill(process.pid);
  }
  /// A driver may tidy up first.
  void StopProcess(Running& process) {
    if (process.order.id.name != kDriverName || process.pid == 0) return EndProcess(process);
    if (!std::exchange(process.unwanted, true)) table_.Signal(process.pid, kGuardStop);
  }

  void CarryOut(const Orders& orders) {
    std::set<ProcessId> wanted(orders.keep.begin(), orders.keep.end());
    for (const ProcessOrder& order : orders.start) {
      wanted.insert(order.id);
      if (processes_.contains(order.id)) continue;
      processes_[order.id].order = order;
      Fetch(order.id);
    }
    std::set<JobId> jobs;
    for (auto it = processes_.begin(); it != processes_.end();) {
      Running& process = it->second;
      if (wanted.contains(it->first)) {
        jobs.insert(it->first.job);
        ++it;
      } else if (process.state == ProcessState::kRunning) {
        StopProcess(process);
        jobs.insert(it->first.job);
        ++it;
      } else {
        it = processes_.erase(it);
      }
    }
    seen_ = orders.version;
    RemoveTemporaries(jobs);
  }

  /// Of jobs that have no process here any more; and the output of the oldest of many.
  void RemoveTemporaries(const std::set<JobId>& jobs) {
    std::error_code ignored;
    for (auto it = jobs_.begin(); it != jobs_.end();) {
      if (jobs.contains(*it)) {
        ++it;
        continue;
      }
      std::filesystem::remove_all(JobFolder(*it) + "/tmp", ignored);
      it = jobs_.erase(it);
    }
    std::vector<JobId> folders;
    for (const auto& entry : std::filesystem::directory_iterator(options_.state_folder + "/jobs", ignored)) {
      JobId job = 0;
      if (absl::SimpleAtoi(entry.path().filename().string(), &job) && !jobs.contains(job)) folders.push_back(job);
    }
    std::sort(folders.begin(), folders.end());
    for (size_t i = 0; i + kJobFoldersMax < folders.size(); ++i) std::filesystem::remove_all(JobFolder(folders[i]), ignored);
  }

  /// Starts the process when its program's bytes are here.
  void Fetch(const ProcessId& id) {
    const auto it = processes_.find(id);
    if (it == processes_.end() || it->second.unwanted) return;
    const std::string& hash = it->second.order.program;
    if (hash == options_.program_hash) return Start(id, kThisProgram);
    if (programs_.Has(hash)) return Start(id, programs_.PathOf(hash));
    const uint64_t have = fetched_[hash];
    auto me = weak_from_this();
    self_->request(head_, caf::infinite, GetProgram{hash, have})
        .then(
            [me, id, hash, have](const ProgramPart& part) {
              if (const auto runner = me.lock()) runner->OnPart(id, hash, have, part);
            },
            [me, id](const caf::error& error) {
              const auto runner = me.lock();
              if (runner == nullptr) return;
              const absl::Status status = FromError(error);
              if (!IsRetryable(status)) return runner->Fail(id, absl::StrCat("its program cannot be fetched: ", status.message()));
              runner->self_->delayed_send(runner->self_, kAgainMax, Thunk{[me, id] {
                                            if (const auto again = me.lock()) again->Fetch(id);
                                          }});
            });
  }
  /// Bytes from `offset` on; another process may have fetched them already.
  void OnPart(const ProcessId& id, const std::string& hash, uint64_t offset, const ProgramPart& part) {
    const absl::StatusOr<uint64_t> have = programs_.Put(hash, part.size, offset, part.bytes);
    if (!have.ok()) return Fail(id, absl::StrCat("its program cannot be kept: ", have.status().message()));
    fetched_[hash] = *have;
    Fetch(id);
  }

  void Start(const ProcessId& id, const std::string& program) {
    Running& process = processes_[id];
    if (process.state != ProcessState::kPlaced || process.pid != 0) return;   // started already
    const ProcessOrder& order = process.order;
    const std::string tmp = JobFolder(id.job) + "/tmp";
    std::error_code error;
    std::filesystem::create_directories(tmp, error);
    if (error) return Fail(id, absl::StrCat(tmp, ": ", error.message()));
    if (!order.folder.empty() && !std::filesystem::is_directory(order.folder, error)) {
      return Fail(id, absl::StrCat(order.folder, ": not a folder on node ", options_.name, ", where the job was to start"));
    }
    jobs_.insert(id.job);
    const bool driver = id.name == kDriverName;
    GuardOptions guarded{.program = program,
                         .arguments = {"troupe"},
                         .memory_max = order.needs.memory,
                         .cgroups = options_.cgroups,
                         .environment = order.environment,
                         .parent_variable = kEnvParent,
                         .grace = driver ? kDriverGrace : std::chrono::milliseconds(0)};
    guarded.arguments.insert(guarded.arguments.end(), order.arguments.begin(), order.arguments.end());
    const absl::StatusOr<std::shared_ptr<Guard>> guard = Guard::Make(std::move(guarded));
    if (!guard.ok()) return Fail(id, std::string(Message(guard.status())));
    ProcessTable::Launch launch{.program = kThisProgram, .arguments = (*guard)->CommandLine(), .inherit = {(*guard)->descriptor()}, .ended = nullptr};
    launch.environment = {absl::StrCat("TMPDIR=", tmp), absl::StrCat(kEnvJob, "=", id.job), absl::StrCat(kEnvHost, "=", options_.host),
                          absl::StrCat(kEnvProgram, "=", order.program)};
    if (!options_.tls.empty()) launch.environment.push_back(absl::StrCat(kEnvTls, "=", options_.tls));
    if (!options_.ports.empty()) launch.environment.push_back(absl::StrCat(kEnvPorts, "=", options_.ports));
    if (driver) {
      launch.environment.push_back(absl::StrCat(kEnvAttempt, "=", id.incarnation));
      launch.environment.push_back(absl::StrCat(kEnvHead, "=", options_.head_place));
      launch.environment.push_back(absl::StrCat(kEnvClusterToken, "=", options_.token));
    }
    const std::vector<std::string> own = (*guard)->Environment();
    launch.environment.insert(launch.environment.end(), own.begin(), own.end());
    launch.folder = order.folder.empty() ? JobFolder(id.job) : order.folder;
    launch.out = FileOf(id, ".out");
    launch.err = FileOf(id, ".err");
    launch.group = true;
    launch.end_signal = kGuardEnd;
    launch.ended = [actor = caf::actor(self_), id, guard = *guard](int status) { System::Deliver(actor, ProcessGone{id, guard->End(status)}); };
    const absl::StatusOr<pid_t> pid = table_.Start(std::move(launch));
    if (!pid.ok()) return Fail(id, std::string(Message(pid.status())));
    process.pid = *pid;
    process.state = ProcessState::kRunning;
    std::ofstream(FileOf(id, ".pid")) << *pid << ' ' << StartOfProcess(*pid) << '\n';
    if (options_.log != nullptr) options_.log->Info("started", {{"process", ToString(id)}, {"pid", *pid}});
    if (process.unwanted) return EndProcess(process);
    SendReport();
  }

  /// It cannot be started.
  void Fail(const ProcessId& id, std::string why) {
    if (options_.log != nullptr) options_.log->Error("not started", {{"process", ToString(id)}, {"error", why}});
    Running& process = processes_[id];
    process.state = ProcessState::kEnded;
    process.code = kCannotStartCode;
    process.cannot_start = true;
    process.reason = std::move(why);
    SendReport();
  }

  void OnGone(const ProcessGone& gone) {
    std::error_code ignored;
    std::filesystem::remove(FileOf(gone.id, ".pid"), ignored);
    last_gone_ = self_->clock().now();
    const auto it = processes_.find(gone.id);
    if (it == processes_.end()) return;
    Running& process = it->second;
    process.pid = 0;
    if (gone.end.kind == GuardEnd::Kind::kCannotStart && !process.unwanted) return Fail(gone.id, gone.end.text);
    process.state = ProcessState::kEnded;
    SayHow(gone.end, process);
    if (options_.log != nullptr) options_.log->Info("ended", {{"process", ToString(gone.id)}, {"code", process.code}, {"reason", process.reason}});
    if (process.unwanted) processes_.erase(it);
    SendReport();
  }

  void SayHow(const GuardEnd& end, Running& process) const {
    switch (end.kind) {
      case GuardEnd::Kind::kExit:
        process.code = end.value;
        break;
      case GuardEnd::Kind::kSignal:
        process.code = -end.value;
        process.reason = absl::StrCat("killed by signal ", end.value, " (", strsignal(end.value), ")");
        if (options_.cgroups) RemoveCgroupsLeftIn(*options_.cgroups);   // in case that it was its guard that was killed
        break;
      case GuardEnd::Kind::kMemory:
        process.code = kOutOfMemoryCode;
        process.reason = absl::StrCat("out of memory: limit ", MemoryText(process.order.needs.memory), " (--memory)");
        break;
      case GuardEnd::Kind::kCannotStart:
        process.code = kCannotStartCode;
        process.reason = end.text;
        break;
    }
  }

  caf::result<Output> OnReadOutput(const ReadOutput& read) {
    const std::string path = FileOf(read.id, read.errors ? ".err" : ".out");
    const auto it = processes_.find(read.id);
    const bool running = it != processes_.end() && it->second.state != ProcessState::kEnded;
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 && running) return Output{};   // about to begin
    if (fd < 0) return ToError(absl::NotFoundError(absl::StrCat("node ", options_.name, " has no output of ", ToString(read.id))));
    const absl::Cleanup close = [fd] { ::close(fd); };
    std::string buffer(kPartBytes, '\0');
    ssize_t n = 0;
    do n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(read.offset));
    while (n < 0 && errno == EINTR);
    if (n < 0) return ToError(absl::InternalError(absl::StrCat(path, ": ", std::strerror(errno))));
    return Output{Block::Copy(buffer.data(), static_cast<size_t>(n)), !running && n == 0};
  }

  Self* const self_;
  HeadActor head_;
  NodeOptions options_;
  Programs programs_;
  ProcessTable table_;
  std::map<ProcessId, Running> processes_;
  std::map<std::string, uint64_t> fetched_;   // bytes of programs that are being fetched
  std::set<JobId> jobs_;                      // that have had processes here, and whose temporary files are here
  uint64_t number_ = 0, seen_ = 0, generation_ = 0;
  std::chrono::milliseconds again_ = kAgainMin;
  caf::actor_clock::time_point said_{};        // that the head does not answer
  caf::actor_clock::time_point last_gone_{};   // the last process that has ended
  bool leaving_ = false;
};

}   // namespace

caf::actor SpawnNode(System& system, HeadActor head, NodeOptions options) {
  caf::actor actor = system.actors().spawn<caf::hidden>(
      [head = std::move(head), options = std::move(options)](Self* self) mutable { return std::make_shared<NodeRunner>(self, head, options)->Behavior(); });
  Expose(system, kNodeActor, caf::actor_cast<NodeActor>(actor));
  return actor;
}

}   // namespace troupe
