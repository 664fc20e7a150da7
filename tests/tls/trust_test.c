// What a listener trusts: bundle, lists, possession, the judge; chains large, reversed or padded.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/desk.h"
#include "tests/tls/duel.h"

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

struct world {
	struct desk desk;
	struct paper root, other_root, between, gateway, client, client_below, client_other;
	struct tls_context *context;
};

static int set_up(void **state)
{
	static struct world world;
	clock_fake(0, NOW_S * NS_PER_S);
	desk_init(&world.desk);
	world.root = forge(&(struct draft){.cn = "root", .ca = true}, NULL);
	world.other_root = forge(&(struct draft){.cn = "other", .ca = true}, NULL);
	world.between = forge(
	        &(struct draft){
	                .cn = "between", .ca = true, .constraints = "critical,CA:TRUE,pathlen:0"},
	        &world.root);
	world.gateway = forge(&(struct draft){.cn = "gateway"}, &world.root);
	world.client = forge(&(struct draft){.cn = "client"}, &world.root);
	world.client_below = forge(&(struct draft){.cn = "below"}, &world.between);
	world.client_other = forge(&(struct draft){.cn = "of other"}, &world.other_root);
	desk_serve(&world.desk, &world.gateway);
	desk_trust(&world.desk, (const struct paper *[]){&world.root, &world.other_root}, 2);
	world.context = NULL;
	*state = &world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	tls_context_unref(world->context);
	struct paper *papers[] = {&world->root, &world->other_root, &world->between,
	        &world->gateway, &world->client, &world->client_below, &world->client_other};
	for (size_t i = 0; i < ARRAY_LEN(papers); i++)
		paper_fini(papers[i]);
	desk_fini(&world->desk);
	return 0;
}

static void open_gate(struct world *world)
{
	tls_context_unref(world->context);
	world->context = desk_context(&world->desk);
	assert_non_null(world->context);
}

// The verdict on a client that presents this; the handshake must complete.
static enum reason verdict(struct world *world, const struct paper *paper,
        const struct paper *const *chain, size_t chain_count)
{
	enum reason reason = REASON_COUNT;
	for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
		struct duel duel;
		struct duel_client client = {.version = versions[v],
		        .paper = paper,
		        .chain = chain,
		        .chain_count = chain_count};
		duel_init(&duel, world->context, NULL, NULL, &client);
		duel_pump(&duel);
		assert_int_equal(tls_status(duel.session), TLS_OPEN);
		enum reason one = tls_session_peer(duel.session)->reason;
		assert_true(reason == REASON_COUNT || reason == one);
		reason = one;
		duel_fini(&duel);
	}
	return reason;
}

static void no_certificate_is_missing_and_still_answered(void **state)
{
	struct world *world = *state;
	open_gate(world);
	assert_int_equal(verdict(world, NULL, NULL, 0), REASON_certificate_missing);
	world->desk.tls.require_client_certificate = false;
	open_gate(world);
	assert_int_equal(verdict(world, NULL, NULL, 0), REASON_certificate_missing);
}

static enum reason judge_refuses(void *owner, const struct tls_peer *peer)
{
	assert_string_equal(peer->uri.at, WEB_ID);
	return *(enum reason *)owner;
}

static void in_alert_mode_a_missing_certificate_has_its_alert(void **state)
{
	static const int alerts[] = {SSL_AD_HANDSHAKE_FAILURE, SSL_AD_CERTIFICATE_REQUIRED};
	static const char *const words[] = {"handshake_failure", "certificate_required"};
	struct world *world = *state;
	world->desk.tls.on_unauthenticated = UNAUTHENTICATED_ALERT;
	open_gate(world);
	for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
		struct duel duel;
		duel_init(&duel, world->context, judge_refuses, NULL,
		        &(struct duel_client){.version = versions[v]});
		duel_pump(&duel);
		assert_int_equal(tls_status(duel.session), TLS_FAILED);
		assert_int_equal(duel_fault(&duel), REASON_certificate_missing);
		assert_int_equal(duel.client_alert, alerts[v]);
		assert_string_equal(tls_session_alert(duel.session).at, words[v]);
		duel_fini(&duel);
	}
}

