// The hidden role behind troupe table: the driver of a named table's job, which is this program again.
#pragma once

#include <string>
#include <vector>

namespace troupe {

/// `arguments`: those behind the first word. The exit code; what is wrong it says on stderr.
int RunTableDriverRole(const std::vector<std::string>& arguments);

}   // namespace troupe
