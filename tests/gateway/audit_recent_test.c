// The lines kept for /audit: which, how many, and that two threads may use them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "gateway/audit_recent.h"

static void add(struct audit_recent *recent, const char *line)
{
	audit_recent_add(recent, str_from(line));
}

static void assert_shows(struct audit_recent *recent, size_t most, const char *wanted)
{
	struct buffer out = {0};
	audit_recent_write(recent, most, &out);
	buffer_append(&out, "", 1);
	assert_string_equal(buffer_data(&out), wanted);
	buffer_fini(&out);
}

static void the_newest_come_first(void **state)
{
	(void)state;
	struct audit_recent recent = {0};
	audit_recent_init(&recent, true);
	assert_shows(&recent, 5, "[]\n");
	add(&recent, "{\"seq\":1}\n");
	assert_shows(&recent, 5, "[{\"seq\":1}]\n");
	add(&recent, "{\"seq\":2}\n");
	add(&recent, "{\"seq\":3}\n");
	assert_shows(&recent, 5, "[{\"seq\":3},\n{\"seq\":2},\n{\"seq\":1}]\n");
	assert_shows(&recent, 2, "[{\"seq\":3},\n{\"seq\":2}]\n");
	assert_shows(&recent, 0, "[]\n");
	audit_recent_fini(&recent);
}

static void nothing_is_kept_while_off(void **state)
{
	(void)state;
	struct audit_recent recent = {0};
	audit_recent_init(&recent, false);
	add(&recent, "{}\n");
	assert_shows(&recent, 5, "[]\n");
	assert_null(recent.lines.block);
	audit_recent_fini(&recent);
}

// A line of `size` bytes that begins with its number.
static void add_long(struct audit_recent *recent, unsigned number, size_t size)
{
	char *line = must_alloc(size + 1);
	memset(line, 'x', size);
	line[0] = (char)('0' + number);
	line[size - 1] = '\n';
	audit_recent_add(recent, str_of(line, size));
	free(line);
}

static void the_oldest_make_room(void **state)
{
	(void)state;
	struct audit_recent recent = {0};
	struct buffer out = {0};
	audit_recent_init(&recent, true);
	for (unsigned i = 0; i < 10; i++)
		add_long(&recent, i, AUDIT_RECENT_BYTES / 4);
	assert_int_equal(buffer_len(&recent.lines), AUDIT_RECENT_BYTES);
	audit_recent_write(&recent, 100, &out);
	assert_int_equal(buffer_data(&out)[1], '9');
	assert_int_equal(
	        buffer_len(&out), AUDIT_RECENT_BYTES + 5);  // four lines and what stands between
	add_long(&recent, 5, AUDIT_RECENT_BYTES);           // alone
	buffer_clear(&out);
	audit_recent_write(&recent, 100, &out);
	assert_int_equal(buffer_data(&out)[1], '5');
	assert_int_equal(buffer_len(&out), AUDIT_RECENT_BYTES + 2);
	add_long(&recent, 6, AUDIT_RECENT_BYTES + 1);  // fits nowhere, pushes nobody out
	buffer_clear(&out);
	audit_recent_write(&recent, 100, &out);
	assert_int_equal(buffer_data(&out)[1], '5');
	buffer_fini(&out);
	audit_recent_fini(&recent);
}

enum { LINES = 20000 };

static void *write_lines(void *argument)
{
	char line[64];
	for (int i = 0; i < LINES; i++) {
		snprintf(line, sizeof(line), "{\"seq\":%08d}\n", i);
		audit_recent_add(argument, str_from(line));
	}
	return NULL;
}

static void a_reader_sees_whole_lines_while_a_writer_writes(void **state)
{
	(void)state;
	struct audit_recent recent = {0};
	pthread_t writer;
	int last = -1;
	audit_recent_init(&recent, true);
	assert_int_equal(pthread_create(&writer, NULL, write_lines, &recent), 0);
	while (last < LINES - 1) {
		struct buffer out = {0};
		int seen = -1;
		audit_recent_write(&recent, 1, &out);
		buffer_append(&out, "", 1);
		if (strcmp(buffer_data(&out), "[]\n") != 0) {
			assert_int_equal(sscanf(buffer_data(&out), "[{\"seq\":%8d}]\n", &seen), 1);
			assert_true(seen >= last);
			last = seen;
		}
		buffer_fini(&out);
	}
	pthread_join(writer, NULL);
	audit_recent_fini(&recent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_newest_come_first),
	        cmocka_unit_test(nothing_is_kept_while_off),
	        cmocka_unit_test(the_oldest_make_room),
	        cmocka_unit_test(a_reader_sees_whole_lines_while_a_writer_writes),
	};
	return cmocka_run_group_tests_name("audit_recent", tests, NULL, NULL);
}