static void in_alert_mode_the_judge_ends_the_handshake(void **state)
{
	static const struct {
		enum reason says;
		int alert;
		const char *word;
	} rows[] = {
	        {REASON_identity_not_allowed, SSL_AD_CERTIFICATE_UNKNOWN, "certificate_unknown"},
	        {REASON_identity_malformed, SSL_AD_BAD_CERTIFICATE, "bad_certificate"},
	        {REASON_NONE, -1, ""},
	};
	struct world *world = *state;
	world->desk.tls.on_unauthenticated = UNAUTHENTICATED_ALERT;
	open_gate(world);
	for (size_t i = 0; i < ARRAY_LEN(rows) * ARRAY_LEN(versions); i++) {
		struct duel duel;
		enum reason says = rows[i / 2].says;
		duel_init(&duel, world->context, judge_refuses, &says,
		        &(struct duel_client){.version = versions[i % 2], .paper = &world->client});
		duel_pump(&duel);
		assert_int_equal(
		        tls_status(duel.session), says == REASON_NONE ? TLS_OPEN : TLS_FAILED);
		assert_int_equal(duel_fault(&duel), says);
		assert_int_equal(duel.client_alert, rows[i / 2].alert);
		assert_true(str_eq(tls_session_alert(duel.session), str_from(rows[i / 2].word)));
		duel_fini(&duel);
	}
}

// The client shows a certificate of which it has no key: taken from somebody's handshake, say.
static void without_the_key_there_is_no_handshake(void **state)
{
	struct world *world = *state;
	static const enum config_unauthenticated modes[] = {
	        UNAUTHENTICATED_FORBID, UNAUTHENTICATED_ALERT};
	for (size_t i = 0; i < ARRAY_LEN(modes) * ARRAY_LEN(versions); i++) {
		world->desk.tls.on_unauthenticated = modes[i / 2];
		open_gate(world);
		struct duel duel;
		enum reason says = REASON_NONE;
		struct paper thief = forge(&(struct draft){.cn = "thief"}, &world->root);
		duel_init(&duel, world->context, judge_refuses, &says,
		        &(struct duel_client){.version = versions[i % 2], .paper = &thief});
		// OpenSSL would not load this pair, so the certificate changes under its hands.
		CHECK(X509_set_pubkey(thief.x509, world->client.key) == 1);
		forge_sign(thief.x509, world->root.key, NULL);
		duel_pump(&duel);
		assert_int_equal(tls_status(duel.session), TLS_FAILED);
		assert_int_equal(duel_fault(&duel), REASON_tls_failed);
		assert_int_equal(duel.client_alert, SSL_AD_DECRYPT_ERROR);
		assert_int_equal(buffer_len(&duel.plain), 0);
		duel_fini(&duel);
		paper_fini(&thief);
	}
}

static void only_the_bundle_is_trusted(void **state)
{
	struct world *world = *state;
	const struct paper *between = &world->between, *root = &world->root;
	desk_trust(&world->desk, &root, 1);
	open_gate(world);
	assert_int_equal(verdict(world, &world->client, NULL, 0), REASON_NONE);
	assert_int_equal(verdict(world, &world->client_below, &between, 1), REASON_NONE);
	assert_int_equal(
	        verdict(world, &world->client_below, NULL, 0), REASON_certificate_untrusted);
	const struct paper *own_root = &world->other_root;
	assert_int_equal(
	        verdict(world, &world->client_other, &own_root, 1), REASON_certificate_untrusted);
}

static void a_lone_intermediate_in_the_bundle_is_an_anchor(void **state)
{
	struct world *world = *state;
	const struct paper *between = &world->between;
	desk_trust(&world->desk, &between, 1);
	open_gate(world);
	assert_int_equal(verdict(world, &world->client_below, NULL, 0), REASON_NONE);
	assert_int_equal(verdict(world, &world->client_below, &between, 1), REASON_NONE);
	assert_int_equal(verdict(world, &world->client, NULL, 0), REASON_certificate_untrusted);
}

static void an_intermediate_beside_its_root_spares_clients_sending_it(void **state)
{
	struct world *world = *state;
	desk_trust(&world->desk, (const struct paper *[]){&world->between, &world->root}, 2);
	open_gate(world);
	assert_int_equal(verdict(world, &world->client_below, NULL, 0), REASON_NONE);
	assert_int_equal(verdict(world, &world->client, NULL, 0), REASON_NONE);
}

