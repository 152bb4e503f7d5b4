// troupe node --head: the head of a cluster, and one that stands by.
#pragma once

#include "absl/status/status.h"
#include "actors/log.h"
#include "tools/troupe/node_flags.h"

namespace troupe {

/// Leads until it is asked to stop (ok), or may lead no more (the error says why). With --store etcd it waits until nobody else leads.
absl::Status BeHead(const NodeFlags& flags, NodeAccess access, const Log& log);

}   // namespace troupe
