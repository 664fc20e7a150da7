// The BIO between OpenSSL and a session: reads from the session's borrowed input, appends to its
// output, never blocks and never fails. One method table a context, one BIO a session.
#ifndef TLS_PIPE_H
#define TLS_PIPE_H

#include <openssl/bio.h>

struct tls_session;

BIO_METHOD *pipe_method_new(void);  // free with BIO_meth_free
BIO *pipe_new(const BIO_METHOD *method, struct tls_session *session);

#endif
