#include "tls/lookup.h"

#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "tls/key_schedule.h"

typedef void visitor(const char *name, void *data);
typedef int walk(const EVP_KEYMGMT *kind, visitor *visit, void *data);
typedef EVP_KDF *fetch(OSSL_LIB_CTX *library, const char *name, const char *query);

struct kind {
	EVP_KEYMGMT *kind;  // held, so that nothing else ever has its address
	const char *names[LOOKUP_NAMES];
	size_t count;  // of all its names; more than LOOKUP_NAMES are not kept
};

static struct {
	walk *walk;            // the library's own
	fetch *fetch;          // the library's own
	EVP_KDF *schedule;     // NULL: the library's is meant
	bool open;             // from lookup_begin to the end
	pthread_mutex_t lock;  // of those who add a kind
	struct kind kinds[LOOKUP_KINDS];
	atomic_size_t kind_count;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void find_the_library(void)
{
	void *walk_found = dlsym(RTLD_NEXT, "EVP_KEYMGMT_names_do_all");
	void *fetch_found = dlsym(RTLD_NEXT, "EVP_KDF_fetch");
	CHECK(walk_found && fetch_found);
	memcpy(&known.walk, &walk_found, sizeof(walk_found));
	memcpy(&known.fetch, &fetch_found, sizeof(fetch_found));
}

// Whoever asks may come before lookup_begin.
static void need_the_library(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CHECK(pthread_once(&once, find_the_library) == 0);
}

static void let_go(void)
{
	known.open = false;
	EVP_KDF_free(known.schedule);
	known.schedule = NULL;
	size_t count = atomic_exchange(&known.kind_count, 0);
	for (size_t i = 0; i < count; i++)
		EVP_KEYMGMT_free(known.kinds[i].kind);
}

static void begin(void)
{
	need_the_library();
	// Who asked for validated modules gets nothing else.
	if (!EVP_default_properties_is_fips_enabled(NULL))
		known.schedule = key_schedule_fetch();
	known.open = true;
	CHECK(OPENSSL_atexit(let_go) == 1);
}

void lookup_begin(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CHECK(pthread_once(&once, begin) == 0);
}

// EVP_KDF(3)
__attribute__((visibility("default"))) EVP_KDF *EVP_KDF_fetch(
        OSSL_LIB_CTX *library, const char *name, const char *query)
{
	if (known.schedule && !library && query && strcmp(query, LOOKUP_QUERY) == 0 &&
	        strcmp(name, OSSL_KDF_NAME_TLS1_3_KDF) == 0 && EVP_KDF_up_ref(known.schedule) == 1)
		return known.schedule;
	need_the_library();
	return known.fetch(library, name, query);
}

static const struct kind *find(const EVP_KEYMGMT *kind)
{
	size_t count = atomic_load_explicit(&known.kind_count, memory_order_acquire);
	for (size_t i = 0; i < count; i++)
		if (known.kinds[i].kind == kind)
			return &known.kinds[i];
	return NULL;
}

static void collect(const char *name, void *data)
{
	struct kind *kind = data;
	if (kind->count < LOOKUP_NAMES)
		kind->names[kind->count] = name;
	kind->count++;
}

static void keep(const struct kind *new)
{
	CHECK(pthread_mutex_lock(&known.lock) == 0);
	size_t count = atomic_load_explicit(&known.kind_count, memory_order_relaxed);
	if (count < LOOKUP_KINDS && !find(new->kind) && EVP_KEYMGMT_up_ref(new->kind) == 1) {
		known.kinds[count] = *new;
		atomic_store_explicit(&known.kind_count, count + 1, memory_order_release);
	}
	CHECK(pthread_mutex_unlock(&known.lock) == 0);
}

// EVP_KEYMGMT(3): false when the library could not look.
__attribute__((visibility("default"))) int EVP_KEYMGMT_names_do_all(
        const EVP_KEYMGMT *asked, visitor *visit, void *data)
{
	const struct kind *kind = find(asked);
	struct kind new = {.kind = (EVP_KEYMGMT *)asked};
	if (!kind) {
		need_the_library();
		if (known.walk(asked, collect, &new) != 1)
			return 0;
		if (new.count > LOOKUP_NAMES || !known.open)
			return known.walk(asked, visit, data);
		keep(&new);
		kind = &new;
	}
	for (size_t i = 0; i < kind->count; i++)
		visit(kind->names[i], data);
	return 1;
}
