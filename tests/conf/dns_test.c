#include "conf/endpoints.h"
#include "tests/conf/resolved.h"

// Names of backends that are asked of servers the file names, and other addresses for them.

static void names_are_asked_of_the_servers_of_the_file(void **state)
{
	struct dns_server *server = *state;
	char dns[64];
	static const struct {
		const char *says, *expected;
	} table[] = {{"10.0.0.2 10.0.0.1 10.0.0.2", "10.0.0.1:80*1 10.0.0.2:80*1"},
	        {"fd00::2 10.0.0.9 fd00::1", "10.0.0.9:80*1"},
	        {"fd00::2 fd00::1", "fd00::1:80*1 fd00::2:80*1"},
	        {"0.0.0.0 10.0.0.1", "10.0.0.1:80*1"}};
	snprintf(dns, sizeof(dns), "dns: {servers: [\"127.0.0.1:%u\"]}", server->port);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		dns_says(server, DNS_GOOD, 5, table[i].says);
		struct config *config = parse(dns, "endpoints: [\"users.test:80\"]");
		config_problems_print(&problems, 2);
		assert_non_null(config);
		assert_endpoints(config, table[i].expected);
		assert_text(config->backends[0].endpoints[0].text, "users.test:80");
		config_free(config);
	}
	config_problems_fini(&problems);
}

static void a_name_that_the_servers_do_not_know_is_a_problem(void **state)
{
	struct dns_server *server = *state;
	static const struct {
		enum dns_rcode rcode;
		const char *says, *why;
	} table[] = {{DNS_NXDOMAIN, "", "cannot be resolved (there is no such name)"},
	        {DNS_SERVFAIL, "", "no server can be reached that has an answer"},
	        {DNS_GOOD, "", "the name has no address"},
	        {DNS_GOOD, "0.0.0.0", "cannot be resolved (the name has no address)"},
	        {DNS_SILENT, "", "no answer in time"}};
	char dns[64];
	snprintf(dns, sizeof(dns), "dns: {servers: [\"127.0.0.1:%u\"]}", server->port);
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		dns_says(server, table[i].rcode, 5, table[i].says);
		assert_null(parse(dns, "endpoints: [\"users.test:80\"]"));
		assert_one_problem(&problems, i, "backends[0].endpoints[0]", table[i].why);
	}
}

static void servers_are_addresses_with_and_without_a_port(void **state)
{
	(void)state;
	static const struct {
		const char *server;
		int family;
		uint16_t port;
	} table[] = {{"10.0.0.10", AF_INET, 53}, {"10.0.0.10:5353", AF_INET, 5353},
	        {"::1", AF_INET6, 53}, {"[fd00::a]:54", AF_INET6, 54}};
	struct config *config = parse("dns: {servers: [10.0.0.10, \"10.0.0.10:5353\", \"::1\", "
	                              "\"[fd00::a]:54\"], min_ttl: 1s, max_ttl: 1s}",
	        "endpoints: [\"127.0.0.1:80\"]");
	assert_non_null(config);
	assert_int_equal(config->dns.count, ARRAY_LEN(table));
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		assert_int_equal(config->dns.addresses[i].socket.ss_family, table[i].family);
		assert_int_equal(address_port(&config->dns.addresses[i]), table[i].port);
	}
	assert_dump_reads_back(config);
	config_free(config);
}

static void without_the_block_the_usual_holds(void **state)
{
	(void)state;
	struct config *config = parse("", "endpoints: [\"127.0.0.1:80\"]");
	assert_int_equal(config->dns.count, 0);
	assert_true(config->dns.min_ttl_ns == INT64_C(5000000000));
	assert_true(config->dns.max_ttl_ns == INT64_C(300000000000));
	config_free(config);
}

static void what_makes_no_sense_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *dns, *key, *what;
	} table[] = {
	        {"{servers: [dns.test]}", "dns.servers[0]", "expected the IP address of a server"},
	        {"{servers: [\"dns.test:53\"]}", "dns.servers[0]", "expected the IP address"},
	        {"{servers: [\"unix:/run/dns\"]}", "dns.servers[0]", "expected the IP address"},
	        {"{servers: [\"10.0.0.1:0\"]}", "dns.servers[0]", "expected the IP address"},
	        {"{servers: [\"[::1]\"]}", "dns.servers[0]", "expected the IP address"},
	        {"{servers: []}", "dns.servers", "expected"},
	        {"{servers: [10.0.0.1, 10.0.0.1]}", "dns.servers[1]", "stands twice"},
	        {"{min_ttl: 10s, max_ttl: 9s}", "dns.max_ttl", "min_ttl is above max_ttl"},
	        {"{min_ttl: 10m}", "dns.min_ttl", "min_ttl is above max_ttl"},
	        {"{min_ttl: 0s}", "dns.min_ttl", "from 100ms to 1h"},
	        {"{ttl: 1s}", "dns.ttl", "is no key here"},
	        {"10.0.0.1", "dns", "expected a mapping"},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		char dns[128];
		snprintf(dns, sizeof(dns), "dns: %s", table[i].dns);
		assert_null(parse(dns, "endpoints: [\"127.0.0.1:80\"]"));
		assert_one_problem(&problems, i, table[i].key, table[i].what);
	}
}

