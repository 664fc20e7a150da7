// Sessions taken up again: by whom, for how long, and what is known of the client then.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/visit.h"
#include "tls/resume.h"

static void a_client_comes_back_again_and_again(void **state)
{
	SSL_SESSION *kept = NULL;
	for (int number = 0; number < 4; number++) {
		struct duel duel;
		visit(*state, &duel, (struct duel_client){.session = kept});
		const struct tls_peer *peer = tls_session_peer(duel.session);
		assert_int_equal(tls_session_resumed(duel.session), number > 0);
		assert_int_equal(SSL_session_reused(duel.client), number > 0);
		assert_true(peer->presented);
		assert_int_equal(peer->reason, REASON_NONE);
		assert_string_equal(peer->uri.at, "spiffe://cluster.local/ns/web/sa/web");
		assert_int_equal(peer->expires_s, NOW_S + DAY);
		assert_string_equal(
		        tls_session_gateway_uri(duel.session).at, "spiffe://cluster.local/gw");
		SSL_SESSION_free(kept);
		kept = leave(&duel);
		assert_true(SSL_SESSION_is_resumable(kept));
		// The name says nothing.
		const unsigned char *ticket;
		size_t size;
		SSL_SESSION_get0_ticket(kept, &ticket, &size);
		assert_int_equal(size, 32);
	}
	SSL_SESSION_free(kept);
}

// Each changes what a client that was here before finds.
static void another_context(struct gate *gate)
{
	gate_renew(gate);
}

static void some_do_not(void **state)
{
	struct gate *gate = *state;
	struct paper stranger = forge(&(struct draft){.cn = "stranger"}, NULL);
	const struct {
		const char *name;
		struct duel_client client;
		void (*then)(struct gate *gate);
		enum reason reason;  // of the second visit
		bool back;
	} rows[] = {
	        {"nothing changed", {0}, nothing, REASON_NONE, true},
	        {"TLS 1.2", {.version = TLS1_2_VERSION}, nothing, REASON_NONE, false},
	        {"another configuration", {0}, another_context, REASON_NONE, false},
	        {"past notAfter", {0}, a_day_later, REASON_certificate_expired, false},
	        {"before notBefore", {0}, two_hours_back, REASON_certificate_not_yet_valid, false},
	        {"untrusted", {.paper = &stranger}, nothing, REASON_certificate_untrusted, false},
	        {"nobody", {.paper = &nobody}, nothing, REASON_certificate_missing, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct duel duel;
		struct duel_client client = rows[i].client;
		print_message("%s\n", rows[i].name);
		clock_fake(0, NOW_S * NS_PER_S);
		visit(gate, &duel, client);
		client.session = leave(&duel);
		rows[i].then(gate);
		visit(gate, &duel, client);
		assert_int_equal(tls_session_resumed(duel.session), rows[i].back);
		assert_int_equal(tls_session_peer(duel.session)->reason, rows[i].reason);
		SSL_SESSION_free(leave(&duel));
		SSL_SESSION_free(client.session);
	}
	paper_fini(&stranger);
}

static enum reason judge(void *owner, const struct tls_peer *peer)
{
	(void)peer;
	++*(int *)owner;
	return REASON_NONE;
}

// Its judge sits in the handshake, and a resumed one would pass it by.
static void in_alert_mode_nobody_does(void **state)
{
	struct gate *gate = *state;
	SSL_SESSION *kept = NULL;
	int judged = 0;
	gate->desk.tls.on_unauthenticated = UNAUTHENTICATED_ALERT;
	gate_renew(gate);
	for (int number = 1; number <= 3; number++) {
		struct duel duel;
		duel_init(&duel, gate->context, judge, &judged,
		        &(struct duel_client){.paper = &gate->client, .session = kept});
		duel_pump(&duel);
		assert_true(duel_say(&duel, STR("hello")) && duel_answer(&duel, STR("hello")));
		assert_false(tls_session_resumed(duel.session));
		assert_int_equal(judged, number);
		SSL_SESSION_free(kept);
		kept = leave(&duel);
	}
	SSL_SESSION_free(kept);
}

// The verdict of a session outlives the connection that earned it, and the context outlives
// neither.
static void a_session_may_be_the_last_to_go(void **state)
{
	struct gate *gate = *state;
	struct duel first, second;
	visit(gate, &first, (struct duel_client){0});
	SSL_SESSION *kept = leave(&first);
	visit(gate, &second, (struct duel_client){.session = kept});
	assert_true(tls_session_resumed(second.session));
	gate_renew(gate);
	assert_string_equal(
	        tls_session_gateway_uri(second.session).at, "spiffe://cluster.local/gw");
	assert_true(duel_say(&second, STR("still here")));
	SSL_SESSION_free(leave(&second));
	SSL_SESSION_free(kept);
}

#define test(name) cmocka_unit_test_setup_teardown(name, gate_open, gate_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(a_client_comes_back_again_and_again),
	        test(some_do_not),
	        test(in_alert_mode_nobody_does),
	        test(a_session_may_be_the_last_to_go),
	};
	return cmocka_run_group_tests_name("resume", tests, NULL, NULL);
}
