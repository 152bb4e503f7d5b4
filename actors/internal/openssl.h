// OpenSSL's things with their ends, for those few files that use it.
#pragma once

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include <memory>

namespace troupe::openssl {

template <auto Free>
struct Freer {
  template <class Thing>
  void operator()(Thing* thing) const {
    Free(thing);
  }
};
using PrivateKey = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Memory = std::unique_ptr<BIO, Freer<BIO_free_all>>;

}   // namespace troupe::openssl
