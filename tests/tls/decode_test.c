// Client certificates decoded once: whose, for how long, and what is never mistaken for them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/gate.h"
#include "tls/decode.h"
#include "tls/session.h"

// The certificate as the gateway's library has it after a visit; a reference.
static X509 *seen(struct gate *gate, struct duel_client client)
{
	struct duel duel;
	gate_meet(gate, &duel, client);
	duel_pump(&duel);
	assert_int_equal(tls_status(duel.session), TLS_OPEN);
	assert_true(duel_say(&duel, STR("hello")));
	X509 *found = SSL_get1_peer_certificate(duel.session->ssl);
	assert_non_null(found);
	duel_fini(&duel);
	return found;
}

// Frees both.
static bool same(X509 *one, X509 *other)
{
	bool found = one == other;
	X509_free(one);
	X509_free(other);
	return found;
}

static void a_client_known_is_not_decoded_again(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(tls_versions); i++) {
		struct duel_client client = {.version = tls_versions[i]};
		assert_true(same(seen(*state, client), seen(*state, client)));
	}
}

static void neither_is_the_chain_behind_it(void **state)
{
	struct gate *gate = *state;
	struct paper middle = forge(&(struct draft){.cn = "middle", .ca = true}, &gate->root);
	struct paper leaf = forge(&(struct draft){.cn = "leaf"}, &middle);
	X509 *found[2];
	for (size_t i = 0; i < 2; i++) {
		struct duel duel;
		gate_meet(gate, &duel,
		        (struct duel_client){.paper = &leaf,
		                .chain = (const struct paper *[]){&middle},
		                .chain_count = 1});
		duel_pump(&duel);
		assert_int_equal(tls_session_peer(duel.session)->reason, REASON_NONE);
		found[i] = sk_X509_value(SSL_get_peer_cert_chain(duel.session->ssl), 0);
		assert_int_equal(X509_up_ref(found[i]), 1);
		duel_fini(&duel);
	}
	assert_true(same(found[0], found[1]));
	paper_fini(&leaf);
	paper_fini(&middle);
}

static void a_stranger_is_decoded_each_time(void **state)
{
	struct paper stranger = forge(&(struct draft){.cn = "stranger"}, NULL);
	struct duel_client client = {.paper = &stranger};
	assert_false(same(seen(*state, client), seen(*state, client)));
	paper_fini(&stranger);
}

static void another_configuration_decodes_anew(void **state)
{
	X509 *before = seen(*state, (struct duel_client){0});
	gate_renew(*state);
	assert_false(same(before, seen(*state, (struct duel_client){0})));
}

struct der {
	unsigned char *bytes;
	long len;
};

static struct der der_of(X509 *certificate)
{
	struct der der = {0};
	der.len = i2d_X509(certificate, &der.bytes);
	assert_true(der.len > 0);
	return der;
}

// What the library would read of these bytes within a handshake; NULL if nothing.
static X509 *read_within(struct decode_table *table, struct der der, long *read)
{
	const unsigned char *at = der.bytes;
	X509 *certificate = X509_new();
	decode_begin(table);
	X509 *found = d2i_X509(&certificate, &at, der.len);
	decode_end();
	ERR_clear_error();
	*read = at - der.bytes;
	if (!found)
		X509_free(certificate);
	return found;
}

static X509 *learn(struct decode_table *table, struct der der)
{
	STACK_OF(X509) *chain = sk_X509_new_null();
	const unsigned char *at = der.bytes;
	decode_begin(table);
	X509 *certificate = d2i_X509(NULL, &at, der.len);
	sk_X509_push(chain, certificate);
	decode_keep(chain);
	decode_end();
	sk_X509_free(chain);
	return certificate;
}

static void all_of_its_bytes_count(void **state)
{
	struct gate *gate = *state;
	struct decode_table *table = decode_table_new();
	struct der der = der_of(gate->client.x509);
	X509 *known = learn(table, der), *found;
	long read;
	for (long i = 0; i < der.len; i++) {
		der.bytes[i] ^= 1;
		found = read_within(table, der, &read);
		assert_ptr_not_equal(found, known);
		X509_free(found);
		der.bytes[i] ^= 1;
	}
	found = read_within(table, (struct der){der.bytes, der.len - 1}, &read);
	assert_null(found);
	found = read_within(table, der, &read);
	assert_ptr_equal(found, known);
	assert_int_equal(read, der.len);
	X509_free(found);
	X509_free(known);
	OPENSSL_free(der.bytes);
	decode_table_free(table);
}

