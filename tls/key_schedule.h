// The key schedule of TLS 1.3 (RFC 8446, 7.1), quicker. A handshake makes two dozen secrets; for
// each of them OpenSSL 3.0 looks a MAC and a digest up by name and sets up contexts for both, which
// takes several times as long as the sums do. So a provider of ours, the library's own way to be
// extended, has its KDF for TLS 1.3 over hmac.h. It lives in a library context of its own, where
// nobody meets it by chance: lookup.h hands it out. Everything a sum takes comes with the call
// (mode, digest, key, salt, prefix, label, data, as OSSL_KDF_PARAM_... names them); nothing is
// kept, and what was secret on the way is wiped. Any thread.
#ifndef TLS_KEY_SCHEDULE_H
#define TLS_KEY_SCHEDULE_H

#include <openssl/kdf.h>

#include "base/check.h"

MUST_USE EVP_KDF *key_schedule_fetch(void);  // a reference

#endif
