#include "tls/key_schedule.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <pthread.h>

#include "base/check.h"
#include "base/str.h"
#include "tls/hmac.h"

#define NAME "tollgate"

enum {
	ROUNDS_MAX = 255,  // RFC 5869, 2.3
	LABEL_MAX = 255,   // RFC 8446, 7.1: struct HkdfLabel
};

struct asked {
	const struct hash_kind *kind;
	int mode;  // EVP_KDF_HKDF_MODE_…
	struct str key, salt, prefix, label, data;
};

static bool read_one(struct asked *asked, const OSSL_PARAM *parameter)
{
	const struct {
		const char *name;
		struct str *into;
	} texts[] = {
	        {OSSL_KDF_PARAM_KEY, &asked->key},
	        {OSSL_KDF_PARAM_SALT, &asked->salt},
	        {OSSL_KDF_PARAM_PREFIX, &asked->prefix},
	        {OSSL_KDF_PARAM_LABEL, &asked->label},
	        {OSSL_KDF_PARAM_DATA, &asked->data},
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (strcmp(parameter->key, texts[i].name) != 0)
			continue;
		*texts[i].into = str_of(parameter->data, parameter->data_size);
		return parameter->data_type == OSSL_PARAM_OCTET_STRING;
	}
	if (strcmp(parameter->key, OSSL_KDF_PARAM_MODE) == 0)
		return OSSL_PARAM_get_int(parameter, &asked->mode) == 1;
	if (strcmp(parameter->key, OSSL_KDF_PARAM_DIGEST) == 0) {
		const char *name;
		if (OSSL_PARAM_get_utf8_string_ptr(parameter, &name) == 1 && name)
			asked->kind = hash_kind_of(name);
		return asked->kind;
	}
	return true;
}

static bool understand(struct asked *asked, const OSSL_PARAM *parameters)
{
	*asked = (struct asked){.mode = -1};
	for (; parameters && parameters->key; parameters++)
		if (!read_one(asked, parameters))
			return false;
	return asked->kind && asked->prefix.len + asked->label.len <= LABEL_MAX &&
	       asked->data.len <= LABEL_MAX;
}

// HKDF-Expand-Label(key, label, data, len).
static bool expand_label(const struct asked *asked, struct str key, struct str label,
        struct str data, unsigned char *out, size_t len)
{
	if (len > ROUNDS_MAX * asked->kind->size)
		return false;
	const char head[] = {(char)(len >> 8), (char)len, (char)(asked->prefix.len + label.len)};
	const char middle = (char)data.len;
	unsigned char block[HASH_SIZE_MAX];
	for (size_t done = 0; done < len;) {
		struct hmac hmac;
		const char round = (char)(done / asked->kind->size + 1);
		hmac_begin(&hmac, asked->kind, key);
		hmac_add(&hmac, str_of((const char *)block, done ? asked->kind->size : 0));
		hmac_add(&hmac, str_of(head, sizeof(head)));
		hmac_add(&hmac, asked->prefix);
		hmac_add(&hmac, label);
		hmac_add(&hmac, str_of(&middle, 1));
		hmac_add(&hmac, data);
		hmac_add(&hmac, str_of(&round, 1));
		hmac_end(&hmac, block);
		size_t part = len - done < asked->kind->size ? len - done : asked->kind->size;
		memcpy(out + done, block, part);
		done += part;
	}
	OPENSSL_cleanse(block, sizeof(block));
	return true;
}

// From one secret of the schedule to the next: Derive-Secret(salt, label, ""), unless this is the
// first, then HKDF-Extract with the key or, where there is none, zeros.
static bool extract(const struct asked *asked, unsigned char *out, size_t len)
{
	static const char zeros[HASH_SIZE_MAX];
	size_t size = asked->kind->size;
	if (len != size)
		return false;
	unsigned char salt[HASH_SIZE_MAX], nothing[HASH_SIZE_MAX];
	if (asked->salt.len) {
		struct hash hash;
		hash_begin(&hash, asked->kind);
		hash_end(&hash, nothing);
		if (!expand_label(asked, asked->salt, asked->label,
		            str_of((const char *)nothing, size), salt, size))
			return false;
	}
	struct hmac hmac;
	hmac_begin(&hmac, asked->kind, str_of((const char *)salt, asked->salt.len ? size : 0));
	hmac_add(&hmac, asked->key.len ? asked->key : str_of(zeros, size));
	hmac_end(&hmac, out);
	OPENSSL_cleanse(salt, sizeof(salt));
	return true;
}

static int derive(void *context, unsigned char *out, size_t len, const OSSL_PARAM parameters[])
{
	(void)context;
	struct asked asked;
	if (!understand(&asked, parameters))
		return 0;
	switch (asked.mode) {
	case EVP_KDF_HKDF_MODE_EXPAND_ONLY:
		return asked.key.len &&
		       expand_label(&asked, asked.key, asked.label, asked.data, out, len);
	case EVP_KDF_HKDF_MODE_EXTRACT_ONLY:
		return extract(&asked, out, len);
	}
	return 0;
}

// The library wants something for a context.
static void *new_context(void *provider)
{
	return provider;
}

static void free_context(void *context)
{
	(void)context;
}

static const OSSL_ALGORITHM *query(void *provider, int operation, int *not_to_be_kept)
{
	static const OSSL_DISPATCH functions[] = {
	        {OSSL_FUNC_KDF_NEWCTX, (void (*)(void))new_context},
	        {OSSL_FUNC_KDF_FREECTX, (void (*)(void))free_context},
	        {OSSL_FUNC_KDF_DERIVE, (void (*)(void))derive},
	        {0, NULL},
	};
	static const OSSL_ALGORITHM algorithms[] = {
	        {OSSL_KDF_NAME_TLS1_3_KDF, "provider=" NAME, functions, "HKDF of TLS 1.3"},
	        {NULL, NULL, NULL, NULL},
	};
	(void)provider;
	*not_to_be_kept = 0;
	return operation == OSSL_OP_KDF ? algorithms : NULL;
}

static int begin(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
        void **provider)
{
	static const OSSL_DISPATCH functions[] = {
	        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
	        {0, NULL},
	};
	static char ours;
	(void)handle, (void)in;
	*out = functions;
	*provider = &ours;
	return 1;
}

static struct {
	OSSL_LIB_CTX *library;
	OSSL_PROVIDER *provider;
} apart;

static void close_apart(void)
{
	OSSL_PROVIDER_unload(apart.provider);
	OSSL_LIB_CTX_free(apart.library);
}

static void open_apart(void)
{
	apart.library = OSSL_LIB_CTX_new();
	CHECK(apart.library && OSSL_PROVIDER_add_builtin(apart.library, NAME, begin) == 1);
	apart.provider = OSSL_PROVIDER_load(apart.library, NAME);
	CHECK(apart.provider && OPENSSL_atexit(close_apart) == 1);
}

EVP_KDF *key_schedule_fetch(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CHECK(pthread_once(&once, open_apart) == 0);
	EVP_KDF *kdf = EVP_KDF_fetch(apart.library, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	CHECK(kdf);
	return kdf;
}
