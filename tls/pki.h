// `tollgate pki DIR`: a throwaway CA with a gateway certificate and client SVIDs, for trials and
// tests; never for service. Files in DIR (made if absent, keys 0600, existing files are overwritten
// only if pki made them), each NAME.* a certificate NAME.pem with its NAME.key:
//
// - ca.pem, ca.key, ca.crl: the root "tollgate throwaway CA", and its CRL, which revokes `revoked`
// - gateway.*: DNS localhost, IP 127.0.0.1 and ::1, URI spiffe://cluster.local/ns/edge/sa/tollgate
// - web.*, cart.*: clients spiffe://cluster.local/ns/web/sa/web and .../ns/shop/sa/cart
// - other.*: spiffe://other.example/ns/x/sa/y of the same CA, outside the usual patterns
// - expired.*, revoked.*: of the same CA, what their names say
// - untrusted.*: a client of another root, untrusted-ca.pem
//
// One thread, at the command line.
#ifndef TLS_PKI_H
#define TLS_PKI_H

#include "base/check.h"

MUST_USE int pki_write(const char *directory);  // 0, or 1 after saying on stderr what failed

#endif
