#include "tls/decode.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4, SETS = DECODED_MAX / WAYS, TAIL = 8 };

struct place {
	X509 *certificate;  // NULL: free
	unsigned char *bytes;
	size_t len;
};

struct decode_table {
	pthread_mutex_t lock;
	unsigned char turn[SETS];  // whose place the next one of a set takes
	struct place places[SETS][WAYS];
};

typedef X509 *decoder(X509 **certificate, const unsigned char **at, long len);

static decoder *of_the_library;
static _Thread_local struct decode_table *current;
static _Thread_local bool decoded;

static void find_the_library(void)
{
	void *found = dlsym(RTLD_NEXT, "d2i_X509");
	CHECK(found);
	memcpy(&of_the_library, &found, sizeof(found));
}

static decoder *library(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CHECK(pthread_once(&once, find_the_library) == 0);
	return of_the_library;
}

struct decode_table *decode_table_new(void)
{
	struct decode_table *table = must_alloc(sizeof(*table));
	CHECK(pthread_mutex_init(&table->lock, NULL) == 0);
	(void)library();  // now, not within a client's handshake
	return table;
}

static void empty(struct place *place)
{
	X509_free(place->certificate);
	free(place->bytes);
}

void decode_table_free(struct decode_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < SETS; i++)
		for (size_t k = 0; k < WAYS; k++)
			empty(&table->places[i][k]);
	CHECK(pthread_mutex_destroy(&table->lock) == 0);
	free(table);
}

// A certificate ends with its signature, whose bytes are as good as any sum.
static size_t set_of(const unsigned char *bytes, size_t len)
{
	uint64_t tail = 0;
	memcpy(&tail, bytes + (len > TAIL ? len - TAIL : 0), len > TAIL ? TAIL : len);
	return ((tail ^ tail >> 32) * 0x9E3779B97F4A7C15u >> 32) % SETS;
}

static struct place *place_of(struct place *set, const unsigned char *bytes, size_t len)
{
	for (size_t k = 0; k < WAYS; k++)
		if (set[k].len == len && memcmp(set[k].bytes, bytes, len) == 0)
			return &set[k];
	return NULL;
}

static X509 *find(struct decode_table *table, const unsigned char *bytes, size_t len)
{
	X509 *found = NULL;
	CHECK(pthread_mutex_lock(&table->lock) == 0);
	struct place *place = place_of(table->places[set_of(bytes, len)], bytes, len);
	if (place && X509_up_ref(place->certificate) == 1)
		found = place->certificate;
	CHECK(pthread_mutex_unlock(&table->lock) == 0);
	return found;
}

void decode_begin(struct decode_table *table)
{
	CHECK(!current);
	current = table;
	decoded = false;
}

void decode_end(void)
{
	current = NULL;
}

// d2i_X509(3): what `certificate` points to is replaced, `at` moves past what was read.
__attribute__((visibility("default"))) X509 *d2i_X509(
        X509 **certificate, const unsigned char **at, long len)
{
	X509 *found = NULL;
	if (current && certificate && len > 0 && len <= DECODED_BYTES_MAX)
		found = find(current, *at, (size_t)len);
	if (!found) {
		decoded = true;
		return library()(certificate, at, len);
	}
	X509_free(*certificate);
	*certificate = found;
	*at += len;
	return found;
}

static void keep(struct decode_table *table, X509 *certificate)
{
	unsigned char *bytes = NULL;
	int len = i2d_X509(certificate, &bytes);
	struct place new = {certificate, NULL, 0}, older = {0};
	if (len <= 0 || len > DECODED_BYTES_MAX || X509_up_ref(certificate) != 1) {
		OPENSSL_free(bytes);
		return;
	}
	new.len = (size_t)len;
	new.bytes = must_alloc(new.len);
	memcpy(new.bytes, bytes, new.len);
	OPENSSL_free(bytes);
	size_t number = set_of(new.bytes, new.len);
	CHECK(pthread_mutex_lock(&table->lock) == 0);
	struct place *place = place_of(table->places[number], new.bytes, new.len);
	if (!place)
		place = &table->places[number][table->turn[number]++ % WAYS];
	older = *place;
	*place = new;
	CHECK(pthread_mutex_unlock(&table->lock) == 0);
	empty(&older);
}

void decode_keep(STACK_OF(X509) * verified)
{
	if (!current || !decoded)
		return;
	for (int i = 0; i < sk_X509_num(verified); i++)
		keep(current, sk_X509_value(verified, i));
}
