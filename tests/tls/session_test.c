// A session as a byte machine: any cutting of the bytes gives the same, garbage and broken records
// end it, what is written arrives in full records, close_notify is said once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/gate.h"

static void any_cutting_gives_the_same(void **state)
{
	static const int strides[] = {0, 1, 2, 7, 100, -1};
	static char words[50000];
	for (size_t i = 0; i < sizeof(words); i++)
		words[i] = (char)(i * 7);
	for (size_t i = 0; i < ARRAY_LEN(strides) * ARRAY_LEN(tls_versions); i++) {
		struct duel duel;
		gate_meet(*state, &duel, (struct duel_client){.version = tls_versions[i % 2]});
		duel.stride = strides[i / 2];
		duel_pump(&duel);
		assert_int_equal(tls_status(duel.session), TLS_OPEN);
		assert_int_equal(tls_session_peer(duel.session)->reason, REASON_NONE);
		assert_true(duel_say(&duel, str_of(words, sizeof(words))));
		assert_true(duel_answer(&duel, str_of(words, sizeof(words))));
		SSL_shutdown(duel.client);
		duel_pump(&duel);
		assert_int_equal(tls_status(duel.session), TLS_ENDED);
		duel_fini(&duel);
	}
}

// RFC 8446, 5.1: full records and a last one; a stream of small ones would cost ten times as much.
static void a_large_write_goes_in_full_records(void **state)
{
	static char words[3 * 16384 + 100];
	static const size_t expected[] = {16384, 16384, 16384, 100};
	struct duel duel;
	gate_meet(*state, &duel, (struct duel_client){.version = TLS1_3_VERSION});
	duel_pump(&duel);
	assert_true(tls_write(duel.session, str_of(words, sizeof(words))));
	struct str out = buffer_str(&duel.out);
	size_t record = 0;
	while (out.len) {
		size_t len = (size_t)((uint8_t)out.at[3] << 8 | (uint8_t)out.at[4]);
		assert_int_equal(out.at[0], SSL3_RT_APPLICATION_DATA);
		assert_true(record < ARRAY_LEN(expected));
		assert_int_equal(len, expected[record++] + 17);  // content type and tag
		out = str_skip(out, 5 + len);
	}
	assert_int_equal(record, ARRAY_LEN(expected));
	duel_pump(&duel);
	assert_true(str_eq(buffer_str(&duel.client_plain), str_of(words, sizeof(words))));
	duel_fini(&duel);
}

static void writing_appends_and_leaves_what_is_there(void **state)
{
	struct duel duel;
	gate_meet(*state, &duel, (struct duel_client){0});
	duel_pump(&duel);
	buffer_append_str(&duel.out, STR("before"));
	assert_true(tls_write(duel.session, STR("words")));
	assert_true(str_starts(buffer_str(&duel.out), STR("before")));
	size_t len = buffer_len(&duel.out);
	assert_true(tls_write(duel.session, STR("")));
	assert_int_equal(buffer_len(&duel.out), len);
	duel_fini(&duel);
}

static void close_notify_is_said_once_and_after_it_nothing(void **state)
{
	for (size_t v = 0; v < ARRAY_LEN(tls_versions); v++) {
		struct duel duel;
		gate_meet(*state, &duel, (struct duel_client){.version = tls_versions[v]});
		tls_close_notify(duel.session);  // too early: nothing to close yet
		assert_int_equal(buffer_len(&duel.out), 0);
		duel_pump(&duel);
		assert_true(tls_write(duel.session, STR("last words")));
		tls_close_notify(duel.session);
		size_t len = buffer_len(&duel.out);
		tls_close_notify(duel.session);
		assert_false(tls_write(duel.session, STR("more")));
		assert_int_equal(buffer_len(&duel.out), len);
		duel_pump(&duel);
		assert_true(str_eq(buffer_str(&duel.client_plain), STR("last words")));
		assert_true(duel.client_ended);
		assert_false(duel.client_failed);
		// The client may still speak; its own end is heard.
		assert_true(duel_say(&duel, STR("and yet")));
		SSL_shutdown(duel.client);
		duel_pump(&duel);
		assert_int_equal(tls_status(duel.session), TLS_ENDED);
		duel_fini(&duel);
	}
}

static void after_the_clients_end_we_may_still_answer(void **state)
{
	for (size_t v = 0; v < ARRAY_LEN(tls_versions); v++) {
		struct duel duel;
		gate_meet(*state, &duel, (struct duel_client){.version = tls_versions[v]});
		duel_pump(&duel);
		SSL_shutdown(duel.client);
		duel_pump(&duel);
		assert_int_equal(tls_status(duel.session), TLS_ENDED);
		duel_feed(&duel, STR("ignored"));
		assert_int_equal(tls_status(duel.session), TLS_ENDED);
		assert_int_equal(duel_fault(&duel), REASON_NONE);
		assert_true(duel_answer(&duel, STR("the answer")));
		tls_close_notify(duel.session);
		duel_pump(&duel);
		assert_true(duel.client_ended);
		duel_fini(&duel);
	}
}