struct found {
	const char *host;
	struct config_address addresses[5000];
	size_t count;
	bool refused;
};

static bool find(
        const struct config_address *present, struct endpoints_of_name *found, void *argument)
{
	struct found *known = argument;
	if (!str_eq(address_host(present), str_from(known->host)))
		return false;
	*found = (struct endpoints_of_name){known->addresses, known->count, &known->refused};
	return true;
}

static void find_many(struct found *known, const char *host, size_t count)
{
	known->host = host;
	known->count = count;
	for (size_t i = 0; i < count; i++) {
		struct sockaddr_in *four = (struct sockaddr_in *)&known->addresses[i].socket;
		known->addresses[i].kind = ADDRESS_INET;
		known->addresses[i].socket_len = sizeof(*four);
		four->sin_family = AF_INET;
		four->sin_addr.s_addr = htonl(0x0a010001u + (uint32_t)i);
	}
}

static struct config *load_mixed(struct dns_server *server)
{
	char dns[64];
	snprintf(dns, sizeof(dns), "dns: {servers: [\"127.0.0.1:%u\"]}", server->port);
	dns_says(server, DNS_GOOD, 5, "10.0.0.1 10.0.0.2");
	struct config *config = parse(dns, "weights: [1, 2, 3, 4], endpoints: [\"127.0.0.1:79\", "
	                                   "\"a.test:80\", \"a.test:81\", \"b.test:82\"]");
	config_problems_print(&problems, 2);
	assert_non_null(config);
	assert_endpoints(config, "127.0.0.1:79*1 10.0.0.1:80*2 10.0.0.2:80*2 10.0.0.1:81*3 "
	                         "10.0.0.2:81*3 10.0.0.1:82*4 10.0.0.2:82*4");
	return config;
}

// All else it shares with the one before, which it holds.
static void a_name_gets_other_addresses_wherever_it_stands(void **state)
{
	static struct found known;
	struct config *first = load_mixed(*state), *second, *third;
	find_many(&known, "a.test", 1);
	second = endpoints_readdress(first, find, &known);
	config_free(first);
	assert_false(known.refused);
	assert_endpoints(second, "127.0.0.1:79*1 10.1.0.1:80*2 10.1.0.1:81*3 10.0.0.1:82*4 "
	                         "10.0.0.2:82*4");
	find_many(&known, "b.test", 3);
	third = endpoints_readdress(second, find, &known);
	config_free(second);
	assert_endpoints(third, "127.0.0.1:79*1 10.1.0.1:80*2 10.1.0.1:81*3 10.1.0.1:82*4 "
	                        "10.1.0.2:82*4 10.1.0.3:82*4");
	assert_text(third->backends[0].endpoints[2].text, "a.test:81");
	assert_int_equal(third->backends[0].endpoints[2].mark.line,
	        third->backends[0].names[2].address.mark.line);
	assert_dump_reads_back(third);
	config_free(third);
}

static void a_name_without_a_place_for_its_addresses_keeps_those_it_has(void **state)
{
	static struct found known;
	struct config *first = load_mixed(*state), *second;
	find_many(&known, "a.test", ENDPOINT_ADDRESSES_MAX - 5);  // once, but not twice
	second = endpoints_readdress(first, find, &known);
	assert_true(known.refused);
	assert_int_equal(second->backends[0].endpoint_count, ENDPOINT_ADDRESSES_MAX);
	assert_int_equal(address_port(&second->backends[0].endpoints[1]), 80);
	assert_int_equal(
	        address_port(&second->backends[0].endpoints[ENDPOINT_ADDRESSES_MAX - 3]), 81);
	config_free(second);
	find_many(&known, "a.test", ENDPOINT_ADDRESSES_MAX);
	second = endpoints_readdress(first, find, &known);
	assert_endpoints(second, "127.0.0.1:79*1 10.0.0.1:80*2 10.0.0.2:80*2 10.0.0.1:81*3 "
	                         "10.0.0.2:81*3 10.0.0.1:82*4 10.0.0.2:82*4");
	config_free(second);
	config_free(first);
}

