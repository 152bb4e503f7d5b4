#include "ps/call_actor.h"

#include <utility>

#include "ps/call.h"

namespace troupe {

caf::actor CallShards(System& system, const std::vector<ShardActor>& shards, const std::vector<TableSpec>& tables, const FunctionCall& call, Round at,
                      const GatherOptions& options, std::function<void(absl::StatusOr<FunctionValue>)> done) {
  const Call message{.call = call, .at = at, .assigned = {}};
  return Gather<Called>(
      system, shards, [message](size_t) { return message; }, options,
      [call, tables, done = std::move(done)](absl::StatusOr<std::vector<Called>> called) {
        if (called.ok()) {
          done(MergeCalled(call, tables, *called));
        } else {
          done(called.status());
        }
      });
}

}   // namespace troupe
