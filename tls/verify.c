#include "tls/verify.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "tls/context.h"
#include "tls/decode.h"
#include "tls/facts.h"
#include "tls/fault.h"
#include "tls/resume.h"
#include "tls/session.h"
#include "tls/svid.h"
#include "tls/verdict.h"

// 112 bits: no MD5, no SHA-1.
enum { STRENGTH_LEVEL = 2 };
enum { ROADS_MAX = 16 };  // certificates sent, to be looked through for another way to the bundle

// Lets pass what is only a revocation list missing or out of date; see verify.h.
static int tolerate_lists(int verified, X509_STORE_CTX *store)
{
	switch (X509_STORE_CTX_get_error(store)) {
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_CRL_NOT_YET_VALID:
	case X509_V_ERR_DIFFERENT_CRL_SCOPE:
		X509_STORE_CTX_set_error(store, X509_V_OK);
		return 1;
	default:
		return verified;
	}
}

static void set_rules(X509_STORE_CTX *store, const struct tls_context *context)
{
	X509_VERIFY_PARAM *rules = X509_STORE_CTX_get0_param(store);
	unsigned long flags = 0;
	if (context->trust.lists)
		flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
	if (context->trust.has_lone_intermediate)
		flags |= X509_V_FLAG_PARTIAL_CHAIN;
	CHECK(X509_VERIFY_PARAM_set_flags(rules, flags) == 1);
	// The library's own purposes refuse anyExtendedKeyUsage; check_usages asks instead.
	CHECK(X509_VERIFY_PARAM_set_purpose(rules, X509_PURPOSE_ANY) == 1);
	X509_VERIFY_PARAM_set_auth_level(rules, STRENGTH_LEVEL);
	X509_VERIFY_PARAM_set_depth(rules, VERIFY_DEPTH);
	X509_VERIFY_PARAM_set_time(rules, (time_t)(clock_wall_ns() / NS_PER_S));
	// DNS constraints are for DNS names (RFC 5280, 4.2.1.10); a common name is none.
	X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	X509_STORE_CTX_set_verify_cb(store, tolerate_lists);
}

// What level 2 lets by: it rounds 2041 bits of RSA up to 2048, and takes a curve spelt out in its
// parameters, which RFC 5480 (2.1.1) forbids.
static enum reason check_key(X509 *certificate, const char **why)
{
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	int explicit = 0;
	if (!key) {
		*why = "the public key does not parse";
		return REASON_certificate_invalid;
	}
	int kind = EVP_PKEY_get_base_id(key);
	bool rsa = kind == EVP_PKEY_RSA || kind == EVP_PKEY_RSA_PSS;
	if (rsa && EVP_PKEY_get_bits(key) < VERIFY_RSA_BITS) {
		*why = "an RSA key under 2048 bits";
		return REASON_certificate_weak;
	}
	if (kind == EVP_PKEY_EC &&
	        EVP_PKEY_get_int_param(
	                key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &explicit) == 1 &&
	        explicit) {
		*why = "a curve with explicit parameters";
		return REASON_certificate_invalid;
	}
	return REASON_NONE;
}

static void say(struct tls_peer *peer, const char *why, int depth, X509 *at)
{
	struct str subject = at ? facts_name(&peer->arena, X509_get_subject_name(at)) : STR("?");
	peer->detail = arena_printf(
	        &peer->arena, "%s at depth %d, subject %.*s", why, depth, STR_FMT(subject));
}

// RFC 5280, 4.2.1.12: where there is such an extension, in the leaf or above, it has to permit what
// the peer does, by its name or by permitting any. Without the extension all bits are set.
static enum reason check_usages(
        struct tls_peer *peer, STACK_OF(X509) * chain, const struct tls_context *context)
{
	bool server = context->side == TLS_OF_BACKEND;
	uint32_t usage = server ? XKU_SSL_SERVER : XKU_SSL_CLIENT;
	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *certificate = sk_X509_value(chain, i);
		if (X509_get_extended_key_usage(certificate) & (usage | XKU_ANYEKU))
			continue;
		say(peer,
		        server ? "the extended key usage lacks serverAuth"
		               : "the extended key usage lacks clientAuth",
		        i, certificate);
		return REASON_certificate_wrong_usage;
	}
	return REASON_NONE;
}

