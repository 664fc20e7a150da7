// The client's side of a session: how it begins. What comes after is the same as the other side's
// (session.c), whom it meets is judged in verify.c.
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "tls/context.h"
#include "tls/session.h"

// RFC 7301, 3.1: each name behind its length.
static const unsigned char speaks_h2[] = "\x02h2", speaks_http1[] = "\x08http/1.1";

// RFC 6066, 3: a name and never an address.
static void name_server(struct tls_session *session)
{
	ASN1_OCTET_STRING *numeric = a2i_IPADDRESS(session->server_name);
	if (!numeric && *session->server_name)
		CHECK(SSL_set_tlsext_host_name(session->ssl, session->server_name) == 1);
	ASN1_OCTET_STRING_free(numeric);
	ERR_clear_error();
}

// The dot that ends a rooted name is for resolvers alone: it is neither sent (RFC 6066, 3) nor part
// of a certificate's name (RFC 5280, 4.2.1.6).
static struct str without_root(struct str name)
{
	bool rooted = name.len && name.at[name.len - 1] == '.';
	return str_of(name.at, name.len - rooted);
}

struct tls_session *tls_session_dial(struct tls_context *context, struct buffer *out,
        const struct tls_server *server, tls_judge judge, void *owner)
{
	CHECK(context->side == TLS_OF_BACKEND && !judge == context->by_name);
	struct tls_session *session = session_new(context, out, judge, owner);
	struct str name = without_root(server->name);
	session->server_name = must_copy(name.at, name.len);
	session->wants_h2 = server->h2;
	name_server(session);
	const unsigned char *protocols = server->h2 ? speaks_h2 : speaks_http1;
	CHECK(SSL_set_alpn_protos(session->ssl, protocols, protocols[0] + 1U) == 0);
	SSL_set_connect_state(session->ssl);
	session_shake_hands(session);
	return session;
}

bool tls_context_asks_judge(const struct tls_context *context)
{
	return !context->by_name;
}
