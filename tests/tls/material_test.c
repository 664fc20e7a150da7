// Every faulty file is a problem at its place that names the file, what was found and what was
// expected; and all of them are found in one run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "tests/tls/gate.h"

#define CHAIN "listeners[0].tls.certificates[0].certificate_chain"
#define KEY "listeners[0].tls.certificates[0].private_key"
#define BUNDLE "listeners[0].tls.validation_context.trusted_ca"
#define LIST "listeners[0].tls.validation_context.crl"

static struct config_certificate *first(struct gate *gate)
{
	return &gate->desk.certificates[0];
}

static struct paper issue(struct gate *gate, struct draft draft)
{
	return forge(&draft, &gate->root);
}

// Serves this paper instead, and is done with it.
static void serve(struct gate *gate, struct paper paper)
{
	gate->desk.tls.certificate_count = 0;
	desk_serve(&gate->desk, &paper);
	paper_fini(&paper);
}

static void trust(struct gate *gate, struct paper paper)
{
	desk_trust(&gate->desk, (const struct paper *[]){&gate->root, &paper}, 2);
	paper_fini(&paper);
}

static struct config_text der(struct gate *gate, const char *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	CHECK(i2d_X509_bio(bio, gate->root.x509) == 1);
	return desk_write_bio(&gate->desk, name, bio);
}

static void no_chain_file(struct gate *gate)
{
	first(gate)->certificate_chain = desk_text(&gate->desk, "absent.pem");
}

static void directory_as_chain(struct gate *gate)
{
	first(gate)->certificate_chain = desk_text(&gate->desk, ".");
}

static void empty_chain(struct gate *gate)
{
	first(gate)->certificate_chain = desk_write(&gate->desk, "x.pem", STR(""));
}

static void garbage_chain(struct gate *gate)
{
	first(gate)->certificate_chain = desk_write(&gate->desk, "x.pem", STR("hello\n"));
}

static void der_chain(struct gate *gate)
{
	first(gate)->certificate_chain = der(gate, "x.der");
}

static void key_as_chain(struct gate *gate)
{
	first(gate)->certificate_chain = first(gate)->private_key;
}

static void damaged_base64(struct gate *gate)
{
	first(gate)->certificate_chain = desk_write(&gate->desk, "x.pem",
	        STR("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"));
}

static void damaged_der(struct gate *gate)
{
	first(gate)->certificate_chain = desk_write(&gate->desk, "x.pem",
	        STR("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"));
}

static void expired(struct gate *gate)
{
	serve(gate, issue(gate, (struct draft){.cn = "old", .to_s = -1}));
}

static void not_yet_valid(struct gate *gate)
{
	serve(gate, issue(gate, (struct draft){.cn = "new", .from_s = 1}));
}

static void weak_gateway_key(struct gate *gate)
{
	serve(gate, issue(gate, (struct draft){.key = "RSA-1024"}));
}

static void odd_gateway_curve(struct gate *gate)
{
	serve(gate, issue(gate, (struct draft){.key = "secp224r1"}));
}

static void no_key_file(struct gate *gate)
{
	first(gate)->private_key = desk_text(&gate->desk, "absent.key");
}

static void certificate_as_key(struct gate *gate)
{
	first(gate)->private_key = first(gate)->certificate_chain;
}

static void damaged_key(struct gate *gate)
{
	first(gate)->private_key = desk_write(&gate->desk, "x.key",
	        STR("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"));
}

static void encrypted_key(struct gate *gate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	CHECK(PEM_write_bio_PKCS8PrivateKey(
	              bio, gate->gateway.key, EVP_aes_128_cbc(), "secret", 6, NULL, NULL) == 1);
	first(gate)->private_key = desk_write_bio(&gate->desk, "x.key", bio);
}

