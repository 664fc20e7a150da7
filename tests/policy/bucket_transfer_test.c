// Buckets that go from one process to the one that takes its place.
#include "tests/policy/bucket_fixture.h"

static const int64_t start_ns = INT64_C(1000) * NS_PER_S;

static struct bucket_limit *get(
        struct bucket_store *store, const char *name, uint64_t burst, uint64_t max_keys)
{
	struct bucket_rate rate = {1, hour_ns, burst};
	return bucket_limit_get(store, str_from(name), rate, max_keys > 0, max_keys, start_ns);
}

// What a second process has after the first: a limit of that burst, as the first left it.
struct successor {
	struct bucket_store *store;
	struct bucket_limit *limit;
};

static struct successor succeed(
        struct bucket_store *from, const char *name, uint64_t burst, uint64_t max_keys)
{
	struct buffer exported = {0};
	struct successor next;
	bucket_store_export(from, start_ns, &exported);
	next.store = bucket_store_new_after(buffer_str(&exported));
	assert_non_null(next.store);
	next.limit = get(next.store, name, burst, max_keys);
	assert_true(bucket_store_import(next.store, buffer_str(&exported), start_ns));
	buffer_fini(&exported);
	return next;
}

static void end(struct successor *next)
{
	bucket_limit_unref(next->limit);
	bucket_store_free(next->store);
}

static void a_single_bucket_keeps_its_fill(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = get(store, "a", 10, 0);
	for (int i = 0; i < 7; i++)
		assert_true(allow(limit, start_ns));
	struct successor next = succeed(store, "a", 10, 0);
	assert_int_equal(drain(next.limit, STR(""), start_ns), 3);
	assert_int_equal(drain(next.limit, STR(""), start_ns + 2 * hour_ns), 2);
	end(&next);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

static void keys_are_found_again(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = get(store, "a", 5, 1000);
	for (uint64_t key = 0; key < 300; key++)
		for (uint64_t i = 0; i < key % 6; i++)
			assert_true(allow_key(limit, key, start_ns));
	struct successor next = succeed(store, "a", 5, 1000);
	for (uint64_t key = 0; key < 300; key++) {
		char text[32];
		assert_int_equal(drain(next.limit, key_of(text, key), start_ns), 5 - (key % 6));
	}
	end(&next);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

static void fewer_places_gain_nobody_a_token(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = get(store, "a", 1, 100);
	for (uint64_t key = 0; key < 100; key++)
		assert_true(allow_key(limit, key, start_ns));
	struct successor next = succeed(store, "a", 1, 10);
	for (uint64_t key = 0; key < 100; key++)
		assert_false(allow_key(next.limit, key, start_ns));
	end(&next);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

static void other_numbers_are_as_after_a_reload(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = get(store, "a", 10, 0);
	for (int i = 0; i < 4; i++)
		assert_true(allow(limit, start_ns));
	struct successor more = succeed(store, "a", 100, 0), fewer = succeed(store, "a", 2, 0);
	assert_int_equal(drain(more.limit, STR(""), start_ns), 6);
	assert_int_equal(drain(fewer.limit, STR(""), start_ns), 2);
	end(&more);
	end(&fewer);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

static void limits_of_another_kind_or_name_begin_full(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = get(store, "a", 3, 0);
	assert_int_equal(drain(limit, STR(""), start_ns), 3);
	struct successor keyed = succeed(store, "a", 3, 10), other = succeed(store, "b", 3, 0);
	assert_true(allow_key(keyed.limit, 1, start_ns));
	assert_int_equal(drain(other.limit, STR(""), start_ns), 3);
	end(&keyed);
	end(&other);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

static void note_view(const struct bucket_view *view, void *argument)
{
	*(struct bucket_view *)argument = *view;
}

static void counters_go_along(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *limit = get(store, "a", 3, 10);
	struct bucket_view view = {0};
	for (int i = 0; i < 5; i++)
		(void)!allow_key(limit, 1, start_ns);
	struct successor next = succeed(store, "a", 3, 10);
	bucket_store_each(next.store, start_ns, note_view, &view);
	assert_int_equal(view.granted, 3);
	assert_int_equal(view.refused, 2);
	assert_int_equal(view.keys_used, 1);
	end(&next);
	bucket_limit_unref(limit);
	bucket_store_free(store);
}

// Every length it could have been cut to, and every byte of it turned over.
static void what_is_damaged_is_refused_or_harmless(void **state)
{
	(void)state;
	struct bucket_store *store = bucket_store_new();
	struct bucket_limit *single = get(store, "single", 3, 0),
	                    *keyed = get(store, "keyed", 3, 4);
	struct buffer good = {0};
	assert_true(allow_key(keyed, 1, start_ns) && allow(single, start_ns));
	bucket_store_export(store, start_ns, &good);
	size_t len = buffer_len(&good);
	for (size_t cut = 0; cut < len; cut++)
		(void)!bucket_store_import(store, str_of(buffer_data(&good), cut), start_ns);
	assert_null(bucket_store_new_after(str_of(buffer_data(&good), 10)));
	for (size_t at = 0; at < len; at++) {
		buffer_data(&good)[at] ^= (char)0xff;
		(void)!bucket_store_import(store, buffer_str(&good), start_ns);
		buffer_data(&good)[at] ^= (char)0xff;
	}
	(void)!allow(single, start_ns);
	(void)!allow_key(keyed, 1, start_ns);
	buffer_fini(&good);
	bucket_limit_unref(single);
	bucket_limit_unref(keyed);
	bucket_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_single_bucket_keeps_its_fill),
	        cmocka_unit_test(keys_are_found_again),
	        cmocka_unit_test(fewer_places_gain_nobody_a_token),
	        cmocka_unit_test(other_numbers_are_as_after_a_reload),
	        cmocka_unit_test(limits_of_another_kind_or_name_begin_full),
	        cmocka_unit_test(counters_go_along),
	        cmocka_unit_test(what_is_damaged_is_refused_or_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
