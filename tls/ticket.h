// Sessions that the client keeps itself, sealed (RFC 8446, 4.6.1; the form of RFC 5077, 4), in
// place of those that resume.h keeps here: for fleets, whose gateways share `session_ticket_keys`.
// A session begun at one is taken up at another, after a reload and after an upgrade; always with a
// fresh key exchange, TLS 1.3 alone, for an hour at most.
//   The seal says who verified the chain (a holder of the keys), under which bundle and lists, and
//   between which dates it holds. It is worth something only to a gateway that trusts exactly the
//   same bundle and lists now; to any other, and past the dates, it is as if there were none, and
//   the chain is shown and verified anew. The policy is asked as always.
//   The first key seals, all of them open: keys are rotated by putting a new one in front.
// Not in `alert` mode; never for a client that was not verified. Keys are set when the context is
// built; callbacks run in the session's thread.
#ifndef TLS_TICKET_H
#define TLS_TICKET_H

#include <openssl/ssl.h>

#include "tls/tls.h"

enum { TICKET_KEY_BYTES = 80 };  // as nginx has them: name, MAC, cipher

struct ticket_key {
	unsigned char name[16], mac[32], cipher[32];
};

struct ticket_keys {
	size_t count;  // 0: sessions are kept here
	struct ticket_key keys[CONFIG_TICKET_KEYS_MAX];
};

MUST_USE bool ticket_keys_load(struct ticket_keys *keys, const struct config_tls *tls,
        struct str key_path, struct config_problems *problems);
void ticket_keys_wipe(struct ticket_keys *keys);

struct tls_context;
void ticket_set_up(struct tls_context *context);  // after resume_store_new

#endif
