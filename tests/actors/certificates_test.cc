#include "actors/certificates.h"

#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "actors/internal/tls.h"
#include "actors/text.h"
#include "tests/support/link_fixture.h"

namespace troupe {
namespace {

using testing::Has;

struct FolderFixture {
  std::string folder = [] {
    std::string pattern = (std::filesystem::temp_directory_path() / "troupe-cert-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    return pattern;
  }();
  ~FolderFixture() { std::filesystem::remove_all(folder); }
  std::string In(const std::string& name) const { return folder + "/" + name; }
  static std::vector<std::string> Names(const std::string& at) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(at)) names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }
  static void Write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }
};

}   // namespace

BOOST_FIXTURE_TEST_SUITE(CertificatesSuite, FolderFixture)

BOOST_AUTO_TEST_CASE(a_new_authority_with_files_of_the_owner_alone) {
  BOOST_TEST(MakeCertificates(In("a/b"), {.name = "node 1"}).ToString() == "OK");
  BOOST_TEST((Names(In("a/b")) == std::vector<std::string>{"ca.pem", "ca_key.pem", "cert.pem", "key.pem"}));
  for (const std::string& name : Names(In("a/b"))) {
    struct stat info {};
    BOOST_TEST_REQUIRE(::stat(In("a/b/" + name).c_str(), &info) == 0);
    BOOST_TEST((info.st_mode & 0777) == 0600u);
  }
  const auto read = ReadTlsFolder(In("a/b"));
  BOOST_TEST_REQUIRE(read.ok());
  BOOST_TEST(TlsContext::Make(*read).status().ToString() == "OK");
}

BOOST_AUTO_TEST_CASE(another_certificate_of_the_same_authority) {
  BOOST_TEST(MakeCertificates(In("ca"), {}).ok());
  BOOST_TEST(MakeCertificates(In("member"), {.ca_folder = In("ca")}).ToString() == "OK");
  BOOST_TEST((Names(In("member")) == std::vector<std::string>{"ca.pem", "cert.pem", "key.pem"}));
  BOOST_TEST(ReadTlsFolder(In("member"))->authorities == ReadTlsFolder(In("ca"))->authorities);
  BOOST_TEST(ReadTlsFolder(In("member"))->certificate != ReadTlsFolder(In("ca"))->certificate);
}

BOOST_AUTO_TEST_CASE(nothing_is_overwritten_and_nothing_half_done_is_left) {
  Write(In("key.pem"), "mine");
  BOOST_TEST(Has(MakeCertificates(folder, {}), absl::StatusCode::kAlreadyExists, In("key.pem") + ": File exists"));
  BOOST_TEST((Names(folder) == std::vector<std::string>{"key.pem"}));
  BOOST_TEST(std::filesystem::file_size(In("key.pem")) == 4u);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_is_refused_before_anything_is_written) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  BOOST_TEST(Has(MakeCertificates(In("x"), {.name = ""}), invalid, "the name of a certificate has 0 characters, expected 1 to 64"));
  BOOST_TEST(Has(MakeCertificates(In("x"), {.name = std::string(65, 'n')}), invalid, "65 characters"));
  BOOST_TEST(Has(MakeCertificates(In("x"), {.name = "\xff\xfe"}), invalid, "no UTF-8 text"));
  BOOST_TEST(Has(MakeCertificates(In("x"), {.days = -1}), invalid, "-1 days, expected 0 to 36500"));
  BOOST_TEST(Has(MakeCertificates(In("x"), {.days = 36501}), invalid, "36501 days"));
  BOOST_TEST(Has(MakeCertificates(In("x"), {.ca_folder = In("none")}), absl::StatusCode::kNotFound, In("none/ca.pem")));
  BOOST_TEST(MakeCertificates(In("ca"), {}).ok());
  BOOST_TEST(MakeCertificates(In("other"), {}).ok());
  std::filesystem::copy_file(In("other/ca_key.pem"), In("ca/ca_key.pem"), std::filesystem::copy_options::overwrite_existing);
  BOOST_TEST(Has(MakeCertificates(In("x"), {.ca_folder = In("ca")}), invalid, In("ca/ca_key.pem") + ": not the key of " + In("ca/ca.pem")));
  Write(In("ca/ca_key.pem"), "no key");
  BOOST_TEST(Has(MakeCertificates(In("x"), {.ca_folder = In("ca")}), invalid, In("ca/ca_key.pem") + ": expected a private key in PEM"));
  Write(In("ca/ca.pem"), "no certificate");
  BOOST_TEST(Has(MakeCertificates(In("x"), {.ca_folder = In("ca")}), invalid, In("ca/ca.pem") + ": expected a certificate in PEM"));
  std::filesystem::remove(In("ca/ca_key.pem"));
  BOOST_TEST(Has(MakeCertificates(In("x"), {.ca_folder = In("ca")}), absl::StatusCode::kNotFound, In("ca/ca_key.pem")));
  BOOST_TEST(!std::filesystem::exists(In("x")));
  Write(In("file"), "");
  BOOST_TEST(!MakeCertificates(In("file"), {}).ok());
}

BOOST_AUTO_TEST_CASE(certificates_that_are_none_are_named) {
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const TlsCertificates good = testing::Members();
  TlsCertificates bad = good;
  bad.authorities = "";
  BOOST_TEST(Has(TlsContext::Make(bad).status(), invalid, "ca.pem holds no certificate in PEM"));
  bad = good;
  bad.certificate = good.key;
  BOOST_TEST(Has(TlsContext::Make(bad).status(), invalid, "cert.pem holds no certificate in PEM that can be used"));
  bad = good;
  bad.key = good.certificate;
  BOOST_TEST(Has(TlsContext::Make(bad).status(), invalid, "key.pem holds no private key in PEM"));
  BOOST_TEST(MakeCertificates(folder, {}).ok());
  bad = good;
  bad.key = ReadTlsFolder(folder)->key;
  BOOST_TEST(Has(TlsContext::Make(bad).status(), invalid, "key.pem does not fit cert.pem"));
  for (const char* name : {"ca.pem", "cert.pem", "key.pem"}) {
    std::filesystem::rename(In(name), In("away"));
    BOOST_TEST(Has(ReadTlsFolder(folder).status(), absl::StatusCode::kNotFound, In(name)));
    std::filesystem::rename(In("away"), In(name));
  }
}

BOOST_AUTO_TEST_SUITE_END()

}   // namespace troupe
