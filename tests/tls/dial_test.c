// A session that dials, as a byte machine: any cutting of the bytes gives the same, words pass both
// ways, and the server learns what it has to and no more: name, protocol, certificate.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/camp.h"

static void the_hello_is_there_at_once(void **state)
{
	struct errand errand;
	camp_dial(*state, &errand, (struct errand_server){0});
	assert_int_equal(tls_status(errand.session), TLS_HANDSHAKING);
	assert_true(str_starts(buffer_str(&errand.out), STR("\x16\x03\x01")));
	assert_int_equal(tls_session_version(errand.session).len, 0);
	errand_fini(&errand);
}

static void what_is_in_the_buffer_already_stays_in_front(void **state)
{
	struct camp *camp = *state;
	struct buffer out = {0};
	buffer_append_str(&out, STR("before"));
	struct tls_session *session = tls_session_dial(
	        camp->by_name, &out, &(struct tls_server){.name = STR(SERVER_NAME)}, NULL, NULL);
	assert_true(str_starts(buffer_str(&out), STR("before\x16\x03\x01")));
	tls_session_free(session);
	buffer_fini(&out);
}

static void any_cutting_gives_the_same(void **state)
{
	static const int strides[] = {0, 1, 2, 7, 100, -1};
	static char words[50000];
	for (size_t i = 0; i < sizeof(words); i++)
		words[i] = (char)(i * 7);
	for (size_t i = 0; i < ARRAY_LEN(strides) * ARRAY_LEN(camp_versions); i++) {
		struct errand errand;
		camp_dial(*state, &errand,
		        (struct errand_server){.version = camp_versions[i % 2], .demands = true});
		errand.stride = strides[i / 2];
		errand_pump(&errand);
		assert_int_equal(tls_status(errand.session), TLS_OPEN);
		assert_int_equal(tls_session_peer(errand.session)->reason, REASON_NONE);
		assert_true(errand_ask(&errand, str_of(words, sizeof(words))));
		assert_true(errand_hear(&errand, str_of(words, sizeof(words))));
		SSL_shutdown(errand.server);
		errand_pump(&errand);
		assert_int_equal(tls_status(errand.session), TLS_ENDED);
		assert_int_equal(errand_fault(&errand), REASON_NONE);
		errand_fini(&errand);
	}
}

