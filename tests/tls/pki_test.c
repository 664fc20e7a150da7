// `tollgate pki DIR`: what it writes works with the gateway as its names promise, and it never
// writes over what is not its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/stat.h>

#include "tests/tls/desk.h"
#include "tests/tls/duel.h"
#include "tls/pki.h"

static struct desk desk;

static int set_up(void **state)
{
	(void)state;
	clock_fake(0, NOW_S * NS_PER_S);
	desk_init(&desk);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	desk_fini(&desk);
	return 0;
}

// Runs pki with its talk aside.
static int run(const char *directory)
{
	fflush(stdout);
	int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	int status = pki_write(directory);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(null);
	close(err);
	close(out);
	return status;
}

static FILE *open_paper(const char *name, const char *suffix)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s.%s", desk.directory, name, suffix);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	return file;
}

static struct paper read_paper(const char *name)
{
	FILE *certificate = open_paper(name, "pem"), *key = open_paper(name, "key");
	struct paper paper = {PEM_read_X509(certificate, NULL, NULL, NULL),
	        PEM_read_PrivateKey(key, NULL, NULL, NULL)};
	fclose(certificate);
	fclose(key);
	assert_true(paper.x509 && paper.key);
	return paper;
}

static struct tls_context *gateway_of_pki(void)
{
	desk.certificates[0].certificate_chain = desk_text(&desk, "gateway.pem");
	desk.certificates[0].private_key = desk_text(&desk, "gateway.key");
	desk.tls.certificate_count = 1;
	desk.tls.trusted_ca = desk_text(&desk, "ca.pem");
	desk.tls.crl = desk_text(&desk, "ca.crl");
	return desk_context(&desk);
}

static void its_clients_are_what_they_are_called(void **state)
{
	static const struct {
		const char *name;
		enum reason reason;
		const char *uri;
	} rows[] = {
	        {"web", REASON_NONE, "spiffe://cluster.local/ns/web/sa/web"},
	        {"cart", REASON_NONE, "spiffe://cluster.local/ns/shop/sa/cart"},
	        {"other", REASON_NONE, "spiffe://other.example/ns/x/sa/y"},
	        {"expired", REASON_certificate_expired, "spiffe://cluster.local/ns/web/sa/web"},
	        {"revoked", REASON_certificate_revoked, "spiffe://cluster.local/ns/web/sa/web"},
	        {"untrusted", REASON_certificate_untrusted, "spiffe://cluster.local/ns/web/sa/web"},
	};
	(void)state;
	assert_int_equal(run(desk.directory), 0);
	struct tls_context *context = gateway_of_pki();
	assert_non_null(context);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct duel duel;
		struct paper paper = read_paper(rows[i].name);
		duel_init(&duel, context, NULL, NULL, &(struct duel_client){.paper = &paper});
		duel_pump(&duel);
		const struct tls_peer *peer = tls_session_peer(duel.session);
		assert_int_equal(peer->reason, rows[i].reason);
		assert_string_equal(peer->uri.at, rows[i].uri);
		assert_string_equal(tls_session_gateway_uri(duel.session).at,
		        "spiffe://cluster.local/ns/edge/sa/tollgate");
		duel_fini(&duel);
		paper_fini(&paper);
	}
	tls_context_unref(context);
}

static void the_gateways_certificate_is_for_localhost(void **state)
{
	(void)state;
	assert_int_equal(run(desk.directory), 0);
	struct paper gateway = read_paper("gateway"), root = read_paper("ca");
	assert_int_equal(X509_check_host(gateway.x509, "localhost", 0, 0, NULL), 1);
	assert_int_equal(X509_check_ip_asc(gateway.x509, "127.0.0.1", 0), 1);
	assert_int_equal(X509_check_ip_asc(gateway.x509, "::1", 0), 1);
	assert_int_equal(X509_check_purpose(gateway.x509, X509_PURPOSE_SSL_SERVER, 0), 1);
	assert_int_equal(X509_verify(gateway.x509, root.key), 1);
	paper_fini(&root);
	paper_fini(&gateway);
}

static void keys_are_for_their_owner_alone(void **state)
{
	(void)state;
	static const char *const names[] = {
	        "ca", "gateway", "web", "cart", "other", "expired", "revoked", "untrusted"};
	struct stat about;
	desk_write(&desk, "web.key", STR(""));  // an interrupted run's, open to all
	char path[128];
	snprintf(path, sizeof(path), "%s/web.key", desk.directory);
	assert_int_equal(chmod(path, 0666), 0);
	assert_int_equal(run(desk.directory), 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s.key", desk.directory, names[i]);
		assert_int_equal(stat(path, &about), 0);
		assert_int_equal(about.st_mode & 0777, 0600);
	}
}

static void it_writes_over_its_own_and_nobody_elses(void **state)
{
	(void)state;
	assert_int_equal(run(desk.directory), 0);
	struct paper before = read_paper("ca");
	assert_int_equal(run(desk.directory), 0);
	struct paper after = read_paper("ca");
	assert_int_not_equal(EVP_PKEY_eq(before.key, after.key), 1);
	desk_write(&desk, "cart.key", STR("mine"));
	assert_int_equal(run(desk.directory), 1);
	struct paper untouched = read_paper("ca");
	assert_int_equal(EVP_PKEY_eq(untouched.key, after.key), 1);
	paper_fini(&untouched);
	paper_fini(&after);
	paper_fini(&before);
}

static void a_link_is_not_followed(void **state)
{
	(void)state;
	char path[128], target[128];
	snprintf(path, sizeof(path), "%s/web.pem", desk.directory);
	snprintf(target, sizeof(target), "%s/elsewhere", desk.directory);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(run(desk.directory), 1);
	assert_int_equal(access(target, F_OK), -1);
}

static void a_directory_that_cannot_be_is_said(void **state)
{
	(void)state;
	char path[128];
	snprintf(path, sizeof(path), "%s/no/such/parent", desk.directory);
	assert_int_equal(run(path), 1);
	snprintf(path, sizeof(path), "%s/file", desk.directory);
	desk_write(&desk, "file", STR("x"));
	assert_int_equal(run(path), 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        test(its_clients_are_what_they_are_called),
	        test(the_gateways_certificate_is_for_localhost),
	        test(keys_are_for_their_owner_alone),
	        test(it_writes_over_its_own_and_nobody_elses),
	        test(a_link_is_not_followed),
	        test(a_directory_that_cannot_be_is_said),
	};
	return cmocka_run_group_tests_name("pki", tests, NULL, NULL);
}
