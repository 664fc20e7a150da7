// What a session says of itself: the accessors of tls.h. Nothing here changes a session.
#include <openssl/err.h>

#include "tls/context.h"
#include "tls/fault.h"
#include "tls/resume.h"
#include "tls/session.h"
#include "tls/verdict.h"

enum reason tls_fault(const struct tls_session *session, struct str *detail)
{
	bool failed = session->status == TLS_FAILED;
	*detail = failed ? session->fault_detail : str_of("", 0);
	return failed ? session->fault : REASON_NONE;
}

struct str tls_session_alert(const struct tls_session *session)
{
	if (session->alert_sent == ALERT_NONE)
		return str_of("", 0);
	return fault_alert_name(session->alert_sent);
}

bool tls_session_peer_gave_up(const struct tls_session *session)
{
	return session->alert_received != ALERT_NONE;
}

const struct tls_peer *tls_session_peer(const struct tls_session *session)
{
	return session->verdict ? &session->verdict->peer : &session->peer;
}

bool tls_session_is_h2(const struct tls_session *session)
{
	return session->h2;
}

bool tls_session_resumed(const struct tls_session *session)
{
	return session->status == TLS_OPEN && SSL_session_reused(session->ssl) == 1;
}

// TLS 1.2 takes the agreed suite into use only at the end of the handshake.
static const SSL_CIPHER *agreed_cipher(const struct tls_session *session)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(session->ssl);
	return cipher ? cipher : SSL_get_pending_cipher(session->ssl);
}

bool tls_session_may_wait(const struct tls_session *session)
{
	return !session->server_name && SSL_version(session->ssl) >= TLS1_3_VERSION;
}

// Before a suite is agreed on, the library names the newest version it knows.
struct str tls_session_version(const struct tls_session *session)
{
	if (!agreed_cipher(session))
		return str_of("", 0);
	return str_from(SSL_get_version(session->ssl));
}

struct str tls_session_cipher(const struct tls_session *session)
{
	const SSL_CIPHER *cipher = agreed_cipher(session);
	return cipher ? str_from(SSL_CIPHER_standard_name(cipher)) : str_of("", 0);
}

struct str tls_session_sni(const struct tls_session *session)
{
	const char *name = SSL_get_servername(session->ssl, TLSEXT_NAMETYPE_host_name);
	return name ? str_from(name) : str_of("", 0);
}

struct str tls_session_gateway_uri(const struct tls_session *session)
{
	const struct tls_context *context = session->context;
	const X509 *begun = resume_served(session);
	const X509 *served = begun ? begun : SSL_get_certificate(session->ssl);
	for (size_t i = 0; i < context->pair_count; i++)
		if (context->pairs[i].leaf == served && context->pairs[i].facts.uri_san_count)
			return context->pairs[i].facts.uri_sans[0];
	return str_of("", 0);
}
