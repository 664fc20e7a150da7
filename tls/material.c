#include "tls/material.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tls/facts.h"
#include "tls/pem.h"
#include "tls/sha256.h"
#include "tls/verify.h"

static struct str key_below(struct arena *arena, struct str key_path, const char *name)
{
	return arena_printf(arena, "%.*s.%s", STR_FMT(key_path), name);
}

static int64_t now_s(void)
{
	return clock_wall_ns() / NS_PER_S;
}

static bool check_dates(const struct pem_place *place, const struct tls_certificate_facts *facts)
{
	if (now_s() > facts->not_after_s)
		pem_complain(place,
		        "the certificate (%.*s) expired at %.*s; expected one in its dates",
		        STR_FMT(facts->subject), STR_FMT(facts->not_after));
	else if (now_s() < facts->not_before_s)
		pem_complain(place,
		        "the certificate (%.*s) is not valid before %.*s; expected one in its "
		        "dates",
		        STR_FMT(facts->subject), STR_FMT(facts->not_before));
	else
		return true;
	return false;
}

// Kinds of keys the handshake has signatures for, strong enough for today's clients.
static bool check_strength(const struct pem_place *place, EVP_PKEY *key)
{
	static const char expected[] = "expected RSA of 2048 bits or more, P-256, P-384, P-521, "
	                               "Ed25519 or Ed448";
	int bits = EVP_PKEY_get_bits(key);
	switch (EVP_PKEY_get_base_id(key)) {
	case EVP_PKEY_RSA:
	case EVP_PKEY_RSA_PSS:
		if (bits >= VERIFY_RSA_BITS)
			return true;
		pem_complain(place, "the RSA key has %d bits; %s", bits, expected);
		return false;
	case EVP_PKEY_EC:
		if (bits == 256 || bits == 384 || bits == 521)
			return true;
		pem_complain(place, "the elliptic curve has %d bits; %s", bits, expected);
		return false;
	case EVP_PKEY_ED25519:
	case EVP_PKEY_ED448:
		return true;
	default:
		pem_complain(place, "this kind of key is of no use in TLS; %s", expected);
		return false;
	}
}

static bool issued_one_before(const struct material_pair *pair, int index)
{
	X509 *issuer = sk_X509_value(pair->chain, index);
	bool issued = X509_check_issued(issuer, pair->leaf) == X509_V_OK;
	for (int i = 0; !issued && i < index; i++)
		issued = X509_check_issued(issuer, sk_X509_value(pair->chain, i)) == X509_V_OK;
	return issued;
}

// Clients build their way to a root of theirs from what is sent: what leads nowhere (the
// intermediate of last year) lets them fail.
static bool check_chain(
        const struct pem_place *place, const struct material_pair *pair, struct arena *arena)
{
	for (int i = 0; i < sk_X509_num(pair->chain); i++) {
		if (issued_one_before(pair, i))
			continue;
		struct str subject = facts_name(
		        arena, X509_get_subject_name(sk_X509_value(pair->chain, i)));
		pem_complain(place,
		        "certificate %d (%.*s) issued none of those before it; expected the "
		        "gateway's own, then its issuer, and so on",
		        i + 2, STR_FMT(subject));
		ERR_clear_error();
		return false;
	}
	ERR_clear_error();
	return true;
}

// Whose key is it then? The usual mistake is a chain in the wrong order.
static bool check_match(const struct pem_place *place, const struct material_pair *pair,
        const struct config_certificate *files)
{
	bool match = X509_check_private_key(pair->leaf, pair->key) == 1;
	for (int i = 0; !match && i < sk_X509_num(pair->chain); i++)
		if (X509_check_private_key(sk_X509_value(pair->chain, i), pair->key) == 1) {
			pem_complain(place,
			        "belongs to certificate %d of %.*s; expected that one to come "
			        "first",
			        i + 2, STR_FMT(files->certificate_chain.text));
			return false;
		}
	if (!match)
		pem_complain(place,
		        "does not belong to the certificate (%.*s) in %.*s; expected its key",
		        STR_FMT(pair->facts.subject), STR_FMT(files->certificate_chain.text));
	ERR_clear_error();
	return match;
}

bool material_pair_load(struct material_pair *pair, const struct config_certificate *files,
        struct str key_path, struct arena *arena, struct config_problems *problems)
{
	struct pem_place chain = {&files->certificate_chain,
	        key_below(arena, key_path, "certificate_chain"), problems};
	struct pem_place key = {
	        &files->private_key, key_below(arena, key_path, "private_key"), problems};
	struct facts_totals totals;
	bool good = true;
	pair->chain = pem_certificates(&chain, "CERTIFICATE blocks, the gateway's own first");
	if (pair->chain) {
		pair->leaf = sk_X509_shift(pair->chain);
		facts_read(arena, pair->leaf, FACTS_OWN_NAMES, &pair->facts, &totals);
		good = check_dates(&chain, &pair->facts);
	}
	pair->key = pem_private_key(&key, files->reader);
	if (pair->key)
		good &= check_strength(&key, pair->key);
	if (pair->leaf && pair->key)
		good &= check_match(&key, pair, files) && check_chain(&chain, pair, arena);
	return good && pair->leaf && pair->key;
}

void material_pair_fini(struct material_pair *pair)
{
	X509_free(pair->leaf);
	sk_X509_pop_free(pair->chain, X509_free);
	EVP_PKEY_free(pair->key);
}

