// Sessions that clients keep, sealed: who takes them up, and who does not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/visit.h"
#include "tls/ticket.h"

static struct config_text key_files[3];

static struct config_text key_file(struct gate *gate, const char *name, char fill)
{
	char bytes[TICKET_KEY_BYTES];
	memset(bytes, fill, sizeof(bytes));
	return desk_write(&gate->desk, name, str_of(bytes, sizeof(bytes)));
}

static void use_keys(struct gate *gate, size_t count, const char *fills)
{
	char name[] = "ticket0.key";
	for (size_t i = 0; i < count; i++) {
		name[6] = (char)('0' + i);
		key_files[i] = key_file(gate, name, fills[i]);
	}
	gate->desk.tls.session_ticket_keys = (struct config_texts){key_files, count};
	gate_renew(gate);
}

static int sealing_gate_open(void **state)
{
	int result = gate_open(state);
	if (result == 0)
		use_keys(*state, 1, "a");
	return result;
}

static void a_sealed_session_comes_back_again_and_again(void **state)
{
	SSL_SESSION *kept = NULL;
	for (int number = 0; number < 4; number++) {
		struct duel duel;
		visit(*state, &duel, (struct duel_client){.session = kept});
		const struct tls_peer *peer = tls_session_peer(duel.session);
		assert_int_equal(tls_session_resumed(duel.session), number > 0);
		assert_true(peer->presented);
		assert_int_equal(peer->reason, REASON_NONE);
		assert_string_equal(peer->uri.at, "spiffe://cluster.local/ns/web/sa/web");
		assert_int_equal(peer->expires_s, NOW_S + DAY);
		assert_int_equal(peer->leaf.sha256.len, 64);
		assert_string_equal(
		        tls_session_gateway_uri(duel.session).at, "spiffe://cluster.local/gw");
		SSL_SESSION_free(kept);
		kept = leave(&duel);
		assert_true(SSL_SESSION_is_resumable(kept));
	}
	SSL_SESSION_free(kept);
}

// Each changes what a client that was here before finds.
static void another_gateway(struct gate *gate)
{
	gate_renew(gate);  // nothing of the former is left but the keys
}

static void wider_bundle(struct gate *gate)
{
	struct paper other = forge(&(struct draft){.cn = "other root", .ca = true}, NULL);
	desk_trust(&gate->desk, (const struct paper *[]){&gate->root, &other}, 2);
	gate_renew(gate);
	paper_fini(&other);
}

static void foreign_bundle(struct gate *gate)
{
	struct paper other = forge(&(struct draft){.cn = "other root", .ca = true}, NULL);
	desk_trust(&gate->desk, (const struct paper *[]){&other}, 1);
	gate_renew(gate);
	paper_fini(&other);
}

static void revoked(struct gate *gate)
{
	X509_CRL *list = forge_list(&gate->root, gate->client.x509, -HOUR, DAY);
	desk_revoke(&gate->desk, &list, 1);
	gate_renew(gate);
	X509_CRL_free(list);
}

static void key_in_front(struct gate *gate)
{
	use_keys(gate, 2, "ba");
}

static void key_gone(struct gate *gate)
{
	use_keys(gate, 1, "b");
}

static void no_keys(struct gate *gate)
{
	gate->desk.tls.session_ticket_keys.count = 0;
	gate_renew(gate);
}

static const struct row {
	const char *name;
	void (*then)(struct gate *gate);
	enum reason reason;  // of the second visit
	bool back;
	int version;
	const struct paper *paper;
} rows[] = {
        {"nothing changed", nothing, REASON_NONE, true, 0, NULL},
        {"another gateway", another_gateway, REASON_NONE, true, 0, NULL},
        {"a new key in front", key_in_front, REASON_NONE, true, 0, NULL},
        {"its key is gone", key_gone, REASON_NONE, false, 0, NULL},
        {"no keys any more", no_keys, REASON_NONE, false, 0, NULL},
        {"a wider bundle", wider_bundle, REASON_NONE, false, 0, NULL},
        {"another bundle", foreign_bundle, REASON_certificate_untrusted, false, 0, NULL},
        {"revoked", revoked, REASON_certificate_revoked, false, 0, NULL},
        {"past notAfter", a_day_later, REASON_certificate_expired, false, 0, NULL},
        {"before notBefore", two_hours_back, REASON_certificate_not_yet_valid, false, 0, NULL},
        {"TLS 1.2", nothing, REASON_NONE, false, TLS1_2_VERSION, NULL},
        {"nobody", nothing, REASON_certificate_missing, false, 0, &nobody},
};

static void who_is_taken_up(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct row *row = &rows[i];
		struct duel_client client = {.version = row->version, .paper = row->paper};
		struct duel duel;
		print_message("%s\n", row->name);
		visit(*state, &duel, client);
		client.session = leave(&duel);
		row->then(*state);
		visit(*state, &duel, client);
		assert_int_equal(tls_session_resumed(duel.session), row->back);
		assert_int_equal(tls_session_peer(duel.session)->reason, row->reason);
		SSL_SESSION_free(client.session);
		client.session = leave(&duel);
		// Whoever was not taken up, but let in, has got another.
		visit(*state, &duel, client);
		assert_int_equal(tls_session_resumed(duel.session),
		        row->reason == REASON_NONE && row->version != TLS1_2_VERSION);
		SSL_SESSION_free(leave(&duel));
		SSL_SESSION_free(client.session);
		assert_int_equal(gate_close(state), 0);
		assert_int_equal(sealing_gate_open(state), 0);
	}
}