static void encrypted_key_of_the_old_kind(struct gate *gate)
{
	BIO *bio = BIO_new(BIO_s_mem());
	CHECK(PEM_write_bio_PrivateKey_traditional(bio, gate->gateway.key, EVP_aes_128_cbc(),
	              (const uint8_t *)"secret", 6, NULL, NULL) == 1);
	first(gate)->private_key = desk_write_bio(&gate->desk, "x.key", bio);
}

static void foreign_key(struct gate *gate)
{
	first(gate)->private_key = desk_key(&gate->desk, "x.key", &gate->client);
}

static void chain_upside_down(struct gate *gate)
{
	first(gate)->certificate_chain = desk_certificates(
	        &gate->desk, "x.pem", (const struct paper *[]){&gate->root, &gate->gateway}, 2);
}

static void chain_with_a_stranger(struct gate *gate)
{
	first(gate)->certificate_chain = desk_certificates(&gate->desk, "x.pem",
	        (const struct paper *[]){&gate->gateway, &gate->root, &gate->client}, 3);
}

static void no_bundle(struct gate *gate)
{
	gate->desk.tls.trusted_ca = desk_text(&gate->desk, "absent.pem");
}

static void empty_bundle(struct gate *gate)
{
	gate->desk.tls.trusted_ca = desk_write(&gate->desk, "x.pem", STR(""));
}

static void der_bundle(struct gate *gate)
{
	gate->desk.tls.trusted_ca = der(gate, "x.der");
}

static void leaf_in_bundle(struct gate *gate)
{
	trust(gate, issue(gate, (struct draft){.cn = "a leaf"}));
}

static void self_signed_leaf_in_bundle(struct gate *gate)
{
	trust(gate, forge(&(struct draft){.cn = "alone"}, NULL));
}

static void key_as_bundle(struct gate *gate)
{
	gate->desk.tls.trusted_ca = first(gate)->private_key;
}

static void no_list(struct gate *gate)
{
	gate->desk.tls.crl = desk_text(&gate->desk, "absent.crl");
}

static void certificate_as_list(struct gate *gate)
{
	gate->desk.tls.crl = gate->desk.tls.trusted_ca;
}

static void der_list(struct gate *gate)
{
	X509_CRL *list = forge_list(&gate->root, NULL, -HOUR, HOUR);
	BIO *bio = BIO_new(BIO_s_mem());
	CHECK(i2d_X509_CRL_bio(bio, list) == 1);
	gate->desk.tls.crl = desk_write_bio(&gate->desk, "x.crl", bio);
	X509_CRL_free(list);
}

static void forged_list(struct gate *gate)
{
	struct paper impostor = forge(&(struct draft){.cn = "root", .ca = true}, NULL);
	X509_CRL *list = forge_list(&impostor, NULL, -HOUR, HOUR);
	desk_revoke(&gate->desk, &list, 1);
	X509_CRL_free(list);
	paper_fini(&impostor);
}

