#include "tls/ticket.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/denied.h"
#include "tls/context.h"
#include "tls/facts.h"
#include "tls/resume.h"
#include "tls/secrecy.h"
#include "tls/verdict.h"

_Static_assert(sizeof(struct ticket_key) == TICKET_KEY_BYTES, "a key is read as it stands");

// What goes under the seal beside the session.
struct claim {
	unsigned char version;
	unsigned char trust[MATERIAL_DIGEST_SIZE];
	unsigned char chain[VERDICT_KEY_SIZE];
	int64_t begins_s, expires_s;
};

enum { CLAIM_VERSION = 1 };

// --- keys

static bool read_key(const struct pem_place *place, int file, struct ticket_key *key)
{
	char beyond;
	ssize_t count = read(file, key, sizeof(*key));
	if (count == (ssize_t)sizeof(*key) && read(file, &beyond, 1) == 0)
		return true;
	pem_complain(place,
	        "is no ticket key; expected a file of exactly %d random bytes (openssl rand %d)",
	        TICKET_KEY_BYTES, TICKET_KEY_BYTES);
	return false;
}

static bool load_key(
        const struct pem_place *place, const struct config_run_as *reader, struct ticket_key *key)
{
	char *name = must_copy(place->file->text.at, place->file->text.len);
	int file = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (file < 0)
		pem_complain(place, "cannot be read: %s; expected a file of %d random bytes",
		        denied_words(name, R_OK, errno), TICKET_KEY_BYTES);
	free(name);
	if (file < 0)
		return false;
	bool good = secrecy_check(place, file, reader) && read_key(place, file, key);
	close(file);
	return good;
}

bool ticket_keys_load(struct ticket_keys *keys, const struct config_tls *tls, struct str key_path,
        struct config_problems *problems)
{
	struct arena arena = {0};
	bool good = true;
	for (size_t i = 0; i < tls->session_ticket_keys.count && i < CONFIG_TICKET_KEYS_MAX; i++) {
		const struct pem_place place = {&tls->session_ticket_keys.items[i],
		        arena_printf(&arena, "%.*s.session_ticket_keys[%zu]", STR_FMT(key_path), i),
		        problems};
		good &= load_key(&place, tls->certificates[0].reader, &keys->keys[i]);
		keys->count = i + 1;
	}
	arena_fini(&arena);
	return good;
}

void ticket_keys_wipe(struct ticket_keys *keys)
{
	OPENSSL_cleanse(keys, sizeof(*keys));
}

static const struct ticket_key *find_key(const struct ticket_keys *keys, const unsigned char *name)
{
	for (size_t i = 0; i < keys->count; i++)
		if (CRYPTO_memcmp(keys->keys[i].name, name, sizeof(keys->keys[i].name)) == 0)
			return &keys->keys[i];
	return NULL;
}

static bool set_mac(EVP_MAC_CTX *mac, const struct ticket_key *key)
{
	const OSSL_PARAM parameters[] = {
	        OSSL_PARAM_construct_octet_string(
	                OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof(key->mac)),
	        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
	        OSSL_PARAM_construct_end(),
	};
	return EVP_MAC_CTX_set_params(mac, parameters) == 1;
}

static const struct tls_context *context_of(SSL *ssl)
{
	const struct tls_session *session = SSL_get_app_data(ssl);
	return session->context;
}

// SSL_CTX_set_tlsext_ticket_key_evp_cb: 1 sealed or may be opened, 0 there is none, -1 broken.
static int on_key(SSL *ssl, unsigned char *name, unsigned char *vector, EVP_CIPHER_CTX *cipher,
        EVP_MAC_CTX *mac, int seal)
{
	const struct ticket_keys *keys = &context_of(ssl)->tickets;
	if (SSL_version(ssl) < TLS1_3_VERSION)
		return 0;
	const struct ticket_key *key = seal ? &keys->keys[0] : find_key(keys, name);
	if (!key)
		return 0;
	if (seal) {
		memcpy(name, key->name, sizeof(key->name));
		if (RAND_bytes(vector, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
			return -1;
	}
	if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, vector, seal) != 1 ||
	        !set_mac(mac, key))
		return -1;
	return 1;
}

// --- what is sealed, and what is made of it

static int on_seal(SSL *ssl, void *unused)
{
	(void)unused;
	const struct verdict *verdict = resume_verdict(ssl);
	struct claim claim = {.version = CLAIM_VERSION};
	if (!verdict)
		return 1;  // TLS 1.2, which gets an empty ticket
	memcpy(claim.trust, context_of(ssl)->trust.digest, sizeof(claim.trust));
	memcpy(claim.chain, verdict->key, sizeof(claim.chain));
	claim.begins_s = verdict->peer.begins_s;
	claim.expires_s = verdict->peer.expires_s;
	return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &claim, sizeof(claim));
}

static bool read_claim(SSL_SESSION *library, struct claim *claim)
{
	void *data = NULL;
	size_t size = 0;
	if (SSL_SESSION_get0_ticket_appdata(library, &data, &size) != 1 || size != sizeof(*claim))
		return false;
	memcpy(claim, data, sizeof(*claim));
	return claim->version == CLAIM_VERSION;
}

// The verdict as this gateway would have made it: it was made under the same trust, and what a
// certificate says of itself stands in the session.
static struct verdict *rebuild(struct tls_context *context, const struct claim *claim, X509 *leaf)
{
	struct tls_peer peer = {.presented = true, .reason = REASON_NONE};
	struct facts_totals totals;
	facts_read(&peer.arena, leaf, FACTS_PEER_NAMES, &peer.leaf, &totals);
	peer.begins_s = claim->begins_s;
	peer.expires_s = claim->expires_s;
	if (totals.san_extensions != 1 || totals.uris != 1) {
		arena_fini(&peer.arena);
		return NULL;
	}
	peer.uri = peer.leaf.uri_sans[0];
	return verdict_keep(context->verdicts, claim->chain, &peer);
}

static struct verdict *judge(struct tls_context *context, SSL_SESSION *library)
{
	struct claim claim;
	int64_t now_s = clock_wall_ns() / NS_PER_S;
	X509 *leaf = SSL_SESSION_get0_peer(library);
	if (context->alert || !leaf || !read_claim(library, &claim) ||
	        memcmp(claim.trust, context->trust.digest, sizeof(claim.trust)) != 0 ||
	        now_s < claim.begins_s || now_s >= claim.expires_s)
		return NULL;
	struct verdict *known = verdict_find(context->verdicts, claim.chain, now_s);
	return known ? known : rebuild(context, &claim, leaf);
}

static SSL_TICKET_RETURN on_open(SSL *ssl, SSL_SESSION *library, const unsigned char *name,
        size_t name_size, SSL_TICKET_STATUS status, void *unused)
{
	(void)name, (void)name_size, (void)unused;
	struct tls_session *session = SSL_get_app_data(ssl);
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	struct verdict *verdict = judge(session->context, library);
	if (!verdict)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (!resume_know(library, verdict)) {
		verdict_unref(verdict);
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	}
	SSL_set_num_tickets(ssl, 1);
	return SSL_TICKET_RETURN_USE_RENEW;
}

void ticket_set_up(struct tls_context *context)
{
	if (context->tickets.count == 0)
		return;
	SSL_CTX_clear_options(context->library, SSL_OP_NO_TICKET);
	CHECK(SSL_CTX_set_tlsext_ticket_key_evp_cb(context->library, on_key) == 1);
	CHECK(SSL_CTX_set_session_ticket_cb(context->library, on_seal, on_open, NULL) == 1);
}