static enum reason check_keys(struct tls_peer *peer, STACK_OF(X509) * chain)
{
	for (int i = 0; i < sk_X509_num(chain); i++) {
		const char *why = NULL;
		enum reason reason = check_key(sk_X509_value(chain, i), &why);
		if (reason != REASON_NONE) {
			say(peer, why, i, sk_X509_value(chain, i));
			return reason;
		}
	}
	return REASON_NONE;
}

static void note_dates(struct tls_peer *peer, STACK_OF(X509) * chain)
{
	peer->begins_s = INT64_MIN;
	peer->expires_s = INT64_MAX;
	for (int i = 0; i < sk_X509_num(chain); i++) {
		const X509 *certificate = sk_X509_value(chain, i);
		int64_t begin = facts_time_s(X509_get0_notBefore(certificate));
		int64_t end = facts_time_s(X509_get0_notAfter(certificate));
		peer->begins_s = begin > peer->begins_s ? begin : peer->begins_s;
		peer->expires_s = end < peer->expires_s ? end : peer->expires_s;
	}
}

static enum reason judge_chain(
        struct tls_peer *peer, X509_STORE_CTX *store, const struct tls_context *context)
{
	set_rules(store, context);
	int verified = X509_verify_cert(store), error = X509_STORE_CTX_get_error(store);
	STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);
	if (verified != 1 || error != X509_V_OK || sk_X509_num(chain) < 1) {
		say(peer, X509_verify_cert_error_string(error),
		        X509_STORE_CTX_get_error_depth(store),
		        X509_STORE_CTX_get_current_cert(store));
		return fault_reason(error);
	}
	enum reason reason = check_keys(peer, chain);
	if (reason == REASON_NONE)
		reason = check_usages(peer, chain, context);
	if (reason == REASON_NONE)
		note_dates(peer, chain);
	return reason;
}

static bool issued_by_one(X509 *certificate, const STACK_OF(X509) * candidates)
{
	for (int i = 0; i < sk_X509_num(candidates); i++) {
		X509 *candidate = sk_X509_value(candidates, i);
		if (candidate != certificate &&
		        X509_check_issued(candidate, certificate) == X509_V_OK)
			return true;
	}
	return false;
}

// What was sent, less those that lead nowhere; NULL where that is all of it, or too much to look
// at.
static STACK_OF(X509) * without_dead_ends(X509_STORE_CTX *store, const struct tls_context *context)
{
	STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);
	if (sk_X509_num(sent) < 3 || sk_X509_num(sent) > ROADS_MAX)
		return NULL;
	STACK_OF(X509) *kept = sk_X509_dup(sent);
	CHECK(kept);
	for (int i = sk_X509_num(kept) - 1; i > 0; i--) {
		X509 *certificate = sk_X509_value(kept, i);
		if (issued_by_one(certificate, context->trust.authorities) ||
		        issued_by_one(certificate, kept))
			continue;
		(void)sk_X509_delete(kept, i);
		i = sk_X509_num(kept);  // what it issued may lead nowhere now
	}
	if (sk_X509_num(kept) < sk_X509_num(sent))
		return kept;
	sk_X509_free(kept);
	return NULL;
}

// The library follows the first issuer by name and never turns back: where two certificates of one
// CA were sent (cross-signing), it may have met the one that leads elsewhere.
static enum reason check_chain(
        struct tls_peer *peer, X509_STORE_CTX *store, const struct tls_context *context)
{
	enum reason reason = judge_chain(peer, store, context);
	STACK_OF(X509) *fewer = NULL;
	if (reason == REASON_certificate_untrusted)
		fewer = without_dead_ends(store, context);
	if (!fewer)
		return reason;
	struct str detail = peer->detail;
	X509_STORE_CTX *again = X509_STORE_CTX_new();
	CHECK(again && X509_STORE_CTX_init(again, X509_STORE_CTX_get0_store(store),
	                       X509_STORE_CTX_get0_cert(store), fewer) == 1);
	enum reason second = judge_chain(peer, again, context);
	X509_STORE_CTX_free(again);
	sk_X509_free(fewer);
	if (second != REASON_certificate_untrusted)
		return second;
	peer->detail = detail;
	return reason;
}

