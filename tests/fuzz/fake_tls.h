// TLS that hides nothing, in place of tls/session.c and tls/report.c: the byte '!' is the whole
// handshake, any other first byte fails it, and what follows passes as it is. Who the caller is,
// the target says before the connection is accepted. Single thread.
#ifndef TESTS_FUZZ_FAKE_TLS_H
#define TESTS_FUZZ_FAKE_TLS_H

#include "tests/fuzz/fuzz.h"
#include "tls/tls.h"

struct tls_session {
	struct buffer *out;
	struct tls_peer peer;
	enum tls_status status;
	bool h2, said_goodbye;
};

struct caller {
	enum reason reason;
	struct str uri;
	int64_t expires_s;
	bool h2;
};

static struct caller next_caller;

struct tls_session *tls_session_new(
        struct tls_context *context, struct buffer *out, tls_judge judge, void *owner)
{
	struct tls_session *session = must_alloc(sizeof(*session));
	(void)context, (void)judge, (void)owner;
	session->out = out;
	session->h2 = next_caller.h2;
	session->peer.presented = next_caller.reason != REASON_certificate_missing;
	session->peer.reason = next_caller.reason;
	session->peer.uri = next_caller.uri;
	session->peer.expires_s = next_caller.expires_s;
	session->peer.leaf.sha256 = STR("00ff");
	session->peer.leaf.subject = STR("CN=a\"b\\,\n");
	session->peer.leaf.uri_sans = &session->peer.uri;
	session->peer.leaf.uri_san_count = session->peer.uri.len > 0;
	if (next_caller.reason != REASON_NONE)
		session->peer.detail = STR("as the target says\r\n");
	return session;
}

// No backend of a target speaks TLS.
struct tls_session *tls_session_dial(struct tls_context *context, struct buffer *out,
        const struct tls_server *server, tls_judge judge, void *owner)
{
	(void)context, (void)out, (void)server, (void)judge, (void)owner;
	abort();
}

bool tls_context_asks_judge(const struct tls_context *context)
{
	(void)context;
	abort();
}

void tls_session_free(struct tls_session *session)
{
	free(session);
}

enum tls_status tls_feed(struct tls_session *session, struct str bytes, struct buffer *plain)
{
	if (session->status == TLS_HANDSHAKING && bytes.len) {
		session->status = *bytes.at == '!' ? TLS_OPEN : TLS_FAILED;
		bytes = str_skip(bytes, 1);
	}
	if (session->status == TLS_OPEN)
		buffer_append_str(plain, bytes);
	return session->status;
}

bool tls_write(struct tls_session *session, struct str plain)
{
	CHECK(session->status == TLS_OPEN);
	if (session->said_goodbye)
		return false;
	buffer_append_str(session->out, plain);
	return true;
}

void tls_close_notify(struct tls_session *session)
{
	session->said_goodbye = true;
}

enum tls_status tls_status(const struct tls_session *session)
{
	return session->status;
}

enum reason tls_fault(const struct tls_session *session, struct str *detail)
{
	*detail = STR("no '!'");
	return session->status == TLS_FAILED ? REASON_tls_failed : REASON_NONE;
}

bool tls_session_peer_gave_up(const struct tls_session *session)
{
	(void)session;
	return false;
}

struct str tls_session_alert(const struct tls_session *session)
{
	return session->status == TLS_FAILED ? STR("handshake_failure") : STR("");
}

const struct tls_peer *tls_session_peer(const struct tls_session *session)
{
	return &session->peer;
}

bool tls_session_is_h2(const struct tls_session *session)
{
	return session->h2;
}

// Callers are what they are, whatever the bundle.
void tls_session_judge_again(struct tls_session *session, const struct tls_context *context)
{
	(void)session, (void)context;
}

bool tls_session_may_wait(const struct tls_session *session)
{
	(void)session;
	return true;
}

bool tls_session_resumed(const struct tls_session *session)
{
	(void)session;
	return false;
}

struct str tls_session_version(const struct tls_session *session)
{
	(void)session;
	return STR("TLSv1.3");
}

struct str tls_session_cipher(const struct tls_session *session)
{
	(void)session;
	return STR("TLS_AES_128_GCM_SHA256");
}

struct str tls_session_sni(const struct tls_session *session)
{
	(void)session;
	return STR("a\x80\"");
}

struct str tls_session_gateway_uri(const struct tls_session *session)
{
	(void)session;
	return STR("spiffe://cluster.local/gw");
}

#endif
