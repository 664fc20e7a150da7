// Reads a certificate's facts into plain text: names, serial, dates, SANs. Pure: no trust, no
// verdict. Every text is bounded, because the certificate came from the network; names keep their
// raw bytes (NUL and all), whoever prints them escapes them. The caller's thread and arena.
#ifndef TLS_FACTS_H
#define TLS_FACTS_H

#include <openssl/x509.h>

#include "base/arena.h"
#include "tls/tls.h"

enum {
	FACTS_TEXT_MAX = 4096,  // a SPIFFE ID may have 2048; what is longer only goes on record
	FACTS_PEER_NAMES = 16,  // SANs of one kind kept of a client's certificate
	FACTS_OWN_NAMES = 1000,
};

// How many there really are, however few were kept.
struct facts_totals {
	size_t san_extensions, uris;
};

void facts_read(struct arena *arena, const X509 *certificate, size_t most_names,
        struct tls_certificate_facts *facts, struct facts_totals *totals);

struct str facts_name(struct arena *arena, const X509_NAME *name);  // RFC 2253, UTF-8 kept
int64_t facts_time_s(const ASN1_TIME *time);                        // 0 where it does not parse

struct str facts_time_text(struct arena *arena, const ASN1_TIME *time);   // RFC 3339, or empty
struct str facts_list_sha256(struct arena *arena, const X509_CRL *list);  // lower-case hex

#endif
