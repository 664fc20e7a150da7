// For the tests of this folder: our session that dials, against an OpenSSL server in memory; the
// other way round it is a duel. errand_pump carries the bytes to and fro until both sides want more
// than there is; `stride` cuts what our session is fed (1: byte by byte, 0: whole, -1: at random).
#ifndef TESTS_TLS_ERRAND_H
#define TESTS_TLS_ERRAND_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/buffer.h"
#include "tests/tls/forge.h"
#include "tls/tls.h"

struct errand_server {
	int version;  // 0: any
	const struct paper *paper;
	const struct paper *const *chain;  // sent behind it
	size_t chain_count;
	const char *ciphers, *groups, *sigalgs;
	const char *alpn;    // what it agrees on, whatever was offered; NULL: on nothing
	bool asks, demands;  // for our certificate; any will do
	SSL_CTX *library;    // of an earlier errand, tickets and all; NULL: its own
};

struct errand {
	struct tls_session *session;
	struct buffer out, plain, server_plain;
	SSL_CTX *library;
	SSL *server;
	const char *agrees;
	char offered[32];  // by ALPN, as on the wire
	int stride;
	int server_alert;  // that the server received, -1 none
	bool opened;       // our session said so, be it for a moment
	bool server_failed, server_ended;
	unsigned random;
};

static inline void errand_note(const SSL *ssl, int where, int value)
{
	struct errand *errand = SSL_get_app_data(ssl);
	if (where == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL)
		errand->server_alert = value & 0xff;
}

static inline int errand_any_client(X509_STORE_CTX *store, void *unused)
{
	(void)store, (void)unused;
	return 1;
}

static inline int errand_select(SSL *ssl, const uint8_t **agreed, uint8_t *agreed_len,
        const uint8_t *offered, unsigned len, void *unused)
{
	(void)unused;
	struct errand *errand = SSL_get_app_data(ssl);
	CHECK(len < sizeof(errand->offered));
	memcpy(errand->offered, offered, len);
	if (!errand->agrees)
		return SSL_TLSEXT_ERR_NOACK;
	*agreed = (const uint8_t *)errand->agrees;
	*agreed_len = (uint8_t)strlen(errand->agrees);
	return SSL_TLSEXT_ERR_OK;
}

static inline void errand_present(SSL_CTX *library, const struct errand_server *server)
{
	CHECK(SSL_CTX_use_certificate(library, server->paper->x509) == 1);
	CHECK(SSL_CTX_use_PrivateKey(library, server->paper->key) == 1);
	for (size_t i = 0; i < server->chain_count; i++)
		CHECK(SSL_CTX_add1_chain_cert(library, server->chain[i]->x509) == 1);
	int mode = server->asks || server->demands ? SSL_VERIFY_PEER : SSL_VERIFY_NONE;
	if (server->demands)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(library, mode, NULL);
	SSL_CTX_set_cert_verify_callback(library, errand_any_client, NULL);
}

static inline SSL_CTX *errand_library(const struct errand_server *server)
{
	SSL_CTX *library = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_security_level(library, 0);  // it may show anything
	CHECK(SSL_CTX_set_min_proto_version(library, server->version) == 1);
	CHECK(SSL_CTX_set_max_proto_version(library, server->version) == 1);
	SSL_CTX_set_mode(library, SSL_MODE_NO_AUTO_CHAIN);
	if (server->ciphers)
		CHECK(SSL_CTX_set_cipher_list(library, server->ciphers) == 1);
	if (server->groups)
		CHECK(SSL_CTX_set1_groups_list(library, server->groups) == 1);
	if (server->sigalgs)
		CHECK(SSL_CTX_set1_sigalgs_list(library, server->sigalgs) == 1);
	errand_present(library, server);
	SSL_CTX_set_alpn_select_cb(library, errand_select, NULL);
	CHECK(SSL_CTX_set_session_id_context(library, (const uint8_t *)"errand", 6) == 1);
	return library;
}

static inline void errand_wait(struct errand *errand, const struct errand_server *server)
{
	errand->library = server->library ? server->library : errand_library(server);
	if (server->library)
		CHECK(SSL_CTX_up_ref(server->library) == 1);
	errand->agrees = server->alpn;
	errand->server = SSL_new(errand->library);
	SSL_set_app_data(errand->server, errand);
	SSL_set_info_callback(errand->server, errand_note);
	SSL_set_bio(errand->server, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(errand->server), -1);
	SSL_set_accept_state(errand->server);
}

