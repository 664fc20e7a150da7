// Which certificate a client is shown: by SNI, else the first; and RSA beside ECDSA.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/tls/gate.h"
#include "tls/select.h"

static void names_match_by_whole_labels(void **state)
{
	static const struct {
		const char *pattern, *host;
		bool match;
	} rows[] = {
	        {"a.test", "a.test", true},
	        {"A.Test", "a.tEST", true},
	        {"a.test", "b.test", false},
	        {"a.test", "a.test.", false},
	        {"a.test", "", false},
	        {"*.a.test", "b.a.test", true},
	        {"*.a.test", "B.A.test", true},
	        {"*.a.test", "a.test", false},
	        {"*.a.test", ".a.test", false},
	        {"*.a.test", "c.b.a.test", false},
	        {"*", "test", false},
	        {"b*.a.test", "bc.a.test", false},
	        {"*.test", "*.test", true},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		print_message("    %s against %s\n", rows[i].host, rows[i].pattern);
		assert_int_equal(
		        select_name_matches(str_from(rows[i].pattern), str_from(rows[i].host)),
		        rows[i].match);
	}
}

// The common name of the certificate that the client is shown.
static void shown(struct gate *gate, struct duel_client client, char name[64])
{
	struct duel duel;
	gate_meet(gate, &duel, client);
	duel_pump(&duel);
	name[0] = '\0';
	X509 *certificate = SSL_get1_peer_certificate(duel.client);
	if (certificate && tls_status(duel.session) == TLS_OPEN)
		X509_NAME_get_text_by_NID(
		        X509_get_subject_name(certificate), NID_commonName, name, 64);
	X509_free(certificate);
	duel_fini(&duel);
}

static void sni_chooses(void **state)
{
	static const struct {
		const char *sni, *shown;
	} rows[] = {
	        {NULL, "first"},
	        {"first.test", "first"},
	        {"second.test", "second"},
	        {"SECOND.TEST", "second"},
	        {"any.wild.test", "third"},
	        {"wild.test", "first"},
	        {"a.b.wild.test", "first"},
	        {"exact.wild.test", "second"},
	        {"nowhere.test", "first"},
	};
	struct gate *gate = *state;
	static const struct draft drafts[] = {
	        {.cn = "first", .names = "DNS:first.test"},
	        {.cn = "second", .names = "DNS:second.test,DNS:exact.wild.test"},
	        {.cn = "third", .names = "DNS:*.wild.test,URI:spiffe://cluster.local/third"},
	};
	gate->desk.tls.certificate_count = 0;
	for (size_t i = 0; i < ARRAY_LEN(drafts); i++) {
		struct paper paper = forge(&drafts[i], &gate->root);
		desk_serve(&gate->desk, &paper);
		paper_fini(&paper);
	}
	gate_renew(gate);
	for (size_t i = 0; i < ARRAY_LEN(rows) * ARRAY_LEN(tls_versions); i++) {
		char name[64];
		shown(gate,
		        (struct duel_client){
		                .version = tls_versions[i % 2], .sni = rows[i / 2].sni},
		        name);
		assert_string_equal(name, rows[i / 2].shown);
	}
}

static void the_session_names_the_certificate_shown(void **state)
{
	struct gate *gate = *state;
	struct duel duel;
	struct paper second = forge(
	        &(struct draft){.names = "DNS:second.test,URI:spiffe://cluster.local/second"},
	        &gate->root);
	desk_serve(&gate->desk, &second);
	gate_renew(gate);
	gate_meet(gate, &duel, (struct duel_client){.sni = "second.test"});
	duel_pump(&duel);
	assert_string_equal(
	        tls_session_gateway_uri(duel.session).at, "spiffe://cluster.local/second");
	duel_fini(&duel);
	paper_fini(&second);
}

static void rsa_and_ecdsa_stand_side_by_side(void **state)
{
	static const struct {
		const char *sni, *sigalgs, *shown;
	} rows[] = {
	        {"twin.test", "ECDSA+SHA256", "ecdsa"},
	        {"twin.test", "RSA-PSS+SHA256", "rsa"},
	        {NULL, "ECDSA+SHA256", "ecdsa"},
	        {NULL, "RSA-PSS+SHA256", "rsa"},
	        {"twin.test", "ed25519", ""},
	        {"lone.test", "ed25519", "edwards"},
	        {"lone.test", "ECDSA+SHA256", ""},
	};
	struct gate *gate = *state;
	static const struct draft drafts[] = {
	        {.cn = "ecdsa", .names = "DNS:twin.test"},
	        {.cn = "later", .names = "DNS:twin.test"},
	        {.cn = "rsa", .key = "RSA-2048", .names = "DNS:twin.test"},
	        {.cn = "edwards", .key = "ED25519", .names = "DNS:lone.test"},
	};
	// The client's own key must fit its list, too.
	struct paper papers[] = {forge(&(struct draft){0}, &gate->root),
	        forge(&(struct draft){.key = "RSA-2048"}, &gate->root),
	        forge(&(struct draft){.key = "ED25519"}, &gate->root)};
	gate->desk.tls.certificate_count = 0;
	for (size_t i = 0; i < ARRAY_LEN(drafts); i++) {
		struct paper paper = forge(&drafts[i], &gate->root);
		desk_serve(&gate->desk, &paper);
		paper_fini(&paper);
	}
	gate_renew(gate);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[64];
		const char *sigalgs = rows[i].sigalgs;
		shown(gate,
		        (struct duel_client){.sni = rows[i].sni,
		                .sigalgs = sigalgs,
		                .paper = &papers[*sigalgs == 'E'   ? 0
		                                 : *sigalgs == 'R' ? 1
		                                                   : 2]},
		        name);
		assert_string_equal(name, rows[i].shown);
	}
	for (size_t i = 0; i < ARRAY_LEN(papers); i++)
		paper_fini(&papers[i]);
}

#define test(name) cmocka_unit_test_setup_teardown(name, gate_open, gate_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(names_match_by_whole_labels),
	        test(sni_chooses),
	        test(the_session_names_the_certificate_shown),
	        test(rsa_and_ecdsa_stand_side_by_side),
	};
	return cmocka_run_group_tests_name("select", tests, NULL, NULL);
}
