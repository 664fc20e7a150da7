#include "tls/select.h"

#include <openssl/err.h>

#include "base/check.h"
#include "tls/context.h"

bool select_name_matches(struct str pattern, struct str host)
{
	if (!host.len)
		return false;
	if (!str_starts(pattern, STR("*.")))
		return str_eq_nocase(pattern, host);
	const char *dot = str_find_byte(host, '.');
	if (!dot || dot == host.at)
		return false;
	return str_eq_nocase(str_skip(pattern, 1), str_skip(host, (size_t)(dot - host.at)));
}

static bool names_host(const struct material_pair *pair, struct str host)
{
	for (size_t i = 0; i < pair->facts.dns_san_count; i++)
		if (select_name_matches(pair->facts.dns_sans[i], host))
			return true;
	return false;
}

// The same names under another kind of key.
static bool is_twin(const struct material_pair *a, const struct material_pair *b)
{
	if (a->facts.dns_san_count != b->facts.dns_san_count || !a->facts.dns_san_count)
		return a == b;
	for (size_t i = 0; i < a->facts.dns_san_count; i++)
		if (!str_eq_nocase(a->facts.dns_sans[i], b->facts.dns_sans[i]))
			return false;
	return true;
}

// OpenSSL keeps one certificate per kind of key, and the first that matches must not be replaced.
static unsigned kind_of(const EVP_PKEY *key)
{
	static const int kinds[] = {
	        EVP_PKEY_RSA, EVP_PKEY_RSA_PSS, EVP_PKEY_EC, EVP_PKEY_ED25519, EVP_PKEY_ED448};
	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++)
		if (EVP_PKEY_get_base_id(key) == kinds[i])
			return 1u << i;
	return 1u << ARRAY_LEN(kinds);
}

static bool offer(SSL *ssl, const struct material_pair *pair, unsigned *kinds)
{
	unsigned kind = kind_of(pair->key);
	if (*kinds & kind)
		return true;
	*kinds |= kind;
	return SSL_use_cert_and_key(ssl, pair->leaf, pair->key, pair->chain, 1) == 1;
}

int select_certificate(SSL *ssl, void *argument)
{
	const struct tls_context *context = argument;
	const struct material_pair *first = context->pairs, *end = first + context->pair_count;
	struct str host = str_from(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	unsigned kinds = 0;
	SSL_certs_clear(ssl);
	for (const struct material_pair *pair = first; pair < end; pair++)
		if (names_host(pair, host) && !offer(ssl, pair, &kinds))
			return 0;
	bool matched = kinds;
	for (const struct material_pair *pair = first; pair < end && !matched; pair++)
		if (is_twin(first, pair) && !offer(ssl, pair, &kinds))
			return 0;
	return 1;
}

static int select_from(struct str ours, const unsigned char **chosen, unsigned char *chosen_len,
        const unsigned char *offered, unsigned offered_len)
{
	unsigned char *match;
	if (SSL_select_next_proto(&match, chosen_len, (const unsigned char *)ours.at,
	            (unsigned)ours.len, offered, offered_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*chosen = match;
	return SSL_TLSEXT_ERR_OK;
}

int select_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
        const unsigned char *offered, unsigned offered_len, void *unused)
{
	(void)ssl, (void)unused;
	return select_from(STR("\x02h2\x08http/1.1"), chosen, chosen_len, offered, offered_len);
}

int select_http1(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
        const unsigned char *offered, unsigned offered_len, void *unused)
{
	(void)ssl, (void)unused;
	return select_from(STR("\x08http/1.1"), chosen, chosen_len, offered, offered_len);
}

bool select_agreed_h2(const SSL *ssl)
{
	const unsigned char *agreed;
	unsigned len;
	SSL_get0_alpn_selected(ssl, &agreed, &len);
	return str_eq(str_of((const char *)agreed, len), STR("h2"));
}
