// Whom a session that dials believes: the bundle and its lists alone, by every road to it, and the
// judge, who is asked of the verified and once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/camp.h"

struct judge {
	enum reason says;
	int asked;
};

static enum reason ask(void *owner, const struct tls_peer *peer)
{
	struct judge *judge = owner;
	assert_int_equal(peer->reason, REASON_NONE);
	assert_true(peer->presented);
	assert_string_equal(peer->uri.at, SERVER_ID);
	assert_int_equal(peer->expires_s, NOW_S + DAY);
	judge->asked++;
	return judge->says;
}

// By ID, of a server with these papers; what was said of it must be the same in every version.
static enum reason verdict(const struct camp *camp, const struct paper *paper,
        const struct paper *const *chain, size_t chain_count)
{
	enum reason reason = REASON_COUNT;
	for (size_t v = 0; v < ARRAY_LEN(camp_versions); v++) {
		struct errand errand;
		struct judge judge = {0};
		struct errand_server server = {.version = camp_versions[v],
		        .paper = paper,
		        .chain = chain,
		        .chain_count = chain_count};
		errand_init(&errand, camp->by_id, &(struct tls_server){.name = STR("")}, ask,
		        &judge, &server);
		errand_pump(&errand);
		enum reason one = errand_fault(&errand);
		assert_int_equal(errand.opened, one == REASON_NONE);
		assert_int_equal(judge.asked, one == REASON_NONE);
		assert_true(reason == REASON_COUNT || reason == one);
		reason = one;
		errand_fini(&errand);
	}
	return reason;
}

static void the_judge_has_the_last_word(void **state)
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
	struct camp *camp = *state;
	for (size_t i = 0; i < ARRAY_LEN(rows) * ARRAY_LEN(camp_versions); i++) {
		struct errand errand;
		struct str detail;
		struct judge judge = {.says = rows[i / 2].says};
		bool good = judge.says == REASON_NONE;
		errand_init(&errand, camp->by_id, &(struct tls_server){.name = STR("any.test")},
		        ask, &judge,
		        &(struct errand_server){
		                .version = camp_versions[i % 2], .paper = &camp->server});
		errand.stride = 1;
		errand_pump(&errand);
		assert_int_equal(judge.asked, 1);
		assert_int_equal(tls_status(errand.session), good ? TLS_OPEN : TLS_FAILED);
		assert_int_equal(errand.opened, good);
		assert_int_equal(tls_fault(errand.session, &detail), judge.says);
		assert_true(str_eq(detail, good ? STR("") : STR(SERVER_ID)));
		assert_int_equal(errand.server_alert, rows[i / 2].alert);
		assert_true(str_eq(tls_session_alert(errand.session), str_from(rows[i / 2].word)));
		assert_int_equal(tls_write(errand.session, STR("GET /")), good);
		errand_pump(&errand);
		assert_int_equal(buffer_len(&errand.server_plain), good ? 5 : 0);
		errand_fini(&errand);
	}
}

// The server shows a certificate of which it has no key: taken from somebody's handshake, say.
static void without_the_key_there_is_no_handshake(void **state)
{
	struct camp *camp = *state;
	for (size_t v = 0; v < ARRAY_LEN(camp_versions); v++) {
		struct errand errand;
		struct paper thief = camp_forge(&(struct draft){0}, &camp->root);
		camp_dial(camp, &errand,
		        (struct errand_server){.version = camp_versions[v], .paper = &thief});
		// OpenSSL would not load this pair, so the certificate changes under its hands.
		CHECK(X509_set_pubkey(thief.x509, camp->server.key) == 1);
		forge_sign(thief.x509, camp->root.key, NULL);
		errand_pump(&errand);
		assert_int_equal(tls_status(errand.session), TLS_FAILED);
		assert_int_equal(errand_fault(&errand), REASON_tls_failed);
		assert_int_equal(errand.server_alert, SSL_AD_DECRYPT_ERROR);
		assert_false(errand.opened);
		assert_int_equal(buffer_len(&errand.plain), 0);
		errand_fini(&errand);
		paper_fini(&thief);
	}
}

static void only_the_bundle_is_trusted(void **state)
{
	struct camp *camp = *state;
	struct paper other = forge(&(struct draft){.cn = "other", .ca = true}, NULL);
	struct paper impostor = forge(
	        &(struct draft){.cn = "root", .ca = true, .key_id_of = &camp->root}, NULL);
	struct paper of_other = camp_forge(&(struct draft){0}, &other);
	struct paper of_impostor = camp_forge(&(struct draft){0}, &impostor);
	const struct paper *brought = &other, *brought_impostor = &impostor;
	assert_int_equal(verdict(camp, &camp->server, NULL, 0), REASON_NONE);
	assert_int_equal(verdict(camp, &of_other, NULL, 0), REASON_certificate_untrusted);
	assert_int_equal(verdict(camp, &of_other, &brought, 1), REASON_certificate_untrusted);
	assert_int_equal(
	        verdict(camp, &of_impostor, &brought_impostor, 1), REASON_certificate_untrusted);
	// The gateway's own certificate is no server's.
	assert_int_equal(verdict(camp, &camp->gateway, NULL, 0), REASON_certificate_wrong_usage);
	paper_fini(&of_impostor);
	paper_fini(&of_other);
	paper_fini(&impostor);
	paper_fini(&other);
}

