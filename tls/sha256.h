// SHA-256 fetched once: to ask the library for it by name each time costs as much as a short sum.
// Any thread.
#ifndef TLS_SHA256_H
#define TLS_SHA256_H

#include <openssl/evp.h>

const EVP_MD *sha256(void);  // the library's; good as long as the process lives

#endif
