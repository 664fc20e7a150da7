#include "tls/resume.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tls/context.h"
#include "tls/verdict.h"

enum { WAYS = 4, SETS = RESUME_SESSIONS_MAX / WAYS, NAME_SIZE = SSL_MAX_SSL_SESSION_ID_LENGTH };

struct resume_store {
	pthread_mutex_t lock;
	unsigned char turn[SETS];  // whose place the next one of a set takes
	SSL_SESSION *places[SETS][WAYS];
};

// What goes with every SSL_SESSION: the verdict, counted, and the certificate that was served.
static int verdict_index, served_index;

static int copy_verdict(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void **data, int index,
        long argument, void *pointer)
{
	(void)to, (void)from, (void)index, (void)argument, (void)pointer;
	if (*data)
		verdict_ref(*data);
	return 1;
}

static void free_verdict(
        void *parent, void *data, CRYPTO_EX_DATA *all, int index, long argument, void *pointer)
{
	(void)parent, (void)all, (void)index, (void)argument, (void)pointer;
	verdict_unref(data);
}

static void make_indices(void)
{
	verdict_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, copy_verdict, free_verdict);
	served_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL);
	CHECK(verdict_index >= 0 && served_index >= 0);
}

// The name is random: its first bytes are as good as any sum.
static SSL_SESSION **set_of(struct resume_store *store, const unsigned char *name, size_t *set)
{
	*set = ((size_t)name[0] << 8 | name[1]) % SETS;
	return store->places[*set];
}

static SSL_SESSION **place_of(struct resume_store *store, const unsigned char *name)
{
	size_t number;
	SSL_SESSION **set = set_of(store, name, &number);
	for (size_t k = 0; k < WAYS; k++) {
		unsigned size;
		const unsigned char *other = set[k] ? SSL_SESSION_get_id(set[k], &size) : NULL;
		if (other && size == NAME_SIZE && memcmp(other, name, NAME_SIZE) == 0)
			return &set[k];
	}
	return NULL;
}

static int64_t now_s(void)
{
	return clock_wall_ns() / NS_PER_S;
}

static bool describe(SSL_SESSION *library, const struct tls_session *session)
{
	if (SSL_SESSION_set_ex_data(library, served_index, SSL_get_certificate(session->ssl)) !=
	                1 ||
	        SSL_SESSION_set_ex_data(library, verdict_index, session->verdict) != 1)
		return false;
	verdict_ref(session->verdict);
	return true;
}

// The library's reference becomes ours with a 1.
static int on_new(SSL *ssl, SSL_SESSION *library)
{
	struct tls_session *session = SSL_get_app_data(ssl);
	struct resume_store *store = session->context->resume;
	unsigned size, number;
	const unsigned char *name = SSL_SESSION_get_id(library, &size);
	size_t set;
	// The copy of a session taken up has them from the one before.
	bool known = SSL_SESSION_get_ex_data(library, verdict_index);
	if (SSL_version(ssl) < TLS1_3_VERSION || size != NAME_SIZE || !(known || session->verdict))
		return 0;
	if (!known && !describe(library, session))
		return 0;
	SSL_SESSION **places = set_of(store, name, &set), *older;
	CHECK(pthread_mutex_lock(&store->lock) == 0);
	number = store->turn[set]++ % WAYS;
	older = places[number];
	places[number] = library;
	CHECK(pthread_mutex_unlock(&store->lock) == 0);
	SSL_SESSION_free(older);
	return 1;
}

static SSL_SESSION *on_find(SSL *ssl, const unsigned char *name, int size, int *copy)
{
	struct tls_session *session = SSL_get_app_data(ssl);
	struct resume_store *store = session->context->resume;
	SSL_SESSION *found = NULL;
	*copy = 0;
	if (session->context->alert || size != NAME_SIZE)
		return NULL;
	CHECK(pthread_mutex_lock(&store->lock) == 0);
	SSL_SESSION **place = place_of(store, name);
	if (place && verdict_holds(SSL_SESSION_get_ex_data(*place, verdict_index), now_s()) &&
	        SSL_SESSION_up_ref(*place) == 1)
		found = *place;
	CHECK(pthread_mutex_unlock(&store->lock) == 0);
	if (found)
		SSL_set_num_tickets(ssl, 1);
	return found;
}

struct resume_store *resume_store_new(SSL_CTX *library)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	static const unsigned char name[] = "tollgate";
	struct resume_store *store = must_alloc(sizeof(*store));
	pthread_once(&once, make_indices);
	CHECK(pthread_mutex_init(&store->lock, NULL) == 0);
	SSL_CTX_set_session_cache_mode(library,
	        SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR);
	CHECK(SSL_CTX_set_session_id_context(library, name, sizeof(name) - 1) == 1);
	SSL_CTX_sess_set_new_cb(library, on_new);
	SSL_CTX_sess_set_get_cb(library, on_find);
	return store;
}

void resume_store_free(struct resume_store *store)
{
	if (!store)
		return;
	for (size_t i = 0; i < SETS; i++)
		for (size_t k = 0; k < WAYS; k++)
			SSL_SESSION_free(store->places[i][k]);
	CHECK(pthread_mutex_destroy(&store->lock) == 0);
	free(store);
}

void resume_offer(struct tls_session *session)
{
	SSL_SESSION *library = SSL_get_session(session->ssl);
	int64_t left_s = session->verdict->peer.expires_s - now_s();
	if (session->context->alert || !library || left_s <= 0)
		return;
	(void)SSL_SESSION_set_timeout(
	        library, (long)(left_s < RESUME_S_MAX ? left_s : RESUME_S_MAX));
	(void)SSL_set_num_tickets(session->ssl, 1);
}

bool resume_restore(struct tls_session *session)
{
	struct verdict *verdict = SSL_SESSION_get_ex_data(
	        SSL_get_session(session->ssl), verdict_index);
	if (!verdict)
		return false;
	session->verdict = verdict_ref(verdict);
	return true;
}

struct verdict *resume_verdict(SSL *ssl)
{
	const struct tls_session *session = SSL_get_app_data(ssl);
	if (session->verdict)
		return session->verdict;
	return SSL_SESSION_get_ex_data(SSL_get_session(ssl), verdict_index);
}

bool resume_know(SSL_SESSION *library, struct verdict *verdict)
{
	return SSL_SESSION_set_ex_data(library, verdict_index, verdict) == 1;
}

const X509 *resume_served(const struct tls_session *session)
{
	if (SSL_session_reused(session->ssl) != 1)
		return NULL;
	return SSL_SESSION_get_ex_data(SSL_get_session(session->ssl), served_index);
}