// `file` and `what` both stand in the message.
static const struct {
	const char *name;
	void (*spoil)(struct gate *gate);
	const char *key, *file, *what;
} rows[] = {
        {"no chain file", no_chain_file, CHAIN, "/absent.pem: ",
                "cannot be read: No such file or directory; expected a PEM file with CERTIFICATE "
                "blocks, the gateway's own first"},
        {"a directory", directory_as_chain, CHAIN, "/.: ", "cannot be read: Is a directory"},
        {"an empty chain", empty_chain, CHAIN, "/x.pem: ", "is empty; expected a PEM file"},
        {"garbage", garbage_chain, CHAIN, "/x.pem: ", "has no -----BEGIN line; expected"},
        {"DER", der_chain, CHAIN, "/x.der: ", "looks like DER, not PEM; expected a PEM file"},
        {"the key as chain", key_as_chain, CHAIN, "/gateway0.key: ",
                "holds PRIVATE KEY, but no CERTIFICATE; expected CERTIFICATE blocks"},
        {"damaged base64", damaged_base64, CHAIN, "/x.pem: ", "is damaged"},
        {"damaged DER", damaged_der, CHAIN, "/x.pem: ", "CERTIFICATE 1 does not parse"},
        {"expired", expired, CHAIN, "/gateway0.pem: ",
                "the certificate (CN=old) expired at 2026-11-23T16:29:59Z; expected one in its "
                "dates"},
        {"not yet valid", not_yet_valid, CHAIN, "/gateway0.pem: ",
                "the certificate (CN=new) is not valid before 2026-11-23T16:30:01Z; expected"},
        {"RSA-1024", weak_gateway_key, KEY,
                "/gateway0.key: ", "the RSA key has 1024 bits; expected RSA of 2048 bits or more"},
        {"P-224", odd_gateway_curve, KEY,
                "/gateway0.key: ", "the elliptic curve has 224 bits; expected"},
        {"no key file", no_key_file, KEY, "/absent.key: ",
                "cannot be read: No such file or directory; expected a PEM file with an "
                "unencrypted PRIVATE KEY"},
        {"the certificate as key", certificate_as_key, KEY,
                "/gateway0.pem: ", "holds no private key that can be read"},
        {"a damaged key", damaged_key, KEY, "/x.key: ", "holds no private key that can be read"},
        {"an encrypted key", encrypted_key, KEY, "/x.key: ",
                "is encrypted; expected an "
                "unencrypted PRIVATE KEY"},
        {"an encrypted key of the old kind", encrypted_key_of_the_old_kind, KEY,
                "/x.key: ", "is encrypted; expected"},
        {"another's key", foreign_key, KEY,
                "/x.key: ", "does not belong to the certificate (CN=gateway) in "},
        {"the chain upside down", chain_upside_down, KEY,
                "/gateway0.key: ", "belongs to certificate 2 of "},
        {"a stranger in the chain", chain_with_a_stranger, CHAIN, "/x.pem: ",
                "issued none of those before it; expected the gateway's own, then its issuer"},
        {"no bundle", no_bundle, BUNDLE, "/absent.pem: ",
                "cannot be read: No such file or directory; expected a PEM file with CERTIFICATE "
                "blocks of the CAs to trust"},
        {"an empty bundle", empty_bundle, BUNDLE, "/x.pem: ", "is empty; expected a PEM file"},
        {"a DER bundle", der_bundle, BUNDLE, "/x.der: ", "looks like DER, not PEM"},
        {"a leaf in the bundle", leaf_in_bundle, BUNDLE,
                "/ca.pem: ", "certificate 2 (CN=a leaf) is no CA; expected CA certificates only"},
        {"a self-signed leaf in the bundle", self_signed_leaf_in_bundle, BUNDLE,
                "/ca.pem: ", "certificate 2 (CN=alone) is no CA"},
        {"the key as bundle", key_as_bundle, BUNDLE,
                "/gateway0.key: ", "holds PRIVATE KEY, but no CERTIFICATE"},
        {"no list", no_list, LIST, "/absent.crl: ", "cannot be read: No such file"},
        {"a certificate as list", certificate_as_list, LIST, "/ca.pem: ",
                "holds CERTIFICATE, but no X509 CRL; expected certificate revocation lists"},
        {"a DER list", der_list, LIST, "/x.crl: ", "looks like DER, not PEM"},
        {"a forged list", forged_list, LIST, "/ca.crl: ",
                "list 1 (CN=root) is not signed by the trusted CA of that name; expected"},
};

