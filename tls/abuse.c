#include "tls/abuse.h"

#include "tls/session.h"

enum {
	// RFC 8446, 5.5 wants a new key after 2^24.5 records; nobody needs one every 64 KiB.
	KEY_UPDATES_FREE = 32,
	BYTES_PER_KEY_UPDATE = 65536,
};

static void note_alert(struct tls_session *session, bool sent, int value)
{
	int level = value >> 8, description = value & 0xff;
	if (sent && description == SSL_AD_NO_RENEGOTIATION)
		session->sent_no_renegotiation = true;
	else if (level != SSL3_AL_FATAL)
		return;
	if (sent)
		session->alert_sent = description;
	else
		session->alert_received = description;
}

void abuse_watch(const SSL *ssl, int where, int value)
{
	struct tls_session *session = SSL_get_app_data(ssl);
	if (where & SSL_CB_ALERT)
		note_alert(session, where & SSL_CB_WRITE, value);
	else if ((where & SSL_CB_LOOP) && (SSL_get_state(ssl) == TLS_ST_SR_KEY_UPDATE ||
	                                          SSL_get_state(ssl) == TLS_ST_CR_KEY_UPDATE))
		session->key_updates++;
}

struct str abuse_seen(const struct tls_session *session)
{
	bool dials = session->server_name;
	if (session->sent_no_renegotiation)
		return dials ? STR("the server asked for renegotiation")
		             : STR("the client asked for renegotiation");
	if (session->key_updates > KEY_UPDATES_FREE + session->received / BYTES_PER_KEY_UPDATE)
		return dials ? STR("the server sent a flood of key updates")
		             : STR("the client sent a flood of key updates");
	return str_of(NULL, 0);
}
