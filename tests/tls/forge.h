// For the tests of this folder: makes papers (a certificate and its key), good or with any flaw,
// and writes them into a directory that goes with the program. What a draft leaves NULL is as it
// should be; what it has as "" is left out.
#ifndef TESTS_TLS_FORGE_H
#define TESTS_TLS_FORGE_H

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/str.h"

enum { HOUR = 3600, DAY = 24 * HOUR };

#define WEB_ID "spiffe://cluster.local/ns/web/sa/web"
#define NOW_S INT64_C(1795451400)  // 2026-11-23T16:30:00Z; every test stands at it

struct paper {
	X509 *x509;
	EVP_PKEY *key;
};

struct draft {
	const char *cn;
	const char *key;     // "P-256" "P-384" "P-521" "RSA-2048" ... "ED25519"
	const char *digest;  // "SHA256"
	const char *constraints, *usage, *extended, *names;
	const char *second_names;      // of a second SAN extension
	const char *name_constraints;  // none
	struct str raw_uri;            // a URI SAN as these very bytes, instead of `names`
	struct str raw_san;            // the whole SAN extension's value, instead of `names`
	int64_t from_s, to_s;          // counted from now; 0: an hour ago, a day ahead
	bool ca, v1, unknown_critical, broken_signature, explicit_curve, no_key_ids;
	bool claims_v2;                 // with extensions all the same
	const struct paper *key_of;     // shares this one's key
	const struct paper *key_id_of;  // claims this one's key identifier
	const char *issuer_cn;          // claims to be issued by this name, whoever signs
};

static inline EVP_PKEY *forge_rsa(unsigned bits)
{
	static EVP_PKEY *made[5];  // slow to make, never the thing under test
	static const unsigned sizes[5] = {1024, 2040, 2047, 2048, 4096};
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		if (sizes[i] != bits)
			continue;
		if (!made[i])
			made[i] = EVP_RSA_gen(bits);
		CHECK(made[i] && EVP_PKEY_up_ref(made[i]) == 1);
		return made[i];
	}
	CHECK(!"an RSA size the table knows");
	return NULL;
}

static inline EVP_PKEY *forge_explicit_curve(void)
{
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
	CHECK(EVP_PKEY_keygen_init(maker) == 1);
	CHECK(EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker, NID_X9_62_prime256v1) == 1);
	CHECK(EVP_PKEY_CTX_set_ec_param_enc(maker, OPENSSL_EC_EXPLICIT_CURVE) == 1);
	CHECK(EVP_PKEY_keygen(maker, &key) == 1);
	EVP_PKEY_CTX_free(maker);
	return key;
}

static inline EVP_PKEY *forge_key(const struct draft *draft)
{
	const char *kind = draft->key ? draft->key : "P-256";
	if (draft->key_of) {
		EVP_PKEY_up_ref(draft->key_of->key);
		return draft->key_of->key;
	}
	if (draft->explicit_curve)
		return forge_explicit_curve();
	if (strncmp(kind, "RSA-", 4) == 0)
		return forge_rsa((unsigned)atoi(kind + 4));
	EVP_PKEY *key = strncmp(kind, "ED", 2) == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, kind)
	                                            : EVP_EC_gen(kind);
	CHECK(key);
	return key;
}

static inline void forge_extension(X509 *x509, X509V3_CTX *around, int kind, const char *value)
{
	if (!value || !*value)
		return;
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, around, kind, value);
	CHECK(extension && X509_add_ext(x509, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

static inline void forge_raw_extension(X509 *x509, const char *oid, bool critical, struct str value)
{
	ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
	CHECK(ASN1_OCTET_STRING_set(octets, (const uint8_t *)value.at, (int)value.len) == 1);
	X509_EXTENSION *extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, octets);
	CHECK(extension && X509_add_ext(x509, extension, -1) == 1);
	X509_EXTENSION_free(extension);
	ASN1_OBJECT_free(object);
	ASN1_OCTET_STRING_free(octets);
}

static inline void forge_raw_uri(X509 *x509, struct str uri)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();
	CHECK(ASN1_STRING_set(text, uri.at, (int)uri.len) == 1);
	GENERAL_NAME_set0_value(name, GEN_URI, text);
	CHECK(sk_GENERAL_NAME_push(names, name) > 0);
	CHECK(X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 0, 0) == 1);
	GENERAL_NAMES_free(names);
}

static inline const char *forge_default(const char *given, const char *otherwise)
{
	return given ? given : otherwise;
}

