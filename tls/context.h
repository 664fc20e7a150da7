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
	enum config_tls_side side;
	struct material_pair *pairs;  // the gateway's certificates; the first is the default
	size_t pair_count;
	struct material_trust trust;
	// Of what serves, NULL in what dials; the first two bind themselves to this trust.
	struct verdict_table *verdicts;
	struct resume_store *resume;
	struct decode_table *decoded;
	struct ticket_keys tickets;
	struct tls_expiry *expiries;  // in the arena
	size_t expiry_count;
	bool alert;    // a refused peer ends the handshake: on_unauthenticated, and every server
	bool by_name;  // servers are known by their host names, not by SPIFFE IDs
};

#endif
