// The processes below one, as the kernel shows them (/proc): who they are, the memory that they have, and their end.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"

namespace troupe {

/// Those whose parent is `parent`, also those that have ended and that it has not waited for. Cost as below.
std::vector<pid_t> ChildrenOf(pid_t parent);
/// Children of `root`, their children and so on, without `root`; in any order. Those that begin while it looks may be missing.
/// Cost: a file of /proc for each thread of each of them, or, where the kernel does not list children, one for each process of the machine.
std::vector<pid_t> DescendantsOf(pid_t root);

/// Bytes of physical memory that the processes have together, pages that n of them (or others) share counted 1/n each. What has ended counts nothing.
/// `enough`: where the plain sum, shared pages counted each time, is no more than this, it is the answer: the exact one costs milliseconds a GiB.
uint64_t ResidentBytes(const std::vector<pid_t>& processes, uint64_t enough);

/// Kills all descendants of this process and waits for them, at most `limit`. This process must be the one that orphans come to (PR_SET_CHILD_SUBREAPER): else
/// those that have left their parents are not found. `reaped` is called for each that was a child of its own, with its wait status. False: some are left, which
/// the kernel does not let go.
bool EndDescendants(std::chrono::milliseconds limit, absl::FunctionRef<void(pid_t pid, int status)> reaped);

}   // namespace troupe
