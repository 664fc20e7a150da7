// The inside of a tls_context, for the files of this folder. Built once by context.c, read-only
// afterwards, any thread.
#ifndef TLS_CONTEXT_H
#define TLS_CONTEXT_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "tls/material.h"
#include "tls/ticket.h"
#include "tls/tls.h"

struct tls_context {
	atomic_uint references;
	struct arena arena;
	SSL_CTX *library;
	BIO_METHOD *pipe;
	struct material_pair *pairs;  // the gateway's certificates; the first is the default
	size_t pair_count;
	struct material_trust trust;
	struct verdict_table *verdicts;  // the two bind themselves to this trust
	struct resume_store *resume;
	struct ticket_keys tickets;
	struct decode_table *decoded;
	struct tls_expiry *expiries;  // in the arena
	size_t expiry_count;
	bool alert;  // on_unauthenticated: alert
};

#endif
