// A client's certificate as arbitrary DER, through everything that looks at one: facts, the rules
// of X509-SVID, the chain. As it came it must never verify, for no CA we trust has signed it;
// signed anew by that CA it may only where a second look at the same certificate finds it good too.
//   choices \n DER
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "gateway/client_certificate.h"
#include "policy/spiffe.h"
#include "tests/fuzz/fuzz.h"
#include "tests/tls/gate.h"
#include "tls/context.h"
#include "tls/facts.h"
#include "tls/session.h"
#include "tls/verify.h"

static struct gate *gate;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	void *state;
	CHECK(gate_open(&state) == 0);
	gate = state;
	desk_fini(&gate->desk);
	return 0;
}

static X509 *read_der(struct str der)
{
	const unsigned char *at = (const unsigned char *)der.at;
	return d2i_X509(NULL, &at, (long)der.len);
}

// As our CA would sign it, and as it would then come over the wire.
static X509 *signed_anew(X509 *x509)
{
	unsigned char *der = NULL;
	X509 *copy = NULL;
	// It may name another key, which then would be looked for.
	for (int at; (at = X509_get_ext_by_NID(x509, NID_authority_key_identifier, -1)) >= 0;)
		X509_EXTENSION_free(X509_delete_ext(x509, at));
	if (X509_set_issuer_name(x509, X509_get_subject_name(gate->root.x509)) == 1 &&
	        X509_sign(x509, gate->root.key, EVP_sha256()) > 0) {
		int len = i2d_X509(x509, &der);
		if (len > 0)
			copy = read_der(str_of((char *)der, (size_t)len));
	}
	OPENSSL_free(der);
	X509_free(x509);
	return copy;
}

static void judge(X509 *leaf, struct tls_session *session)
{
	X509_STORE_CTX *store = X509_STORE_CTX_new();
	X509_STORE *trust = SSL_CTX_get_cert_store(gate->context->library);
	CHECK(X509_STORE_CTX_init(store, trust, leaf, NULL) == 1);
	CHECK(X509_STORE_CTX_set_ex_data(
	              store, SSL_get_ex_data_X509_STORE_CTX_idx(), session->ssl) == 1);
	CHECK(verify_client(store, NULL) == 1);
	X509_STORE_CTX_free(store);
}

static void check_facts(const struct tls_certificate_facts *facts)
{
	struct buffer all = {0};  // every text is read to its end
	CHECK(facts->sha256.len == 64);
	CHECK(facts->uri_san_count <= FACTS_PEER_NAMES && facts->dns_san_count <= FACTS_PEER_NAMES);
	const struct str texts[] = {
	        facts->subject, facts->issuer, facts->serial, facts->not_before, facts->not_after};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		CHECK(texts[i].len <= FACTS_TEXT_MAX);
		buffer_append_str(&all, texts[i]);
	}
	for (size_t i = 0; i < facts->uri_san_count; i++)
		buffer_append_str(&all, facts->uri_sans[i]);
	for (size_t i = 0; i < facts->dns_san_count; i++)
		buffer_append_str(&all, facts->dns_sans[i]);
	buffer_fini(&all);
}

// What must be true of whoever was let in, asked of the library in another way.
static void check_good(X509 *leaf, const struct tls_peer *peer)
{
	uint32_t usage = X509_get_key_usage(leaf);
	int critical = 0, uris = 0;
	time_t now = NOW_S;
	CHECK(X509_check_ca(leaf) == 0 && X509_get_version(leaf) == X509_VERSION_3);
	CHECK(usage != UINT32_MAX && (usage & KU_DIGITAL_SIGNATURE));
	CHECK(!(usage & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)));
	CHECK(X509_get_extended_key_usage(leaf) & (XKU_SSL_CLIENT | XKU_ANYEKU));
	CHECK(X509_cmp_time(X509_get0_notBefore(leaf), &now) < 0);
	CHECK(X509_cmp_time(X509_get0_notAfter(leaf), &now) > 0);
	CHECK(peer->expires_s >= NOW_S);
	CHECK(peer->expires_s <= facts_time_s(X509_get0_notAfter(leaf)));
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
	CHECK(names);  // NULL where there are several such extensions
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
		uris += sk_GENERAL_NAME_value(names, i)->type == GEN_URI;
	CHECK(uris == 1 && peer->uri.len && !has_control_bytes(peer->uri));
	GENERAL_NAMES_free(names);
	EVP_PKEY *key = X509_get0_pubkey(leaf);
	CHECK(key && EVP_PKEY_get_security_bits(key) >= 112);
}

// Whoever has an identity gets a header of printable bytes.
static void check_identity(const struct tls_peer *peer)
{
	struct spiffe_id id;
	struct arena arena = {0};
	const char *why;
	if (spiffe_id_parse(peer->uri, &id, &why)) {
		struct str header = client_certificate_header(peer, STR(""), &arena);
		CHECK(str_ends(header, id.text));
		for (size_t i = 0; i < header.len; i++)
			CHECK(header.at[i] >= 0x20 && header.at[i] < 0x7f);
	}
	arena_fini(&arena);
}

static void check_leaf(X509 *leaf, bool ours)
{
	struct buffer out = {0};
	struct tls_session *session = tls_session_new(gate->context, &out, NULL, NULL);
	const struct tls_peer *peer = &session->peer;
	judge(leaf, session);
	CHECK(peer->presented && (peer->reason == REASON_NONE) == (peer->detail.len == 0));
	CHECK(ours || peer->reason != REASON_NONE);
	check_facts(&peer->leaf);
	if (peer->reason == REASON_NONE) {
		check_good(leaf, peer);
		check_identity(peer);
	}
	CHECK(ERR_peek_error() == 0);
	tls_session_free(session);
	buffer_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dice all = dice_of(data, size), choices = {dice_line(&all)};
	struct str der = own_copy(dice_rest(&all));
	X509 *leaf = read_der(der);
	bool ours = dice(&choices, 2);
	if (leaf && ours)
		leaf = signed_anew(leaf);
	ERR_clear_error();
	if (leaf)
		check_leaf(leaf, ours);
	X509_free(leaf);
	own_free(der);
	return 0;
}
