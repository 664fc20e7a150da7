#include "tls/sha256.h"

#include <pthread.h>

#include "base/check.h"

static EVP_MD *fetched;

static void let_go(void)
{
	EVP_MD_free(fetched);
}

static void fetch(void)
{
	fetched = EVP_MD_fetch(NULL, "SHA256", NULL);
	CHECK(fetched && OPENSSL_atexit(let_go));
}

const EVP_MD *sha256(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CHECK(pthread_once(&once, fetch) == 0);
	return fetched;
}