static enum reason check_leaf(struct tls_peer *peer, X509_STORE_CTX *store,
        const struct tls_context *context, const struct facts_totals *totals)
{
	X509 *leaf = X509_STORE_CTX_get0_cert(store);
	const char *why = NULL;
	enum reason reason = svid_check_readable(leaf, totals, &why);
	if (reason == REASON_NONE) {
		reason = check_chain(peer, store, context);
		if (reason != REASON_NONE)
			return reason;
		reason = context->by_name ? svid_check_server_usage(leaf, &why)
		                          : svid_check_usage(leaf, &why);
	}
	if (reason == REASON_NONE && !context->by_name)
		reason = svid_check_names(&peer->leaf, totals, &why);
	if (reason != REASON_NONE)
		say(peer, why, 0, leaf);
	return reason;
}

static void examine(struct tls_peer *peer, const struct tls_context *context, X509_STORE_CTX *store)
{
	struct facts_totals totals;
	peer->presented = true;
	peer->reason = REASON_certificate_invalid;  // until all of it is found good
	peer->detail = STR("not verified");
	facts_read(&peer->arena, X509_STORE_CTX_get0_cert(store), FACTS_PEER_NAMES, &peer->leaf,
	        &totals);
	if (totals.san_extensions == 1 && totals.uris == 1)
		peer->uri = peer->leaf.uri_sans[0];
	enum reason reason = check_leaf(peer, store, context, &totals);
	if (reason == REASON_NONE)
		peer->detail = str_of("", 0);
	peer->reason = reason;
}

void verify_peer(
        struct tls_session *session, const struct tls_context *context, X509_STORE_CTX *store)
{
	struct verdict_table *verdicts = context->verdicts;
	unsigned char key[VERDICT_KEY_SIZE];
	bool keyed = verdict_key(X509_STORE_CTX_get0_untrusted(store), key);
	if (keyed)
		session->verdict = verdict_find(verdicts, key, clock_wall_ns() / NS_PER_S);
	if (!session->verdict)
		examine(&session->peer, context, store);
	if (keyed && session->peer.presented && session->peer.reason == REASON_NONE)
		session->verdict = verdict_keep(verdicts, key, &session->peer);
}

// Whether the certificate is for that server, by its DNS and IP names alone (RFC 9525).
static void check_server_name(struct tls_session *session, X509 *leaf)
{
	enum { NO_ADDRESS = -2 };
	struct tls_peer *peer = &session->peer;
	const struct tls_certificate_facts *facts = &peer->leaf;
	const char *name = session->server_name;
	int good = X509_check_ip_asc(leaf, name, 0);
	if (good == NO_ADDRESS)
		good = X509_check_host(leaf, name, strlen(name),
		        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
		        NULL);
	if (good == 1)
		return;
	struct str first = facts->dns_san_count ? facts->dns_sans[0] : STR("no DNS name");
	peer->reason = REASON_identity_not_allowed;
	peer->detail = arena_printf(&peer->arena,
	        "the certificate is not for %s; its subject is %.*s, its first name %.*s", name,
	        STR_FMT(facts->subject), STR_FMT(first));
}

// `alert` mode: the verdict ends the handshake.
static int answer(struct tls_session *session, X509_STORE_CTX *store)
{
	const struct tls_peer *peer = tls_session_peer(session);
	session->fault = peer->reason;
	session->fault_detail = peer->detail;
	if (peer->reason == REASON_NONE && session->judge) {
		session->fault = session->judge(session->owner, peer);
		session->fault_detail = peer->uri;
	}
	if (session->fault == REASON_NONE)
		return 1;
	X509_STORE_CTX_set_error(store, fault_x509_error(session->fault));
	return 0;
}

static struct tls_session *session_of(X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	return SSL_get_app_data(ssl);
}

int verify_server(X509_STORE_CTX *store, void *unused)
{
	(void)unused;
	struct tls_session *session = session_of(store);
	CHECK(!session->peer.presented);
	examine(&session->peer, session->context, store);
	if (session->peer.reason == REASON_NONE && session->context->by_name)
		check_server_name(session, X509_STORE_CTX_get0_cert(store));
	ERR_clear_error();
	if (!answer(session, store))
		return 0;
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}

int verify_client(X509_STORE_CTX *store, void *unused)
{
	(void)unused;
	struct tls_session *session = session_of(store);
	// Sessions are not renegotiated, so an identity never changes under its connection.
	CHECK(!session->peer.presented && !session->verdict);
	verify_peer(session, session->context, store);
	if (session->verdict) {
		decode_keep(X509_STORE_CTX_get0_untrusted(store));
		resume_offer(session);
	}
	ERR_clear_error();
	if (session->context->alert && !answer(session, store))
		return 0;
	X509_STORE_CTX_set_error(store, X509_V_OK);
	return 1;
}
