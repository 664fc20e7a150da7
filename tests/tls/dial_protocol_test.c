// What a session that dials puts up with: servers that speak something old, something broken, or
// nothing of the kind, that want other keys all the time, or to begin anew. Whatever they do, it
// does not open, or ends, and says why.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "tests/tls/camp.h"

static void assert_failed(struct errand *errand, const char *detail, const char *alert)
{
	struct str found;
	assert_int_equal(tls_status(errand->session), TLS_FAILED);
	assert_int_equal(tls_fault(errand->session, &found), REASON_tls_failed);
	assert_true(found.len > 0);
	if (detail)
		assert_string_equal(found.at, detail);
	if (alert && !str_eq(tls_session_alert(errand->session), str_from(alert)))
		fail_msg("alert '%.*s', not '%s'", STR_FMT(tls_session_alert(errand->session)),
		        alert);
	assert_false(tls_write(errand->session, STR("too late")));
	tls_close_notify(errand->session);
}

static void versions_and_suites(void **state)
{
	static const struct {
		struct errand_server server;
		const char *version, *cipher;  // NULL: no handshake
		const char *detail, *alert;
	} rows[] = {
	        {{0}, "TLSv1.3", "TLS_AES_128_GCM_SHA256", NULL, NULL},
	        {{.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305"}, "TLSv1.2",
	                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", NULL, NULL},
	        {{.groups = "P-384"}, "TLSv1.3", "TLS_AES_128_GCM_SHA256", NULL, NULL},
	        {{.version = TLS1_1_VERSION}, NULL, NULL,
	                "the server sent the alert protocol_version", ""},
	        {{.version = TLS1_VERSION}, NULL, NULL,
	                "the server sent the alert protocol_version", ""},
	        {{.version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-SHA256"}, NULL, NULL,
	                "the server sent the alert handshake_failure", ""},
	        {{.version = TLS1_2_VERSION, .ciphers = "aNULL:@SECLEVEL=0"}, NULL, NULL,
	                "the server sent the alert handshake_failure", ""},
	        {{.version = TLS1_2_VERSION, .sigalgs = "ECDSA+SHA1"}, NULL, NULL,
	                "the server sent the alert handshake_failure", ""},
	        {{.version = TLS1_3_VERSION, .groups = "ffdhe2048"}, NULL, NULL,
	                "the server sent the alert handshake_failure", ""},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct errand errand;
		camp_dial(*state, &errand, rows[i].server);
		errand_pump(&errand);
		if (rows[i].version) {
			assert_int_equal(tls_status(errand.session), TLS_OPEN);
			assert_string_equal(
			        tls_session_version(errand.session).at, rows[i].version);
			assert_string_equal(tls_session_cipher(errand.session).at, rows[i].cipher);
		} else {
			assert_failed(&errand, rows[i].detail, rows[i].alert);
			assert_false(errand.opened);
		}
		errand_fini(&errand);
	}
}

static void min_version_1_3_refuses_1_2(void **state)
{
	struct camp *camp = *state;
	struct errand errand;
	camp->desk.tls.min_version = TLS_1_3;
	camp_renew(camp);
	camp_dial(camp, &errand, (struct errand_server){.version = TLS1_2_VERSION});
	errand_pump(&errand);
	assert_failed(&errand, "the server sent the alert protocol_version", "");
	errand_fini(&errand);
}

#define RANDOM "0123456789abcdef0123456789abcdef"
// A ServerHello and what follows: version, suite, compression.
#define HELLO(version, suite, compression)                                                         \
	{                                                                                          \
		"\x16" version "\x00\x2a\x02\x00\x00\x26" version RANDOM "\x00" suite compression, \
		        47                                                                         \
	}

static const struct {
	const char *name;
	struct str bytes;
	const char *alert;  // NULL: any or none
} nonsense[] = {
        {"TLS 1.1", HELLO("\x03\x02", "\xc0\x2b", "\x00"), "protocol_version"},
        {"TLS 1.0", HELLO("\x03\x01", "\xc0\x2b", "\x00"), "protocol_version"},
        {"SSL 3", HELLO("\x03\x00", "\xc0\x2b", "\x00"), "protocol_version"},
        {"a version to come", HELLO("\x03\x05", "\xc0\x2b", "\x00"), "protocol_version"},
        {"static RSA with CBC", HELLO("\x03\x03", "\x00\x2f", "\x00"), "illegal_parameter"},
        {"no encryption", HELLO("\x03\x03", "\x00\x00", "\x00"), "illegal_parameter"},
        {"a suite of TLS 1.3 in 1.2", HELLO("\x03\x03", "\x13\x01", "\x00"), "illegal_parameter"},
        {"compression", HELLO("\x03\x03", "\xc0\x2b", "\x01"), "illegal_parameter"},
        // RFC 5746, 3.4: without it anybody may have spoken before us.
        {"no secure renegotiation", HELLO("\x03\x03", "\xc0\x2b", "\x00"), "handshake_failure"},
        {"plain HTTP", STR("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), ""},
        {"the h2 preface's answer", STR("\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00"), NULL},
        {"SSH", STR("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n"), ""},
        {"garbage", STR("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c"), NULL},
        {"application data first", STR("\x17\x03\x03\x00\x05hello"), "unexpected_message"},
        {"a ClientHello", STR("\x16\x03\x03\x00\x04\x01\x00\x00\x00"), "unexpected_message"},
        {"a certificate first", STR("\x16\x03\x03\x00\x04\x0b\x00\x00\x00"), "unexpected_message"},
        {"a Finished first", STR("\x16\x03\x03\x00\x04\x14\x00\x00\x00"), "unexpected_message"},
        {"an empty ServerHello", STR("\x16\x03\x03\x00\x04\x02\x00\x00\x00"), "decode_error"},
        {"a ServerHello of 1 MiB", STR("\x16\x03\x03\x00\x04\x02\x10\x00\x00"),
                "illegal_parameter"},
        {"a record too long", STR("\x16\x03\x03\xff\xff\x02\x00\x00\x10"), "record_overflow"},
        {"records of nought", STR("\x16\x03\x03\x00\x00"), NULL},
};

static void what_is_no_server_ends_it(void **state)
{
	static const int strides[] = {0, 1, 7};
	int failures = 0;
	for (size_t i = 0; i < ARRAY_LEN(nonsense) * ARRAY_LEN(strides); i++) {
		size_t row = i / ARRAY_LEN(strides);
		struct errand errand;
		struct str detail;
		camp_dial(*state, &errand, (struct errand_server){0});
		errand.stride = strides[i % ARRAY_LEN(strides)];
		// A record of no bytes is lawful once; many are not.
		for (int times = 0; times < 40 && tls_status(errand.session) != TLS_FAILED; times++)
			errand_feed(&errand, nonsense[row].bytes);
		struct str alert = tls_session_alert(errand.session);
		bool good = tls_status(errand.session) == TLS_FAILED && !errand.opened &&
		            tls_fault(errand.session, &detail) == REASON_tls_failed && detail.len &&
		            buffer_len(&errand.plain) == 0 &&
		            (!nonsense[row].alert || str_eq(alert, str_from(nonsense[row].alert)));
		if (!good)
			print_error("%s: status %d, %s (%.*s), alert '%.*s'\n", nonsense[row].name,
			        tls_status(errand.session),
			        reason_name(tls_fault(errand.session, &detail)), STR_FMT(detail),
			        STR_FMT(alert));
		failures += !good;
		errand_fini(&errand);
	}
	assert_int_equal(failures, 0);
}

// Whoever stops at any byte of the handshake keeps us waiting, and leaves nothing behind.
static void half_an_answer_is_no_answer(void **state)
{
	for (size_t v = 0; v < ARRAY_LEN(camp_versions); v++)
		for (size_t len = 0;; len += 41) {
			struct errand errand;
			camp_dial(*state, &errand,
			        (struct errand_server){.version = camp_versions[v]});
			errand_carry_out(&errand);
			errand_server_turn(&errand);
			struct str said = errand_said(&errand);
			bool whole = len >= said.len;
			if (!whole)
				errand_feed(&errand, str_of(said.at, len));
			assert_int_equal(tls_status(errand.session), TLS_HANDSHAKING);
			assert_int_equal(errand_fault(&errand), REASON_NONE);
			errand_fini(&errand);
			if (whole)
				break;
		}
}

// One byte broken of one of the server's flights; false where there are no so many.
static bool meet_with_broken_byte(
        struct camp *camp, int version, int flight, size_t at, bool *opened)
{
	struct errand errand;
	camp_dial(camp, &errand, (struct errand_server){.version = version});
	for (int turn = 0; turn <= flight; turn++) {
		errand_carry_in(&errand);
		errand_carry_out(&errand);
		errand_server_turn(&errand);
	}
	struct str said = errand_said(&errand);
	bool breaks = at < said.len;
	if (breaks)
		((char *)(uintptr_t)said.at)[at] ^= 0x41;
	errand_pump(&errand);
	*opened = errand.opened;
	errand_fini(&errand);
	return breaks;
}

static void no_broken_handshake_opens(void **state)
{
	static const struct {
		int version, flight;
	} flights[] = {{TLS1_2_VERSION, 0}, {TLS1_2_VERSION, 1}, {TLS1_3_VERSION, 0}};
	for (size_t i = 0; i < ARRAY_LEN(flights); i++) {
		bool opened;
		size_t at = 0;
		for (; meet_with_broken_byte(
		             *state, flights[i].version, flights[i].flight, at, &opened);
		        at += 5)
			assert_false(opened);
		assert_true(at > 50 && opened);
	}
}

static void a_broken_record_ends_an_open_session(void **state)
{
	for (size_t v = 0; v < ARRAY_LEN(camp_versions); v++) {
		struct errand errand;
		camp_dial(*state, &errand, (struct errand_server){.version = camp_versions[v]});
		errand_pump(&errand);
		assert_int_equal(SSL_write(errand.server, "first", 5), 5);
		assert_int_equal(SSL_write(errand.server, "second", 6), 6);
		struct str said = errand_said(&errand);
		((char *)(uintptr_t)said.at)[said.len - 1] ^= 1;
		errand_carry_in(&errand);
		assert_true(str_eq(buffer_str(&errand.plain), STR("first")));
		assert_failed(&errand, NULL, "bad_record_mac");
		errand_pump(&errand);
		assert_int_equal(errand.server_alert, SSL_AD_BAD_RECORD_MAC);
		errand_fini(&errand);
	}
}

// In TLS 1.2 the server's certificate comes in the clear; here its DER is broken.
static void a_certificate_that_does_not_parse_is_invalid(void **state)
{
	struct camp *camp = *state;
	struct errand errand;
	struct str detail;
	unsigned char *der = NULL;
	int len = i2d_X509(camp->server.x509, &der);
	camp_dial(camp, &errand, (struct errand_server){.version = TLS1_2_VERSION});
	errand_carry_out(&errand);
	errand_server_turn(&errand);
	struct str said = errand_said(&errand);
	char *found = memmem(said.at, said.len, der, (size_t)len);
	assert_non_null(found);
	*found = 0x31;
	errand_pump(&errand);
	assert_false(errand.opened);
	assert_int_equal(tls_fault(errand.session, &detail), REASON_certificate_invalid);
	assert_true(str_starts(detail, STR("the server's certificates cannot be read: ")));
	assert_true(errand.server_alert >= 0);
	OPENSSL_free(der);
	errand_fini(&errand);
}

static void servers_alerts_are_named(void **state)
{
	static const struct {
		struct str record;
		const char *detail;
	} rows[] = {
	        {{"\x15\x03\x03\x00\x02\x02\x28", 7},
	                "the server sent the alert handshake_failure"},
	        {{"\x15\x03\x01\x00\x02\x02\x46", 7}, "the server sent the alert protocol_version"},
	        {{"\x15\x03\x03\x00\x02\x02\x70", 7},
	                "the server sent the alert unrecognized_name"},
	        {{"\x15\x03\x03\x00\x02\x02\x78", 7},
	                "the server sent the alert no_application_protocol"},
	        {{"\x15\x03\x03\x00\x02\x02\x31", 7}, "the server sent the alert access_denied"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct errand errand;
		camp_dial(*state, &errand, (struct errand_server){0});
		errand_feed(&errand, rows[i].record);
		assert_failed(&errand, rows[i].detail, "");
		assert_false(errand.opened);
		assert_false(tls_session_peer(errand.session)->presented);
		errand_fini(&errand);
	}
}

static void a_flood_of_key_updates_ends_the_session(void **state)
{
	static const int kinds[] = {SSL_KEY_UPDATE_REQUESTED, SSL_KEY_UPDATE_NOT_REQUESTED};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct errand errand;
		camp_dial(*state, &errand, (struct errand_server){.version = TLS1_3_VERSION});
		errand_pump(&errand);
		for (int round = 0; round < 20; round++) {
			assert_int_equal(SSL_key_update(errand.server, kinds[i]), 1);
			assert_true(errand_hear(&errand, STR("still talking")));
			assert_true(errand_ask(&errand, STR("still listening")));
		}
		assert_int_equal(tls_status(errand.session), TLS_OPEN);
		for (int round = 0; round < 20; round++) {
			(void)SSL_key_update(errand.server, kinds[i]);
			(void)SSL_do_handshake(errand.server);
			errand_pump(&errand);
		}
		assert_failed(&errand, "the server sent a flood of key updates", NULL);
		errand_fini(&errand);
	}
}

static void renegotiation_is_refused_and_ends_the_session(void **state)
{
	struct errand errand;
	camp_dial(*state, &errand, (struct errand_server){.version = TLS1_2_VERSION});
	errand_pump(&errand);
	assert_true(errand_ask(&errand, STR("hello")));
	assert_int_equal(SSL_renegotiate(errand.server), 1);
	(void)SSL_do_handshake(errand.server);
	errand_pump(&errand);
	assert_failed(&errand, "the server asked for renegotiation", "no_renegotiation");
	errand_fini(&errand);
}

static int tickets_written;

static void count_tickets(
        int writes, int version, int type, const void *bytes, size_t len, SSL *ssl, void *unused)
{
	(void)version, (void)ssl, (void)unused;
	if (writes && type == SSL3_RT_HANDSHAKE && len &&
	        *(const uint8_t *)bytes == SSL3_MT_NEWSESSION_TICKET)
		tickets_written++;
}

// A session taken up again would show no certificate, the server's as little as ours.
static void no_session_is_taken_up_again(void **state)
{
	struct camp *camp = *state;
	for (size_t v = 0; v < ARRAY_LEN(camp_versions); v++) {
		struct errand_server server = {
		        .version = camp_versions[v], .paper = &camp->server, .asks = true};
		server.library = errand_library(&server);
		SSL_CTX_set_msg_callback(server.library, count_tickets);
		for (int visit = 0; visit < 3; visit++) {
			struct errand errand;
			tickets_written = 0;
			camp_dial(camp, &errand, server);
			errand_pump(&errand);
			assert_true(errand_ask(&errand, STR("hello")));
			assert_true(errand_hear(&errand, STR("hello")));
			assert_false(tls_session_resumed(errand.session));
			assert_false(SSL_session_reused(errand.server));
			assert_true(tls_session_peer(errand.session)->presented);
			assert_non_null(SSL_get0_peer_certificate(errand.server));
			// TLS 1.3's come unasked, and lead nowhere.
			assert_int_equal(tickets_written > 0, camp_versions[v] == TLS1_3_VERSION);
			tls_close_notify(errand.session);
			SSL_shutdown(errand.server);
			errand_pump(&errand);
			assert_int_equal(tls_status(errand.session), TLS_ENDED);
			errand_fini(&errand);
		}
		SSL_CTX_free(server.library);
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, camp_pitch, camp_strike)

// All of it holds whatever the machine's openssl.cnf, which the library reads when first used,
// says.
static void loosen_the_library(void)
{
	static const char loose[] = "openssl_conf = all\n[all]\nssl_conf = tls\n"
	                            "[tls]\nsystem_default = loose\n[loose]\n"
	                            "Options = UnsafeLegacyServerConnect, "
	                            "UnsafeLegacyRenegotiation, ClientRenegotiation\n"
	                            "MinProtocol = TLSv1\nCipherString = ALL:@SECLEVEL=0\n";
	char path[32];
	int file = memfd_create("openssl.cnf", 0);
	CHECK(file >= 0 && write(file, loose, sizeof(loose) - 1) == (ssize_t)sizeof(loose) - 1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	CHECK(setenv("OPENSSL_CONF", path, 1) == 0);
}

int main(void)
{
	loosen_the_library();
	const struct CMUnitTest tests[] = {
	        test(versions_and_suites),
	        test(min_version_1_3_refuses_1_2),
	        test(what_is_no_server_ends_it),
	        test(half_an_answer_is_no_answer),
	        test(no_broken_handshake_opens),
	        test(a_broken_record_ends_an_open_session),
	        test(a_certificate_that_does_not_parse_is_invalid),
	        test(servers_alerts_are_named),
	        test(a_flood_of_key_updates_ends_the_session),
	        test(renegotiation_is_refused_and_ends_the_session),
	        test(no_session_is_taken_up_again),
	};
	return cmocka_run_group_tests_name("dial_protocol", tests, NULL, NULL);
}
