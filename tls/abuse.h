// Watches a session's alerts and state changes through OpenSSL's info callback, and says when a
// client abuses what TLS lets it repeat for nothing: renegotiation, key updates. (Empty records and
// warning alerts OpenSSL counts itself.) The session's thread.
#ifndef TLS_ABUSE_H
#define TLS_ABUSE_H

#include <openssl/ssl.h>

#include "base/str.h"

struct tls_session;

void abuse_watch(const SSL *ssl, int where, int value);    // for SSL_CTX_set_info_callback
struct str abuse_seen(const struct tls_session *session);  // empty: none

#endif
