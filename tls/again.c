// Chains of connections that stand, judged by the bundle and lists of another context (tls.h).
#include <openssl/err.h>

#include "base/clock.h"
#include "tls/context.h"
#include "tls/session.h"
#include "tls/verdict.h"
#include "tls/verify.h"

// As the client sent it, the leaf first; the library keeps the two apart. NULL: it sent none.
static STACK_OF(X509) * presented_chain(const struct tls_session *session)
{
	X509 *leaf = SSL_get0_peer_certificate(session->ssl);
	const STACK_OF(X509) *issuers = SSL_get_peer_cert_chain(session->ssl);
	STACK_OF(X509) *chain = leaf ? sk_X509_new_null() : NULL;
	if (!leaf)
		return NULL;
	CHECK(chain && sk_X509_push(chain, leaf) > 0);
	for (int i = 0; i < sk_X509_num(issuers); i++)
		CHECK(sk_X509_push(chain, sk_X509_value(issuers, i)) > 0);
	return chain;
}

// By the very same bundle and lists the chain was found good.
static bool still_holds(const struct tls_session *session, const struct tls_context *context)
{
	return session->verdict && !session->judged_again &&
	       memcmp(context->trust.digest, session->context->trust.digest,
	               MATERIAL_DIGEST_SIZE) == 0 &&
	       verdict_holds(session->verdict, clock_wall_ns() / NS_PER_S);
}

void tls_session_judge_again(struct tls_session *session, const struct tls_context *context)
{
	if (still_holds(session, context))
		return;
	STACK_OF(X509) *presented = presented_chain(session);
	if (!presented)
		return;
	session->judged_again = true;
	X509_STORE_CTX *store = X509_STORE_CTX_new();
	CHECK(store && X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(context->library),
	                       sk_X509_value(presented, 0), presented) == 1);
	verdict_unref(session->verdict);
	session->verdict = NULL;
	arena_fini(&session->peer.arena);
	session->peer = (struct tls_peer){0};
	verify_peer(session, context, store);
	struct tls_peer *peer = &session->peer;
	if (!session->verdict && SSL_session_reused(session->ssl) == 1 &&
	        sk_X509_num(presented) == 1)
		peer->detail = arena_printf(&peer->arena,
		        "%.*s (its session came sealed, without intermediates)",
		        STR_FMT(peer->detail));
	X509_STORE_CTX_free(store);
	sk_X509_free(presented);
	ERR_clear_error();
}
