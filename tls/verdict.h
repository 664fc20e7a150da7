// What was found of a chain that verified, remembered: a sidecar shows the same SVID again and
// again. Found by the SHA-256 of every certificate presented, in their order. A table belongs to
// one tls_context, and so to one bundle with its revocation lists; a verdict holds between the
// dates of its chain and no longer. Never remembered: refusals; that the client has the key, which
// every handshake proves anew; and whether the policy lets it in, which is asked anew each time.
// Bounded: an older verdict makes room. Verdicts are immutable and counted. Any thread.
#ifndef TLS_VERDICT_H
#define TLS_VERDICT_H

#include <openssl/x509.h>
#include <stdatomic.h>

#include "tls/tls.h"

enum { VERDICT_KEY_SIZE = 32, VERDICTS_MAX = 4096 };

struct verdict {
	atomic_uint references;
	unsigned char key[VERDICT_KEY_SIZE];
	struct tls_peer peer;  // its reason is REASON_NONE
};

struct verdict_table;

struct verdict_table *verdict_table_new(void);
void verdict_table_free(struct verdict_table *table);  // what others hold stays theirs

// False when it cannot be told: then nothing is looked up nor kept.
MUST_USE bool verdict_key(STACK_OF(X509) * presented, unsigned char key[VERDICT_KEY_SIZE]);
// A reference, or NULL.
MUST_USE struct verdict *verdict_find(
        struct verdict_table *table, const unsigned char key[VERDICT_KEY_SIZE], int64_t now_s);
// Takes over what is in `peer`, and leaves it empty. A reference.
MUST_USE struct verdict *verdict_keep(struct verdict_table *table,
        const unsigned char key[VERDICT_KEY_SIZE], struct tls_peer *peer);

bool verdict_holds(const struct verdict *verdict, int64_t now_s);
struct verdict *verdict_ref(struct verdict *verdict);
void verdict_unref(struct verdict *verdict);  // NULL is nothing

#endif
