// For the tests of this folder: our session against an OpenSSL client, in memory. duel_pump carries
// the bytes to and fro until both sides want more than there is; `stride` cuts what our session is
// fed (1: byte by byte, 0: whole, -1: at random).
#ifndef TESTS_TLS_DUEL_H
#define TESTS_TLS_DUEL_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/buffer.h"
#include "tests/tls/forge.h"
#include "tls/tls.h"

struct duel_client {
	int version;  // 0: any
	const struct paper *paper;
	const struct paper *const *chain;  // sent behind it
	size_t chain_count;
	const char *ciphers, *groups, *sigalgs, *sni;
	struct str alpn;
	SSL_SESSION *session;
};

struct duel {
	struct tls_session *session;
	struct buffer out, plain, client_plain;
	SSL_CTX *library;
	SSL *client;
	int stride;
	int client_alert;  // that the client received, -1 none
	bool client_failed, client_ended;
	unsigned random;
};

static inline void duel_note(const SSL *ssl, int where, int value)
{
	struct duel *duel = SSL_get_app_data(ssl);
	if (where == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL)
		duel->client_alert = value & 0xff;
}

static inline void duel_present(SSL_CTX *library, const struct duel_client *client)
{
	if (!client->paper)
		return;
	CHECK(SSL_CTX_use_certificate(library, client->paper->x509) == 1);
	CHECK(SSL_CTX_use_PrivateKey(library, client->paper->key) == 1);
	for (size_t i = 0; i < client->chain_count; i++)
		CHECK(SSL_CTX_add1_chain_cert(library, client->chain[i]->x509) == 1);
}

static inline void duel_init(struct duel *duel, struct tls_context *context, tls_judge judge,
        void *owner, const struct duel_client *client)
{
	*duel = (struct duel){.client_alert = -1, .random = 1};
	duel->session = tls_session_new(context, &duel->out, judge, owner);
	duel->library = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_security_level(duel->library, 0);  // it may show anything
	CHECK(SSL_CTX_set_min_proto_version(duel->library, client->version) == 1);
	CHECK(SSL_CTX_set_max_proto_version(duel->library, client->version) == 1);
	SSL_CTX_set_options(duel->library, SSL_OP_LEGACY_SERVER_CONNECT);
	SSL_CTX_set_mode(duel->library, SSL_MODE_NO_AUTO_CHAIN);
	if (client->ciphers)
		CHECK(SSL_CTX_set_cipher_list(duel->library, client->ciphers) == 1);
	if (client->groups)
		CHECK(SSL_CTX_set1_groups_list(duel->library, client->groups) == 1);
	if (client->sigalgs)
		CHECK(SSL_CTX_set1_sigalgs_list(duel->library, client->sigalgs) == 1);
	duel_present(duel->library, client);
	duel->client = SSL_new(duel->library);
	SSL_set_app_data(duel->client, duel);
	SSL_set_info_callback(duel->client, duel_note);
	if (client->sni)
		CHECK(SSL_set_tlsext_host_name(duel->client, client->sni) == 1);
	if (client->alpn.len)
		CHECK(SSL_set_alpn_protos(duel->client, (const uint8_t *)client->alpn.at,
		              (unsigned)client->alpn.len) == 0);
	if (client->session)
		CHECK(SSL_set_session(duel->client, client->session) == 1);
	SSL_set_bio(duel->client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(duel->client), -1);
	SSL_set_connect_state(duel->client);
}

static inline void duel_fini(struct duel *duel)
{
	tls_session_free(duel->session);
	SSL_free(duel->client);
	SSL_CTX_free(duel->library);
	buffer_fini(&duel->out);
	buffer_fini(&duel->plain);
	buffer_fini(&duel->client_plain);
}

static inline size_t duel_cut(struct duel *duel, size_t len)
{
	size_t cut = duel->stride > 0 ? (size_t)duel->stride : len;
	if (duel->stride < 0)
		cut = 1 + (duel->random = duel->random * 1103515245u + 12345u) / 65536u % 700u;
	return cut < len ? cut : len;
}

// Feeds our session, cut by the stride. Whatever it does, it leaves nothing in the error queue.
static inline void duel_feed(struct duel *duel, struct str bytes)
{
	while (bytes.len) {
		size_t cut = duel_cut(duel, bytes.len);
		char *own = must_copy(bytes.at, cut);  // so that a sanitizer sees it borrowed only
		tls_feed(duel->session, str_of(own, cut), &duel->plain);
		free(own);
		CHECK(ERR_peek_error() == 0);
		bytes = str_skip(bytes, cut);
	}
}

static inline bool duel_carry_in(struct duel *duel)
{
	char *bytes;
	BIO *bio = SSL_get_wbio(duel->client);
	long len = BIO_get_mem_data(bio, &bytes);
	if (len <= 0)
		return false;
	duel_feed(duel, str_of(bytes, (size_t)len));
	(void)BIO_reset(bio);
	return true;
}

static inline bool duel_carry_out(struct duel *duel)
{
	size_t len = buffer_len(&duel->out);
	if (!len)
		return false;
	CHECK(BIO_write(SSL_get_rbio(duel->client), buffer_data(&duel->out), (int)len) == (int)len);
	buffer_clear(&duel->out);
	return true;
}

static inline void duel_client_turn(struct duel *duel)
{
	for (;;) {
		char *room = buffer_room(&duel->client_plain, 16384);
		int count = SSL_read(duel->client, room, 16384);
		if (count > 0) {
			buffer_added(&duel->client_plain, (size_t)count);
			continue;
		}
		int error = SSL_get_error(duel->client, count);
		duel->client_ended |= error == SSL_ERROR_ZERO_RETURN;
		duel->client_failed |= error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL;
		ERR_clear_error();
		return;
	}
}

static inline void duel_pump(struct duel *duel)
{
	bool moved = true;
	while (moved) {
		if (!duel->client_failed)
			duel_client_turn(duel);
		moved = duel_carry_in(duel);
		moved |= duel_carry_out(duel);
	}
}

// The client says these words; they are in duel->plain afterwards.
static inline bool duel_say(struct duel *duel, struct str words)
{
	buffer_clear(&duel->plain);
	bool said = SSL_write(duel->client, words.at, (int)words.len) == (int)words.len;
	ERR_clear_error();
	duel_pump(duel);
	return said && str_eq(buffer_str(&duel->plain), words);
}

static inline bool duel_answer(struct duel *duel, struct str words)
{
	buffer_clear(&duel->client_plain);
	bool written = tls_write(duel->session, words);
	duel_pump(duel);
	return written && str_eq(buffer_str(&duel->client_plain), words);
}

static inline enum reason duel_fault(const struct duel *duel)
{
	struct str detail;
	return tls_fault(duel->session, &detail);
}

#endif
