// TLS 1.3 on a non-blocking socket, by OpenSSL: both ends show a certificate and check the other's. Only bytes; link_socket.h knows what they mean.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "actors/certificates.h"

struct bio_st;   // OpenSSL's
struct ssl_ctx_st;
struct ssl_st;

namespace troupe {

/// What all connections of a process share. Immutable: any thread.
class TlsContext {
 public:
  /// InvalidArgument: a text is no PEM, or the key does not fit the certificate. Nothing else is checked: whether a certificate is expired or of another
  /// authority is what the peers decide, at each connection.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> Make(const TlsCertificates& certificates);
  ssl_ctx_st* get() const { return context_.get(); }

 private:
  explicit TlsContext(std::shared_ptr<ssl_ctx_st> context) : context_(std::move(context)) {}
  std::shared_ptr<ssl_ctx_st> context_;
};

/// What an end without TLS and one with it tell each other, so that both know why the connection ends: a fatal alert, twice to fill a word.
inline constexpr unsigned char kNotTheSameAlert[] = {0x15, 3, 3, 0, 2, 2, 70, 0x15, 3, 3, 0, 2, 2, 70};
/// The first bytes of a connection are TLS: a handshake or an alert.
inline bool BeginsAsTls(const void* bytes) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  return (at[0] == 0x15 || at[0] == 0x16) && at[1] == 3;
}

/// One connection. Of one thread.
class TlsStream {
 public:
  enum class Side : uint8_t { kClient, kServer };
  /// Bytes that a peer may send before its certificate is checked.
  static constexpr size_t kHandshakeBytesMax = 64 << 10;
  /// Plain bytes that are sent with one key: far below what AES-GCM allows (RFC 8446, 5.5: 2^24.5 records).
  static constexpr uint64_t kKeyBytesMax = uint64_t{64} << 30;

  /// `fd` stays the caller's, and outlives this.
  TlsStream(std::shared_ptr<const TlsContext> context, int fd, Side side, uint64_t key_bytes_max = kKeyBytesMax);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  /// As read(), and goes on with the handshake: > 0 bytes; 0 the end of the stream; -1 with errno EAGAIN: nothing yet; -1 with another: it has ended, and
  /// error() says why. `drained`: the socket holds no more.
  ssize_t Read(void* to, size_t room, bool& drained);
  /// Encrypts what it has room for and sends what the socket takes. Bytes of `pieces` that were taken, 0 before the handshake is over; -1 as above.
  ssize_t Write(std::span<const iovec> pieces);

  /// The handshake is over. A client's certificate may still be refused.
  bool established() const { return established_; }
  /// Encrypted bytes wait for room in the socket.
  bool blocked() const { return sent_ < out_.size(); }
  /// Unauthenticated: a certificate, ours or the peer's, is no good; FailedPrecondition: the peer does not speak TLS; Unavailable: all else.
  const absl::Status& error() const { return error_; }

 private:
  friend struct TlsBio;
  /// Sends out_; false: the socket is gone, as errno says.
  bool SendOut();
  /// What is returned for an SSL_read, SSL_write or handshake that gave `result`: 0 at the end of the stream, else -1, with errno.
  ssize_t Explain(int result);
  absl::Status Reason() const;
  bool TakesMore() const;

  const std::shared_ptr<const TlsContext> context_;
  const int fd_;
  const Side side_;
  const uint64_t key_bytes_max_;
  ssl_st* ssl_ = nullptr;
  bool established_ = false, failed_ = false, ended_ = false;
  bool plain_ = false;   // what came first is no TLS
  // Since Read was called:
  bool short_ = false;   // the last receive got less than there was room for
  bool empty_ = false;   // or nothing
  int system_error_ = 0;
  size_t received_ = 0;   // before established_
  uint64_t key_bytes_ = 0;
  absl::Status error_;
  std::vector<unsigned char> out_;   // encrypted, from sent_ on not yet sent
  size_t sent_ = 0;
  std::vector<unsigned char> small_;   // short pieces, side by side for one record
};

}   // namespace troupe
