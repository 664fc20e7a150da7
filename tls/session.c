#include "tls/session.h"

#include <openssl/err.h>
#include <stdlib.h>

#include "tls/abuse.h"
#include "tls/context.h"
#include "tls/decode.h"
#include "tls/fault.h"
#include "tls/pipe.h"
#include "tls/resume.h"
#include "tls/select.h"
#include "tls/verdict.h"

enum {
	RECORD_SIZE = 16384,  // RFC 8446, 5.1
	RECORD_OVERHEAD = 64,
};

// SSL_get_error looks at what anybody left in the thread's queue. Mostly nobody did, and to see
// that costs less than to sweep sixteen empty places.
static void clear_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

struct tls_session *session_new(
        struct tls_context *context, struct buffer *out, tls_judge judge, void *owner)
{
	struct tls_session *session = must_alloc(sizeof(*session));
	session->context = tls_context_ref(context);
	session->out = out;
	session->judge = judge;
	session->owner = owner;
	session->alert_sent = session->alert_received = ALERT_NONE;
	session->peer.reason = REASON_certificate_missing;
	session->peer.detail = STR("no certificate was sent");
	session->ssl = SSL_new(context->library);
	CHECK(session->ssl);
	BIO *pipe = pipe_new(context->pipe, session);
	SSL_set_bio(session->ssl, pipe, pipe);
	CHECK(SSL_set_app_data(session->ssl, session) == 1);
	return session;
}

struct tls_session *tls_session_new(
        struct tls_context *context, struct buffer *out, tls_judge judge, void *owner)
{
	CHECK(context->side != TLS_OF_BACKEND && (judge || !context->alert));
	struct tls_session *session = session_new(context, out, judge, owner);
	session->peer.detail = STR("the client sent no certificate");
	SSL_set_accept_state(session->ssl);
	return session;
}

void tls_session_free(struct tls_session *session)
{
	if (!session)
		return;
	// Else the library spoils the session of whoever hung up without a goodbye.
	if (session->status != TLS_FAILED)
		SSL_set_shutdown(session->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(session->ssl);
	clear_errors();
	records_fini(&session->records);
	arena_fini(&session->peer.arena);
	verdict_unref(session->verdict);
	tls_context_unref(session->context);
	free(session->server_name);
	free(session);
}

static void fail(struct tls_session *session, enum reason fault, struct str detail)
{
	session->status = TLS_FAILED;
	session->fault = fault;
	session->fault_detail = detail;
}

static const char *peer_word(const struct tls_session *session)
{
	return session->context->side == TLS_OF_BACKEND ? "the server" : "the client";
}

// The library failed while it dealt with the peer's Certificate message itself: the alert tells
// the message's fault from the record's.
static bool is_certificate_fault(const struct tls_session *session)
{
	OSSL_HANDSHAKE_STATE state = SSL_get_state(session->ssl);
	if ((state != TLS_ST_SR_CERT && state != TLS_ST_CR_CERT) ||
	        session->alert_received != ALERT_NONE)
		return false;
	return session->alert_sent != SSL_AD_BAD_RECORD_MAC &&
	       session->alert_sent != SSL_AD_RECORD_OVERFLOW &&
	       session->alert_sent != SSL_AD_UNEXPECTED_MESSAGE;
}

static void fail_certificate(struct tls_session *session, const char *words)
{
	struct tls_peer *peer = &session->peer;
	if (session->fault != REASON_NONE) {  // the verdict of verify.c
		fail(session, session->fault, session->fault_detail);
		return;
	}
	if (peer->presented && peer->reason != REASON_NONE) {
		fail(session, peer->reason, peer->detail);
		return;
	}
	unsigned long error = ERR_peek_last_error();
	if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
	        ERR_GET_REASON(error) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
		fail(session, REASON_certificate_missing, peer->detail);
		return;
	}
	peer->reason = REASON_certificate_invalid;
	peer->detail = arena_printf(
	        &peer->arena, "%s's certificates cannot be read: %s", peer_word(session), words);
	fail(session, REASON_certificate_invalid, peer->detail);
}

// OpenSSL gave up; its reasons are still in the thread's error queue.
static void fail_library(struct tls_session *session)
{
	struct arena *arena = &session->peer.arena;
	const char *words = ERR_reason_error_string(ERR_peek_last_error());
	if (!words)
		words = "the connection broke off";
	if (is_certificate_fault(session))
		fail_certificate(session, words);
	else if (session->alert_received != ALERT_NONE)
		fail(session, REASON_tls_failed,
		        arena_printf(arena, "%s sent the alert %s", peer_word(session),
		                fault_alert_name(session->alert_received).at));
	else
		fail(session, REASON_tls_failed, arena_str(arena, str_from(words)));
	clear_errors();
}

