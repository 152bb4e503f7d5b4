// Unix sockets by name: "unix:/path".
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace troupe {

struct ListeningSocket {
  int fd = -1;   // non-blocking, closed on exec
  std::string path;
  uint64_t inode = 0;   // to tell whether the path is still ours
};

/// Listens at `place`. The socket is made beside the path and renamed over it, so that connecting never meets a gap when a replacement takes the place
/// over. InvalidArgument: not "unix:/path" or too long. Unavailable: the system refuses, with its reason.
absl::StatusOr<ListeningSocket> ListenAt(const std::string& place);
/// Closes, and unlinks the path unless another process has taken it over.
void StopListening(const ListeningSocket& socket);
/// A non-blocking connection to `place`, its buffers enlarged for chunks. Errors as above.
absl::StatusOr<int> ConnectTo(const std::string& place);
/// Room for a whole chunk in the socket, where the system allows it: its sender need not be woken again and again.
void EnlargeBuffers(int fd);

}   // namespace troupe
