// The rules of X509-SVID, section 5.2, that go beyond RFC 5280: what a leaf must be, and that it
// carries one URI name. The URI's grammar is policy's. Pure; any thread.
#ifndef TLS_SVID_H
#define TLS_SVID_H

#include <openssl/x509.h>

#include "tls/facts.h"

// REASON_NONE, or why it is none with *why in words.
enum reason svid_check_readable(
        X509 *leaf, const struct facts_totals *totals, const char **why);  // before the chain
enum reason svid_check_usage(X509 *leaf, const char **why);
// Of a server that needs no SVID: less is asked for, and what is there has to fit.
enum reason svid_check_server_usage(X509 *leaf, const char **why);
enum reason svid_check_names(const struct tls_certificate_facts *facts,
        const struct facts_totals *totals, const char **why);

#endif