// What the guard stopped never reached the library, so the alert is ours to write. Nothing is
// encrypted yet, and both sides take the record as it is.
static void fail_guard(struct tls_session *session, enum guard_verdict verdict)
{
	session->alert_sent = verdict == GUARD_SSL2 ? SSL_AD_PROTOCOL_VERSION
	                                            : SSL_AD_ILLEGAL_PARAMETER;
	const uint8_t alert[] = {SSL3_RT_ALERT, TLS1_2_VERSION_MAJOR, TLS1_2_VERSION_MINOR, 0, 2,
	        SSL3_AL_FATAL, (uint8_t)session->alert_sent};
	buffer_append(session->out, alert, sizeof(alert));
	fail(session, REASON_tls_failed,
	        verdict == GUARD_SSL2 ? STR("not a TLS record: an SSL 2 hello or garbage")
	                              : STR("the ClientHello announces more than 16 KiB"));
}

void session_shake_hands(struct tls_session *session)
{
	clear_errors();
	decode_begin(session->context->decoded);
	int done = SSL_do_handshake(session->ssl);
	decode_end();
	if (done == 1 && SSL_session_reused(session->ssl) == 1 && !resume_restore(session)) {
		fail(session, REASON_tls_failed, STR("nobody knows whose session that was"));
	} else if (done == 1) {
		session->status = TLS_OPEN;
		session->h2 = select_agreed_h2(session->ssl);
		if (session->server_name && session->h2 != session->wants_h2)
			fail(session, REASON_tls_failed,
			        session->h2 ? STR("the server chose HTTP/2 unasked (ALPN)")
			                    : STR("the server did not agree on HTTP/2 (ALPN)"));
	} else if (SSL_get_error(session->ssl, done) != SSL_ERROR_WANT_READ) {
		fail_library(session);
	}
}

// One SSL_read; false when there is no more to read now.
static bool receive_once(struct tls_session *session, struct buffer *plain)
{
	size_t count = 0;
	char *room = buffer_room(plain, RECORD_SIZE);
	clear_errors();
	int done = SSL_read_ex(session->ssl, room, RECORD_SIZE, &count);
	if (done == 1) {
		buffer_added(plain, count);
		session->received += count;
	} else {
		int error = SSL_get_error(session->ssl, done);
		if (error == SSL_ERROR_ZERO_RETURN)
			session->status = TLS_ENDED;
		else if (error != SSL_ERROR_WANT_READ)
			fail_library(session);
	}
	struct str abuse = abuse_seen(session);
	if (abuse.len && session->status != TLS_FAILED)
		fail(session, REASON_tls_failed, abuse);
	return done == 1 && session->status == TLS_OPEN;
}

static bool is_over(const struct tls_session *session)
{
	return session->status == TLS_ENDED || session->status == TLS_FAILED;
}

static void take_in(struct tls_session *session, struct str records, struct buffer *plain)
{
	session->input = records;
	if (session->status == TLS_HANDSHAKING)
		session_shake_hands(session);
	// Asking only while there is something spares an idle session its 16 KiB of `plain`.
	while (session->status == TLS_OPEN && (session->input.len || SSL_has_pending(session->ssl)))
		if (!receive_once(session, plain))
			break;
	session->input = str_of(NULL, 0);
}

enum tls_status tls_feed(struct tls_session *session, struct str ciphertext, struct buffer *plain)
{
	if (is_over(session))
		return session->status;
	enum guard_verdict verdict = GUARD_PASS;
	if (!session->server_name)
		verdict = guard_look(&session->guard, ciphertext);
	if (verdict != GUARD_PASS)
		fail_guard(session, verdict);
	while (ciphertext.len && !is_over(session)) {
		struct str records = records_next(&session->records, &ciphertext);
		if (records.len)
			take_in(session, records, plain);
		records_done(&session->records);
	}
	if (is_over(session))
		records_fini(&session->records);
	clear_errors();
	return session->status;
}

bool tls_write(struct tls_session *session, struct str plain)
{
	CHECK(session->status != TLS_HANDSHAKING);
	if (session->status == TLS_FAILED || session->said_close_notify)
		return false;
	if (!plain.len)
		return true;
	size_t records = plain.len / RECORD_SIZE + 1, written = 0;
	char *room = buffer_room(session->out, plain.len + records * RECORD_OVERHEAD);
	(void)room;  // grown once, not once a record
	clear_errors();
	if (SSL_write_ex(session->ssl, plain.at, plain.len, &written) == 1) {
		CHECK(written == plain.len);  // the pipe takes all
		return true;
	}
	fail_library(session);
	return false;
}

void tls_close_notify(struct tls_session *session)
{
	if (session->said_close_notify || session->status == TLS_HANDSHAKING ||
	        session->status == TLS_FAILED)
		return;
	session->said_close_notify = true;
	clear_errors();
	(void)SSL_shutdown(session->ssl);  // 0: sent, the peer's not seen yet
	clear_errors();
}

enum tls_status tls_status(const struct tls_session *session)
{
	return session->status;
}
