#include "tls/digest.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "base/check.h"
#include "tls/sha256.h"

static void digest(struct str bytes, unsigned char sum[SHA256_DIGEST_LENGTH])
{
	CHECK(EVP_Digest(bytes.len ? bytes.at : "", bytes.len, sum, NULL, sha256(), NULL) == 1);
}

void digest_base64(struct str bytes, char text[DIGEST_BASE64_SIZE])
{
	unsigned char sum[SHA256_DIGEST_LENGTH];
	digest(bytes, sum);
	CHECK(EVP_EncodeBlock((unsigned char *)text, sum, sizeof(sum)) == DIGEST_BASE64_SIZE - 1);
}

void digest_hex(struct str bytes, char hex[DIGEST_HEX_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char sum[SHA256_DIGEST_LENGTH];
	digest(bytes, sum);
	for (size_t i = 0; i < sizeof(sum); i++) {
		hex[2 * i] = digits[sum[i] >> 4];
		hex[2 * i + 1] = digits[sum[i] & 15];
	}
	hex[2 * sizeof(sum)] = '\0';
}

void digest_random(void *bytes, size_t size)
{
	// Predictable ids and seeds would be a hole, so a generator without entropy ends us.
	CHECK(size <= INT32_MAX && RAND_bytes(bytes, (int)size) == 1);
}
