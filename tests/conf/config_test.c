#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "conf/value.h"
#include "tests/conf/loading.h"

static const int64_t SECOND = 1000000000;

// conf/examples/edge.yaml is the example of the contract, letter by letter.
static struct config *edge(void)
{
	return assert_loads("conf/examples/edge.yaml");
}

static void assert_beside_the_file(struct str found, const char *name)
{
	char expected[PATH_MAX + 64], directory[PATH_MAX];
	assert_non_null(realpath("conf/examples", directory));
	snprintf(expected, sizeof(expected), "%s/%s", directory, name);
	assert_text(found, expected);
}

static void the_top_of_the_contracts_example_is_understood(void **state)
{
	(void)state;
	struct config *config = edge();
	assert_text(config->file, "conf/examples/edge.yaml");
	assert_true(config->workers >= 1);
	assert_int_equal(config->drain_timeout_ns, 30 * SECOND);
	assert_int_equal(config->admin.kind, ADDRESS_INET);
	assert_text(config->admin.text, "127.0.0.1:9901");
	assert_int_equal(config->audit.kind, OUTPUT_FILE);
	assert_beside_the_file(config->audit.path, "audit.jsonl");
	assert_int_equal(config->audit_fold_after, 1000);
	assert_int_equal(config->audit_on_failure, AUDIT_CONTINUE);
	assert_beside_the_file(config->access_log.path, "access.jsonl");
	assert_text(config->redis.address.text, "127.0.0.1:6379");
	assert_int_equal(config->redis.timeout_ns, SECOND / 50);
	assert_int_equal(config->listener_count, 1);
	assert_int_equal(config->backend_count, 2);
	config_free(config);
}

static void the_listener_of_the_contracts_example_is_understood(void **state)
{
	(void)state;
	struct config *config = edge();
	const struct config_listener *listener = &config->listeners[0];
	const struct sockaddr_in *address = (const struct sockaddr_in *)&listener->address.socket;
	assert_text(listener->name.text, "edge");
	assert_int_equal(ntohs(address->sin_port), 8443);
	assert_int_equal(address->sin_addr.s_addr, 0);
	assert_int_equal(listener->tls.certificate_count, 1);
	const struct config_certificate *certificate = &listener->tls.certificates[0];
	assert_beside_the_file(certificate->certificate_chain.text, "gateway.pem");
	assert_beside_the_file(certificate->private_key.text, "gateway.key");
	assert_int_equal(listener->tls.min_version, TLS_1_2);
	assert_true(listener->tls.require_client_certificate);
	assert_int_equal(listener->tls.on_unauthenticated, UNAUTHENTICATED_FORBID);
	assert_beside_the_file(listener->tls.trusted_ca.text, "ca.pem");
	assert_beside_the_file(listener->tls.crl.text, "ca.crl");
	assert_int_equal(listener->tls.match_subject_alt_names.count, 1);
	assert_text(
	        listener->tls.match_subject_alt_names.items[0].text, "spiffe://cluster.local/*");
	config_free(config);
}

static void the_ceilings_of_the_contracts_example_are_understood(void **state)
{
	(void)state;
	struct config *config = edge();
	const struct config_timeouts *timeouts = &config->listeners[0].timeouts;
	const struct config_limits *limits = &config->listeners[0].limits;
	assert_int_equal(timeouts->handshake_ns, 5 * SECOND);
	assert_int_equal(timeouts->request_headers_ns, 10 * SECOND);
	assert_int_equal(timeouts->request_ns, 0);
	assert_int_equal(timeouts->stream_idle_ns, 30 * SECOND);
	assert_int_equal(timeouts->idle_ns, 60 * SECOND);
	assert_int_equal(limits->connections, 10000);
	assert_int_equal(limits->concurrent_streams, 100);
	assert_int_equal(limits->header_bytes, 60 << 10);
	assert_int_equal(limits->header_fields, 100);
	assert_int_equal(limits->body_bytes, 0);
	config_free(config);
}