static void a_stranger_gets_no_seal(void **state)
{
	struct paper stranger = forge(&(struct draft){.cn = "stranger"}, NULL);
	struct duel duel;
	visit(*state, &duel, (struct duel_client){.paper = &stranger});
	SSL_SESSION *kept = leave(&duel);
	assert_false(SSL_SESSION_is_resumable(kept));
	SSL_SESSION_free(kept);
	paper_fini(&stranger);
}

// Whatever bit is turned: the seal is broken, and the chain is shown.
static void a_broken_seal_is_none(void **state)
{
	struct duel duel;
	visit(*state, &duel, (struct duel_client){0});
	SSL_SESSION *kept = leave(&duel);
	const unsigned char *ticket;
	unsigned char *der = NULL;
	size_t size;
	SSL_SESSION_get0_ticket(kept, &ticket, &size);
	int len = i2d_SSL_SESSION(kept, &der);
	unsigned char *place = memmem(der, (size_t)len, ticket, size);
	assert_non_null(place);
	for (size_t at = 0; at < size; at += size / 23) {
		place[at] ^= 1;
		const unsigned char *from = der;
		SSL_SESSION *turned = d2i_SSL_SESSION(NULL, &from, len);
		place[at] ^= 1;
		visit(*state, &duel, (struct duel_client){.session = turned});
		assert_false(tls_session_resumed(duel.session));
		assert_int_equal(tls_session_peer(duel.session)->reason, REASON_NONE);
		SSL_SESSION_free(leave(&duel));
		SSL_SESSION_free(turned);
	}
	OPENSSL_free(der);
	SSL_SESSION_free(kept);
}

static void what_is_no_key_is_a_problem(void **state)
{
	struct gate *gate = *state;
	static const struct {
		const char *name, *says;
		size_t size;
	} faults[] = {
	        {"short", "exactly 80 random bytes", TICKET_KEY_BYTES - 1},
	        {"long", "exactly 80 random bytes", TICKET_KEY_BYTES + 1},
	        {"empty", "exactly 80 random bytes", 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		char bytes[TICKET_KEY_BYTES + 1] = {0};
		key_files[0] = desk_write(
		        &gate->desk, faults[i].name, str_of(bytes, faults[i].size));
		assert_null(tls_context_new(
		        &gate->desk.tls, STR("listeners[0].tls"), &gate->desk.problems));
		const struct config_problem *problem =
		        &gate->desk.problems.items[gate->desk.problems.count - 1];
		assert_true(str_eq(problem->key, STR("listeners[0].tls.session_ticket_keys[0]")));
		assert_non_null(strstr(problem->what.at, faults[i].says));
	}
	key_files[0] = desk_text(&gate->desk, "absent");
	assert_null(
	        tls_context_new(&gate->desk.tls, STR("listeners[0].tls"), &gate->desk.problems));
}

static void judged_again_by_the_same_bundle_it_stands(void **state)
{
	struct gate *gate = *state;
	struct duel duel;
	visit(gate, &duel, (struct duel_client){0});
	const struct tls_peer *before = tls_session_peer(duel.session);
	gate_renew(gate);
	tls_session_judge_again(duel.session, gate->context);
	assert_ptr_equal(tls_session_peer(duel.session), before);
	wider_bundle(gate);
	tls_session_judge_again(duel.session, gate->context);
	assert_int_equal(tls_session_peer(duel.session)->reason, REASON_NONE);
	revoked(gate);
	tls_session_judge_again(duel.session, gate->context);
	assert_int_equal(tls_session_peer(duel.session)->reason, REASON_certificate_revoked);
	gate->desk.tls.crl = (struct config_text){0};
	gate_renew(gate);
	tls_session_judge_again(duel.session, gate->context);
	assert_int_equal(tls_session_peer(duel.session)->reason, REASON_NONE);
	SSL_SESSION_free(leave(&duel));
}

// The seal holds the client's own certificate and no other.
static void judged_again_without_its_intermediate_it_does_not(void **state)
{
	struct gate *gate = *state;
	struct paper middle = forge(&(struct draft){.cn = "middle", .ca = true}, &gate->root);
	struct paper below = forge(&(struct draft){.cn = "below"}, &middle);
	const struct paper *chain[] = {&middle};
	struct duel_client client = {.paper = &below, .chain = chain, .chain_count = 1};
	struct duel duel;
	visit(gate, &duel, client);
	client.session = leave(&duel);
	visit(gate, &duel, client);
	assert_true(tls_session_resumed(duel.session));
	gate_renew(gate);
	tls_session_judge_again(duel.session, gate->context);
	assert_int_equal(tls_session_peer(duel.session)->reason, REASON_NONE);
	wider_bundle(gate);
	tls_session_judge_again(duel.session, gate->context);
	const struct tls_peer *peer = tls_session_peer(duel.session);
	assert_int_equal(peer->reason, REASON_certificate_untrusted);
	assert_non_null(strstr(peer->detail.at, "came sealed, without intermediates"));
	SSL_SESSION_free(leave(&duel));
	SSL_SESSION_free(client.session);
	paper_fini(&below);
	paper_fini(&middle);
}

#define test(name) cmocka_unit_test_setup_teardown(name, sealing_gate_open, gate_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(a_sealed_session_comes_back_again_and_again),
	        test(who_is_taken_up),
	        test(a_stranger_gets_no_seal),
	        test(a_broken_seal_is_none),
	        test(what_is_no_key_is_a_problem),
	        test(judged_again_by_the_same_bundle_it_stands),
	        test(judged_again_without_its_intermediate_it_does_not),
	};
	return cmocka_run_group_tests_name("ticket", tests, NULL, NULL);
}
