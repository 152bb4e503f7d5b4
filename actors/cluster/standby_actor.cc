#include "actors/cluster/standby_actor.h"

#include <chrono>
#include <set>
#include <utility>

#include "actors/ask.h"
#include "actors/cluster/head_finder.h"
#include "actors/cluster/programs.h"
#include "actors/status.h"
#include "caf/event_based_actor.hpp"

namespace troupe {
namespace {

// Whoever takes over waits for the end of a question: one to a head that has just died is not answered.
constexpr std::chrono::milliseconds kNewsMax = kReportHold * 2, kPartMax{2000};

template <class Handle>
struct Refusing;
template <class... Requests, class... Replies>
struct Refusing<caf::typed_actor<caf::typed_mpi<caf::detail::type_list<Requests>, caf::output_tuple<Replies>>...>> {
  static caf::behavior Behavior(const std::function<std::string()>& leader) {
    return {[leader](const Requests&) -> caf::result<Replies> { return ToError(NotTheLeader(leader())); }...};
  }
};

absl::Status CopyProgram(ClusterLink& leader, Programs& programs, const std::string& hash, const std::function<bool()>& stop) {
  for (uint64_t have = 0, size = 1; have < size && !stop();) {
    TROUPE_TRY(const ProgramPart part, Ask<ProgramPart>(leader.system(), leader.head(), GetProgram{hash, have}, kPartMax));
    size = part.size;
    TROUPE_TRY(have, programs.Put(hash, size, have, part.bytes));
  }
  return absl::OkStatus();
}

}   // namespace

HeadActor SpawnStandby(System& system, std::function<std::string()> leader) {
  caf::actor actor =
      system.actors().spawn<caf::hidden>([leader = std::move(leader)](caf::event_based_actor*) { return Refusing<HeadActor>::Behavior(leader); });
  return caf::actor_cast<HeadActor>(actor);
}

absl::Status CopyPrograms(ClusterLink& leader, const std::string& folder, uint64_t& seen, const std::function<bool()>& stop) {
  TROUPE_TRY(const Inspected inspected, Ask<Inspected>(leader.system(), leader.head(), Inspect{.job = 0, .seen = seen}, kNewsMax));
  Programs programs(folder);
  std::set<std::string> wanted;
  for (const JobStatus& job : inspected.jobs) {
    if (!IsOver(job.state) && !programs.Has(job.spec.program)) wanted.insert(job.spec.program);
  }
  for (const std::string& hash : wanted) {
    if (const absl::Status status = CopyProgram(leader, programs, hash, stop); !status.ok() && !absl::IsNotFound(status)) return status;
  }
  seen = inspected.version;
  return absl::OkStatus();
}

}   // namespace troupe
