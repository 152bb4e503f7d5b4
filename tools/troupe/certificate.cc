// troupe certificate: what a cluster's members need to speak TLS, for tests and first steps.
#include "actors/certificates.h"

#include <cstdio>

#include "actors/status.h"
#include "tools/troupe/commands.h"
#include "tools/troupe/options.h"

namespace troupe {
namespace {

constexpr char kSummary[] =
    "Makes a certificate and its key for a member of a cluster, in DIR: cert.pem, key.pem, and ca.pem to check others by (--tls DIR). Without --ca it also "
    "makes\n"
    "the authority that signs it, whose key is ca_key.pem: for tests and small clusters. Files are readable by their owner alone, and none is overwritten.";
constexpr char kExamples[] =
    "  troupe certificate authority\n"
    "  troupe certificate node-1 --ca authority --name node-1      (then copy node-1 to its host)\n"
    "  troupe node --head --listen 10.0.0.1:7460 --token-file token --tls authority\n";
constexpr uint64_t kDaysMax = 36500;

}   // namespace

absl::Status RunCertificate(const Arguments& arguments) {
  CommandLine line("certificate", "DIR [FLAGS]", kSummary, kExamples);
  std::string folder, days = "365";
  CertificateOptions options;
  line.Argument("DIR", &folder, "where the files are made");
  line.Value("--name", "NAME", &options.name, "of the member, for people; it need not be a host's (default: node)");
  line.Value("--days", "N", &days, "how long it is valid (default 365; 0: it is expired at once, to try what happens)");
  line.Value("--ca", "DIR", &options.ca_folder, "sign with the authority there (ca.pem, ca_key.pem) instead of a new one");
  TROUPE_TRY(const bool go_on, line.Parse(arguments));
  if (!go_on) return absl::OkStatus();
  uint64_t number = 0;
  TROUPE_RETURN_IF_ERROR(ParseWhole("--days", days, 0, kDaysMax, &number));
  options.days = static_cast<int>(number);
  TROUPE_RETURN_IF_ERROR(MakeCertificates(folder, options));
  std::printf("%s: ca.pem, cert.pem, key.pem%s\n", folder.c_str(), options.ca_folder.empty() ? ", ca_key.pem (keep it to yourself)" : "");
  return absl::OkStatus();
}

}   // namespace troupe
