#include "tls/hmac.h"

#include <openssl/crypto.h>

static const struct hash_kind kinds[] = {
        {"SHA256", "SHA2-256", SHA256_DIGEST_LENGTH, SHA256_CBLOCK},
        {"SHA384", "SHA2-384", SHA384_DIGEST_LENGTH, SHA512_CBLOCK},
};

const struct hash_kind *hash_kind_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(name, kinds[i].name) == 0 || strcmp(name, kinds[i].other_name) == 0)
			return &kinds[i];
	return NULL;
}

void hash_begin(struct hash *hash, const struct hash_kind *kind)
{
	hash->kind = kind;
	if (kind == &kinds[0])
		CHECK(SHA256_Init(&hash->state.sha256) == 1);
	else
		CHECK(SHA384_Init(&hash->state.sha384) == 1);
}

void hash_add(struct hash *hash, struct str bytes)
{
	if (hash->kind == &kinds[0])
		CHECK(SHA256_Update(&hash->state.sha256, bytes.at, bytes.len) == 1);
	else
		CHECK(SHA384_Update(&hash->state.sha384, bytes.at, bytes.len) == 1);
}

void hash_end(struct hash *hash, unsigned char *out)
{
	if (hash->kind == &kinds[0])
		CHECK(SHA256_Final(out, &hash->state.sha256) == 1);
	else
		CHECK(SHA384_Final(out, &hash->state.sha384) == 1);
}

void hmac_begin(struct hmac *hmac, const struct hash_kind *kind, struct str key)
{
	enum { INNER = 0x36, OUTER = 0x5c };  // RFC 2104, 2
	unsigned char block[SHA512_CBLOCK] = {0};
	if (key.len > kind->block) {
		hash_begin(&hmac->inner, kind);
		hash_add(&hmac->inner, key);
		hash_end(&hmac->inner, block);
	} else if (key.len) {
		memcpy(block, key.at, key.len);
	}
	struct str padded = str_of((const char *)block, kind->block);
	for (size_t i = 0; i < kind->block; i++)
		block[i] ^= INNER;
	hash_begin(&hmac->inner, kind);
	hash_add(&hmac->inner, padded);
	for (size_t i = 0; i < kind->block; i++)
		block[i] ^= INNER ^ OUTER;
	hash_begin(&hmac->outer, kind);
	hash_add(&hmac->outer, padded);
	OPENSSL_cleanse(block, sizeof(block));
}

void hmac_add(struct hmac *hmac, struct str bytes)
{
	hash_add(&hmac->inner, bytes);
}

void hmac_end(struct hmac *hmac, unsigned char *out)
{
	unsigned char sum[HASH_SIZE_MAX];
	hash_end(&hmac->inner, sum);
	hash_add(&hmac->outer, str_of((const char *)sum, hmac->inner.kind->size));
	hash_end(&hmac->outer, out);
	OPENSSL_cleanse(sum, sizeof(sum));
	OPENSSL_cleanse(hmac, sizeof(*hmac));
}
