// Judges a peer's chain: the one place where a verdict on a certificate is made. Default is
// refusal; REASON_NONE stands only behind a verified chain and a leaf that is an X509-SVID, or of a
// server that is known by name, one for that name.
// Called by OpenSSL inside the handshake, on the session's thread.
//   trust    the bundle alone. Chains end at a self-signed root of it; where a CA in it lacks its
//            own issuer there, at any CA of the bundle.
//   lists    where CRLs are configured every certificate of the chain is looked up. An issuer
//            without a list locks nobody out, and a list past its date still revokes: whoever
//            stops lists from coming must not thereby open the gate, nor shut it.
//   usage    an extended key usage, in the leaf or above, has to permit clientAuth, of a server
//            serverAuth, by that name or by anyExtendedKeyUsage
//   strength OpenSSL's level 2 (112 bits) below the root, and no RSA key under 2048 bits
#ifndef TLS_VERIFY_H
#define TLS_VERIFY_H

#include <openssl/ssl.h>

enum { VERIFY_DEPTH = 10, VERIFY_RSA_BITS = 2048 };

// For SSL_CTX_set_cert_verify_callback. In `forbid` mode always 1: the verdict is in the peer.
int verify_client(X509_STORE_CTX *store, void *unused);
// The same towards servers: whoever is none of them ends the handshake.
int verify_server(X509_STORE_CTX *store, void *unused);

struct tls_session;
struct tls_context;
// The verdict on what was presented, by the rules of `context`, into the session, which has none.
void verify_peer(
        struct tls_session *session, const struct tls_context *context, X509_STORE_CTX *store);

#endif
