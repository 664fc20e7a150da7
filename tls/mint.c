#include "tls/mint.h"

#include <openssl/ec.h>
#include <openssl/x509v3.h>

#include "base/check.h"
#include "tls/digest.h"

static void set_serial(X509 *certificate)
{
	// RFC 5280, 4.1.2.2: positive, at most 20 octets.
	unsigned char bytes[16];
	digest_random(bytes, sizeof(bytes));
	bytes[0] = (bytes[0] & 0x7f) | 0x40;
	BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	CHECK(number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)));
	BN_free(number);
}

static void set_subject(X509 *certificate, const char *common_name)
{
	X509_NAME *subject = X509_get_subject_name(certificate);
	CHECK(X509_NAME_add_entry_by_txt(
	              subject, "CN", MBSTRING_UTF8, (const uint8_t *)common_name, -1, -1, 0) == 1);
}

static void set_dates(X509 *certificate, int64_t from_s, int64_t to_s)
{
	CHECK(ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)from_s));
	CHECK(ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)to_s));
}

static void add_extension(X509 *certificate, X509V3_CTX *around, int kind, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, around, kind, value);
	CHECK(extension && X509_add_ext(certificate, extension, -1) == 1);
	X509_EXTENSION_free(extension);
}

static void add_extensions(X509 *certificate, X509 *issuer, const struct mint_order *order)
{
	X509V3_CTX around;
	bool authority = order->role == MINT_AUTHORITY;
	X509V3_set_ctx(&around, issuer, certificate, NULL, NULL, 0);
	add_extension(certificate, &around, NID_basic_constraints,
	        authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
	add_extension(certificate, &around, NID_key_usage,
	        authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
	add_extension(certificate, &around, NID_subject_key_identifier, "hash");
	add_extension(certificate, &around, NID_authority_key_identifier, "keyid:always");
	add_extension(certificate, &around, NID_subject_alt_name, order->names);
	switch (order->role) {
	case MINT_AUTHORITY:
		break;
	case MINT_GATEWAY:
		add_extension(certificate, &around, NID_ext_key_usage, "serverAuth,clientAuth");
		break;
	case MINT_CLIENT:
		add_extension(certificate, &around, NID_ext_key_usage, "clientAuth");
		break;
	}
}

struct minted mint(const struct mint_order *order, const struct minted *issuer)
{
	struct minted made = {X509_new(), EVP_EC_gen("P-256")};
	CHECK(made.certificate && made.key);
	if (!issuer)
		issuer = &made;
	CHECK(X509_set_version(made.certificate, X509_VERSION_3) == 1);
	CHECK(X509_set_pubkey(made.certificate, made.key) == 1);
	set_serial(made.certificate);
	set_subject(made.certificate, order->common_name);
	CHECK(X509_set_issuer_name(made.certificate, X509_get_subject_name(issuer->certificate)) ==
	        1);
	set_dates(made.certificate, order->from_s, order->to_s);
	add_extensions(made.certificate, issuer->certificate, order);
	CHECK(X509_sign(made.certificate, issuer->key, EVP_sha256()) > 0);
	return made;
}

void mint_fini(struct minted *minted)
{
	X509_free(minted->certificate);
	EVP_PKEY_free(minted->key);
	*minted = (struct minted){0};
}

static void add_revoked(X509_CRL *list, const X509 *revoked, int64_t when_s)
{
	X509_REVOKED *entry = X509_REVOKED_new();
	ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)when_s);
	ASN1_INTEGER *serial = ASN1_INTEGER_dup(X509_get0_serialNumber(revoked));
	CHECK(entry && when && serial);
	CHECK(X509_REVOKED_set_serialNumber(entry, serial) == 1);
	CHECK(X509_REVOKED_set_revocationDate(entry, when) == 1);
	CHECK(X509_CRL_add0_revoked(list, entry) == 1);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(when);
}

X509_CRL *mint_list(const struct minted *issuer, const X509 *revoked, int64_t from_s, int64_t to_s)
{
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)from_s);
	ASN1_TIME *to = ASN1_TIME_set(NULL, (time_t)to_s);
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	CHECK(list && from && to && number && ASN1_INTEGER_set(number, 1) == 1);
	CHECK(X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1);
	CHECK(X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->certificate)) == 1);
	CHECK(X509_CRL_set1_lastUpdate(list, from) == 1 && X509_CRL_set1_nextUpdate(list, to) == 1);
	CHECK(X509_CRL_add1_ext_i2d(list, NID_crl_number, number, 0, 0) == 1);
	add_revoked(list, revoked, from_s);
	CHECK(X509_CRL_sign(list, issuer->key, EVP_sha256()) > 0);
	ASN1_INTEGER_free(number);
	ASN1_TIME_free(to);
	ASN1_TIME_free(from);
	return list;
}
