// What the ClientHello chooses: the certificate by SNI, the protocol by ALPN. Callbacks for OpenSSL
// over a context's constant data; the session's thread.
#ifndef TLS_SELECT_H
#define TLS_SELECT_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/str.h"

// For SSL_CTX_set_cert_cb; `context` is the tls_context. Every certificate that names the SNI is
// offered, so that RSA and ECDSA twins may stand side by side; without a match the first of the
// list, and its twins.
int select_certificate(SSL *ssl, void *context);

// For SSL_CTX_set_alpn_select_cb: h2, else http/1.1, else the alert no_application_protocol.
int select_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
        const unsigned char *offered, unsigned offered_len, void *unused);
// http/1.1 or the alert.
int select_http1(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
        const unsigned char *offered, unsigned offered_len, void *unused);
bool select_agreed_h2(const SSL *ssl);

// RFC 6125, 6.4.3: `*` only as the whole leftmost label, for exactly one label.
bool select_name_matches(struct str pattern, struct str host);

#endif
