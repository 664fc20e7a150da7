#include "tls/facts.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "conf/utf8.h"

enum { SERIAL_BYTES_MAX = 64 };

// Cuts to the cap without splitting a UTF-8 sequence.
static struct str bounded(const void *bytes, size_t len)
{
	const char *at = bytes;
	if (len <= FACTS_TEXT_MAX)
		return str_of(at, len);
	len = FACTS_TEXT_MAX;
	while (len > FACTS_TEXT_MAX - 4 && (at[len] & 0xc0) == 0x80)
		len--;
	return str_of(at, len);
}

static bool is_utf8(struct str text)
{
	while (text.len)
		if (utf8_take(&text) < 0)
			return false;
	return true;
}

static bool print_name(BIO *out, const X509_NAME *name, unsigned long flags)
{
	char *text;
	(void)BIO_reset(out);
	if (X509_NAME_print_ex(out, name, 0, flags) < 0)
		return false;
	long len = BIO_get_mem_data(out, &text);
	return is_utf8(str_of(text, len > 0 ? (size_t)len : 0));
}

struct str facts_name(struct arena *arena, const X509_NAME *name)
{
	static const unsigned long keeping_utf8 = XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB;
	static const unsigned long escaped = (XN_FLAG_RFC2253 & ~ASN1_STRFLGS_UTF8_CONVERT) |
	                                     ASN1_STRFLGS_IGNORE_TYPE;
	BIO *out = BIO_new(BIO_s_mem());
	CHECK(out);
	// The library copies what calls itself UTF-8 as it stands; broken text is shown in bytes.
	if (!print_name(out, name, keeping_utf8) && !print_name(out, name, escaped))
		(void)BIO_reset(out);
	char *text = NULL;
	long len = BIO_get_mem_data(out, &text);
	struct str copy = arena_str(arena, bounded(text, len > 0 ? (size_t)len : 0));
	BIO_free(out);
	return copy;
}

static struct str hex_of(struct arena *arena, const unsigned char *bytes, size_t len, bool negative)
{
	static const char digits[] = "0123456789abcdef";
	char text[1 + 2 * SERIAL_BYTES_MAX], *at = text;
	if (negative)
		*at++ = '-';
	for (size_t i = 0; i < len; i++) {
		*at++ = digits[bytes[i] >> 4];
		*at++ = digits[bytes[i] & 15];
	}
	return arena_str(arena, str_of(text, (size_t)(at - text)));
}

static struct str serial_of(struct arena *arena, const X509 *certificate)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
	size_t len = (size_t)ASN1_STRING_length(serial);
	if (len > SERIAL_BYTES_MAX)  // RFC 5280, 4.1.2.2 allows 20
		len = SERIAL_BYTES_MAX;
	return hex_of(arena, ASN1_STRING_get0_data(serial), len,
	        ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER);
}

static struct str sha256_of(struct arena *arena, const X509 *certificate)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	if (X509_digest(certificate, EVP_sha256(), sum, &size) != 1)
		return str_of("", 0);
	return hex_of(arena, sum, size, false);
}

struct str facts_list_sha256(struct arena *arena, const X509_CRL *list)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	if (X509_CRL_digest(list, EVP_sha256(), sum, &size) != 1)
		return str_of("", 0);
	return hex_of(arena, sum, size, false);
}

int64_t facts_time_s(const ASN1_TIME *when)
{
	struct tm parts = {0};
	return when && ASN1_TIME_to_tm(when, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

struct str facts_time_text(struct arena *arena, const ASN1_TIME *when)
{
	struct tm parts = {0};
	if (!when || ASN1_TIME_to_tm(when, &parts) != 1)
		return str_of("", 0);
	return arena_printf(arena, "%04d-%02d-%02dT%02d:%02d:%02dZ", parts.tm_year + 1900,
	        parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

static size_t count_of(const GENERAL_NAMES *names, int type)
{
	size_t count = 0;
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
		count += sk_GENERAL_NAME_value(names, i)->type == type;
	return count;
}

static void keep_names(struct arena *arena, const GENERAL_NAMES *names, int type, size_t most,
        struct str **kept, size_t *kept_count)
{
	size_t count = *kept_count + count_of(names, type);
	if (count > most)
		count = most;
	if (count == *kept_count)
		return;
	struct str *list = arena_alloc(arena, count * sizeof(*list));
	if (*kept_count)
		memcpy(list, *kept, *kept_count * sizeof(*list));
	size_t at = *kept_count;
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && at < count; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type != type)
			continue;
		const ASN1_STRING *text = name->d.ia5;
		list[at++] = arena_str(arena,
		        bounded(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)));
	}
	*kept = list;
	*kept_count = count;
}

// Walks the extensions itself: asked for "the" SAN of a certificate with two, the library gives
// none, and the record would be silent about both.
static void read_names(struct arena *arena, const X509 *certificate, size_t most,
        struct tls_certificate_facts *facts, struct facts_totals *totals)
{
	int at = -1;
	while ((at = X509_get_ext_by_NID(certificate, NID_subject_alt_name, at)) >= 0) {
		totals->san_extensions++;
		GENERAL_NAMES *names = X509V3_EXT_d2i(X509_get_ext(certificate, at));
		if (!names)
			continue;
		totals->uris += count_of(names, GEN_URI);
		keep_names(arena, names, GEN_URI, most, &facts->uri_sans, &facts->uri_san_count);
		keep_names(arena, names, GEN_DNS, most, &facts->dns_sans, &facts->dns_san_count);
		GENERAL_NAMES_free(names);
	}
}

void facts_read(struct arena *arena, const X509 *certificate, size_t most_names,
        struct tls_certificate_facts *facts, struct facts_totals *totals)
{
	*facts = (struct tls_certificate_facts){
	        .subject = facts_name(arena, X509_get_subject_name(certificate)),
	        .issuer = facts_name(arena, X509_get_issuer_name(certificate)),
	        .serial = serial_of(arena, certificate),
	        .sha256 = sha256_of(arena, certificate),
	        .not_before = facts_time_text(arena, X509_get0_notBefore(certificate)),
	        .not_after = facts_time_text(arena, X509_get0_notAfter(certificate)),
	        .not_before_s = facts_time_s(X509_get0_notBefore(certificate)),
	        .not_after_s = facts_time_s(X509_get0_notAfter(certificate)),
	};
	*totals = (struct facts_totals){0};
	read_names(arena, certificate, most_names, facts, totals);
	ERR_clear_error();  // what did not parse is an empty text, not a leftover for the next call
}