static inline void forge_extensions(X509 *x509, X509 *issuer, const struct draft *draft)
{
	X509V3_CTX around;
	X509V3_set_ctx(&around, issuer, x509, NULL, NULL, 0);
	bool ca = draft->ca;
	forge_extension(x509, &around, NID_basic_constraints,
	        forge_default(draft->constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE"));
	forge_extension(x509, &around, NID_key_usage,
	        forge_default(draft->usage,
	                ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature"));
	forge_extension(x509, &around, NID_ext_key_usage,
	        forge_default(draft->extended, ca ? "" : "clientAuth"));
	if (draft->key_id_of)
		CHECK(X509_add1_ext_i2d(x509, NID_subject_key_identifier,
		              (void *)(uintptr_t)X509_get0_subject_key_id(draft->key_id_of->x509),
		              0, 0) == 1);
	else if (!draft->no_key_ids)
		forge_extension(x509, &around, NID_subject_key_identifier, "hash");
	if (!draft->no_key_ids && X509_get0_subject_key_id(issuer))
		forge_extension(x509, &around, NID_authority_key_identifier, "keyid");
	if (draft->raw_uri.at)
		forge_raw_uri(x509, draft->raw_uri);
	else if (draft->raw_san.at)
		forge_raw_extension(x509, "2.5.29.17", false, draft->raw_san);
	else
		forge_extension(x509, &around, NID_subject_alt_name,
		        forge_default(draft->names, ca ? "" : "URI:" WEB_ID));
	forge_extension(x509, &around, NID_subject_alt_name, draft->second_names);
	forge_extension(x509, &around, NID_name_constraints, draft->name_constraints);
	if (draft->unknown_critical)
		forge_raw_extension(x509, "1.2.3.4.5", true, STR("\x05\x00"));
}

static inline void forge_cn(X509_NAME *name, const char *cn)
{
	CHECK(X509_NAME_add_entry_by_txt(
	              name, "CN", MBSTRING_UTF8, (const uint8_t *)cn, -1, -1, 0) == 1);
}

static inline void forge_sign(X509 *x509, EVP_PKEY *key, const char *digest)
{
	bool edwards = EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
	const EVP_MD *how = edwards ? NULL : EVP_get_digestbyname(digest ? digest : "SHA256");
	CHECK(X509_sign(x509, key, how) > 0);
}

static inline void forge_break_signature(X509 *x509)
{
	const ASN1_BIT_STRING *signature;
	X509_get0_signature(&signature, NULL, x509);
	// The last byte of s: still well-formed, only wrong.
	((ASN1_BIT_STRING *)(uintptr_t)signature)->data[signature->length - 1] ^= 1;
}

// `issuer` NULL: self-signed.
static inline struct paper forge(const struct draft *draft, const struct paper *issuer)
{
	static int64_t serial = 1000;
	struct paper made = {X509_new(), forge_key(draft)};
	if (!issuer)
		issuer = &made;
	X509 *x509 = made.x509;
	int version = draft->v1          ? X509_VERSION_1
	              : draft->claims_v2 ? X509_VERSION_2
	                                 : X509_VERSION_3;
	CHECK(X509_set_version(x509, version) == 1);
	CHECK(X509_set_pubkey(x509, made.key) == 1);
	CHECK(ASN1_INTEGER_set_int64(X509_get_serialNumber(x509), ++serial) == 1);
	forge_cn(X509_get_subject_name(x509), forge_default(draft->cn, "client"));
	CHECK(X509_set_issuer_name(x509, X509_get_subject_name(issuer->x509)) == 1);
	if (draft->issuer_cn) {
		X509_NAME *claimed = X509_NAME_new();
		forge_cn(claimed, draft->issuer_cn);
		CHECK(X509_set_issuer_name(x509, claimed) == 1);
		X509_NAME_free(claimed);
	}
	int64_t from_s = draft->from_s ? draft->from_s : -HOUR;
	int64_t to_s = draft->to_s ? draft->to_s : DAY;
	CHECK(ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)(NOW_S + from_s)));
	CHECK(ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)(NOW_S + to_s)));
	if (!draft->v1)
		forge_extensions(x509, issuer->x509, draft);
	forge_sign(x509, issuer->key, draft->digest);
	if (draft->broken_signature)
		forge_break_signature(x509);
	return made;
}

static inline void paper_fini(struct paper *paper)
{
	X509_free(paper->x509);
	EVP_PKEY_free(paper->key);
	*paper = (struct paper){0};
}

static inline X509_CRL *forge_list(
        const struct paper *issuer, const X509 *revoked, int64_t from_s, int64_t to_s)
{
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)(NOW_S + from_s));
	ASN1_TIME *to = ASN1_TIME_set(NULL, (time_t)(NOW_S + to_s));
	CHECK(X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1);
	CHECK(X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->x509)) == 1);
	CHECK(X509_CRL_set1_lastUpdate(list, from) && X509_CRL_set1_nextUpdate(list, to));
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();
		ASN1_INTEGER *serial = ASN1_INTEGER_dup(X509_get0_serialNumber(revoked));
		CHECK(X509_REVOKED_set_serialNumber(entry, serial) == 1);
		CHECK(X509_REVOKED_set_revocationDate(entry, from) == 1);
		CHECK(X509_CRL_add0_revoked(list, entry) == 1);
		ASN1_INTEGER_free(serial);
	}
	CHECK(X509_CRL_sign(list, issuer->key, EVP_sha256()) > 0);
	ASN1_TIME_free(to);
	ASN1_TIME_free(from);
	return list;
}

#endif