static void an_intermediate_beside_its_root_is_held_to_the_roots_rules(void **state)
{
	struct world *world = *state;
	struct paper root = forge(&(struct draft){.cn = "narrow",
	                                  .ca = true,
	                                  .name_constraints = "excluded;URI:cluster.local"},
	        NULL);
	struct paper between = forge(&(struct draft){.cn = "wide", .ca = true}, &root);
	struct paper leaf = forge(&(struct draft){0}, &between);
	desk_trust(&world->desk, (const struct paper *[]){&between, &root}, 2);
	open_gate(world);
	assert_int_equal(verdict(world, &leaf, NULL, 0), REASON_certificate_invalid);
	paper_fini(&leaf);
	paper_fini(&between);
	paper_fini(&root);
}

static void the_first_certificate_is_the_identity(void **state)
{
	struct world *world = *state;
	open_gate(world);
	struct paper evil = forge(&(struct draft){.names = "URI:spiffe://evil/x"}, NULL);
	const struct paper *good = &world->client;
	assert_int_equal(verdict(world, &evil, &good, 1), REASON_certificate_untrusted);
	// Certificates that lead nowhere do no harm behind a good one.
	const struct paper *padding[] = {&evil, &world->other_root, &world->client_other, &evil};
	assert_int_equal(verdict(world, &world->client, padding, 4), REASON_NONE);
	paper_fini(&evil);
}

static void a_chain_of_any_order_is_sorted_out(void **state)
{
	struct world *world = *state;
	struct paper upper = forge(&(struct draft){.cn = "upper", .ca = true}, &world->root);
	struct paper lower = forge(&(struct draft){.cn = "lower", .ca = true}, &upper);
	struct paper leaf = forge(&(struct draft){0}, &lower);
	open_gate(world);
	assert_int_equal(
	        verdict(world, &leaf, (const struct paper *[]){&upper, &lower}, 2), REASON_NONE);
	paper_fini(&leaf);
	paper_fini(&lower);
	paper_fini(&upper);
}

static void a_chain_too_deep_is_invalid(void **state)
{
	struct world *world = *state;
	enum { DEPTH = 13 };
	struct paper papers[DEPTH];
	const struct paper *chain[DEPTH], *issuer = &world->root;
	char cn[16];
	for (size_t i = 0; i < DEPTH; i++) {
		snprintf(cn, sizeof(cn), "i%zu", i);
		papers[i] = forge(&(struct draft){.cn = cn, .ca = true}, issuer);
		chain[DEPTH - 1 - i] = issuer = &papers[i];
	}
	struct paper leaf = forge(&(struct draft){0}, issuer);
	open_gate(world);
	assert_int_equal(verdict(world, &leaf, chain, DEPTH), REASON_certificate_invalid);
	paper_fini(&leaf);
	struct paper near = forge(&(struct draft){0}, &papers[5]);
	assert_int_equal(verdict(world, &near, chain + DEPTH - 6, 6), REASON_NONE);
	paper_fini(&near);
	for (size_t i = 0; i < DEPTH; i++)
		paper_fini(&papers[i]);
}

// A leaf as large as the cap allows is read; a larger chain ends the handshake, not the process.
static void large_certificates_are_read_and_huge_ones_refused(void **state)
{
	struct world *world = *state;
	static char names[120000];
	open_gate(world);
	for (size_t count = 1000; count <= 4000; count += 3000) {
		size_t len = (size_t)sprintf(names, "URI:" WEB_ID);
		for (size_t i = 0; i < count; i++)
			len += (size_t)sprintf(names + len, ",DNS:host%zu.cluster.test", i);
		struct paper fat = forge(&(struct draft){.names = names}, &world->root);
		if (count == 1000)
			assert_int_equal(verdict(world, &fat, NULL, 0), REASON_NONE);
		for (size_t v = 0; v < ARRAY_LEN(versions) && count > 1000; v++) {
			struct duel duel;
			duel_init(&duel, world->context, NULL, NULL,
			        &(struct duel_client){.version = versions[v], .paper = &fat});
			duel_pump(&duel);
			assert_int_equal(tls_status(duel.session), TLS_FAILED);
			assert_int_equal(duel_fault(&duel), REASON_certificate_invalid);
			duel_fini(&duel);
		}
		paper_fini(&fat);
	}
}

