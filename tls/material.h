// Certificates, keys, trust and revocation lists from files, checked one by one. Every fault
// becomes a problem that names the file, what was found and what was expected; all of a listener's
// are reported, not the first only. The config's thread.
#ifndef TLS_MATERIAL_H
#define TLS_MATERIAL_H

#include <openssl/x509.h>

#include "tls/tls.h"

// One of the gateway's own certificates.
struct material_pair {
	X509 *leaf;
	STACK_OF(X509) * chain;  // what is sent behind the leaf
	EVP_PKEY *key;
	struct tls_certificate_facts facts;
};

enum { MATERIAL_DIGEST_SIZE = 32 };

struct material_trust {
	STACK_OF(X509) * authorities;
	STACK_OF(X509_CRL) * lists;           // NULL when no `crl` is configured
	struct tls_certificate_facts *facts;  // of each authority
	// Some CA's own issuer is not in the bundle: then chains may end at any CA of it.
	bool has_lone_intermediate;
	unsigned char digest[MATERIAL_DIGEST_SIZE];  // of the authorities and lists, in their order
};

MUST_USE bool material_pair_load(struct material_pair *pair, const struct config_certificate *files,
        struct str key_path, struct arena *arena, struct config_problems *problems);
void material_pair_fini(struct material_pair *pair);

MUST_USE bool material_trust_load(struct material_trust *trust, const struct config_tls *tls,
        struct str key_path, struct arena *arena, struct config_problems *problems);
void material_trust_fini(struct material_trust *trust);

#endif
