#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/denied.h"

// Only a refusal that the modes do not explain is the sandbox's.

static void what_the_mode_allows_was_refused_by_the_sandbox(void **state)
{
	(void)state;
	assert_non_null(strstr(denied_words("/", R_OK, EACCES), "a restart is needed"));
	assert_non_null(strstr(denied_words("/tmp/none-of-ours", W_OK, EACCES), "restart"));
}

static void all_else_is_what_the_system_says(void **state)
{
	(void)state;
	assert_string_equal(denied_words("/", R_OK, ENOENT), strerror(ENOENT));
	assert_string_equal(denied_words("/none/of/ours", R_OK, EACCES), strerror(EACCES));
	assert_string_equal(denied_words("/none/of/ours", W_OK, EACCES), strerror(EACCES));
	assert_string_equal(denied_words("/etc/hostname/x", W_OK, EACCES), strerror(EACCES));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_the_mode_allows_was_refused_by_the_sandbox),
	        cmocka_unit_test(all_else_is_what_the_system_says),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
