// What is looked up once is what the library would say each time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "tls/lookup.h"

typedef int walk(const EVP_KEYMGMT *kind, void (*visit)(const char *, void *), void *data);

static walk *of_the_library;

struct list {
	char text[512];
};

static void note(const char *name, void *data)
{
	struct list *list = data;
	strcat(strcat(list->text, name), " ");
	assert_true(strlen(list->text) < sizeof(list->text) - 100);
}

static void compare(EVP_KEYMGMT *kind, void *data)
{
	size_t *count = data;
	struct list expected = {""};
	assert_int_equal(of_the_library(kind, note, &expected), 1);
	assert_true(strlen(expected.text) > 0);
	for (int again = 0; again < 3; again++) {
		struct list found = {""};
		assert_int_equal(EVP_KEYMGMT_names_do_all(kind, note, &found), 1);
		assert_string_equal(found.text, expected.text);
	}
	++*count;
}

static void every_kind_of_key_has_the_names_the_library_gives(void **state)
{
	(void)state;
	void *found = dlsym(RTLD_NEXT, "EVP_KEYMGMT_names_do_all");
	memcpy(&of_the_library, &found, sizeof(found));
	for (int again = 0; again < 2; again++) {
		size_t count = 0;
		EVP_KEYMGMT_do_all_provided(NULL, compare, &count);
		assert_true(count > LOOKUP_KINDS);  // more than are kept
	}
}

static void a_kdf_is_who_was_asked_for(void **state)
{
	(void)state;
	const struct {
		const char *name, *query, *provider;  // NULL: there is none
	} rows[] = {
	        {OSSL_KDF_NAME_TLS1_3_KDF, LOOKUP_QUERY, "tollgate"},
	        {OSSL_KDF_NAME_TLS1_3_KDF, NULL, "default"},
	        {OSSL_KDF_NAME_TLS1_3_KDF, "provider=default", "default"},
	        {OSSL_KDF_NAME_HKDF, LOOKUP_QUERY, "default"},
	        {OSSL_KDF_NAME_HKDF, NULL, "default"},
	        {"no such", LOOKUP_QUERY, NULL},
	        {OSSL_KDF_NAME_TLS1_3_KDF, "provider=nobody", NULL},
	};
	for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
		size_t row = i / 2;
		EVP_KDF *kdf = EVP_KDF_fetch(NULL, rows[row].name, rows[row].query);
		print_message("%s %s\n", rows[row].name, rows[row].query);
		if (rows[row].provider)
			assert_string_equal(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)),
			        rows[row].provider);
		else
			assert_null(kdf);
		EVP_KDF_free(kdf);
		ERR_clear_error();
	}
}

static void who_comes_first_is_answered_too(void **state)
{
	(void)state;
	struct list found = {""};
	EVP_KEYMGMT *kind = EVP_KEYMGMT_fetch(NULL, "X25519", NULL);
	assert_int_equal(EVP_KEYMGMT_names_do_all(kind, note, &found), 1);
	assert_non_null(strstr(found.text, "X25519"));
	EVP_KEYMGMT_free(kind);
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	assert_non_null(kdf);
	EVP_KDF_free(kdf);
}

static void under_fips_all_is_the_librarys(void **state)
{
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		EVP_default_properties_enable_fips(NULL, 1);
		lookup_begin();
		EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, LOOKUP_QUERY);
		const char *of = kdf ? OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)) : "";
		_exit(strcmp(of, "tollgate") == 0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static int begin(void **state)
{
	(void)state;
	lookup_begin();
	lookup_begin();
	return 0;
}

int main(void)
{
	const struct CMUnitTest early[] = {
	        cmocka_unit_test(under_fips_all_is_the_librarys),
	        cmocka_unit_test(who_comes_first_is_answered_too),
	};
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_kind_of_key_has_the_names_the_library_gives),
	        cmocka_unit_test(a_kdf_is_who_was_asked_for),
	};
	return cmocka_run_group_tests_name("lookup, before", early, NULL, NULL) +
	       cmocka_run_group_tests_name("lookup", tests, begin, NULL);
}
