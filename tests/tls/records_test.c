// Bytes cut into whole records: nothing is lost, doubled or turned round, and no more is held than
// came of one record.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls/records.h"

static const struct {
	const char *name;
	struct str bytes;
	size_t held;  // bytes of it that must wait
} rows[] = {
        {"nothing", {"", 0}, 0},
        {"one record", STR("\x16\x03\x01\x00\x03xyz"), 0},
        {"an empty record", STR("\x16\x03\x01\x00\x00"), 0},
        {"two records", STR("\x16\x03\x01\x00\x03xyz\x17\x03\x03\x00\x01!"), 0},
        {"half a header", STR("\x16\x03\x01"), 3},
        {"a header alone", STR("\x16\x03\x01\x40\x00"), 5},
        {"a record and half of one", STR("\x16\x03\x01\x00\x03xyz\x16\x03\x01\x00\x03xy"), 7},
        {"a record one byte short", STR("\x16\x03\x01\x00\x03xy"), 7},
};

// Everything that comes through, in order.
static struct buffer pass(struct records *records, struct str bytes, size_t stride)
{
	struct buffer through = {0};
	while (bytes.len) {
		size_t cut = stride < bytes.len ? stride : bytes.len;
		struct str piece = str_of(bytes.at, cut);
		bytes = str_skip(bytes, cut);
		while (piece.len) {
			buffer_append_str(&through, records_next(records, &piece));
			records_done(records);
		}
	}
	return through;
}

static void every_cut_gives_the_same_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("    %s\n", rows[i].name);
		for (size_t stride = 1; stride <= 40; stride++) {
			struct records records = {0};
			struct str bytes = rows[i].bytes;
			struct buffer through = pass(&records, bytes, stride);
			size_t whole = bytes.len - rows[i].held;
			assert_true(str_eq(buffer_str(&through), str_of(bytes.at, whole)));
			assert_true(str_eq(buffer_str(&records.held), str_skip(bytes, whole)));
			buffer_fini(&through);
			records_fini(&records);
		}
	}
}

// OpenSSL refuses such a header as soon as it sees it.
static void what_is_no_record_is_not_waited_for(void **state)
{
	static const struct str others[] = {
	        STR("GET / HTTP/1.1\r\n"),
	        STR("\x16\x03\x01\xff\xff"
	            "abcdefgh"),
	        STR("\x01\x02\x03\x04\x05\x06\x07\x08"),
	};
	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		for (size_t stride = 1; stride <= 40; stride++) {
			struct records records = {0};
			struct buffer through = pass(&records, others[i], stride);
			assert_true(buffer_len(&through) >= 5);
			assert_true(str_starts(others[i], buffer_str(&through)));
			buffer_fini(&through);
			records_fini(&records);
		}
}

static void nothing_is_kept_between_records(void **state)
{
	(void)state;
	struct records records = {0};
	struct str bytes = STR("\x16\x03\x01\x00\x03xy");
	assert_int_equal(records_next(&records, &bytes).len, 0);
	records_done(&records);
	assert_non_null(records.held.block);
	bytes = STR("z");
	assert_int_equal(records_next(&records, &bytes).len, 8);
	records_done(&records);
	assert_null(records.held.block);
}

// Only the header says how much is held, and it is never believed before the bytes are there.
static void an_announced_record_costs_the_bytes_that_came(void **state)
{
	(void)state;
	struct records records = {0};
	struct str bytes = STR("\x16\x03\x01\x40\x00\x01\x00\x3f\xfc");
	assert_int_equal(records_next(&records, &bytes).len, 0);
	assert_true(records.held.capacity <= 512);
	records_fini(&records);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_cut_gives_the_same_bytes),
	        cmocka_unit_test(what_is_no_record_is_not_waited_for),
	        cmocka_unit_test(nothing_is_kept_between_records),
	        cmocka_unit_test(an_announced_record_costs_the_bytes_that_came),
	};
	return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
