// HMAC (RFC 2104) over the library's SHA-256 and SHA-384, called straight: through EVP the search
// for them by name and the copies of their contexts cost several times what the sums do. Whoever
// holds one wipes it by hmac_end. Any thread.
#ifndef TLS_HMAC_H
#define TLS_HMAC_H

// Deprecated for outsiders, who had better ask EVP.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "base/check.h"
#include "base/str.h"

enum { HASH_SIZE_MAX = SHA384_DIGEST_LENGTH };

struct hash_kind {
	const char *name, *other_name;  // as OpenSSL has them
	size_t size, block;             // bytes
};

struct hash {
	const struct hash_kind *kind;
	union {
		SHA256_CTX sha256;
		SHA512_CTX sha384;
	} state;
};

struct hmac {
	struct hash inner, outer;
};

MUST_USE const struct hash_kind *hash_kind_of(const char *name);  // NULL: neither of the two

void hash_begin(struct hash *hash, const struct hash_kind *kind);
void hash_add(struct hash *hash, struct str bytes);
void hash_end(struct hash *hash, unsigned char *out);  // kind->size bytes

void hmac_begin(struct hmac *hmac, const struct hash_kind *kind, struct str key);
void hmac_add(struct hmac *hmac, struct str bytes);
// Writes kind->size bytes, and wipes what is left of the key.
void hmac_end(struct hmac *hmac, unsigned char *out);

#endif
