#include "tests/conf/resolved.h"

// Services: SRV records name the servers, their ports and their weights.

static struct config *resolve(struct dns_server *server, const char *services, const char *backend)
{
	char dns[64];
	snprintf(dns, sizeof(dns), "dns: {servers: [\"127.0.0.1:%u\"]}", server->port);
	pthread_mutex_lock(&server->lock);
	snprintf(server->services, sizeof(server->services), "%s", services);
	pthread_mutex_unlock(&server->lock);
	return parse(dns, backend);
}

static void servers_have_the_ports_and_weights_of_their_records(void **state)
{
	struct dns_server *server = *state;
	static const struct {
		const char *services, *addresses, *expected;
	} table[] = {
	        {"0 3 80 a.test,0 1 81 b.test", "10.0.0.1", "10.0.0.1:80*3 10.0.0.1:81*1"},
	        {"0 0 80 a.test,0 7 81 b.test", "10.0.0.1", "10.0.0.1:80*1 10.0.0.1:81*7"},
	        {"5 1 80 a.test,4 1 81 b.test,4 2 82 c.test", "10.0.0.1",
	                "10.0.0.1:81*1 10.0.0.1:82*2"},
	        {"0 65535 80 a.test,0 32768 81 b.test,0 1 82 c.test", "10.0.0.1",
	                "10.0.0.1:80*1000 10.0.0.1:81*500 10.0.0.1:82*1"},
	        {"0 2 80 a.test", "10.0.0.2 10.0.0.1", "10.0.0.1:80*2 10.0.0.2:80*2"},
	        {"0 2 80 a.test", "fd00::2", "fd00::2:80*2"},
	        {"0 2 80 a.test,0 9 80 a.test", "10.0.0.1", "10.0.0.1:80*9"},
	        {"0 1 0 a.test,0 1 80 .,0 1 81 b.test", "10.0.0.1", "10.0.0.1:81*1"},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		dns_says(server, DNS_GOOD, 5, table[i].addresses);
		struct config *config = resolve(
		        server, table[i].services, "endpoints: [\"_http._tcp.users.test\"]");
		config_problems_print(&problems, 2);
		assert_non_null(config);
		assert_endpoints(config, table[i].expected);
		assert_text(config->backends[0].endpoints[0].text, "_http._tcp.users.test");
		assert_true(dump_holds(config, "_http._tcp.users.test"));
		config_free(config);
	}
}

static void weights_of_the_file_multiply_those_of_records(void **state)
{
	struct dns_server *server = *state;
	dns_says(server, DNS_GOOD, 5, "10.0.0.1");
	struct config *config = resolve(server, "0 3 80 a.test,0 1 81 b.test",
	        "weights: [10, 7], endpoints: [\"_http._tcp.users.test\", \"10.0.0.9:82\"]");
	assert_non_null(config);
	assert_endpoints(config, "10.0.0.1:80*30 10.0.0.1:81*10 10.0.0.9:82*7");
	config_free(config);
}

static void what_is_no_service_or_has_no_server_is_a_problem(void **state)
{
	struct dns_server *server = *state;
	static const struct {
		const char *services, *endpoint, *what;
	} table[] = {
	        {"0 1 80 .", "_http._tcp.users.test", "the name has no address"},
	        {"", "_http._tcp.users.test", "the name has no address"},
	        {"0 1 80 a.test", "_http.users.test", "which has no port"},
	        {"0 1 80 a.test", "http._tcp.users.test", "which has no port"},
	        {"0 1 80 a.test", "_http._tcp", "which has no port"},
	        {"0 1 80 a.test", "_http._tcp.", "which has no port"},
	        {"0 1 80 a.test", "_http._tcp.users test", "which has no port"},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		char backend[128];
		dns_says(server, DNS_GOOD, 5, "10.0.0.1");
		snprintf(backend, sizeof(backend), "endpoints: [\"%s\"]", table[i].endpoint);
		assert_null(resolve(server, table[i].services, backend));
		assert_one_problem(&problems, i, "backends[0].endpoints[0]", table[i].what);
	}
}

static void over_tls_a_service_needs_to_say_whom_certificates_are_for(void **state)
{
	struct dns_server *server = *state;
	dns_says(server, DNS_GOOD, 5, "10.0.0.1");
	assert_null(resolve(server, "0 1 80 a.test",
	        "tls: {trusted_ca: ca.pem}, endpoints: [\"_http._tcp.users.test\"]"));
	assert_one_problem(&problems, 0, "backends[0].tls.server_name",
	        "has no host that its certificate could be for");
	struct config *config = resolve(server, "0 1 80 a.test",
	        "tls: {trusted_ca: ca.pem, server_name: users.test}, "
	        "endpoints: [\"_http._tcp.users.test\"]");
	assert_non_null(config);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(servers_have_the_ports_and_weights_of_their_records),
	        cmocka_unit_test(weights_of_the_file_multiply_those_of_records),
	        cmocka_unit_test(what_is_no_service_or_has_no_server_is_a_problem),
	        cmocka_unit_test(over_tls_a_service_needs_to_say_whom_certificates_are_for),
	};
	return cmocka_run_group_tests(tests, open_server, close_server);
}