static void what_is_no_hello_ends_it(void **state)
{
	static const struct {
		const char *name;
		struct str bytes;
		const char *detail, *alert;
	} rows[] = {
	        {"plain HTTP", STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "http request", ""},
	        {"an SSL 2 hello",
	                STR("\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x07\x00\xc0\x03\x00\x80"),
	                "not a TLS record: an SSL 2 hello or garbage", "protocol_version"},
	        {"an SSL 2 hello that offers TLS 1.2",
	                STR("\x80\x1c\x01\x03\x03\x00\x03\x00\x00\x00\x10\x00\xc0/"
	                    "0123456789abcdef"),
	                "not a TLS record: an SSL 2 hello or garbage", "protocol_version"},
	        {"garbage", STR("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"),
	                "wrong version number", ""},
	        {"the h2 preface", STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), NULL, NULL},
	        {"a record of length nought", STR("\x16\x03\x01\x00\x00"), NULL, NULL},
	        {"a record too long", STR("\x16\x03\x01\xff\xff\x01\x00\x00\x10"), NULL,
	                "record_overflow"},
	        {"another message first", STR("\x16\x03\x01\x00\x04\x02\x00\x00\x00"), NULL,
	                "unexpected_message"},
	        {"application data first", STR("\x17\x03\x03\x00\x05hello"), NULL, NULL},
	        {"a hello that announces 128 KiB", STR("\x16\x03\x01\x40\x00\x01\x02\x00\x00"),
	                "the ClientHello announces more than 16 KiB", "illegal_parameter"},
	        {"a broken hello", STR("\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00"),
	                NULL, "decode_error"},
	        {"an alert first", STR("\x15\x03\x01\x00\x02\x02\x28"), "unexpected message",
	                "unexpected_message"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
		struct duel duel;
		struct str detail;
		size_t row = i / 2;
		gate_meet(*state, &duel, (struct duel_client){0});
		duel.stride = i % 2;
		duel_feed(&duel, rows[row].bytes);
		print_message("    %s\n", rows[row].name);
		// A record of no bytes is lawful once; many are not.
		for (int more = 0; more < 40 && tls_status(duel.session) == TLS_HANDSHAKING; more++)
			duel_feed(&duel, rows[row].bytes);
		assert_int_equal(tls_status(duel.session), TLS_FAILED);
		assert_int_equal(tls_fault(duel.session, &detail), REASON_tls_failed);
		assert_true(detail.len > 0);
		if (rows[row].detail)
			assert_string_equal(detail.at, rows[row].detail);
		if (rows[row].alert)
			assert_true(
			        str_eq(tls_session_alert(duel.session), str_from(rows[row].alert)));
		assert_int_equal(buffer_len(&duel.plain), 0);
		duel_fini(&duel);
	}
}

// The guard's alert must be one that a client understands.
static void a_client_hears_the_guards_alert(void **state)
{
	struct duel duel;
	gate_meet(*state, &duel, (struct duel_client){0});
	duel_client_turn(&duel);  // its hello goes nowhere
	(void)BIO_reset(SSL_get_wbio(duel.client));
	duel_feed(&duel, STR("\x16\x03\x01\x40\x00\x01\x02\x00\x00"));
	duel_pump(&duel);
	assert_int_equal(duel.client_alert, SSL_AD_ILLEGAL_PARAMETER);
	duel_fini(&duel);
}

static void a_broken_record_ends_an_open_session(void **state)
{
	for (size_t v = 0; v < ARRAY_LEN(tls_versions); v++) {
		struct duel duel;
		char *bytes;
		gate_meet(*state, &duel, (struct duel_client){.version = tls_versions[v]});
		duel_pump(&duel);
		assert_int_equal(SSL_write(duel.client, "first", 5), 5);
		assert_int_equal(SSL_write(duel.client, "second", 6), 6);
		long len = BIO_get_mem_data(SSL_get_wbio(duel.client), &bytes);
		bytes[len - 1] ^= 1;
		duel_carry_in(&duel);
		assert_true(str_eq(buffer_str(&duel.plain), STR("first")));
		assert_int_equal(tls_status(duel.session), TLS_FAILED);
		assert_int_equal(duel_fault(&duel), REASON_tls_failed);
		assert_string_equal(tls_session_alert(duel.session).at, "bad_record_mac");
		assert_false(tls_write(duel.session, STR("too late")));
		tls_close_notify(duel.session);
		duel_pump(&duel);
		assert_int_equal(duel.client_alert, SSL_AD_BAD_RECORD_MAC);
		duel_fini(&duel);
	}
}

// The session with one byte of one of the client's flights broken.
static bool opens_with_broken_byte(struct gate *gate, int version, int flight, size_t at)
{
	struct duel duel;
	char *bytes;
	gate_meet(gate, &duel, (struct duel_client){.version = version});
	duel_client_turn(&duel);
	if (flight == 1) {
		duel_carry_in(&duel);
		duel_carry_out(&duel);
		duel_client_turn(&duel);
	}
	size_t len = (size_t)BIO_get_mem_data(SSL_get_wbio(duel.client), &bytes);
	if (at < len)
		bytes[at] = (char)(bytes[at] ^ 0x41);
	duel_pump(&duel);
	bool open = tls_status(duel.session) == TLS_OPEN;
	assert_true(open || at < len);
	duel_fini(&duel);
	return open && at < len;
}

