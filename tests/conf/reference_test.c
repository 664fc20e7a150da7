#include <stdio.h>

#include "tests/conf/loading.h"

static const char path[] = "conf/REFERENCE.md";

static void regenerate(void)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	config_reference(file);
	assert_int_equal(fclose(file), 0);
}

static char *generated(size_t *len)
{
	char *text = NULL;
	FILE *file = open_memstream(&text, len);
	assert_non_null(file);
	config_reference(file);
	assert_int_equal(fclose(file), 0);
	return text;
}

static void the_reference_is_what_the_schema_says(void **state)
{
	(void)state;
	size_t len;
	char *expected = generated(&len);
	char *found = calloc(1, len + 2);
	FILE *file = fopen(path, "r");
	size_t found_len = file ? fread(found, 1, len + 1, file) : 0;
	if (file)
		fclose(file);
	if (found_len != len || memcmp(found, expected, len) != 0)
		fail_msg("%s is stale: run REGENERATE=1 with this program from the root of the "
		         "repository",
		        path);
	free(found);
	free(expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_reference_is_what_the_schema_says),
	};
	const char *wish = getenv("REGENERATE");
	if (wish && strcmp(wish, "1") == 0)
		regenerate();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
