// The inside of a tls_session, shared by the files of this folder that act on one. Owner and thread
// are those of tls.h. OpenSSL reads from `input`, which is borrowed for the length of one tls_feed,
// and appends to `out`; nothing here outlives its SSL or calls it from two threads.
#ifndef TLS_SESSION_H
#define TLS_SESSION_H

#include <openssl/ssl.h>

#include "tls/guard.h"
#include "tls/records.h"
#include "tls/tls.h"

enum { ALERT_NONE = -1 };

struct verdict;

struct tls_session {
	struct tls_context *context;
	SSL *ssl;
	struct buffer *out;
	char *server_name;  // whom it dials, owned; NULL where it serves
	struct str input;
	tls_judge judge;
	void *owner;
	struct tls_peer peer;  // what was found in this handshake, and then,
	struct verdict
	        *verdict;  // where it was good, what is remembered of it; NULL: `peer` counts
	struct guard guard;
	struct records records;
	enum tls_status status;
	bool said_close_notify, sent_no_renegotiation, h2;
	bool wants_h2;                   // and nothing else will do
	bool judged_again;               // not by `context` any more
	int alert_sent, alert_received;  // fatal ones, or ALERT_NONE
	uint64_t received;               // bytes of plaintext
	uint64_t key_updates;
	enum reason fault;
	struct str fault_detail;  // in the arena of `peer`, or the verdict's
};

// Either side's beginning; to be freed with tls_session_free.
struct tls_session *session_new(
        struct tls_context *context, struct buffer *out, tls_judge judge, void *owner);
// What a step of the handshake gave.
void session_shake_hands(struct tls_session *session);

#endif
