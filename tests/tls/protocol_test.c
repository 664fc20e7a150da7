// What is spoken: versions, suites, groups, the signalling suites, ALPN, SNI; and what is not:
// renegotiation, foreign sessions, early data, SSL 2.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/gate.h"

static void versions_and_suites(void **state)
{
	static const struct {
		const char *name;
		struct duel_client client;
		const char *version, *cipher;  // NULL: no handshake
		int alert;
	} rows[] = {
	        {"1.3 by choice", {0}, "TLSv1.3", "TLS_AES_128_GCM_SHA256", -1},
	        {"1.2", {.version = TLS1_2_VERSION}, "TLSv1.2",
	                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", -1},
	        {"1.1", {.version = TLS1_1_VERSION}, NULL, NULL, SSL_AD_PROTOCOL_VERSION},
	        {"1.0", {.version = TLS1_VERSION}, NULL, NULL, SSL_AD_PROTOCOL_VERSION},
	        {"ChaCha20 where the client likes it best",
	                {.version = TLS1_2_VERSION,
	                        .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305:"
	                                   "ECDHE-ECDSA-AES128-GCM-SHA256"},
	                "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", -1},
	        {"our order else",
	                {.version = TLS1_2_VERSION,
	                        .ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384:"
	                                   "ECDHE-ECDSA-AES128-GCM-SHA256"},
	                "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", -1},
	        {"CBC", {.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-SHA256"}, NULL,
	                NULL, SSL_AD_HANDSHAKE_FAILURE},
	        {"CBC with SHA-1", {.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-SHA"},
	                NULL, NULL, SSL_AD_HANDSHAKE_FAILURE},
	        {"CCM", {.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-CCM"}, NULL,
	                NULL, SSL_AD_HANDSHAKE_FAILURE},
	        {"static RSA", {.version = TLS1_2_VERSION, .ciphers = "AES128-GCM-SHA256"}, NULL,
	                NULL, SSL_AD_HANDSHAKE_FAILURE},
	        {"finite-field DHE",
	                {.version = TLS1_2_VERSION, .ciphers = "DHE-RSA-AES128-GCM-SHA256"}, NULL,
	                NULL, SSL_AD_HANDSHAKE_FAILURE},
	        {"anonymous", {.version = TLS1_2_VERSION, .ciphers = "aNULL:@SECLEVEL=0"}, NULL,
	                NULL, SSL_AD_HANDSHAKE_FAILURE},
	        {"NULL", {.version = TLS1_2_VERSION, .ciphers = "eNULL:@SECLEVEL=0"}, NULL, NULL,
	                SSL_AD_HANDSHAKE_FAILURE},
	        {"P-384 needs a second hello", {.groups = "P-384"}, "TLSv1.3",
	                "TLS_AES_128_GCM_SHA256", -1},
	        {"no group in common", {.version = TLS1_3_VERSION, .groups = "ffdhe2048"}, NULL,
	                NULL, SSL_AD_HANDSHAKE_FAILURE},
	        {"SHA-1 signatures alone", {.version = TLS1_2_VERSION, .sigalgs = "ECDSA+SHA1"},
	                NULL, NULL, SSL_AD_HANDSHAKE_FAILURE},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct duel duel;
		gate_meet(*state, &duel, rows[i].client);
		duel_pump(&duel);
		assert_int_equal(duel.client_alert, rows[i].alert);
		if (rows[i].version) {
			assert_int_equal(tls_status(duel.session), TLS_OPEN);
			assert_string_equal(tls_session_version(duel.session).at, rows[i].version);
			assert_string_equal(tls_session_cipher(duel.session).at, rows[i].cipher);
		} else {
			assert_int_equal(tls_status(duel.session), TLS_FAILED);
			assert_int_equal(duel_fault(&duel), REASON_tls_failed);
			assert_true(rows[i].alert != SSL_AD_PROTOCOL_VERSION ||
			            tls_session_version(duel.session).len == 0);
		}
		duel_fini(&duel);
	}
}

static void min_version_1_3_refuses_1_2(void **state)
{
	struct gate *gate = *state;
	struct duel duel;
	gate->desk.tls.min_version = TLS_1_3;
	gate_renew(gate);
	gate_meet(gate, &duel, (struct duel_client){.version = TLS1_2_VERSION});
	duel_pump(&duel);
	assert_int_equal(tls_status(duel.session), TLS_FAILED);
	assert_int_equal(duel.client_alert, SSL_AD_PROTOCOL_VERSION);
	duel_fini(&duel);
}

static void the_session_is_safely_bound_in_1_2(void **state)
{
	struct duel duel;
	gate_meet(*state, &duel, (struct duel_client){.version = TLS1_2_VERSION});
	duel_pump(&duel);
	assert_int_equal(SSL_get_secure_renegotiation_support(duel.client), 1);
	assert_int_equal(SSL_get_extms_support(duel.client), 1);
	assert_null(SSL_get_current_compression(duel.client));
	duel_fini(&duel);
}

static void a_fallback_below_what_we_speak_is_inappropriate(void **state)
{
	struct duel duel;
	gate_meet(*state, &duel, (struct duel_client){.version = TLS1_2_VERSION});
	SSL_set_mode(duel.client, SSL_MODE_SEND_FALLBACK_SCSV);
	duel_pump(&duel);
	assert_int_equal(duel.client_alert, SSL_AD_INAPPROPRIATE_FALLBACK);
	assert_string_equal(tls_session_alert(duel.session).at, "inappropriate_fallback");
	duel_fini(&duel);
}

// RFC 8446, 4.1.3: the last eight bytes of the server's random.
static void a_1_2_answer_bears_the_downgrade_mark(void **state)
{
	struct duel duel;
	uint8_t server_random[32];
	gate_meet(*state, &duel, (struct duel_client){.version = TLS1_2_VERSION});
	duel_pump(&duel);
	assert_int_equal(SSL_get_server_random(duel.client, server_random, 32), 32);
	assert_memory_equal(server_random + 24, "DOWNGRD\x01", 8);
	duel_fini(&duel);
}

static void protocols(void **state)
{
	static const struct {
		const char *offered;
		size_t len;
		bool h2;
		const char *agreed;
		int alert;
	} rows[] = {
	        {"", 0, false, "", -1},
	        {"\x02h2", 3, true, "h2", -1},
	        {"\x08http/1.1", 9, false, "http/1.1", -1},
	        {"\x08http/1.1\x02h2", 12, true, "h2", -1},
	        {"\x06spdy/3\x08http/1.1", 16, false, "http/1.1", -1},
	        {"\x06spdy/3", 7, false, "", SSL_AD_NO_APPLICATION_PROTOCOL},
	        {"\x02H2", 3, false, "", SSL_AD_NO_APPLICATION_PROTOCOL},
	        {"\x03h2c", 4, false, "", SSL_AD_NO_APPLICATION_PROTOCOL},
	        {"\x08http/1.0", 9, false, "", SSL_AD_NO_APPLICATION_PROTOCOL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows) * ARRAY_LEN(tls_versions); i++) {
		size_t row = i / 2;
		struct duel duel;
		gate_meet(*state, &duel,
		        (struct duel_client){.version = tls_versions[i % 2],
		                .alpn = str_of(rows[row].offered, rows[row].len)});
		duel_pump(&duel);
		const uint8_t *agreed;
		unsigned len;
		SSL_get0_alpn_selected(duel.client, &agreed, &len);
		assert_int_equal(duel.client_alert, rows[row].alert);
		assert_true(str_eq(str_of((const char *)agreed, len), str_from(rows[row].agreed)));
		assert_int_equal(tls_session_is_h2(duel.session), rows[row].h2);
		assert_int_equal(
		        tls_status(duel.session), rows[row].alert < 0 ? TLS_OPEN : TLS_FAILED);
		duel_fini(&duel);
	}
}

static void renegotiation_is_refused_and_ends_the_session(void **state)
{
	struct duel duel;
	gate_meet(*state, &duel, (struct duel_client){.version = TLS1_2_VERSION});
	duel_pump(&duel);
	assert_true(duel_say(&duel, STR("hello")));
	assert_int_equal(SSL_renegotiate(duel.client), 1);
	(void)SSL_do_handshake(duel.client);
	duel_pump(&duel);
	struct str detail;
	assert_int_equal(tls_status(duel.session), TLS_FAILED);
	assert_int_equal(tls_fault(duel.session, &detail), REASON_tls_failed);
	assert_string_equal(detail.at, "the client asked for renegotiation");
	assert_string_equal(tls_session_alert(duel.session).at, "no_renegotiation");
	duel_fini(&duel);
}

static void a_flood_of_key_updates_ends_the_session(void **state)
{
	static const int kinds[] = {SSL_KEY_UPDATE_REQUESTED, SSL_KEY_UPDATE_NOT_REQUESTED};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct duel duel;
		gate_meet(*state, &duel, (struct duel_client){.version = TLS1_3_VERSION});
		duel_pump(&duel);
		for (int round = 0; round < 20; round++) {
			assert_int_equal(SSL_key_update(duel.client, kinds[i]), 1);
			assert_true(duel_say(&duel, STR("still talking")));
			assert_true(duel_answer(&duel, STR("still listening")));
		}
		assert_int_equal(tls_status(duel.session), TLS_OPEN);
		for (int round = 0; round < 20; round++) {
			(void)SSL_key_update(duel.client, kinds[i]);
			(void)SSL_do_handshake(duel.client);
			duel_pump(&duel);
		}
		struct str detail;
		assert_int_equal(tls_fault(duel.session, &detail), REASON_tls_failed);
		assert_string_equal(detail.at, "the client sent a flood of key updates");
		duel_fini(&duel);
	}
}

static int keep_session(SSL *client, SSL_SESSION *session)
{
	SSL_SESSION **kept = SSL_get_ex_data(client, 1);
	SSL_SESSION_free(*kept);
	*kept = session;
	return 1;
}

// A session with a ticket and leave for early data, from some other server.
static SSL_SESSION *foreign_session(const struct gate *gate, int version)
{
	SSL_SESSION *kept = NULL;
	SSL_CTX *there = SSL_CTX_new(TLS_server_method()), *here = SSL_CTX_new(TLS_client_method());
	SSL_CTX_use_certificate(there, gate->gateway.x509);
	SSL_CTX_use_PrivateKey(there, gate->gateway.key);
	SSL_CTX_set_max_early_data(there, 1000);
	SSL_CTX_set_max_proto_version(here, version);
	// In the internal store the session would be spoilt when its context goes.
	SSL_CTX_set_session_cache_mode(here, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(here, keep_session);
	SSL *server = SSL_new(there), *client = SSL_new(here);
	SSL_set_ex_data(client, 1, &kept);
	BIO *left, *right;
	CHECK(BIO_new_bio_pair(&left, 0, &right, 0) == 1);
	SSL_set_bio(server, left, left);
	SSL_set_bio(client, right, right);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	for (int round = 0; round < 10; round++) {
		char byte;
		(void)SSL_do_handshake(client);
		(void)SSL_do_handshake(server);
		(void)SSL_read(client, &byte, 1);
	}
	SSL_shutdown(client);
	SSL_free(server);
	SSL_free(client);
	SSL_CTX_free(there);
	SSL_CTX_free(here);
	ERR_clear_error();
	return kept;
}

static void a_foreign_ticket_gives_a_full_handshake(void **state)
{
	struct gate *gate = *state;
	for (size_t v = 0; v < ARRAY_LEN(tls_versions); v++) {
		struct duel duel;
		SSL_SESSION *ticket = foreign_session(gate, tls_versions[v]);
		assert_true(ticket && SSL_SESSION_has_ticket(ticket));
		assert_true(SSL_SESSION_is_resumable(ticket));
		gate_meet(gate, &duel,
		        (struct duel_client){.version = tls_versions[v], .session = ticket});
		duel_pump(&duel);
		assert_int_equal(tls_status(duel.session), TLS_OPEN);
		assert_false(SSL_session_reused(duel.client));
		assert_int_equal(tls_session_peer(duel.session)->reason, REASON_NONE);
		duel_fini(&duel);
		SSL_SESSION_free(ticket);
	}
}

static void early_data_is_not_taken(void **state)
{
	struct gate *gate = *state;
	struct duel duel;
	size_t written = 0;
	SSL_SESSION *ticket = foreign_session(gate, TLS1_3_VERSION);
	assert_true(SSL_SESSION_get_max_early_data(ticket) > 0);
	gate_meet(gate, &duel, (struct duel_client){.version = TLS1_3_VERSION, .session = ticket});
	assert_int_equal(SSL_write_early_data(duel.client, "GET /", 5, &written), 1);
	assert_int_equal(written, 5);
	(void)SSL_connect(duel.client);  // no more of it
	duel_pump(&duel);
	assert_int_equal(tls_status(duel.session), TLS_OPEN);
	assert_int_equal(buffer_len(&duel.plain), 0);
	assert_int_equal(SSL_get_early_data_status(duel.client), SSL_EARLY_DATA_REJECTED);
	assert_true(duel_say(&duel, STR("GET /")));
	duel_fini(&duel);
	SSL_SESSION_free(ticket);
}

#define test(name) cmocka_unit_test_setup_teardown(name, gate_open, gate_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(versions_and_suites),
	        test(min_version_1_3_refuses_1_2),
	        test(the_session_is_safely_bound_in_1_2),
	        test(a_fallback_below_what_we_speak_is_inappropriate),
	        test(a_1_2_answer_bears_the_downgrade_mark),
	        test(protocols),
	        test(renegotiation_is_refused_and_ends_the_session),
	        test(a_flood_of_key_updates_ends_the_session),
	        test(a_foreign_ticket_gives_a_full_handshake),
	        test(early_data_is_not_taken),
	};
	return cmocka_run_group_tests_name("protocol", tests, NULL, NULL);
}
