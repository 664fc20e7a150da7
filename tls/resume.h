// Sessions that may be taken up again (RFC 8446, 2.2) and are kept here; those that clients keep
// themselves are ticket.h's. TLS 1.3 alone and always with a fresh key exchange. Each is kept with
// the verdict on its client, and the client holds a random name: nothing is serialised, nothing it
// holds can be forged. A session is found only while its verdict holds, and for an hour at most.
// The store belongs to one tls_context: another certificate, bundle or list makes another context,
// and every session of the old one is forgotten. The policy is asked for a resumed connection as
// for any other. Not in `alert` mode, where the judge sits in the handshake; never for a client
// that was not verified. Bounded: an older session makes room. Any thread: what one worker began
// another may take up.
#ifndef TLS_RESUME_H
#define TLS_RESUME_H

#include <openssl/ssl.h>

#include "tls/session.h"

enum { RESUME_SESSIONS_MAX = 2048, RESUME_S_MAX = 3600 };

struct resume_store;

struct resume_store *resume_store_new(SSL_CTX *library);  // sets its callbacks
void resume_store_free(struct resume_store *store);       // NULL is nothing

// Within the handshake, once the client is verified: it may come back.
void resume_offer(struct tls_session *session);
// After a handshake that took up a session: its client is known. False when it is not.
MUST_USE bool resume_restore(struct tls_session *session);
// What is known of the client of a session that goes out, or NULL.
struct verdict *resume_verdict(SSL *ssl);
// The session that comes in is this client's; takes over the reference. False: it could not be
// noted, and the reference stays the caller's.
MUST_USE bool resume_know(SSL_SESSION *library, struct verdict *verdict);
// The certificate that was served when the session began; NULL unless it was taken up.
const X509 *resume_served(const struct tls_session *session);

#endif
