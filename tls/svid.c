#include "tls/svid.h"

#include <openssl/x509v3.h>

enum reason svid_check_readable(X509 *leaf, const struct facts_totals *totals, const char **why)
{
	// RFC 5280, 4.1.2.9; the library does not mind.
	if (X509_get_version(leaf) != X509_VERSION_3 && X509_get_ext_count(leaf) > 0) {
		*why = "extensions in a certificate that is not of version 3";
		return REASON_certificate_invalid;
	}
	if (!(X509_get_extension_flags(leaf) & EXFLAG_INVALID))
		return REASON_NONE;
	// The library takes a second SAN extension for a faulty certificate and would then find no
	// issuer for it; the record shall say what it is.
	if (totals->san_extensions > 1) {
		*why = "several SAN extensions";
		return REASON_identity_ambiguous;
	}
	*why = "an extension does not parse or stands there twice";
	return REASON_certificate_invalid;
}

enum reason svid_check_usage(X509 *leaf, const char **why)
{
	// X509_get_key_usage has all bits set where there is no such extension.
	bool has_usage = X509_get_extension_flags(leaf) & EXFLAG_KUSAGE;
	uint32_t usage = has_usage ? X509_get_key_usage(leaf) : 0;
	*why = NULL;
	if (X509_get_extension_flags(leaf) & EXFLAG_CA)
		*why = "the leaf is a CA certificate";
	else if (!has_usage)
		*why = "the leaf has no key usage extension (X509-SVID, 4.3)";
	else if (usage & KU_KEY_CERT_SIGN)
		*why = "the leaf's key usage has keyCertSign";
	else if (usage & KU_CRL_SIGN)
		*why = "the leaf's key usage has cRLSign";
	else if (!(usage & KU_DIGITAL_SIGNATURE))
		*why = "the leaf's key usage lacks digitalSignature";
	return *why ? REASON_certificate_wrong_usage : REASON_NONE;
}

enum reason svid_check_server_usage(X509 *leaf, const char **why)
{
	// All bits are set where there is no such extension.
	uint32_t usage = X509_get_key_usage(leaf);
	*why = NULL;
	if (X509_get_extension_flags(leaf) & EXFLAG_CA)
		*why = "the leaf is a CA certificate";
	else if (!(usage & KU_DIGITAL_SIGNATURE))
		*why = "the leaf's key usage lacks digitalSignature";
	return *why ? REASON_certificate_wrong_usage : REASON_NONE;
}

static bool has_control_byte(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.at[i] < 0x20 || s.at[i] == 0x7f)
			return true;
	return false;
}

enum reason svid_check_names(const struct tls_certificate_facts *facts,
        const struct facts_totals *totals, const char **why)
{
	if (totals->san_extensions > 1) {
		*why = "several SAN extensions";
		return REASON_identity_ambiguous;
	}
	if (totals->uris == 0) {
		*why = "no URI name";
		return REASON_identity_missing;
	}
	if (totals->uris > 1) {
		*why = "several URI names";
		return REASON_identity_ambiguous;
	}
	if (!facts->uri_sans[0].len || has_control_byte(facts->uri_sans[0])) {
		*why = "the URI name is empty or has control bytes";
		return REASON_identity_malformed;
	}
	return REASON_NONE;
}
