// Certificates by OpenSSL.
#include "actors/certificates.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actors/internal/openssl.h"
#include "actors/status.h"
#include "actors/storage/storage.h"

namespace troupe {
namespace {

using openssl::Certificate;
using openssl::Memory;
using openssl::PrivateKey;

constexpr int kAuthorityDays = 3650;
constexpr int kDaysMax = 36500;
constexpr size_t kNameMax = 64;   // of a common name, in X.509
constexpr long kDaySeconds = 24 * 60 * 60;
constexpr long kEarlier = -5 * 60;   // seconds: clocks differ

struct Authority {
  PrivateKey key;
  Certificate certificate;
};

absl::Status OpenSslError(const char* what) {
  char text[256] = "no reason is given";
  if (const unsigned long error = ERR_peek_last_error(); error != 0) ERR_error_string_n(error, text, sizeof text);
  ERR_clear_error();
  return absl::InternalError(absl::StrCat(what, ": ", text));
}

absl::Status SetName(X509* certificate, const std::string& name) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const auto* bytes = reinterpret_cast<const unsigned char*>(name.data());
  if (X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, bytes, static_cast<int>(name.size()), -1, 0) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError("the name of a certificate is no UTF-8 text");
  }
  return absl::OkStatus();
}

bool AddExtension(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, openssl::Freer<X509_EXTENSION_free>> extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

/// Signed by `authority`; null: by itself, as an authority.
absl::StatusOr<Certificate> Make(EVP_PKEY* key, const std::string& name, int days, const Authority* authority) {
  Certificate made(X509_new());
  uint64_t serial = 0;
  if (made == nullptr || RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) != 1) return OpenSslError("a certificate");
  TROUPE_RETURN_IF_ERROR(SetName(made.get(), name));
  X509* issuer = authority == nullptr ? made.get() : authority->certificate.get();
  const std::time_t now = std::time(nullptr);
  std::time_t from = now + kEarlier, until = now + days * kDaySeconds;
  const bool good = X509_set_version(made.get(), X509_VERSION_3) == 1 && ASN1_INTEGER_set_uint64(X509_get_serialNumber(made.get()), serial >> 1 | 1) == 1 &&
                    ASN1_TIME_set(X509_getm_notBefore(made.get()), from) != nullptr && ASN1_TIME_set(X509_getm_notAfter(made.get()), until) != nullptr &&
                    X509_set_issuer_name(made.get(), X509_get_subject_name(issuer)) == 1 && X509_set_pubkey(made.get(), key) == 1 &&
                    AddExtension(made.get(), issuer, NID_subject_key_identifier, "hash") &&
                    AddExtension(made.get(), issuer, NID_authority_key_identifier, "keyid") &&
                    AddExtension(made.get(), issuer, NID_basic_constraints, authority == nullptr ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE") &&
                    AddExtension(made.get(), issuer, NID_key_usage, authority == nullptr ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
                    (authority == nullptr || AddExtension(made.get(), issuer, NID_ext_key_usage, "serverAuth,clientAuth")) &&
                    X509_sign(made.get(), authority == nullptr ? key : authority->key.get(), EVP_sha256()) != 0;
  if (!good) return OpenSslError("a certificate");
  return made;
}

absl::StatusOr<PrivateKey> MakeKey() {
  PrivateKey key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslError("a key");
  return key;
}

template <class Write>
absl::StatusOr<std::string> AsPem(Write&& write) {
  const Memory memory(BIO_new(BIO_s_mem()));
  if (memory == nullptr || write(memory.get()) != 1) return OpenSslError("PEM");
  const char* bytes = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &bytes);
  return std::string(bytes, static_cast<size_t>(size));
}
absl::StatusOr<std::string> AsPem(X509* certificate) {
  return AsPem([certificate](BIO* to) { return PEM_write_bio_X509(to, certificate); });
}
absl::StatusOr<std::string> AsPem(EVP_PKEY* key) {
  return AsPem([key](BIO* to) { return PEM_write_bio_PKCS8PrivateKey(to, key, nullptr, nullptr, 0, nullptr, nullptr); });
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  TROUPE_TRY(const Block bytes, MakeLocalStorage()->Read(path));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

absl::StatusOr<Authority> ReadAuthority(const std::string& folder) {
  TROUPE_TRY(const std::string certificate, ReadText(folder + "/ca.pem"));
  TROUPE_TRY(const std::string key, ReadText(folder + "/ca_key.pem"));
  const auto memory = [](const std::string& text) { return Memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); };
  char no_phrase[] = "";
  Authority authority;
  authority.certificate.reset(PEM_read_bio_X509(memory(certificate).get(), nullptr, nullptr, no_phrase));
  authority.key.reset(PEM_read_bio_PrivateKey(memory(key).get(), nullptr, nullptr, no_phrase));
  ERR_clear_error();
  if (authority.certificate == nullptr) return absl::InvalidArgumentError(absl::StrCat(folder, "/ca.pem: expected a certificate in PEM"));
  if (authority.key == nullptr) return absl::InvalidArgumentError(absl::StrCat(folder, "/ca_key.pem: expected a private key in PEM, without a pass phrase"));
  if (X509_check_private_key(authority.certificate.get(), authority.key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(absl::StrCat(folder, "/ca_key.pem: not the key of ", folder, "/ca.pem"));
  }
  return authority;
}

absl::Status SystemError(const std::string& path) {
  const int error = errno;
  const std::string text = absl::StrCat(path, ": ", std::strerror(error));
  return error == EEXIST ? absl::AlreadyExistsError(text) : absl::InternalError(text);
}

/// A file that nobody else reads and that was not there.
absl::Status WriteNew(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return SystemError(path);
  absl::Status status;
  for (size_t at = 0; at < text.size() && status.ok();) {
    const ssize_t written = ::write(fd, text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0)
      status = SystemError(path);
    else
      at += static_cast<size_t>(written);
  }
  ::close(fd);
  if (!status.ok()) ::unlink(path.c_str());
  return status;
}

}   // namespace

absl::StatusOr<TlsCertificates> ReadTlsFolder(const std::string& folder) {
  TlsCertificates certificates;
  TROUPE_TRY(certificates.authorities, ReadText(folder + "/ca.pem"));
  TROUPE_TRY(certificates.certificate, ReadText(folder + "/cert.pem"));
  TROUPE_TRY(certificates.key, ReadText(folder + "/key.pem"));
  return certificates;
}

absl::Status MakeCertificates(const std::string& folder, const CertificateOptions& options) {
  if (options.name.empty() || options.name.size() > kNameMax) {
    return absl::InvalidArgumentError(absl::StrCat("the name of a certificate has ", options.name.size(), " characters, expected 1 to ", kNameMax));
  }
  if (options.days < 0 || options.days > kDaysMax) return absl::InvalidArgumentError(absl::StrCat(options.days, " days, expected 0 to ", kDaysMax));
  Authority authority;
  std::vector<std::pair<std::string, std::string>> files;
  if (options.ca_folder.empty()) {
    TROUPE_TRY(authority.key, MakeKey());
    TROUPE_TRY(authority.certificate, Make(authority.key.get(), "Troupe test authority", kAuthorityDays, nullptr));
    TROUPE_TRY(std::string text, AsPem(authority.key.get()));
    files.emplace_back("ca_key.pem", std::move(text));
  } else {
    TROUPE_TRY(authority, ReadAuthority(options.ca_folder));
  }
  TROUPE_TRY(const PrivateKey key, MakeKey());
  TROUPE_TRY(const Certificate certificate, Make(key.get(), options.name, options.days, &authority));
  for (const auto& [name, made] : {std::pair{"ca.pem", authority.certificate.get()}, std::pair{"cert.pem", certificate.get()}}) {
    TROUPE_TRY(std::string text, AsPem(made));
    files.emplace_back(name, std::move(text));
  }
  TROUPE_TRY(std::string text, AsPem(key.get()));
  files.emplace_back("key.pem", std::move(text));
  TROUPE_RETURN_IF_ERROR(MakeLocalStorage()->MakeFolder(folder));
  for (size_t i = 0; i < files.size(); ++i) {
    const absl::Status status = WriteNew(folder + "/" + files[i].first, files[i].second);
    if (status.ok()) continue;
    for (size_t made = 0; made < i; ++made) ::unlink((folder + "/" + files[made].first).c_str());
    return status;
  }
  return absl::OkStatus();
}

}   // namespace troupe
