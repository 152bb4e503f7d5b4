// OpenSSL between a socket and plain bytes.
#include "actors/internal/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "actors/check.h"
#include "actors/internal/openssl.h"

namespace troupe {
namespace {

using openssl::Certificate;
using openssl::Memory;
using openssl::PrivateKey;

constexpr size_t kRecordBytes = 16 << 10;         // of one record, at most
constexpr size_t kAloneMin = 4 << 10;             // a piece at least this long is encrypted from where it lies, shorter ones together
constexpr size_t kReadBytes = 64 << 10;           // what one call of the system may bring
constexpr size_t kOutBytes = 256 << 10;           // encrypted and sent at once: it fits the processor's cache
constexpr long kCertificateBytesMax = 32 << 10;   // of a peer's chain
constexpr int kAlertReasons = 1000;               // OpenSSL's reason of a fatal alert that came: 1000 and its number

Memory Reading(const std::string& text) {
  return Memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}
Certificate ReadCertificate(BIO* from) {
  char no_phrase[] = "";
  return Certificate(PEM_read_bio_X509(from, nullptr, nullptr, no_phrase));
}

absl::Status Wrong(const char* what) {
  ERR_clear_error();
  return absl::InvalidArgumentError(what);
}

/// Of the peer's certificate, as this end sees it.
std::string Words(long verdict) {
  switch (verdict) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "is not valid yet (compare the clocks)";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return "is of a foreign authority";
    default:
      return absl::StrCat("is no good: ", X509_verify_cert_error_string(verdict));
  }
}

/// What the peer has said with its last words.
absl::Status OfAlert(int alert) {
  const auto refused = [](absl::string_view why) { return absl::UnauthenticatedError(absl::StrCat("the peer refuses this process's certificate", why)); };
  switch (alert) {
    case SSL_AD_CERTIFICATE_EXPIRED:
      return refused(", which it says has expired");
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_DECRYPT_ERROR:
      return refused(", which is of a foreign authority");
    case SSL_AD_CERTIFICATE_REQUIRED:
      return absl::UnauthenticatedError("the peer demands a certificate, and was shown none");
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
      return refused("");
    case SSL_AD_PROTOCOL_VERSION:
      return absl::FailedPreconditionError("the peer does not speak TLS 1.3: it may have no certificates (--tls)");
    default:
      return absl::UnavailableError(absl::StrCat("the peer ended TLS: ", SSL_alert_desc_string_long(alert)));
  }
}

/// Connections whose bytes have all been sent share what they are encrypted into.
std::vector<unsigned char>& Spare() {
  thread_local std::vector<unsigned char> spare;
  return spare;
}

}   // namespace

// ----------------------------------------------------------------------------------------------------------------------------------------- a context

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::Make(const TlsCertificates& certificates) {
  const std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_method()), SSL_CTX_free);
  TROUPE_CHECK(context != nullptr);
  SSL_CTX* it = context.get();
  // 128 bits are enough, and faster; whoever has no AES in hardware asks for ChaCha.
  TROUPE_CHECK(SSL_CTX_set_min_proto_version(it, TLS1_3_VERSION) == 1 &&
               SSL_CTX_set_ciphersuites(it, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384") == 1 &&
               SSL_CTX_set_num_tickets(it, 0) == 1);
  // A connection that is cut between two messages is a lost one, however it ends.
  SSL_CTX_set_options(it, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_session_cache_mode(it, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(it, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(it, 1);
  SSL_CTX_set_default_read_buffer_len(it, kReadBytes);
  SSL_CTX_set_max_cert_list(it, kCertificateBytesMax);
  SSL_CTX_set_verify(it, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);

  const Memory authorities = Reading(certificates.authorities);
  size_t count = 0;
  while (const Certificate authority = ReadCertificate(authorities.get())) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(it), authority.get()) != 1) return Wrong("ca.pem holds a certificate that cannot be used");
    ++count;
  }
  if (count == 0) return Wrong("ca.pem holds no certificate in PEM");
  const Memory chain = Reading(certificates.certificate);
  const Certificate own = ReadCertificate(chain.get());
  if (own == nullptr || SSL_CTX_use_certificate(it, own.get()) != 1) return Wrong("cert.pem holds no certificate in PEM that can be used");
  while (Certificate between = ReadCertificate(chain.get())) {
    TROUPE_CHECK(SSL_CTX_add0_chain_cert(it, between.release()) == 1);
  }
  char no_phrase[] = "";
  const PrivateKey key(PEM_read_bio_PrivateKey(Reading(certificates.key).get(), nullptr, nullptr, no_phrase));
  if (key == nullptr) return Wrong("key.pem holds no private key in PEM without a pass phrase");
  if (X509_check_private_key(own.get(), key.get()) != 1 || SSL_CTX_use_PrivateKey(it, key.get()) != 1) return Wrong("key.pem does not fit cert.pem");
  ERR_clear_error();   // the end of each file is one
  return std::shared_ptr<const TlsContext>(new TlsContext(context));
}

