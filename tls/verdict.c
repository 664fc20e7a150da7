#include "tls/verdict.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tls/sha256.h"

enum { WAYS = 4, SETS = VERDICTS_MAX / WAYS };

struct verdict_table {
	pthread_mutex_t lock;
	unsigned char turn[SETS];  // whose place the next one of a set takes
	struct verdict *places[SETS][WAYS];
};

struct verdict_table *verdict_table_new(void)
{
	struct verdict_table *table = must_alloc(sizeof(*table));
	CHECK(pthread_mutex_init(&table->lock, NULL) == 0);
	return table;
}

void verdict_table_free(struct verdict_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < SETS; i++)
		for (size_t k = 0; k < WAYS; k++)
			verdict_unref(table->places[i][k]);
	CHECK(pthread_mutex_destroy(&table->lock) == 0);
	free(table);
}

bool verdict_key(STACK_OF(X509) * presented, unsigned char key[VERDICT_KEY_SIZE])
{
	enum { CERTIFICATES_MAX = 16 };
	unsigned char sums[CERTIFICATES_MAX][VERDICT_KEY_SIZE];
	int count = sk_X509_num(presented);
	if (count < 1 || count > CERTIFICATES_MAX)
		return false;
	for (int i = 0; i < count; i++)
		if (X509_digest(sk_X509_value(presented, i), sha256(), sums[i], NULL) != 1)
			return false;
	return EVP_Digest(sums, (size_t)count * VERDICT_KEY_SIZE, key, NULL, sha256(), NULL) == 1;
}

bool verdict_holds(const struct verdict *verdict, int64_t now_s)
{
	return verdict->peer.begins_s <= now_s && now_s < verdict->peer.expires_s;
}

static size_t set_of(const unsigned char key[VERDICT_KEY_SIZE])
{
	return ((size_t)key[0] << 8 | key[1]) % SETS;
}

static struct verdict **place_of(
        struct verdict_table *table, const unsigned char key[VERDICT_KEY_SIZE])
{
	struct verdict **set = table->places[set_of(key)];
	for (size_t k = 0; k < WAYS; k++)
		if (set[k] && memcmp(set[k]->key, key, VERDICT_KEY_SIZE) == 0)
			return &set[k];
	return NULL;
}

struct verdict *verdict_find(
        struct verdict_table *table, const unsigned char key[VERDICT_KEY_SIZE], int64_t now_s)
{
	CHECK(pthread_mutex_lock(&table->lock) == 0);
	struct verdict **place = place_of(table, key);
	struct verdict *found = place && verdict_holds(*place, now_s) ? verdict_ref(*place) : NULL;
	CHECK(pthread_mutex_unlock(&table->lock) == 0);
	return found;
}

struct verdict *verdict_keep(struct verdict_table *table, const unsigned char key[VERDICT_KEY_SIZE],
        struct tls_peer *peer)
{
	CHECK(peer->presented && peer->reason == REASON_NONE);
	struct verdict *verdict = must_alloc(sizeof(*verdict));
	atomic_init(&verdict->references, 2);  // the table's, and the caller's
	memcpy(verdict->key, key, VERDICT_KEY_SIZE);
	verdict->peer = *peer;
	*peer = (struct tls_peer){0};
	size_t set = set_of(key);
	CHECK(pthread_mutex_lock(&table->lock) == 0);
	struct verdict **place = place_of(table, key);
	if (!place)
		place = &table->places[set][table->turn[set]++ % WAYS];
	struct verdict *older = *place;
	*place = verdict;
	CHECK(pthread_mutex_unlock(&table->lock) == 0);
	verdict_unref(older);
	return verdict;
}

struct verdict *verdict_ref(struct verdict *verdict)
{
	atomic_fetch_add_explicit(&verdict->references, 1, memory_order_relaxed);
	return verdict;
}

void verdict_unref(struct verdict *verdict)
{
	if (!verdict ||
	        atomic_fetch_sub_explicit(&verdict->references, 1, memory_order_acq_rel) != 1)
		return;
	arena_fini(&verdict->peer.arena);
	free(verdict);
}