static void bytes_behind_it_are_left(void **state)
{
	struct gate *gate = *state;
	struct decode_table *table = decode_table_new();
	struct der der = der_of(gate->client.x509);
	X509 *known = learn(table, der);
	struct der longer = {must_alloc((size_t)der.len + 5), der.len + 5};
	memcpy(longer.bytes, der.bytes, (size_t)der.len);
	long read;
	X509 *found = read_within(table, longer, &read);
	assert_non_null(found);
	assert_ptr_not_equal(found, known);
	assert_int_equal(read, der.len);
	X509_free(found);
	X509_free(known);
	free(longer.bytes);
	OPENSSL_free(der.bytes);
	decode_table_free(table);
}

static void one_too_long_is_decoded_each_time(void **state)
{
	struct gate *gate = *state;
	static const struct {
		const char *name;
		int san_bytes;
		bool known;
	} rows[] = {
	        {"just within", DECODED_BYTES_MAX - 1000, true},
	        {"over", DECODED_BYTES_MAX, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		static char uri[DECODED_BYTES_MAX];
		struct decode_table *table = decode_table_new();
		memset(uri, 'u', sizeof(uri));
		memcpy(uri, "spiffe://cluster.local/", 23);
		struct str san = str_of(uri, (size_t)rows[i].san_bytes);
		struct draft draft = {.cn = "large", .raw_uri = san};
		struct paper large = forge(&draft, &gate->root);
		struct der der = der_of(large.x509);
		long read;
		print_message("%s: %ld bytes\n", rows[i].name, der.len);
		assert_int_equal(der.len <= DECODED_BYTES_MAX, rows[i].known);
		X509 *first = learn(table, der);
		assert_int_equal(same(first, read_within(table, der, &read)), rows[i].known);
		assert_int_equal(read, der.len);
		OPENSSL_free(der.bytes);
		paper_fini(&large);
		decode_table_free(table);
	}
}

static void outside_of_a_handshake_all_is_as_ever(void **state)
{
	struct gate *gate = *state;
	struct decode_table *table = decode_table_new();
	struct der der = der_of(gate->client.x509);
	X509 *known = learn(table, der), *place = X509_new(), *given = place;
	const unsigned char *at = der.bytes;
	assert_ptr_equal(d2i_X509(&place, &at, der.len), given);
	assert_ptr_equal(place, given);
	assert_int_equal(at - der.bytes, der.len);
	X509_free(place);
	at = (const unsigned char *)"no certificate";
	assert_null(d2i_X509(NULL, &at, 14));
	ERR_clear_error();
	X509_free(known);
	OPENSSL_free(der.bytes);
	decode_table_free(table);
}

// Each is another certificate to look at, though no signature of them is good.
static void number(struct der der, unsigned value)
{
	for (int i = 0; i < 4; i++)
		der.bytes[der.len - 1 - i] = (unsigned char)(value >> 8 * i);
}

static void older_ones_make_room(void **state)
{
	struct gate *gate = *state;
	struct decode_table *table = decode_table_new();
	enum { SHOWN = DECODED_MAX + DECODED_MAX / 4 };
	static X509 *learnt[SHOWN];
	struct der der = der_of(gate->client.x509);
	unsigned known = 0;
	long read;
	for (unsigned i = 0; i < SHOWN; i++) {
		number(der, i);
		learnt[i] = learn(table, der);
	}
	for (unsigned i = 0; i < SHOWN; i++) {
		number(der, i);
		known += same(learnt[i], read_within(table, der, &read));
	}
	assert_in_range(known, DECODED_MAX / 2, DECODED_MAX);
	OPENSSL_free(der.bytes);
	decode_table_free(table);
}

#define test(name) cmocka_unit_test_setup_teardown(name, gate_open, gate_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(a_client_known_is_not_decoded_again),
	        test(neither_is_the_chain_behind_it),
	        test(a_stranger_is_decoded_each_time),
	        test(another_configuration_decodes_anew),
	        test(all_of_its_bytes_count),
	        test(bytes_behind_it_are_left),
	        test(one_too_long_is_decoded_each_time),
	        test(outside_of_a_handshake_all_is_as_ever),
	        test(older_ones_make_room),
	};
	return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
