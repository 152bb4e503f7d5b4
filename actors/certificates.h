// What the members of a cluster show each other and check each other by over TLS, and a small authority for tests and first steps.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace troupe {

/// PEM texts. A certificate says that its holder is a member of the cluster, whatever its name and wherever it runs: names of hosts are not compared.
struct TlsCertificates {
  std::string authorities;   ///< whose certificates members have
  std::string certificate;   ///< this process's, and those between it and the authority where there are some
  std::string key;           ///< private, of `certificate`; without a pass phrase
};

/// Of a folder with ca.pem, cert.pem and key.pem. What they hold is looked at by whoever uses them. NotFound and the like: a file cannot be read.
absl::StatusOr<TlsCertificates> ReadTlsFolder(const std::string& folder);

struct CertificateOptions {
  std::string name = "node";    ///< the certificate's common name, for people
  int days = 365;               ///< that it is valid, from now on; 0: it is expired at once
  std::string ca_folder = {};   ///< with the ca.pem and ca_key.pem that sign it; empty: a new authority, whose files lie in the folder too
};

/// Makes cert.pem, key.pem and ca.pem in `folder`, and ca_key.pem where the authority is new; missing parents are made. Keys are of P-256, files are the
/// owner's alone (0600).
///
/// Errors AlreadyExists: one of the files is there. InvalidArgument: a name that is empty or of more than 64 characters, days below 0 or above 36500, or
///        what is wrong with the authority's files. NotFound and the like: they cannot be read. Internal: a file cannot be written. On any error nothing is
///        left in the folder that was not there.
absl::Status MakeCertificates(const std::string& folder, const CertificateOptions& options);

}   // namespace troupe
