#include "tls/context.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>

#include "tls/abuse.h"
#include "tls/decode.h"
#include "tls/expiry.h"
#include "tls/lookup.h"
#include "tls/pipe.h"
#include "tls/resume.h"
#include "tls/select.h"
#include "tls/session.h"
#include "tls/verdict.h"
#include "tls/verify.h"

// Forward secrecy and AEAD alone, the fast one first; TLS 1.2's suites HTTP/2 allows (RFC 9113,
// Appendix A).
static const char ciphers_1_2[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                  "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
                                  "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
static const char ciphers_1_3[] =
        "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
// P-521 is last and for its certificates' sake: TLS 1.2 refuses a key on a curve not listed here.
static const char groups[] = "X25519:P-256:P-384:P-521";
static const char signatures[] =
        "ecdsa_secp256r1_sha256:ed25519:rsa_pss_rsae_sha256:rsa_pss_pss_sha256:"
        "ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed448:"
        "rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:rsa_pss_pss_sha384:rsa_pss_pss_sha512:"
        "rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512";

enum {
	// Chains of RSA-4096 with room to spare; OpenSSL makes room for what is announced.
	CERTIFICATES_BYTES_MAX = 65536,
	// The lists above say what a handshake may use. At Debian's level 2 it would break off for
	// a weak client certificate, where `forbid` owes a 403; the chain has its level in
	// verify.c.
	HANDSHAKE_LEVEL = 1,
};

static void set_options(SSL_CTX *library)
{
	uint64_t options = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
	                   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
#ifdef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
	options |= SSL_OP_NO_RX_CERTIFICATE_COMPRESSION | SSL_OP_NO_TX_CERTIFICATE_COMPRESSION;
#endif
	SSL_CTX_set_options(library, options);
	// What a distribution's openssl.cnf may have loosened.
	SSL_CTX_clear_options(
	        library, SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION |
	                         SSL_OP_ALLOW_CLIENT_RENEGOTIATION | SSL_OP_LEGACY_SERVER_CONNECT |
	                         SSL_OP_NO_EXTENDED_MASTER_SECRET | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(library, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	CHECK(SSL_CTX_set_num_tickets(library, 0) == 1);  // see resume.h
	CHECK(SSL_CTX_set_max_early_data(library, 0) == 1);
}

static void set_algorithms(SSL_CTX *library, enum config_tls_version lowest)
{
	int version = lowest == TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
	SSL_CTX_set_security_level(library, HANDSHAKE_LEVEL);
	CHECK(SSL_CTX_set_min_proto_version(library, version) == 1);
	CHECK(SSL_CTX_set_max_proto_version(library, TLS1_3_VERSION) == 1);
	CHECK(SSL_CTX_set_cipher_list(library, ciphers_1_2) == 1);
	CHECK(SSL_CTX_set_ciphersuites(library, ciphers_1_3) == 1);
	CHECK(SSL_CTX_set1_groups_list(library, groups) == 1);
	CHECK(SSL_CTX_set1_sigalgs_list(library, signatures) == 1);
}

static X509_STORE *store_of(const struct material_trust *trust)
{
	X509_STORE *store = X509_STORE_new();
	CHECK(store);
	for (int i = 0; i < sk_X509_num(trust->authorities); i++)
		CHECK(X509_STORE_add_cert(store, sk_X509_value(trust->authorities, i)) == 1);
	for (int i = 0; trust->lists && i < sk_X509_CRL_num(trust->lists); i++)
		CHECK(X509_STORE_add_crl(store, sk_X509_CRL_value(trust->lists, i)) == 1);
	return store;
}

// No list of CA names is sent with the request: a client would hold its certificate back where none
// fits, and the record could only say "missing" for "untrusted".
static void set_verification(
        struct tls_context *context, int (*verify)(X509_STORE_CTX *, void *), bool required)
{
	int mode = SSL_VERIFY_PEER;
	if (context->alert && required)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(context->library, mode, NULL);
	SSL_CTX_set_cert_verify_callback(context->library, verify, NULL);
	SSL_CTX_set_max_cert_list(context->library, CERTIFICATES_BYTES_MAX);
	SSL_CTX_set_cert_store(context->library, store_of(&context->trust));
}

static bool set_certificates(struct tls_context *context)
{
	struct material_pair *first = &context->pairs[0];
	if (context->pair_count == 0)
		return true;
	return SSL_CTX_use_cert_and_key(
	               context->library, first->leaf, first->key, first->chain, 1) == 1;
}

static bool load(struct tls_context *context, const struct config_tls *tls, struct str key_path,
        struct config_problems *problems)
{
	// `check` comes with faulty configs too: what was not understood there is missing here.
	bool loaded = tls->certificate_count > 0 || tls->side == TLS_OF_BACKEND;
	context->pair_count = tls->certificate_count;
	context->pairs = must_alloc(tls->certificate_count * sizeof(*context->pairs));
	for (size_t i = 0; i < tls->certificate_count; i++) {
		struct str key = tls->side == TLS_OF_LISTENER
		                         ? arena_printf(&context->arena, "%.*s.certificates[%zu]",
		                                   STR_FMT(key_path), i)
		                         : key_path;
		loaded &= material_pair_load(
		        &context->pairs[i], &tls->certificates[i], key, &context->arena, problems);
	}
	loaded &= material_trust_load(&context->trust, tls, key_path, &context->arena, problems);
	if (tls->certificate_count)
		loaded &= ticket_keys_load(&context->tickets, tls, key_path, problems);
	return loaded;
}

static void set_up(
        struct tls_context *context, const struct config_tls *tls, const SSL_METHOD *method)
{
	expiry_collect(context, tls);
	lookup_begin();
	context->library = SSL_CTX_new_ex(NULL, LOOKUP_QUERY, method);
	CHECK(context->library);
	context->pipe = pipe_method_new();
	set_options(context->library);
	set_algorithms(context->library, tls->min_version);
	SSL_CTX_set_info_callback(context->library, abuse_watch);
}

static void set_up_serving(struct tls_context *context, const struct config_tls *tls)
{
	set_up(context, tls, TLS_server_method());
	CHECK(SSL_CTX_set1_client_sigalgs_list(context->library, signatures) == 1);
	context->verdicts = verdict_table_new();
	context->resume = resume_store_new(context->library);
	context->decoded = decode_table_new();
	context->alert = tls->on_unauthenticated == UNAUTHENTICATED_ALERT;
	ticket_set_up(context);
	set_verification(context, verify_client, tls->require_client_certificate);
	SSL_CTX_set_alpn_select_cb(
	        context->library, tls->side == TLS_OF_ADMIN ? select_http1 : select_protocol, NULL);
	if (context->pair_count > 1)
		SSL_CTX_set_cert_cb(context->library, select_certificate, context);
}

// No session is kept: one that is taken up again shows no certificate.
static void set_up_dialling(struct tls_context *context, const struct config_tls *tls)
{
	set_up(context, tls, TLS_client_method());
	SSL_CTX_set_session_cache_mode(context->library, SSL_SESS_CACHE_OFF);
	context->alert = true;
	context->by_name = tls->match_subject_alt_names.count == 0;
	set_verification(context, verify_server, true);
}

struct tls_context *tls_context_new(
        const struct config_tls *tls, struct str key_path, struct config_problems *problems)
{
	struct tls_context *context = must_alloc(sizeof(*context));
	atomic_init(&context->references, 1);
	context->side = tls->side;
	ERR_clear_error();
	if (!load(context, tls, key_path, problems))
		goto fail;
	if (tls->side == TLS_OF_BACKEND)
		set_up_dialling(context, tls);
	else
		set_up_serving(context, tls);
	if (!set_certificates(context)) {
		config_problem_add(problems, tls->certificates[0].certificate_chain.mark, key_path,
		        "%.*s: OpenSSL will not serve it: %s",
		        STR_FMT(tls->certificates[0].certificate_chain.text),
		        ERR_reason_error_string(ERR_peek_last_error()));
		goto fail;
	}
	ERR_clear_error();
	return context;

fail:
	ERR_clear_error();
	tls_context_unref(context);
	return NULL;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
	atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
	return context;
}

void tls_context_unref(struct tls_context *context)
{
	if (!context)
		return;
	if (atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
		return;
	resume_store_free(context->resume);
	decode_table_free(context->decoded);
	verdict_table_free(context->verdicts);
	SSL_CTX_free(context->library);
	BIO_meth_free(context->pipe);
	for (size_t i = 0; i < context->pair_count; i++)
		material_pair_fini(&context->pairs[i]);
	free(context->pairs);
	material_trust_fini(&context->trust);
	ticket_keys_wipe(&context->tickets);
	arena_fini(&context->arena);
	free(context);
}

void tls_context_each(const struct tls_context *context,
        void (*visit)(const char *role, const struct tls_certificate_facts *facts, void *argument),
        void *argument)
{
	for (size_t i = 0; i < context->pair_count; i++)
		visit("certificate", &context->pairs[i].facts, argument);
	for (int i = 0; i < sk_X509_num(context->trust.authorities); i++)
		visit("trusted_ca", &context->trust.facts[i], argument);
}

void tls_context_expiries(const struct tls_context *context,
        void (*visit)(const struct tls_expiry *expiry, void *argument), void *argument)
{
	for (size_t i = 0; i < context->expiry_count; i++)
		visit(&context->expiries[i], argument);
}

const char *tls_library_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}