static void load_lists(struct world *world, X509_CRL **lists, size_t count)
{
	desk_revoke(&world->desk, lists, count);
	open_gate(world);
	for (size_t i = 0; i < count; i++)
		X509_CRL_free(lists[i]);
}

static void the_revoked_are_refused(void **state)
{
	struct world *world = *state;
	const struct paper *between = &world->between;
	load_lists(
	        world, (X509_CRL *[]){forge_list(&world->root, world->client.x509, -HOUR, DAY)}, 1);
	assert_int_equal(verdict(world, &world->client, NULL, 0), REASON_certificate_revoked);
	// The same root's others, and those whose issuer has no list, are let in.
	assert_int_equal(verdict(world, &world->client_below, &between, 1), REASON_NONE);
	assert_int_equal(verdict(world, &world->client_other, NULL, 0), REASON_NONE);
}

static void a_revoked_intermediate_takes_its_clients_along(void **state)
{
	struct world *world = *state;
	const struct paper *between = &world->between;
	load_lists(world,
	        (X509_CRL *[]){forge_list(&world->root, between->x509, -HOUR, DAY),
	                forge_list(between, NULL, -HOUR, DAY)},
	        2);
	assert_int_equal(
	        verdict(world, &world->client_below, &between, 1), REASON_certificate_revoked);
	assert_int_equal(verdict(world, &world->client, NULL, 0), REASON_NONE);
}

static void an_intermediates_own_list_counts(void **state)
{
	struct world *world = *state;
	const struct paper *between = &world->between;
	load_lists(world, (X509_CRL *[]){forge_list(between, world->client_below.x509, -HOUR, DAY)},
	        1);
	assert_int_equal(
	        verdict(world, &world->client_below, &between, 1), REASON_certificate_revoked);
}

static void a_list_out_of_date_revokes_and_locks_nobody_out(void **state)
{
	static const int64_t spans[][2] = {{-2 * DAY, -DAY}, {HOUR, DAY}};
	struct world *world = *state;
	for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
		struct paper good = forge(&(struct draft){0}, &world->root);
		load_lists(world,
		        (X509_CRL *[]){forge_list(
		                &world->root, world->client.x509, spans[i][0], spans[i][1])},
		        1);
		assert_int_equal(
		        verdict(world, &world->client, NULL, 0), REASON_certificate_revoked);
		assert_int_equal(verdict(world, &good, NULL, 0), REASON_NONE);
		paper_fini(&good);
	}
}

static void a_forged_list_refuses_its_issuers_clients(void **state)
{
	struct world *world = *state;
	// Of an intermediate's name, so that loading cannot tell; whom it would clear is not let
	// in.
	const struct paper *between = &world->between;
	struct paper impostor = forge(&(struct draft){.cn = "between", .ca = true}, NULL);
	load_lists(world, (X509_CRL *[]){forge_list(&impostor, NULL, -HOUR, DAY)}, 1);
	assert_int_equal(
	        verdict(world, &world->client_below, &between, 1), REASON_certificate_invalid);
	paper_fini(&impostor);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(no_certificate_is_missing_and_still_answered),
	        test(in_alert_mode_a_missing_certificate_has_its_alert),
	        test(in_alert_mode_the_judge_ends_the_handshake),
	        test(without_the_key_there_is_no_handshake),
	        test(only_the_bundle_is_trusted),
	        test(a_lone_intermediate_in_the_bundle_is_an_anchor),
	        test(an_intermediate_beside_its_root_spares_clients_sending_it),
	        test(an_intermediate_beside_its_root_is_held_to_the_roots_rules),
	        test(the_first_certificate_is_the_identity),
	        test(a_chain_of_any_order_is_sorted_out),
	        test(a_chain_too_deep_is_invalid),
	        test(large_certificates_are_read_and_huge_ones_refused),
	        test(the_revoked_are_refused),
	        test(a_revoked_intermediate_takes_its_clients_along),
	        test(an_intermediates_own_list_counts),
	        test(a_list_out_of_date_revokes_and_locks_nobody_out),
	        test(a_forged_list_refuses_its_issuers_clients),
	};
	return cmocka_run_group_tests_name("trust", tests, NULL, NULL);
}