static struct config *reload(const struct config *present, const char *dns, const char *backend)
{
	struct buffer text = {0};
	char path[] = "/tmp/tollgate-dns-XXXXXX";
	int file = mkstemp(path);
	buffer_printf(&text, "version: tollgate/v1\n%s\n" REST "backends: [{name: b, %s}]\n", dns,
	        backend);
	assert_int_equal(
	        write(file, buffer_data(&text), buffer_len(&text)), (ssize_t)buffer_len(&text));
	close(file);
	struct config *config = config_reload(path, present, &problems);
	unlink(path);
	buffer_fini(&text);
	return config;
}

static void what_is_known_of_a_name_is_not_asked_for_again(void **state)
{
	struct dns_server *server = *state;
	static const struct {
		const char *more_servers, *ttl, *backend, *expected;
		bool asked;
	} table[] = {
	        {"", "1s",
	                "weights: [2, 3, 4, 5], endpoints: [\"127.0.0.1:79\", \"a.test:80\", "
	                "\"a.test:81\", \"b.test:82\"]",
	                "127.0.0.1:79*2 10.0.0.1:80*3 10.0.0.2:80*3 10.0.0.1:81*4 10.0.0.2:81*4 "
	                "10.0.0.1:82*5 10.0.0.2:82*5",
	                false},
	        {"", "2s", "endpoints: [\"b.test:82\", \"127.0.0.2:1\", \"a.test:80\"]",
	                "10.0.0.1:82*1 10.0.0.2:82*1 127.0.0.2:1*1 10.0.0.1:80*1 10.0.0.2:80*1",
	                false},
	        {"", "2s", "endpoints: [\"b.test:80\"]", "10.0.0.9:80*1", true},
	        {"", "2s", "endpoints: [\"a.test:80\", \"c.test:80\"]",
	                "10.0.0.1:80*1 10.0.0.2:80*1 10.0.0.9:80*1", true},
	        {", \"127.0.0.1:1\"", "1s", "endpoints: [\"a.test:80\"]", "10.0.0.9:80*1", true},
	};
	struct config *present = load_mixed(server);
	dns_says(server, DNS_GOOD, 5, "10.0.0.9");
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		char dns[96];
		snprintf(dns, sizeof(dns), "dns: {servers: [\"127.0.0.1:%u\"%s], min_ttl: %s}",
		        server->port, table[i].more_servers, table[i].ttl);
		server->asked = 0;
		struct config *next = reload(present, dns, table[i].backend);
		config_problems_print(&problems, 2);
		assert_non_null(next);
		assert_endpoints(next, table[i].expected);
		assert_int_equal(server->asked, table[i].asked);
		assert_true(
		        next->stale_names == (strstr(table[i].expected, "10.0.0.1:") != NULL));
		assert_int_equal(next->backends[0].endpoints[0].mark.line,
		        next->backends[0].names[0].address.mark.line);
		config_free(next);
	}
	config_free(present);
	config_problems_fini(&problems);
}

static void of_a_service_that_is_known_ports_and_weights_are_kept(void **state)
{
	struct dns_server *server = *state;
	char dns[64];
	snprintf(dns, sizeof(dns), "dns: {servers: [\"127.0.0.1:%u\"]}", server->port);
	snprintf(server->services, sizeof(server->services), "0 3 80 a.test,0 1 81 b.test");
	dns_says(server, DNS_GOOD, 5, "10.0.0.1");
	struct config *present = parse(dns, "endpoints: [\"_http._tcp.users.test\"]");
	assert_non_null(present);
	dns_says(server, DNS_SILENT, 5, "");
	struct config *next = reload(present, dns,
	        "endpoints: [{address: \"_http._tcp.users.test\", weight: 10}, {address: "
	        "\"10.0.0.9:82\", weight: 7}]");
	config_problems_print(&problems, 2);
	assert_non_null(next);
	config_free(present);
	assert_endpoints(next, "10.0.0.1:80*30 10.0.0.1:81*10 10.0.0.9:82*7");
	config_free(next);
	dns_says(server, DNS_GOOD, 5, "10.0.0.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(names_are_asked_of_the_servers_of_the_file),
	        cmocka_unit_test(a_name_that_the_servers_do_not_know_is_a_problem),
	        cmocka_unit_test(servers_are_addresses_with_and_without_a_port),
	        cmocka_unit_test(without_the_block_the_usual_holds),
	        cmocka_unit_test(what_makes_no_sense_is_refused),
	        cmocka_unit_test(a_name_gets_other_addresses_wherever_it_stands),
	        cmocka_unit_test(a_name_without_a_place_for_its_addresses_keeps_those_it_has),
	        cmocka_unit_test(what_is_known_of_a_name_is_not_asked_for_again),
	        cmocka_unit_test(of_a_service_that_is_known_ports_and_weights_are_kept),
	};
	return cmocka_run_group_tests(tests, open_server, close_server);
}
