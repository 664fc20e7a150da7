// Our key schedule against the library's own: the same secrets for the same questions, and no
// answer to bad ones.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <string.h>

#include "base/check.h"
#include "base/str.h"
#include "tls/key_schedule.h"

enum { OUT_MAX = 255 * 48 + 1 };

struct question {
	int mode;
	const char *digest;
	struct str key, salt, label, data;
	size_t len;
};

static OSSL_PARAM text(const char *name, struct str bytes)
{
	return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)bytes.at, bytes.len);
}

enum whose { OURS, THE_LIBRARYS };

static bool ask(enum whose whose, struct question question, unsigned char *out)
{
	EVP_KDF *kdf = whose == OURS ? key_schedule_fetch()
	                             : EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
	OSSL_PARAM all[8], *next = all;
	*next++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &question.mode);
	*next++ = OSSL_PARAM_construct_utf8_string(
	        OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)question.digest, 0);
	if (question.key.len)
		*next++ = text(OSSL_KDF_PARAM_KEY, question.key);
	if (question.salt.len)
		*next++ = text(OSSL_KDF_PARAM_SALT, question.salt);
	*next++ = text(OSSL_KDF_PARAM_PREFIX, STR("tls13 "));
	*next++ = text(OSSL_KDF_PARAM_LABEL, question.label);
	if (question.data.len)
		*next++ = text(OSSL_KDF_PARAM_DATA, question.data);
	*next = OSSL_PARAM_construct_end();
	memset(out, 0xee, OUT_MAX);
	bool answered = EVP_KDF_derive(context, out, question.len, all) == 1;
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	ERR_clear_error();
	return answered;
}

static struct str some(size_t len)
{
	static char bytes[512];
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + 1);
	return str_of(bytes, len);
}

static void agree(struct question question)
{
	static unsigned char ours[OUT_MAX], theirs[OUT_MAX];
	print_message("mode %d %s key %zu salt %zu label %zu data %zu for %zu\n", question.mode,
	        question.digest, question.key.len, question.salt.len, question.label.len,
	        question.data.len, question.len);
	assert_true(ask(THE_LIBRARYS, question, theirs));
	assert_true(ask(OURS, question, ours));
	assert_memory_equal(ours, theirs, OUT_MAX);
}

static const struct {
	const char *name;
	size_t size;
} digests[] = {{"SHA256", 32}, {"SHA384", 48}};

static void secrets_are_expanded_as_the_library_does(void **state)
{
	(void)state;
	const size_t data[] = {0, 32, 48, 255}, labels[] = {1, 12, 249};
	for (size_t d = 0; d < ARRAY_LEN(digests); d++) {
		size_t size = digests[d].size;
		const size_t sizes[] = {1, 12, 16, size, size + 1, 3 * size, 255 * size};
		for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
			for (size_t k = 0; k < ARRAY_LEN(data); k++)
				for (size_t l = 0; l < ARRAY_LEN(labels); l++)
					agree((struct question){EVP_KDF_HKDF_MODE_EXPAND_ONLY,
					        digests[d].name, some(size), str_of(NULL, 0),
					        some(labels[l]), some(data[k]), sizes[i]});
	}
}

static void one_secret_follows_the_other_as_the_library_does(void **state)
{
	(void)state;
	const size_t keys[] = {0, 32, 48, 133, 200};
	for (size_t d = 0; d < ARRAY_LEN(digests); d++)
		for (size_t k = 0; k < ARRAY_LEN(keys); k++)
			for (int first = 0; first < 2; first++)
				agree((struct question){EVP_KDF_HKDF_MODE_EXTRACT_ONLY,
				        digests[d].name, some(keys[k]),
				        some(first ? 0 : digests[d].size), STR("derived"),
				        str_of(NULL, 0), digests[d].size});
}

// RFC 8448, 3: "extract secret early", then "derive secret for handshake" up to the salt.
static void the_first_secrets_are_those_of_rfc_8448(void **state)
{
	(void)state;
	static unsigned char out[OUT_MAX];
	static const unsigned char early[] = {0x33, 0xad, 0x0a, 0x1c, 0x60, 0x7e, 0xc0, 0x3b, 0x09,
	        0xe6, 0xcd, 0x98, 0x93, 0x68, 0x0c, 0xe2, 0x10, 0xad, 0xf3, 0x00, 0xaa, 0x1f, 0x26,
	        0x60, 0xe1, 0xb2, 0x2e, 0x10, 0xf1, 0x70, 0xf9, 0x2a};
	assert_true(ask(OURS,
	        (struct question){EVP_KDF_HKDF_MODE_EXTRACT_ONLY, "SHA256", str_of(NULL, 0),
	                str_of(NULL, 0), STR("derived"), str_of(NULL, 0), 32},
	        out));
	assert_memory_equal(out, early, sizeof(early));
}

static void bad_questions_have_no_answer(void **state)
{
	(void)state;
	static unsigned char out[OUT_MAX];
	const struct question good = {EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", some(32),
	        str_of(NULL, 0), STR("key"), str_of(NULL, 0), 16};
	struct question rows[] = {good, good, good, good, good, good, good, good};
	rows[0].mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
	rows[1].mode = 7;
	rows[2].digest = "SHA1";
	rows[3].key.len = 0;
	rows[4].label = some(250);
	rows[5].data = some(256);
	rows[6].len = 255 * 32 + 1;
	rows[7].mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY;  // for another length than the digest's
	assert_true(ask(OURS, good, out));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		print_message("row %zu\n", i);
		assert_false(ask(OURS, rows[i], out));
	}
}

static void nobody_meets_it_by_chance(void **state)
{
	(void)state;
	EVP_KDF *ours = key_schedule_fetch();
	const char *const queries[] = {NULL, "", "provider=default", "?provider=tollgate"};
	assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(ours)), "tollgate");
	for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
		EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, queries[i]);
		assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)), "default");
		EVP_KDF_free(kdf);
	}
	EVP_KDF_free(ours);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(secrets_are_expanded_as_the_library_does),
	        cmocka_unit_test(one_secret_follows_the_other_as_the_library_does),
	        cmocka_unit_test(the_first_secrets_are_those_of_rfc_8448),
	        cmocka_unit_test(bad_questions_have_no_answer),
	        cmocka_unit_test(nobody_meets_it_by_chance),
	};
	return cmocka_run_group_tests_name("key_schedule", tests, NULL, NULL);
}
