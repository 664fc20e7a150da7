// SHA-256 for the audit chain and the policy of the admin page, behind our own type so that nobody
// else includes OpenSSL. One thread per state.
#ifndef TLS_DIGEST_H
#define TLS_DIGEST_H

#include "base/str.h"

enum {
	DIGEST_HEX_SIZE = 65,     // 64 lower-case hex digits and the NUL
	DIGEST_BASE64_SIZE = 45,  // with padding, and the NUL
};

void digest_hex(struct str bytes, char hex[DIGEST_HEX_SIZE]);
void digest_base64(struct str bytes, char text[DIGEST_BASE64_SIZE]);  // RFC 4648, 4

// Random bytes from the library's generator, for request ids and table seeds.
void digest_random(void *bytes, size_t size);

#endif