static void a_session_says_what_it_is(void **state)
{
	static const char *const names[] = {"TLSv1.2", "TLSv1.3"};
	static const char *const suites[] = {
	        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"};
	for (size_t v = 0; v < ARRAY_LEN(camp_versions); v++) {
		struct errand errand;
		camp_dial(*state, &errand, (struct errand_server){.version = camp_versions[v]});
		errand_pump(&errand);
		assert_string_equal(tls_session_version(errand.session).at, names[v]);
		assert_string_equal(tls_session_cipher(errand.session).at, suites[v]);
		const struct tls_peer *peer = tls_session_peer(errand.session);
		assert_true(peer->presented);
		assert_string_equal(peer->leaf.subject.at, "CN=server");
		assert_string_equal(peer->uri.at, SERVER_ID);
		assert_int_equal(peer->begins_s, NOW_S - HOUR);
		assert_int_equal(peer->expires_s, NOW_S + DAY);
		assert_int_equal(tls_session_alert(errand.session).len, 0);
		// What is in `out` now the server waits for.
		assert_false(tls_session_may_wait(errand.session));
		errand_fini(&errand);
	}
}

// The server's view: whose certificate came, and how many below it.
static void assert_shown(const struct errand *errand, const struct paper *leaf, int behind)
{
	X509 *shown = SSL_get0_peer_certificate(errand->server);
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(errand->server);
	assert_int_equal(shown != NULL, leaf != NULL);
	assert_int_equal(chain ? sk_X509_num(chain) : 0, behind);
	if (leaf)
		assert_int_equal(X509_cmp(shown, leaf->x509), 0);
}

static void our_certificate_is_shown_to_who_asks_and_to_nobody_else(void **state)
{
	struct camp *camp = *state;
	struct paper between = forge(&(struct draft){.cn = "between", .ca = true}, &camp->root);
	struct paper ours = forge(&(struct draft){.cn = "ours"}, &between);
	camp->desk.certificates[0].certificate_chain = desk_certificates(
	        &camp->desk, "ours.pem", (const struct paper *[]){&ours, &between}, 2);
	camp->desk.certificates[0].private_key = desk_key(&camp->desk, "ours.key", &ours);
	camp_renew(camp);
	for (size_t i = 0; i < 2 * ARRAY_LEN(camp_versions); i++) {
		struct errand errand;
		bool asks = i / 2;
		camp_dial(camp, &errand,
		        (struct errand_server){.version = camp_versions[i % 2], .asks = asks});
		errand_pump(&errand);
		assert_int_equal(tls_status(errand.session), TLS_OPEN);
		assert_shown(&errand, asks ? &ours : NULL, asks ? 1 : 0);
		assert_true(errand_ask(&errand, STR("hello")));
		errand_fini(&errand);
	}
	paper_fini(&ours);
	paper_fini(&between);
}

static void without_one_who_only_asks_gets_none_and_who_demands_it_turns_away(void **state)
{
	static const char *const alerts[] = {"the server sent the alert handshake_failure",
	        "the server sent the alert certificate_required"};
	struct camp *camp = *state;
	camp->desk.tls.certificate_count = 0;
	camp_renew(camp);
	for (size_t i = 0; i < 2 * ARRAY_LEN(camp_versions); i++) {
		struct errand errand;
		struct str detail;
		bool demands = i / 2;
		camp_dial(camp, &errand,
		        (struct errand_server){
		                .version = camp_versions[i % 2], .asks = true, .demands = demands});
		errand_pump(&errand);
		assert_int_equal(tls_status(errand.session), demands ? TLS_FAILED : TLS_OPEN);
		assert_int_equal(tls_fault(errand.session, &detail),
		        demands ? REASON_tls_failed : REASON_NONE);
		if (demands)
			assert_string_equal(detail.at, alerts[i % 2]);
		assert_int_equal(tls_session_alert(errand.session).len, 0);
		errand_fini(&errand);
	}
}

// RFC 6066, 3: a host name without a trailing dot, and never an address.
static void names_are_sent_and_addresses_are_not(void **state)
{
	static const struct {
		struct str name;
		const char *sent;
	} rows[] = {
	        {{"users.internal", 14}, "users.internal"},
	        {{"localhost", 9}, "localhost"},
	        {{"USERS.Internal", 14}, "USERS.Internal"},
	        {{"a_b.users.internal", 18}, "a_b.users.internal"},
	        {{"users.internal.", 15}, "users.internal"},
	        {{"users.internal:443", 14}, "users.internal"},  // as long as it says, no longer
	        {{"10.0.0.1.internal", 17}, "10.0.0.1.internal"},
	        {{"10.0.0.1", 8}, NULL},
	        {{"::1", 3}, NULL},
	        {{"fd00::1:2", 9}, NULL},
	        {{"FD00:0:0:0:0:0:0:1", 18}, NULL},
	        {{"::ffff:10.0.0.1", 15}, NULL},
	        {{"", 0}, NULL},
	        {{NULL, 0}, NULL},
	};
	struct camp *camp = *state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct errand errand;
		errand_init(&errand, camp->by_name, &(struct tls_server){.name = rows[i].name},
		        NULL, NULL, &(struct errand_server){.paper = &camp->server});
		errand_carry_out(&errand);
		errand_server_turn(&errand);
		const char *sent = SSL_get_servername(errand.server, TLSEXT_NAMETYPE_host_name);
		if (!sent != !rows[i].sent || (sent && strcmp(sent, rows[i].sent) != 0))
			fail_msg("%.*s: sent %s", STR_FMT(rows[i].name), sent ? sent : "none");
		errand_fini(&errand);
	}
}

static void the_name_belongs_to_the_session(void **state)
{
	struct camp *camp = *state;
	struct errand errand;
	char *name = must_copy(SERVER_NAME, strlen(SERVER_NAME));
	errand_init(&errand, camp->by_name,
	        &(struct tls_server){.name = str_of(name, strlen(SERVER_NAME))}, NULL, NULL,
	        &(struct errand_server){.paper = &camp->server});
	free(name);
	errand_pump(&errand);
	assert_int_equal(tls_status(errand.session), TLS_OPEN);
	assert_string_equal(tls_session_sni(errand.session).at, SERVER_NAME);
	errand_fini(&errand);
}

// RFC 7301, 3.2: the server picks one of what was offered. HTTP/1.1 is what is spoken without it,
// HTTP/2 has to be agreed on.
static void protocols(void **state)
{
	static const struct {
		bool h2;
		const char *offered, *agreed;
		bool opens;
	} rows[] = {
	        {true, "\x02h2", "h2", true},
	        {true, "\x02h2", NULL, false},
	        {true, "\x02h2", "http/1.1", false},
	        {true, "\x02h2", "h2c", false},
	        {true, "\x02h2", "H2", false},
	        {false, "\x08http/1.1", "http/1.1", true},
	        {false, "\x08http/1.1", NULL, true},
	        {false, "\x08http/1.1", "h2", false},
	        {false, "\x08http/1.1", "spdy/3", false},
	        {false, "\x08http/1.1", "http/1.0", false},
	};
	struct camp *camp = *state;
	int failures = 0;
	for (size_t i = 0; i < ARRAY_LEN(rows) * ARRAY_LEN(camp_versions); i++) {
		size_t row = i / 2;
		struct errand errand;
		struct tls_server to = {STR(SERVER_NAME), rows[row].h2};
		errand_init(&errand, camp->by_name, &to, NULL, NULL,
		        &(struct errand_server){.version = camp_versions[i % 2],
		                .paper = &camp->server,
		                .alpn = rows[row].agreed});
		errand_pump(&errand);
		bool good = strcmp(errand.offered, rows[row].offered) == 0 &&
		            errand.opened == rows[row].opens &&
		            tls_status(errand.session) ==
		                    (rows[row].opens ? TLS_OPEN : TLS_FAILED) &&
		            errand_fault(&errand) ==
		                    (rows[row].opens ? REASON_NONE : REASON_tls_failed) &&
		            (!rows[row].opens ||
		                    tls_session_is_h2(errand.session) == rows[row].h2) &&
		            (rows[row].opens || !tls_write(errand.session, STR("PRI * HTTP/2.0")));
		if (!good)
			print_error("%s offered, %s agreed on, TLS 1.%zu: status %d\n",
			        rows[row].offered + 1, rows[row].agreed ? rows[row].agreed : "none",
			        2 + i % 2, tls_status(errand.session));
		failures += !good;
		errand_pump(&errand);
		assert_int_equal(buffer_len(&errand.server_plain), 0);
		errand_fini(&errand);
	}
	assert_int_equal(failures, 0);
}