static void every_fault_has_its_problem(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		void *opened;
		assert_int_equal(gate_open(&opened), 0);
		struct gate *gate = opened;
		struct config_problems *problems = &gate->desk.problems;
		rows[i].spoil(gate);
		assert_null(tls_context_new(&gate->desk.tls, STR("listeners[0].tls"), problems));
		print_message("    %s\n", rows[i].name);
		assert_int_equal(problems->count, 1);
		const struct config_problem *problem = &problems->items[0];
		print_message("        %s\n", problem->what.at);
		assert_string_equal(problem->key.at, rows[i].key);
		assert_non_null(strstr(problem->what.at, rows[i].file));
		assert_non_null(strstr(problem->what.at, rows[i].what));
		assert_true(problem->mark.line >= 10 && problem->mark.column == 7);
		assert_int_equal(ERR_peek_error(), 0);
		gate_close(&opened);
	}
}

static void all_faults_are_found_in_one_run(void **state)
{
	struct gate *gate = *state;
	struct paper old = issue(gate, (struct draft){.cn = "old", .to_s = -1});
	desk_serve(&gate->desk, &old);
	paper_fini(&old);
	foreign_key(gate);
	no_bundle(gate);
	no_list(gate);
	assert_null(
	        tls_context_new(&gate->desk.tls, STR("listeners[0].tls"), &gate->desk.problems));
	assert_int_equal(gate->desk.problems.count, 4);
}

// For `check` on a file with mistakes: what could not be read is empty, and already complained of.
static void what_the_config_could_not_read_is_passed_over(void **state)
{
	struct gate *gate = *state;
	struct config_tls empty = {0};
	assert_null(tls_context_new(&empty, STR("listeners[0].tls"), &gate->desk.problems));
	assert_int_equal(gate->desk.problems.count, 0);
	first(gate)->private_key = (struct config_text){0};
	expired(gate);
	first(gate)->private_key = (struct config_text){0};
	assert_null(
	        tls_context_new(&gate->desk.tls, STR("listeners[0].tls"), &gate->desk.problems));
	assert_int_equal(gate->desk.problems.count, 1);
}

static void lawful_files_are_taken(void **state)
{
	struct gate *gate = *state;
	// The key in its old form behind its parameters, text around the blocks, the key in the
	// chain file, a bundle with the same CA twice, a list of an issuer nobody named.
	BIO *bio = BIO_new(BIO_s_mem());
	BIO_puts(bio, "Bag Attributes\n");
	PEM_write_bio_X509(bio, gate->gateway.x509);
	PEM_write_bio_PrivateKey_traditional(bio, gate->gateway.key, NULL, NULL, 0, NULL, NULL);
	first(gate)->certificate_chain = desk_write_bio(&gate->desk, "both.pem", bio);
	first(gate)->private_key = first(gate)->certificate_chain;
	desk_trust(&gate->desk, (const struct paper *[]){&gate->root, &gate->root}, 2);
	struct paper other = forge(&(struct draft){.cn = "other", .ca = true}, NULL);
	X509_CRL *list = forge_list(&other, NULL, -HOUR, HOUR);
	desk_revoke(&gate->desk, &list, 1);
	X509_CRL_free(list);
	paper_fini(&other);
	gate_renew(gate);
}

static void count_role(const char *role, const struct tls_certificate_facts *facts, void *counts)
{
	((int *)counts)[strcmp(role, "certificate") != 0]++;
	assert_true(facts->subject.len && facts->not_after_s == NOW_S + DAY);
}

static void a_context_lists_what_it_serves_and_trusts(void **state)
{
	struct gate *gate = *state;
	int counts[2] = {0};
	trust(gate, forge(&(struct draft){.cn = "other", .ca = true}, NULL));
	gate_renew(gate);
	tls_context_each(gate->context, count_role, counts);
	assert_int_equal(counts[0], 1);
	assert_int_equal(counts[1], 2);
}

#define test(name) cmocka_unit_test_setup_teardown(name, gate_open, gate_close)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_fault_has_its_problem),
	        test(all_faults_are_found_in_one_run),
	        test(what_the_config_could_not_read_is_passed_over),
	        test(lawful_files_are_taken),
	        test(a_context_lists_what_it_serves_and_trusts),
	};
	return cmocka_run_group_tests_name("material", tests, NULL, NULL);
}