static void no_broken_handshake_opens(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(tls_versions) * 2; i++)
		for (size_t at = 0; at < 1500; at += 11)
			assert_false(opens_with_broken_byte(
			        *state, tls_versions[i / 2], (int)(i % 2), at));
}

// In TLS 1.2 the client's certificate comes in the clear; here its DER is broken.
static void a_certificate_that_does_not_parse_is_invalid(void **state)
{
	struct duel duel;
	char *bytes;
	struct str detail;
	gate_meet(*state, &duel, (struct duel_client){.version = TLS1_2_VERSION});
	duel_client_turn(&duel);
	duel_carry_in(&duel);
	duel_carry_out(&duel);
	duel_client_turn(&duel);
	(void)BIO_get_mem_data(SSL_get_wbio(duel.client), &bytes);
	enum { RECORD_AND_MESSAGE_HEADERS = 9, LENGTHS = 6 };
	char *der = bytes + RECORD_AND_MESSAGE_HEADERS + LENGTHS;
	assert_int_equal(*der, 0x30);
	*der = 0x31;
	duel_pump(&duel);
	assert_int_equal(tls_status(duel.session), TLS_FAILED);
	assert_int_equal(tls_fault(duel.session, &detail), REASON_certificate_invalid);
	assert_true(str_starts(detail, STR("the client's certificates cannot be read: ")));
	assert_int_equal(tls_session_peer(duel.session)->reason, REASON_certificate_invalid);
	assert_true(duel.client_alert >= 0);
	duel_fini(&duel);
}

static void a_client_that_turns_away_is_recorded(void **state)
{
	struct duel duel;
	struct str detail;
	gate_meet(*state, &duel, (struct duel_client){.version = TLS1_2_VERSION});
	SSL_set_verify(duel.client, SSL_VERIFY_PEER, NULL);  // it knows no root at all
	duel_pump(&duel);
	assert_int_equal(tls_status(duel.session), TLS_FAILED);
	assert_int_equal(tls_fault(duel.session, &detail), REASON_tls_failed);
	assert_string_equal(detail.at, "the client sent the alert unknown_ca");
	assert_int_equal(tls_session_peer(duel.session)->reason, REASON_certificate_missing);
	duel_fini(&duel);
}

static void empty_records_do_not_go_on_for_ever(void **state)
{
	struct duel duel;
	gate_meet(*state, &duel, (struct duel_client){0});
	for (int i = 0; i < 100; i++)
		duel_feed(&duel, STR("\x16\x03\x01\x00\x00"));
	assert_int_equal(tls_status(duel.session), TLS_FAILED);
	duel_fini(&duel);
}

static void a_session_says_what_it_is(void **state)
{
	struct duel duel;
	gate_meet(*state, &duel,
	        (struct duel_client){.version = TLS1_3_VERSION, .sni = "gateway.test"});
	assert_int_equal(tls_session_sni(duel.session).len, 0);
	assert_int_equal(tls_session_version(duel.session).len, 0);
	duel_pump(&duel);
	assert_string_equal(tls_session_sni(duel.session).at, "gateway.test");
	assert_string_equal(tls_session_version(duel.session).at, "TLSv1.3");
	assert_string_equal(tls_session_gateway_uri(duel.session).at, "spiffe://cluster.local/gw");
	const struct tls_peer *peer = tls_session_peer(duel.session);
	assert_string_equal(peer->uri.at, WEB_ID);
	assert_int_equal(peer->leaf.not_after_s, NOW_S + DAY);
	assert_int_equal(peer->expires_s, NOW_S + DAY);
	assert_int_equal(tls_session_alert(duel.session).len, 0);
	duel_fini(&duel);
}

static void a_context_lives_as_long_as_its_sessions(void **state)
{
	struct gate *gate = *state;
	struct duel duel;
	gate_meet(gate, &duel, (struct duel_client){0});
	gate_renew(gate);  // a reload: the old one belongs to its sessions alone now
	duel_pump(&duel);
	assert_true(duel_say(&duel, STR("hello")));
	duel_fini(&duel);
}

#define test(name) cmocka_unit_test_setup_teardown(name, gate_open, gate_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(any_cutting_gives_the_same),
	        test(a_large_write_goes_in_full_records),
	        test(writing_appends_and_leaves_what_is_there),
	        test(close_notify_is_said_once_and_after_it_nothing),
	        test(after_the_clients_end_we_may_still_answer),
	        test(what_is_no_hello_ends_it),
	        test(a_client_hears_the_guards_alert),
	        test(a_broken_record_ends_an_open_session),
	        test(no_broken_handshake_opens),
	        test(a_certificate_that_does_not_parse_is_invalid),
	        test(a_client_that_turns_away_is_recorded),
	        test(empty_records_do_not_go_on_for_ever),
	        test(a_session_says_what_it_is),
	        test(a_context_lives_as_long_as_its_sessions),
	};
	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