static inline void errand_init(struct errand *errand, struct tls_context *context,
        const struct tls_server *to, tls_judge judge, void *owner,
        const struct errand_server *server)
{
	*errand = (struct errand){.server_alert = -1, .random = 1};
	errand_wait(errand, server);
	errand->session = tls_session_dial(context, &errand->out, to, judge, owner);
	CHECK(ERR_peek_error() == 0);
}

static inline void errand_fini(struct errand *errand)
{
	tls_session_free(errand->session);
	SSL_free(errand->server);
	SSL_CTX_free(errand->library);
	buffer_fini(&errand->out);
	buffer_fini(&errand->plain);
	buffer_fini(&errand->server_plain);
}

static inline size_t errand_cut(struct errand *errand, size_t len)
{
	size_t cut = errand->stride > 0 ? (size_t)errand->stride : len;
	if (errand->stride < 0)
		cut = 1 + (errand->random = errand->random * 1103515245u + 12345u) / 65536u % 700u;
	return cut < len ? cut : len;
}

// Feeds our session, cut by the stride. Whatever it does, it leaves nothing in the error queue.
static inline void errand_feed(struct errand *errand, struct str bytes)
{
	while (bytes.len) {
		size_t cut = errand_cut(errand, bytes.len);
		char *own = must_copy(bytes.at, cut);  // so that a sanitizer sees it borrowed only
		enum tls_status status = tls_feed(
		        errand->session, str_of(own, cut), &errand->plain);
		errand->opened |= status == TLS_OPEN;
		free(own);
		CHECK(status == tls_status(errand->session) && ERR_peek_error() == 0);
		bytes = str_skip(bytes, cut);
	}
}

// What the server has said and nobody carried yet.
static inline struct str errand_said(struct errand *errand)
{
	char *bytes;
	long len = BIO_get_mem_data(SSL_get_wbio(errand->server), &bytes);
	return str_of(bytes, len > 0 ? (size_t)len : 0);
}

static inline bool errand_carry_in(struct errand *errand)
{
	struct str said = errand_said(errand);
	if (!said.len)
		return false;
	errand_feed(errand, said);
	(void)BIO_reset(SSL_get_wbio(errand->server));
	return true;
}

static inline bool errand_carry_out(struct errand *errand)
{
	int len = (int)buffer_len(&errand->out);
	if (!len)
		return false;
	CHECK(BIO_write(SSL_get_rbio(errand->server), buffer_data(&errand->out), len) == len);
	buffer_clear(&errand->out);
	return true;
}

static inline void errand_server_turn(struct errand *errand)
{
	for (;;) {
		char *room = buffer_room(&errand->server_plain, 16384);
		int count = SSL_read(errand->server, room, 16384);
		if (count > 0) {
			buffer_added(&errand->server_plain, (size_t)count);
			continue;
		}
		int error = SSL_get_error(errand->server, count);
		errand->server_ended |= error == SSL_ERROR_ZERO_RETURN;
		errand->server_failed |= error == SSL_ERROR_SSL || error == SSL_ERROR_SYSCALL;
		ERR_clear_error();
		return;
	}
}

static inline void errand_pump(struct errand *errand)
{
	bool moved = true;
	while (moved) {
		moved = errand_carry_out(errand);
		if (!errand->server_failed)
			errand_server_turn(errand);
		moved |= errand_carry_in(errand);
	}
}

// The server says these words; they are in errand->plain afterwards.
static inline bool errand_hear(struct errand *errand, struct str words)
{
	buffer_clear(&errand->plain);
	bool said = SSL_write(errand->server, words.at, (int)words.len) == (int)words.len;
	ERR_clear_error();
	errand_pump(errand);
	return said && str_eq(buffer_str(&errand->plain), words);
}

static inline bool errand_ask(struct errand *errand, struct str words)
{
	buffer_clear(&errand->server_plain);
	bool written = tls_write(errand->session, words);
	errand_pump(errand);
	return written && str_eq(buffer_str(&errand->server_plain), words);
}

static inline enum reason errand_fault(const struct errand *errand)
{
	struct str detail;
	return tls_fault(errand->session, &detail);
}

#endif
