// Reads one PEM file of certificates, of revocation lists or with a private key. Whatever is wrong
// becomes one problem that names the file, what was found and what was expected. The caller owns
// what it gets. No text of a file outlives the call in memory. The config's thread; never asks for
// a password.
#ifndef TLS_PEM_H
#define TLS_PEM_H

#include <openssl/x509.h>

#include "base/check.h"
#include "conf/config.h"

struct pem_place {
	const struct config_text *file;
	struct str key;  // the key path in the config
	struct config_problems *problems;
};

void pem_complain(const struct pem_place *place, const char *format, ...) PRINTF(2, 3);

// NULL after a complaint. Never an empty stack.
MUST_USE STACK_OF(X509) * pem_certificates(const struct pem_place *place, const char *expected);
MUST_USE STACK_OF(X509_CRL) * pem_lists(const struct pem_place *place);
// Nor a key that others could read; `reader` is who the process will be (secrecy.h).
MUST_USE EVP_PKEY *pem_private_key(
        const struct pem_place *place, const struct config_run_as *reader);

#endif