static void the_routes_of_the_contracts_example_are_understood(void **state)
{
	(void)state;
	struct config *config = edge();
	const struct config_route *routes = config->listeners[0].routes;
	assert_int_equal(config->listeners[0].route_count, 4);
	assert_int_equal(routes[0].kind, MATCH_GRPC);
	assert_text(routes[0].pattern.text, "user.UserService/Login");
	assert_int_equal(routes[0].backend, 0);
	assert_int_equal(routes[0].allow.count, 0);
	assert_int_equal(routes[1].timeout_ns, 2 * SECOND);
	assert_text(routes[1].allow.items[0].text, "spiffe://cluster.local/ns/web/*");
	assert_int_equal(routes[2].kind, MATCH_PATH);
	assert_int_equal(routes[2].methods.count, 2);
	assert_text(routes[2].methods.items[1].text, "POST");
	assert_text(routes[2].hosts.items[0].text, "api.example.com");
	assert_int_equal(routes[2].backend, 1);
	assert_int_equal(routes[3].backend, -1);
	assert_int_equal(routes[3].respond_status, 200);
	assert_text(routes[3].respond_body, "ok\n");
	config_free(config);
}

static void the_limits_of_the_contracts_example_are_understood(void **state)
{
	(void)state;
	struct config *config = edge();
	const struct config_route *routes = config->listeners[0].routes;
	const struct config_rate_limit *login = &routes[0].rate_limits[0];
	assert_int_equal(login->rate.count, 5);
	assert_int_equal(login->rate.period_ns, SECOND);
	assert_int_equal(login->burst, 10);
	assert_int_equal(login->split.per_count, 1);
	assert_int_equal(login->split.per[0].kind, PER_IDENTITY);
	assert_int_equal(login->split.max_keys, 10000);
	assert_int_equal(login->store, STORE_LOCAL);
	assert_int_equal(routes[1].rate_limits[0].split.per[0].kind, PER_METHOD);
	assert_int_equal(routes[2].rate_limits[0].split.per_count, 0);
	config_free(config);
}

static void the_backends_of_the_contracts_example_are_understood(void **state)
{
	(void)state;
	struct config *config = edge();
	assert_text(config->backends[0].name.text, "users");
	assert_int_equal(config->backends[0].protocol, PROTOCOL_H2);
	assert_int_equal(config->backends[0].connect_timeout_ns, SECOND);
	assert_int_equal(config->backends[1].protocol, PROTOCOL_HTTP1);
	assert_int_equal(config->backends[1].endpoint_count, 2);
	assert_text(config->backends[1].endpoints[1].text, "127.0.0.1:8081");
	config_free(config);
}

static void what_is_not_given_is_off_or_at_its_default(void **state)
{
	(void)state;
	struct config *config = assert_loads("conf/examples/minimal.yaml");
	assert_int_equal(config->admin.kind, ADDRESS_NONE);
	assert_int_equal(config->admin_tls.tls.certificate_count, 0);
	assert_int_equal(config->audit.kind, OUTPUT_STDERR);
	assert_int_equal(config->access_log.kind, OUTPUT_OFF);
	assert_int_equal(config->redis.address.kind, ADDRESS_NONE);
	assert_int_equal(config->listeners[0].timeouts.request_headers_ns, 10 * SECOND);
	assert_int_equal(config->listeners[0].limits.header_fields, 100);
	assert_int_equal(config->listeners[0].tls.crl.text.len, 0);
	assert_true(config->listeners[0].tls.require_client_certificate);
	assert_int_equal(config->backends[0].connect_timeout_ns, SECOND);
	config_free(config);
}

static void places_are_kept_for_later_stages(void **state)
{
	(void)state;
	struct config *config = assert_loads("conf/examples/minimal.yaml");
	const struct config_listener *listener = &config->listeners[0];
	assert_int_equal(listener->tls.trusted_ca.mark.line, 12);
	assert_int_equal(listener->tls.trusted_ca.mark.column, 21);
	assert_int_equal(listener->routes[0].pattern.mark.line, 15);
	assert_int_equal(listener->routes[0].pattern.mark.column, 23);
	assert_int_equal(listener->tls.crl.mark.line, 0);
	config_free(config);
}