// ------------------------------------------------------------------------------------------------------------------------- between OpenSSL and socket

/// OpenSSL's way to the socket: it reads from there, but writes into out_, which always has room, so that a write never has to be tried again.
struct TlsBio {
  static BIO* Make(TlsStream* stream) {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "troupe link");
      TROUPE_CHECK(made != nullptr);
      BIO_meth_set_read(made, Read);
      BIO_meth_set_write(made, Write);
      BIO_meth_set_ctrl(made, Control);
      return made;
    }();
    BIO* bio = BIO_new(method);
    TROUPE_CHECK(bio != nullptr);
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    return bio;
  }

 private:
  static int Read(BIO* bio, char* to, int room) {
    auto& stream = *static_cast<TlsStream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (stream.short_) {   // it was asked already
      BIO_set_retry_read(bio);
      return -1;
    }
    ssize_t got;
    do {
      got = ::recv(stream.fd_, to, static_cast<size_t>(room), MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
      stream.empty_ = errno == EAGAIN;
      if (stream.empty_)
        BIO_set_retry_read(bio);
      else
        stream.system_error_ = errno;
      return -1;
    }
    if (got == 0) stream.ended_ = true;
    if (got > 0 && got < room) stream.short_ = true;
    if (!stream.established_ && got > 0) {
      if (stream.received_ == 0 && got >= 2 && !BeginsAsTls(to)) stream.plain_ = true;
      stream.received_ += static_cast<size_t>(got);
      if (stream.plain_ || stream.received_ > TlsStream::kHandshakeBytesMax) return -1;
    }
    return static_cast<int>(got);
  }
  static int Write(BIO* bio, const char* from, int size) {
    auto& out = static_cast<TlsStream*>(BIO_get_data(bio))->out_;
    BIO_clear_retry_flags(bio);
    out.insert(out.end(), from, from + size);
    return size;
  }
  static long Control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_EOF) return static_cast<TlsStream*>(BIO_get_data(bio))->ended_;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }
};

TlsStream::TlsStream(std::shared_ptr<const TlsContext> context, int fd, Side side, uint64_t key_bytes_max)
    : context_(std::move(context)), fd_(fd), side_(side), key_bytes_max_(key_bytes_max), ssl_(SSL_new(context_->get())) {
  TROUPE_CHECK(ssl_ != nullptr);
  BIO* bio = TlsBio::Make(this);
  SSL_set_bio(ssl_, bio, bio);
  if (side == Side::kClient)
    SSL_set_connect_state(ssl_);
  else
    SSL_set_accept_state(ssl_);
}

TlsStream::~TlsStream() {
  SSL_free(ssl_);
}

absl::Status TlsStream::Reason() const {
  if (plain_) {
    return side_ == Side::kServer ? absl::FailedPreconditionError("the peer speaks plain text where TLS was expected: it needs certificates (--tls)")
                                  : absl::FailedPreconditionError("the peer answers in plain text where TLS was expected: it may have no certificates (--tls)");
  }
  if (!established_ && received_ > kHandshakeBytesMax)
    return absl::UnavailableError(absl::StrCat("more than ", kHandshakeBytesMax, " bytes before a certificate"));
  const long verdict = SSL_get_verify_result(ssl_);
  if (verdict != X509_V_OK) return absl::UnauthenticatedError(absl::StrCat("the peer's certificate ", Words(verdict)));
  if (system_error_ != 0) return absl::UnavailableError(std::strerror(system_error_));
  const unsigned long first = ERR_peek_error();
  const int reason = ERR_GET_REASON(first);
  if (ERR_GET_LIB(first) == ERR_LIB_SSL) {
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) return absl::UnauthenticatedError("the peer has shown no certificate");
    if (reason >= kAlertReasons && reason < kAlertReasons + 256) return OfAlert(reason - kAlertReasons);
  }
  if (ended_) return absl::UnavailableError("the peer closed the connection before the end of the TLS handshake");
  const char* words = ERR_reason_error_string(first);
  return absl::UnavailableError(absl::StrCat("garbage: TLS: ", words == nullptr ? "an unknown error" : words));
}

