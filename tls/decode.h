// Client certificates, decoded once. To read the public key of one, OpenSSL 3.0 looks through every
// decoder it has: a third of a whole handshake. A sidecar is shown the same SVID again and again,
// so what was decoded of a chain that verified is kept, found again by all of its bytes, and
// counted: a thousand connections of one client hold one copy. The library has no hook where it
// reads the Certificate message, so decode.c stands in front of its d2i_X509, as a program's
// definition may; outside of a handshake of ours, and for bytes that are not known, that is the
// library's own. Where nobody asks (a library linked in), nothing is spared and nothing else
// changes.
//
// Nothing is judged here: the key is proven and the chain judged as ever. What came without a chain
// that verified is never kept, so strangers cannot push others out. A table belongs to one
// tls_context and is bounded. Any thread.
#ifndef TLS_DECODE_H
#define TLS_DECODE_H

#include <openssl/x509.h>

#include "base/check.h"

// A longer certificate is decoded each time.
enum { DECODED_MAX = 1024, DECODED_BYTES_MAX = 8192 };

struct decode_table;

struct decode_table *decode_table_new(void);
void decode_table_free(struct decode_table *table);  // NULL is nothing

// Between the two, on this thread, certificates are looked for in `table`.
void decode_begin(struct decode_table *table);
void decode_end(void);
// Keeps those of `verified` where this handshake had to decode one.
void decode_keep(STACK_OF(X509) * verified);

#endif
