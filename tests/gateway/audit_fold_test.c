#include "tests/gateway/audit_fixture.h"

#include "gateway/audit_fold.h"

static struct str numbered(char text[32], int number)
{
	return str_of(text, (size_t)snprintf(text, 32, "caller %d", number));
}

static void like_records_share_an_entry_and_others_do_not(void **state)
{
	(void)state;
	struct audit_folds *folds = audit_folds_new(1);
	struct audit_fold *a = audit_folds_see(folds, STR("a"), REASON_no_route, 5);
	struct audit_fold *b = audit_folds_see(folds, STR("b"), REASON_no_route, 6);
	assert_ptr_not_equal(a, b);
	assert_ptr_equal(audit_folds_see(folds, STR("a"), REASON_no_route, 7), a);
	assert_int_equal(a->seen, 2);
	assert_int_equal(b->seen, 1);
	assert_int_equal(folds->since_ns, 5);
	audit_folds_free(folds);
}

static void counts_know_first_and_last(void **state)
{
	(void)state;
	struct audit_folds *folds = audit_folds_new(1);
	struct audit_fold *fold = audit_folds_see(folds, STR("a"), REASON_no_route, 0);
	assert_true(audit_folds_keep_body(folds, fold, STR("body")));
	audit_folds_count(folds, fold, 100);
	audit_folds_count(folds, fold, 300);
	assert_int_equal(fold->count, 2);
	assert_int_equal(fold->first_ns, 100);
	assert_int_equal(fold->last_ns, 300);
	assert_int_equal(folds->folded, 2);
	assert_true(str_eq(audit_folds_text(folds, fold->body), STR("body")));
	audit_folds_free(folds);
}

static void beyond_its_size_callers_are_counted_by_verdict(void **state)
{
	(void)state;
	struct audit_folds *folds = audit_folds_new(1);
	char text[32];
	for (int i = 0; i < AUDIT_FOLD_CALLERS; i++)
		assert_false(audit_folds_is_verdict(
		        folds, audit_folds_see(folds, numbered(text, i), REASON_no_route, 0)));
	struct audit_fold *one = audit_folds_see(folds, STR("x"), REASON_no_route, 0);
	struct audit_fold *two = audit_folds_see(folds, STR("y"), REASON_no_route, 0);
	assert_ptr_equal(one, two);
	assert_true(audit_folds_is_verdict(folds, one));
	assert_int_equal(one->seen, 2);
	for (int i = 0; i < AUDIT_FOLD_CALLERS; i++)  // those who have an entry keep it
		assert_int_equal(
		        audit_folds_see(folds, numbered(text, i), REASON_no_route, 0)->seen, 2);
	audit_folds_clear(folds);
	assert_false(audit_folds_is_verdict(
	        folds, audit_folds_see(folds, STR("x"), REASON_no_route, 0)));
	audit_folds_free(folds);
}

static void texts_are_bounded_too(void **state)
{
	(void)state;
	struct audit_folds *folds = audit_folds_new(1);
	char *huge = calloc(1, AUDIT_FOLD_BYTES + 1);
	struct audit_fold *fold = audit_folds_see(
	        folds, str_of(huge, AUDIT_FOLD_BYTES + 1), REASON_no_route, 0);
	assert_true(audit_folds_is_verdict(folds, fold));
	fold = audit_folds_see(folds, STR("a"), REASON_no_route, 0);
	assert_false(audit_folds_is_verdict(folds, fold));
	assert_false(audit_folds_keep_body(folds, fold, str_of(huge, AUDIT_FOLD_BYTES)));
	assert_int_equal(fold->body.len, 0);
	struct audit_fold *verdict = &folds->verdicts[REASON_no_route];
	assert_true(audit_folds_keep_body(folds, verdict, STR("always")));
	assert_true(buffer_len(&folds->bytes) < 100);
	free(huge);
	audit_folds_free(folds);
}

static void walking_shows_every_entry_once(void **state)
{
	(void)state;
	struct audit_folds *folds = audit_folds_new(7);
	char text[32];
	for (int i = 0; i < 3000; i++) {
		enum reason reason = (enum reason)(1 + i % (REASON_COUNT - 1));
		struct audit_fold *fold = audit_folds_see(
		        folds, numbered(text, i % 2000), reason, 0);
		if (!fold->body.len)
			assert_true(audit_folds_keep_body(folds, fold, STR("b")));
		audit_folds_count(folds, fold, i);
	}
	uint64_t sum = 0;
	const struct audit_fold *fold;
	for (size_t i = 0; (fold = audit_folds_at(folds, i)); i++)
		sum += fold->count;
	assert_int_equal(sum, 3000);
	assert_int_equal(folds->folded, 3000);
	audit_folds_free(folds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(like_records_share_an_entry_and_others_do_not),
	        cmocka_unit_test(counts_know_first_and_last),
	        cmocka_unit_test(beyond_its_size_callers_are_counted_by_verdict),
	        cmocka_unit_test(texts_are_bounded_too),
	        cmocka_unit_test(walking_shows_every_entry_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