static void close_notify_is_said_once_and_after_it_nothing(void **state)
{
	for (size_t v = 0; v < ARRAY_LEN(camp_versions); v++) {
		struct errand errand;
		camp_dial(*state, &errand, (struct errand_server){.version = camp_versions[v]});
		size_t hello = buffer_len(&errand.out);
		tls_close_notify(errand.session);  // too early: nothing to close yet
		assert_int_equal(buffer_len(&errand.out), hello);
		errand_pump(&errand);
		assert_true(tls_write(errand.session, STR("last words")));
		tls_close_notify(errand.session);
		size_t len = buffer_len(&errand.out);
		tls_close_notify(errand.session);
		assert_false(tls_write(errand.session, STR("more")));
		assert_int_equal(buffer_len(&errand.out), len);
		errand_pump(&errand);
		assert_true(str_eq(buffer_str(&errand.server_plain), STR("last words")));
		assert_true(errand.server_ended);
		assert_false(errand.server_failed);
		// The answer may still come, and then the server's own end.
		assert_true(errand_hear(&errand, STR("the answer")));
		SSL_shutdown(errand.server);
		errand_pump(&errand);
		assert_int_equal(tls_status(errand.session), TLS_ENDED);
		errand_feed(&errand, STR("ignored"));
		assert_int_equal(tls_status(errand.session), TLS_ENDED);
		assert_int_equal(errand_fault(&errand), REASON_NONE);
		errand_fini(&errand);
	}
}

// TLS 1.3 lets a server speak right behind its Finished, in the same flight.
static void words_that_come_with_the_handshake_are_heard_of_the_good_alone(void **state)
{
	struct camp *camp = *state;
	struct paper stranger = camp_forge(&(struct draft){.cn = "stranger"}, NULL);
	const struct paper *papers[] = {&stranger, &camp->server};
	for (size_t good = 0; good < 2; good++) {
		struct errand errand;
		char none[8];
		size_t count = 0;
		camp_dial(camp, &errand,
		        (struct errand_server){.version = TLS1_3_VERSION, .paper = papers[good]});
		SSL_set_max_early_data(errand.server, 100);
		errand_carry_out(&errand);
		assert_int_equal(SSL_read_early_data(errand.server, none, sizeof(none), &count),
		        SSL_READ_EARLY_DATA_FINISH);
		assert_int_equal(SSL_write_early_data(errand.server, "at once", 7, &count), 1);
		errand_carry_in(&errand);
		assert_int_equal(tls_status(errand.session), good ? TLS_OPEN : TLS_FAILED);
		assert_true(str_eq(buffer_str(&errand.plain), good ? STR("at once") : STR("")));
		errand_fini(&errand);
	}
	paper_fini(&stranger);
}

static void a_context_lives_as_long_as_its_sessions(void **state)
{
	struct camp *camp = *state;
	struct errand errand;
	camp_dial(camp, &errand, (struct errand_server){0});
	camp_renew(camp);  // a reload: the old one belongs to its sessions alone now
	errand_pump(&errand);
	assert_true(errand_ask(&errand, STR("hello")));
	errand_fini(&errand);
}

static void a_context_says_how_its_servers_are_known(void **state)
{
	const struct camp *camp = *state;
	assert_false(tls_context_asks_judge(camp->by_name));
	assert_true(tls_context_asks_judge(camp->by_id));
}

#define test(name) cmocka_unit_test_setup_teardown(name, camp_pitch, camp_strike)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(the_hello_is_there_at_once),
	        test(what_is_in_the_buffer_already_stays_in_front),
	        test(any_cutting_gives_the_same),
	        test(a_session_says_what_it_is),
	        test(our_certificate_is_shown_to_who_asks_and_to_nobody_else),
	        test(without_one_who_only_asks_gets_none_and_who_demands_it_turns_away),
	        test(names_are_sent_and_addresses_are_not),
	        test(the_name_belongs_to_the_session),
	        test(protocols),
	        test(close_notify_is_said_once_and_after_it_nothing),
	        test(words_that_come_with_the_handshake_are_heard_of_the_good_alone),
	        test(a_context_lives_as_long_as_its_sessions),
	        test(a_context_says_how_its_servers_are_known),
	};
	return cmocka_run_group_tests_name("dial", tests, NULL, NULL);
}