// Every certificate in the bundle is trusted as it stands, so each must be a CA: a leaf there would
// let its holder in past every rule for chains.
static bool check_authorities(const struct pem_place *place, struct material_trust *trust)
{
	bool good = true;
	for (int i = 0; i < sk_X509_num(trust->authorities); i++) {
		X509 *authority = sk_X509_value(trust->authorities, i);
		const struct tls_certificate_facts *facts = &trust->facts[i];
		if (X509_check_ca(authority) == 0) {
			pem_complain(place,
			        "certificate %d (%.*s) is no CA; expected CA certificates only",
			        i + 1, STR_FMT(facts->subject));
			good = false;
		}
	}
	return good;
}

static bool issued_in_bundle(X509 *authority, const STACK_OF(X509) * bundle)
{
	for (int i = 0; i < sk_X509_num(bundle); i++)
		if (X509_check_issued(sk_X509_value(bundle, i), authority) == X509_V_OK)
			return true;
	return false;
}

static bool find_lone_intermediate(const STACK_OF(X509) * bundle)
{
	for (int i = 0; i < sk_X509_num(bundle); i++)
		if (!issued_in_bundle(sk_X509_value(bundle, i), bundle))
			return true;
	return false;
}

// A list that bears a trusted CA's name and not its signature would refuse all of its clients.
// Lists of issuers outside the bundle are fine: intermediates come with the client.
static bool is_forged(X509_CRL *list, const STACK_OF(X509) * bundle)
{
	bool named = false, signed_by_one = false;
	for (int i = 0; i < sk_X509_num(bundle); i++) {
		X509 *authority = sk_X509_value(bundle, i);
		if (X509_NAME_cmp(X509_get_subject_name(authority), X509_CRL_get_issuer(list)))
			continue;
		named = true;
		signed_by_one |= X509_CRL_verify(list, X509_get0_pubkey(authority)) == 1;
	}
	ERR_clear_error();
	return named && !signed_by_one;
}

static bool check_list(const struct pem_place *place, X509_CRL *list, int number,
        const STACK_OF(X509) * bundle, struct arena *arena)
{
	struct str issuer = facts_name(arena, X509_CRL_get_issuer(list));
	if (is_forged(list, bundle)) {
		pem_complain(place,
		        "list %d (%.*s) is not signed by the trusted CA of that name; expected "
		        "that CA's own list",
		        number, STR_FMT(issuer));
		return false;
	}
	return true;
}

static bool load_lists(
        struct material_trust *trust, const struct pem_place *place, struct arena *arena)
{
	bool good = true;
	trust->lists = pem_lists(place);
	for (int i = 0; trust->lists && i < sk_X509_CRL_num(trust->lists); i++)
		good &= check_list(place, sk_X509_CRL_value(trust->lists, i), i + 1,
		        trust->authorities, arena);
	return good && trust->lists;
}

static bool load_authorities(
        struct material_trust *trust, const struct pem_place *place, struct arena *arena)
{
	trust->authorities = pem_certificates(place, "CERTIFICATE blocks of the CAs to trust");
	if (!trust->authorities)
		return false;
	int count = sk_X509_num(trust->authorities);
	struct facts_totals totals;
	trust->facts = must_alloc((size_t)count * sizeof(*trust->facts));
	for (int i = 0; i < count; i++)
		facts_read(arena, sk_X509_value(trust->authorities, i), FACTS_PEER_NAMES,
		        &trust->facts[i], &totals);
	trust->has_lone_intermediate = find_lone_intermediate(trust->authorities);
	return check_authorities(place, trust);
}

// Equal where chains are judged alike.
static bool digest_trust(struct material_trust *trust)
{
	EVP_MD_CTX *sum = EVP_MD_CTX_new();
	unsigned char one[EVP_MAX_MD_SIZE];
	unsigned size;
	CHECK(sum && EVP_DigestInit_ex(sum, sha256(), NULL) == 1);
	bool good = true;
	for (int i = 0; good && i < sk_X509_num(trust->authorities); i++)
		good = X509_digest(sk_X509_value(trust->authorities, i), sha256(), one, &size) ==
		               1 &&
		       EVP_DigestUpdate(sum, one, size) == 1;
	good = good && EVP_DigestUpdate(sum, trust->lists ? "+" : "-", 1) == 1;
	for (int i = 0; good && trust->lists && i < sk_X509_CRL_num(trust->lists); i++)
		good = X509_CRL_digest(sk_X509_CRL_value(trust->lists, i), sha256(), one, &size) ==
		               1 &&
		       EVP_DigestUpdate(sum, one, size) == 1;
	good = good && EVP_DigestFinal_ex(sum, trust->digest, &size) == 1;
	EVP_MD_CTX_free(sum);
	return good;
}

bool material_trust_load(struct material_trust *trust, const struct config_tls *tls,
        struct str key_path, struct arena *arena, struct config_problems *problems)
{
	struct str key = tls->side == TLS_OF_LISTENER
	                         ? key_below(arena, key_path, "validation_context")
	                         : key_path;
	struct pem_place bundle = {&tls->trusted_ca, key_below(arena, key, "trusted_ca"), problems};
	struct pem_place lists = {&tls->crl, key_below(arena, key, "crl"), problems};
	bool good = load_authorities(trust, &bundle, arena);
	if (tls->crl.text.len)
		good &= load_lists(trust, &lists, arena);
	if (good)
		CHECK(digest_trust(trust));
	return good;
}

void material_trust_fini(struct material_trust *trust)
{
	sk_X509_pop_free(trust->authorities, X509_free);
	sk_X509_CRL_pop_free(trust->lists, X509_CRL_free);
	free(trust->facts);
}

bool tls_roots_check(
        const struct config_text *file, struct str key, struct config_problems *problems)
{
	const struct pem_place place = {.file = file, .key = key, .problems = problems};
	STACK_OF(X509) *roots = pem_certificates(&place, "CERTIFICATE blocks of the CAs to trust");
	sk_X509_pop_free(roots, X509_free);
	return roots;
}
