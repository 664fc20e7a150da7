// What is remembered of chains that verified: whose, how long, how many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/tls/gate.h"
#include "tls/verdict.h"

static struct tls_peer good(const char *uri)
{
	struct tls_peer peer = {.presented = true, .begins_s = 100, .expires_s = 200};
	peer.uri = arena_str(&peer.arena, str_from(uri));
	return peer;
}

static void number_key(unsigned char key[VERDICT_KEY_SIZE], unsigned number)
{
	memset(key, 0, VERDICT_KEY_SIZE);
	memcpy(key, &number, sizeof(number));
}

static void it_holds_between_its_dates(void **state)
{
	(void)state;
	struct verdict_table *table = verdict_table_new();
	unsigned char key[VERDICT_KEY_SIZE], other[VERDICT_KEY_SIZE];
	struct tls_peer peer = good("spiffe://a/b");
	number_key(key, 1);
	number_key(other, 2);
	assert_null(verdict_find(table, key, 150));
	verdict_unref(verdict_keep(table, key, &peer));
	assert_false(peer.presented);  // it moved
	static const struct {
		int64_t now_s;
		bool there;
	} rows[] = {{99, false}, {100, true}, {199, true}, {200, false}, {201, false}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct verdict *found = verdict_find(table, key, rows[i].now_s);
		assert_int_equal(found != NULL, rows[i].there);
		if (found)
			assert_string_equal(found->peer.uri.at, "spiffe://a/b");
		verdict_unref(found);
	}
	assert_null(verdict_find(table, other, 150));
	verdict_table_free(table);
}

static void a_held_verdict_outlives_its_table(void **state)
{
	(void)state;
	struct verdict_table *table = verdict_table_new();
	unsigned char key[VERDICT_KEY_SIZE];
	struct tls_peer first = good("spiffe://a/first"), second = good("spiffe://a/second");
	number_key(key, 1);
	struct verdict *held = verdict_keep(table, key, &first);
	struct verdict *newer = verdict_keep(table, key, &second);  // two workers at once
	struct verdict *found = verdict_find(table, key, 150);
	assert_ptr_equal(found, newer);
	verdict_table_free(table);
	assert_string_equal(held->peer.uri.at, "spiffe://a/first");
	assert_string_equal(newer->peer.uri.at, "spiffe://a/second");
	verdict_unref(held);
	verdict_unref(newer);
	verdict_unref(found);
}

static void there_are_no_more_than_so_many(void **state)
{
	(void)state;
	struct verdict_table *table = verdict_table_new();
	unsigned char key[VERDICT_KEY_SIZE];
	size_t kept = 0;
	for (unsigned i = 0; i < 3 * VERDICTS_MAX; i++) {
		struct tls_peer peer = good("spiffe://a/b");
		number_key(key, i);
		verdict_unref(verdict_keep(table, key, &peer));
	}
	for (unsigned i = 0; i < 3 * VERDICTS_MAX; i++) {
		number_key(key, i);
		struct verdict *found = verdict_find(table, key, 150);
		kept += found != NULL;
		verdict_unref(found);
	}
	assert_true(kept > 0 && kept <= VERDICTS_MAX);
	verdict_table_free(table);
}

// Every certificate counts, and so does their order.
static void the_key_is_the_whole_chain(void **state)
{
	struct gate *gate = *state;
	X509 *papers[] = {gate->client.x509, gate->gateway.x509, gate->root.x509};
	static const struct {
		int count, order[3];
	} rows[] = {{1, {0}}, {1, {1}}, {2, {0, 1}}, {2, {1, 0}}, {3, {0, 1, 2}}, {3, {0, 2, 1}}};
	unsigned char keys[ARRAY_LEN(rows)][VERDICT_KEY_SIZE];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		STACK_OF(X509) *chain = sk_X509_new_null();
		for (int k = 0; k < rows[i].count; k++)
			sk_X509_push(chain, papers[rows[i].order[k]]);
		assert_true(verdict_key(chain, keys[i]));
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(keys[i], keys[j], VERDICT_KEY_SIZE);
		sk_X509_free(chain);
	}
	STACK_OF(X509) *none = sk_X509_new_null();
	unsigned char key[VERDICT_KEY_SIZE];
	assert_false(verdict_key(none, key));
	sk_X509_free(none);
}

// One client whose chain was good before, and then is not: by date, by another bundle.
static void a_good_chain_is_not_good_for_ever(void **state)
{
	struct gate *gate = *state;
	static const struct {
		int64_t now_s;
		enum reason reason;
	} rows[] = {{NOW_S, REASON_NONE}, {NOW_S, REASON_NONE},
	        {NOW_S + DAY, REASON_certificate_expired}, {NOW_S, REASON_NONE},
	        {NOW_S - 2 * HOUR, REASON_certificate_not_yet_valid}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct duel duel;
		clock_fake(0, rows[i].now_s * NS_PER_S);
		gate_meet(gate, &duel, (struct duel_client){0});
		duel_pump(&duel);
		assert_int_equal(tls_session_peer(duel.session)->reason, rows[i].reason);
		duel_fini(&duel);
	}
	struct paper other = forge(&(struct draft){.cn = "other root", .ca = true}, NULL);
	desk_trust(&gate->desk, (const struct paper *[]){&other}, 1);
	clock_fake(0, NOW_S * NS_PER_S);
	gate_renew(gate);
	struct duel duel;
	gate_meet(gate, &duel, (struct duel_client){0});
	duel_pump(&duel);
	assert_int_equal(tls_session_peer(duel.session)->reason, REASON_certificate_untrusted);
	duel_fini(&duel);
	paper_fini(&other);
}

#define test(name) cmocka_unit_test_setup_teardown(name, gate_open, gate_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(it_holds_between_its_dates),
	        cmocka_unit_test(a_held_verdict_outlives_its_table),
	        cmocka_unit_test(there_are_no_more_than_so_many),
	        test(the_key_is_the_whole_chain),
	        test(a_good_chain_is_not_good_for_ever),
	};
	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