ssize_t TlsStream::Explain(int result) {
  const int kind = SSL_get_error(ssl_, result);
  if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) {
    errno = EAGAIN;
    return -1;
  }
  if (kind == SSL_ERROR_ZERO_RETURN && established_) return 0;
  failed_ = true;
  error_ = Reason();
  ERR_clear_error();
  if (plain_) out_.insert(out_.end(), std::begin(kNotTheSameAlert), std::end(kNotTheSameAlert));   // OpenSSL says nothing then
  const size_t waiting = out_.size() - sent_;
  if (waiting > 0) ::send(fd_, out_.data() + sent_, waiting, MSG_NOSIGNAL | MSG_DONTWAIT);   // why, if there is room
  out_.clear();
  sent_ = 0;
  errno = EPROTO;
  return -1;
}

bool TlsStream::SendOut() {
  while (sent_ < out_.size()) {
    const ssize_t sent = ::send(fd_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN;
    sent_ += static_cast<size_t>(sent);
  }
  out_.clear();
  sent_ = 0;
  if (out_.capacity() > Spare().capacity()) out_.swap(Spare());
  return true;
}

ssize_t TlsStream::Read(void* to, size_t room, bool& drained) {
  drained = false;
  if (failed_) {
    errno = EPROTO;
    return -1;
  }
  ERR_clear_error();   // of whoever else used OpenSSL on this thread
  size_t total = 0;
  short_ = empty_ = false;
  for (;;) {
    int result;
    if (!established_) {
      result = SSL_do_handshake(ssl_);
      established_ = result == 1;
      if (established_ || SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ) SendOut();   // an error shows itself at the next read
      if (established_) continue;
    } else {
      result = SSL_read(ssl_, static_cast<char*>(to) + total, static_cast<int>(std::min<size_t>(room - total, 1 << 30)));
      if (result > 0) {
        total += static_cast<size_t>(result);
        if (total < room) continue;
        return static_cast<ssize_t>(total);
      }
    }
    const bool wants_more = SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ;
    if (total > 0) {
      drained = wants_more;   // else the next call meets the end, or the error
      return static_cast<ssize_t>(total);
    }
    if (!wants_more || empty_) return Explain(result);
    short_ = false;   // part of a record: the socket has to say itself that there is no more, or that this was the end
  }
}

bool TlsStream::TakesMore() const {
  return out_.size() - sent_ < kOutBytes;
}

ssize_t TlsStream::Write(std::span<const iovec> pieces) {
  if (failed_) {
    errno = EPIPE;
    return -1;
  }
  size_t taken = 0;
  const auto encrypt = [&](const void* from, size_t size) {
    const int result = SSL_write(ssl_, from, static_cast<int>(size));
    if (result <= 0) return Explain(result) >= 0;
    taken += static_cast<size_t>(result);
    key_bytes_ += static_cast<size_t>(result);
    return true;
  };
  ERR_clear_error();
  if (!SendOut()) return -1;
  if (blocked() || !established_ || pieces.empty()) return 0;
  if (out_.capacity() == 0) out_.swap(Spare());
  if (key_bytes_ >= key_bytes_max_) {
    TROUPE_CHECK(SSL_key_update(ssl_, SSL_KEY_UPDATE_NOT_REQUESTED) == 1);   // leaves with the next record
    key_bytes_ = 0;
  }
  for (size_t i = 0; i < pieces.size() && TakesMore();) {
    if (pieces[i].iov_len >= kAloneMin) {
      const auto* at = static_cast<const unsigned char*>(pieces[i].iov_base);
      size_t left = pieces[i].iov_len;
      while (left > 0 && TakesMore()) {   // a record each: SSL_write of more would encrypt all of it at once
        const size_t before = taken;
        if (!encrypt(at, std::min(left, kRecordBytes))) return -1;
        at += taken - before;
        left -= taken - before;
      }
      if (left > 0) break;
      ++i;
      continue;
    }
    small_.clear();
    for (; i < pieces.size() && pieces[i].iov_len < kAloneMin && small_.size() + pieces[i].iov_len <= kRecordBytes; ++i) {
      const auto* at = static_cast<const unsigned char*>(pieces[i].iov_base);
      small_.insert(small_.end(), at, at + pieces[i].iov_len);
    }
    if (!encrypt(small_.data(), small_.size())) return -1;
  }
  if (!SendOut()) return -1;
  return static_cast<ssize_t>(taken);
}

}   // namespace troupe