static void every_form_of_per_is_understood(void **state)
{
	(void)state;
	struct config *config = assert_loads("conf/examples/http.yaml");
	const struct config_rate_limit *limit = &config->listeners[0].routes[2].rate_limits[0];
	assert_int_equal(limit->split.per[0].kind, PER_HEADER);
	assert_text(limit->split.per[0].header, "x-tenant");
	assert_int_equal(limit->rate.period_ns, 60 * SECOND);
	assert_int_equal(limit->split.max_keys, 50000);
	assert_true(config->listeners[0].routes[1].upgrade_websocket);
	assert_false(config->listeners[0].routes[2].upgrade_websocket);
	assert_int_equal(config->backends[1].endpoints[0].kind, ADDRESS_UNIX);
	assert_int_equal(config->backends[0].protocol, PROTOCOL_HTTP1);
	config_free(config);
}

static void the_embedded_default_is_the_file_and_parses(void **state)
{
	(void)state;
	char text[8192];
	FILE *file = fopen("conf/default.yaml", "r");
	assert_non_null(file);
	size_t len = fread(text, 1, sizeof(text), file);
	fclose(file);
	assert_int_equal(strlen(config_default_text), len);
	assert_memory_equal(config_default_text, text, len);
	struct config *config = assert_parses(str_from(config_default_text), "/srv");
	assert_text(config->listeners[0].tls.trusted_ca.text, "/srv/pki/ca.pem");
	assert_text(config->admin.text, "127.0.0.1:9901");
	for (size_t i = 0; i < config->listeners[0].route_count; i++)
		assert_int_equal(config->listeners[0].routes[i].backend, -1);
	config_free(config);
}

static void assert_unreadable(const char *path, const char *what)
{
	struct config_problems problems = {0};
	assert_null(config_load(path, &problems));
	assert_int_equal(problems.count, 1);
	assert_int_equal(problems.items[0].mark.line, 0);
	assert_text(problems.file, path);
	assert_non_null(strstr(problems.items[0].what.at, what));
	config_problems_fini(&problems);
}

static void a_file_that_cannot_be_read_is_a_problem_of_the_file(void **state)
{
	(void)state;
	assert_unreadable("conf/examples/none.yaml", "No such file");
	assert_unreadable("conf/examples", "is a directory");
	assert_unreadable("conf/default.yaml/below", "Not a directory");
	assert_unreadable("", "No such file");
}

static void a_file_in_the_working_directory_and_at_the_root_finds_its_neighbours(void **state)
{
	(void)state;
	static const struct {
		const char *directory, *expected;
	} table[] = {{"/", "/pki/ca.pem"}, {"/usr/../usr/bin", "/usr/bin/pki/ca.pem"},
	        {"/no/such/place", "/no/such/place/pki/ca.pem"}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct config *config = assert_parses(
		        str_from(config_default_text), table[i].directory);
		assert_text(config->listeners[0].tls.trusted_ca.text, table[i].expected);
		config_free(config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_top_of_the_contracts_example_is_understood),
	        cmocka_unit_test(the_listener_of_the_contracts_example_is_understood),
	        cmocka_unit_test(the_ceilings_of_the_contracts_example_are_understood),
	        cmocka_unit_test(the_routes_of_the_contracts_example_are_understood),
	        cmocka_unit_test(the_limits_of_the_contracts_example_are_understood),
	        cmocka_unit_test(the_backends_of_the_contracts_example_are_understood),
	        cmocka_unit_test(what_is_not_given_is_off_or_at_its_default),
	        cmocka_unit_test(places_are_kept_for_later_stages),
	        cmocka_unit_test(every_form_of_per_is_understood),
	        cmocka_unit_test(the_embedded_default_is_the_file_and_parses),
	        cmocka_unit_test(a_file_that_cannot_be_read_is_a_problem_of_the_file),
	        cmocka_unit_test(
	                a_file_in_the_working_directory_and_at_the_root_finds_its_neighbours),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