// Two certificates of one intermediate, one of which leads to a root that we do not know.
static void a_cross_signed_chain_is_found_past_its_dead_end(void **state)
{
	struct camp *camp = *state;
	struct paper other = forge(&(struct draft){.cn = "other", .ca = true}, NULL);
	struct paper good = forge(&(struct draft){.cn = "between", .ca = true}, &camp->root);
	struct paper dead = forge(
	        &(struct draft){.cn = "between", .ca = true, .key_of = &good}, &other);
	struct paper leaf = camp_forge(&(struct draft){0}, &good);
	const struct paper *chain[] = {&dead, &good}, *turned[] = {&good, &dead};
	assert_int_equal(verdict(camp, &leaf, chain, 2), REASON_NONE);
	assert_int_equal(verdict(camp, &leaf, turned, 2), REASON_NONE);
	assert_int_equal(verdict(camp, &leaf, chain, 1), REASON_certificate_untrusted);
	// The road that is found has to be good itself.
	struct paper ended = forge(
	        &(struct draft){.cn = "between", .ca = true, .key_of = &good, .to_s = -1},
	        &camp->root);
	const struct paper *worse[] = {&dead, &ended};
	assert_int_equal(verdict(camp, &leaf, worse, 2), REASON_certificate_expired);
	paper_fini(&ended);
	paper_fini(&leaf);
	paper_fini(&dead);
	paper_fini(&good);
	paper_fini(&other);
}

static void the_revoked_are_refused(void **state)
{
	static const int64_t spans[][2] = {{-HOUR, DAY}, {-2 * DAY, -DAY}};
	struct camp *camp = *state;
	struct paper good = camp_forge(&(struct draft){0}, &camp->root);
	for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
		X509_CRL *list = forge_list(
		        &camp->root, camp->server.x509, spans[i][0], spans[i][1]);
		desk_revoke(&camp->desk, &list, 1);
		camp_renew(camp);
		X509_CRL_free(list);
		struct errand errand;
		camp_dial(camp, &errand, (struct errand_server){0});
		errand_pump(&errand);
		assert_false(errand.opened);
		assert_int_equal(errand_fault(&errand), REASON_certificate_revoked);
		assert_int_equal(errand.server_alert, SSL_AD_CERTIFICATE_REVOKED);
		errand_fini(&errand);
		assert_int_equal(verdict(camp, &camp->server, NULL, 0), REASON_certificate_revoked);
		assert_int_equal(verdict(camp, &good, NULL, 0), REASON_NONE);
	}
	paper_fini(&good);
}

static void huge_certificates_end_it(void **state)
{
	struct camp *camp = *state;
	static char names[160000];
	size_t len = (size_t)sprintf(names, "URI:" SERVER_ID);
	for (size_t i = 0; i < 5000; i++)
		len += (size_t)sprintf(names + len, ",DNS:host%zu.cluster.test", i);
	struct paper fat = camp_forge(&(struct draft){.names = names}, &camp->root);
	assert_int_equal(verdict(camp, &fat, NULL, 0), REASON_certificate_invalid);
	paper_fini(&fat);
}

static void what_cannot_be_loaded_is_told_with_a_backends_keys(void **state)
{
	static const char *const keys[] = {"backends[0].tls.trusted_ca", "backends[0].tls.crl",
	        "backends[0].tls.certificate_chain", "backends[0].tls.private_key"};
	struct camp *camp = *state;
	struct desk *desk = &camp->desk;
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct config_text *texts[] = {&desk->tls.trusted_ca, &desk->tls.crl,
		        &desk->certificates[0].certificate_chain,
		        &desk->certificates[0].private_key};
		struct config_problems problems = {0};
		struct config_text kept = *texts[i];
		*texts[i] = desk_text(desk, "none.pem");
		assert_null(tls_context_new(&desk->tls, STR("backends[0].tls"), &problems));
		assert_true(problems.count >= 1);
		assert_true(str_eq(problems.items[0].key, str_from(keys[i])));
		assert_int_equal(problems.items[0].mark.line, texts[i]->mark.line);
		*texts[i] = kept;
		config_problems_fini(&problems);
	}
}

static void count_role(const char *role, const struct tls_certificate_facts *facts, void *counts)
{
	assert_true(facts->subject.len > 0);
	((int *)counts)[strcmp(role, "certificate") == 0]++;
}

static void our_certificate_is_among_what_is_told_of_a_backend(void **state)
{
	struct camp *camp = *state;
	for (int held = 1; held >= 0; held--) {
		int counts[2] = {0};
		camp->desk.tls.certificate_count = (size_t)held;
		camp_renew(camp);
		tls_context_each(camp->by_name, count_role, counts);
		assert_int_equal(counts[0], 1);
		assert_int_equal(counts[1], held);
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, camp_pitch, camp_strike)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(the_judge_has_the_last_word),
	        test(without_the_key_there_is_no_handshake),
	        test(only_the_bundle_is_trusted),
	        test(a_cross_signed_chain_is_found_past_its_dead_end),
	        test(the_revoked_are_refused),
	        test(huge_certificates_end_it),
	        test(what_cannot_be_loaded_is_told_with_a_backends_keys),
	        test(our_certificate_is_among_what_is_told_of_a_backend),
	};
	return cmocka_run_group_tests_name("dial_trust", tests, NULL, NULL);
}
