#include <sys/un.h>

#include "conf/address.h"
#include "tests/conf/loading.h"
#include "tests/conf/resolver.h"

static void numeric_addresses_and_unix_paths_are_understood(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int family;
		const char *host;
		uint16_t port;
		const char *kept;
	} table[] = {
	        {"127.0.0.1:8443", AF_INET, "127.0.0.1", 8443, "127.0.0.1:8443"},
	        {"0.0.0.0:1", AF_INET, "0.0.0.0", 1, "0.0.0.0:1"},
	        {"[::]:65535", AF_INET6, "::", 65535, "[::]:65535"},
	        {"[2001:DB8::1]:443", AF_INET6, "2001:db8::1", 443, "[2001:DB8::1]:443"},
	        {"unix:/run/x", AF_UNIX, "/run/x", 0, "unix:/run/x"},
	        {"unix:run/x", AF_UNIX, "/etc/run/x", 0, "unix:/etc/run/x"},
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct arena arena = {0};
		struct config_address address;
		const char *why = "";
		char host[INET6_ADDRSTRLEN];
		assert_true(address_parse(
		        str_from(table[i].text), STR("/etc"), &arena, &address, &why));
		assert_int_equal(address.socket.ss_family, table[i].family);
		assert_text(address.text, table[i].kept);
		const struct sockaddr_in *four = (const struct sockaddr_in *)&address.socket;
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address.socket;
		const struct sockaddr_un *local = (const struct sockaddr_un *)&address.socket;
		if (table[i].family == AF_UNIX) {
			assert_string_equal(local->sun_path, table[i].host);
		} else {
			const void *bytes = table[i].family == AF_INET
			                            ? (const void *)&four->sin_addr
			                            : (const void *)&six->sin6_addr;
			assert_non_null(inet_ntop(table[i].family, bytes, host, sizeof(host)));
			assert_string_equal(host, table[i].host);
			assert_int_equal(ntohs(four->sin_port), table[i].port);
		}
		arena_fini(&arena);
	}
}

static void what_only_this_machine_reaches_is_local(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool local;
	} table[] = {{"127.0.0.1:1", true}, {"127.255.0.9:1", true}, {"[::1]:1", true},
	        {"[::ffff:127.0.0.1]:1", true}, {"unix:/x", true}, {"0.0.0.0:1", false},
	        {"128.0.0.1:1", false}, {"[::]:1", false}, {"[::ffff:10.0.0.1]:1", false},
	        {"[fe80::1]:1", false}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct arena arena = {0};
		struct config_address address;
		const char *why;
		assert_true(
		        address_parse(str_from(table[i].text), STR(""), &arena, &address, &why));
		assert_int_equal(address_is_local(&address), table[i].local);
		arena_fini(&arena);
	}
}

static void the_host_of_an_address_is_what_stands_before_its_port(void **state)
{
	(void)state;
	static const struct {
		const char *text, *host;
	} table[] = {{"127.0.0.1:8443", "127.0.0.1"}, {"0.0.0.0:1", "0.0.0.0"},
	        {"[::1]:443", "::1"}, {"[2001:DB8::1]:443", "2001:DB8::1"},
	        {"[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1"}, {"unix:/run/x", ""},
	        {"unix:run/a:80", ""}, {"both.test:80", "both.test"}, {"six.test:81", "six.test"}};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct arena arena = {0};
		struct config_address *addresses;
		size_t count;
		const char *why;
		assert_true(address_resolve(str_from(table[i].text), STR("/etc"),
		        &(struct config_dns){0}, &arena, &addresses, &count, &why));
		for (size_t a = 0; a < count; a++)
			assert_text(address_host(&addresses[a]), table[i].host);
		arena_fini(&arena);
	}
	const struct config_address dotted = {ADDRESS_INET, .text = STR("Users.internal.:80")};
	assert_text(address_host(&dotted), "Users.internal.");
	const struct config_address none = {0};
	assert_text(address_host(&none), "");
}

#define TEN "0123456789"
#define LABEL_63 TEN TEN TEN TEN TEN TEN "abc"
#define NAME_252 LABEL_63 "." LABEL_63 "." LABEL_63 "." TEN TEN TEN TEN TEN TEN

static void hosts_are_names_and_addresses_without_brackets(void **state)
{
	(void)state;
	static const struct {
		struct str text;
		bool host;
	} table[] = {
#define IS(text) {{text, sizeof(text) - 1}, true}
#define NOT(text)                                                                                  \
	{                                                                                          \
		{text, sizeof(text) - 1}, false                                                    \
	}
	        IS("localhost"), IS("users.internal"), IS("Users.INTERNAL"), IS("users.internal."),
	        IS("a"), IS("a-b.c_d"), IS("_grpc.users.internal"), IS("1.2.3.4.internal"),
	        IS("10a"), IS("xn--bcher-kva.test"), IS(LABEL_63), IS(NAME_252 "a"), IS("10.0.0.1"),
	        IS("0.0.0.0"), IS("255.255.255.255"), IS("::"), IS("::1"), IS("fd00::1"),
	        IS("2001:DB8::1"), IS("::ffff:10.0.0.1"),
	        IS("1111:2222:3333:4444:5555:6666:255.255.255.255"), NOT(""), NOT("."), NOT("-"),
	        NOT("1"), NOT(".internal"), NOT("a..b"), NOT("a b"), NOT("a/b"), NOT(" a"),
	        NOT("a\n"), NOT("*.internal"), NOT("*"), NOT("users.internal:443"), NOT("[::1]"),
	        NOT("10.0.0.1:80"), NOT("https://users.internal"), NOT("127.1"), NOT("010.0.0.1"),
	        NOT("10.0.0.256"), NOT("10.0.0"), NOT("10.0.0.1.2"), NOT("10.0.0.1."),
	        NOT("fe80::1%lo"), NOT(":::"), NOT("1:2:3:4:5:6:7:8:9"), NOT("10.0.0.1\0.evil"),
	        NOT("::1\0"), NOT("users\0.internal"),
	        NOT("b\xc3\xbc"
	            "cher.test"),
	        NOT(LABEL_63 "d"), NOT(NAME_252 "ab"), NOT("user@users.internal")};
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (address_is_host(table[i].text) != table[i].host)
			fail_msg("'%.*s' (%zu bytes)", STR_FMT(table[i].text), table[i].text.len);
	// As much as it says, and no more.
	assert_true(address_is_host(str_of("users.internal:443", 14)));
	assert_true(address_is_host(str_of("10.0.0.1:443", 8)));
}

static const char file[] =
        "version: tollgate/v1\n"
        "listeners:\n"
        "  - name: edge\n"
        "    address: unix:edge.sock\n"
        "    tls:\n"
        "      certificates: [{certificate_chain: a, private_key: b}]\n"
        "      validation_context: {trusted_ca: c, match_subject_alt_names: [spiffe://a/*]}\n"
        "    routes: [{match: {path: /*}, backend: app}]\n"
        "backends:\n"
        "  - {name: app, endpoints: [\"both.test:80\", \"six.test:81\", \"10.0.0.9:82\"]}\n";

static void a_name_stands_with_all_its_ipv4_addresses_or_else_its_ipv6_ones(void **state)
{
	(void)state;
	static const char *const expected[] = {"10.0.0.1", "10.0.0.2", "fd00::6", "10.0.0.9"};
	struct config *config = assert_parses(STR(file), "/etc");
	const struct config_backend *backend = &config->backends[0];
	assert_int_equal(backend->endpoint_count, ARRAY_LEN(expected));
	for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
		char host[INET6_ADDRSTRLEN];
		const struct config_address *address = &backend->endpoints[i];
		assert_int_equal(
		        getnameinfo((const struct sockaddr *)&address->socket, address->socket_len,
		                host, sizeof(host), NULL, 0, NI_NUMERICHOST),
		        0);
		assert_string_equal(host, expected[i]);
		assert_int_equal(address->mark.line, 10);
	}
	assert_text(config->listeners[0].address.text, "unix:/etc/edge.sock");
	config_free(config);
}

static void the_dump_names_the_name_and_not_its_addresses(void **state)
{
	(void)state;
	static const char lines[] = "endpoints:\n"
	                            "      - address: \"both.test:80\"\n        weight: 1\n"
	                            "      - address: \"six.test:81\"\n        weight: 1\n"
	                            "      - address: \"10.0.0.9:82\"\n        weight: 1\n";
	struct config *config = assert_parses(STR(file), "/etc");
	struct buffer out = {0};
	config_dump(config, &out);
	assert_non_null(memmem(buffer_data(&out), buffer_len(&out), lines, strlen(lines)));
	buffer_fini(&out);
	config_free(config);
}

static void a_name_that_does_not_resolve_is_told_with_the_resolvers_words(void **state)
{
	(void)state;
	struct arena arena = {0};
	struct config_address *addresses;
	size_t count;
	const char *why = "";
	assert_false(address_resolve(STR("none.test:80"), STR(""), &(struct config_dns){0}, &arena,
	        &addresses, &count, &why));
	assert_non_null(strstr(why, "cannot be resolved"));
	assert_non_null(strstr(why, gai_strerror(EAI_NONAME)));
	arena_fini(&arena);
}

static void what_is_no_name_is_never_looked_up(void **state)
{
	(void)state;
	static const char *const table[] = {"127.1:80", "1.2.3.4.5:80", "a..b:80", ".a:80",
	        "a b:80", "-:80", "both.test", "both.test:", "both.test:80:90", "[both.test]:80",
	        ":80", "http://both.test:80", "both.test:080x", "both.test/x:80"};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct arena arena = {0};
		struct config_address *addresses;
		size_t count;
		const char *why = NULL;
		if (address_resolve(str_from(table[i]), STR(""), &(struct config_dns){0}, &arena,
		            &addresses, &count, &why))
			fail_msg("%s was accepted", table[i]);
		assert_non_null(why);
		assert_null(strstr(why, "resolved"));
		arena_fini(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(numeric_addresses_and_unix_paths_are_understood),
	        cmocka_unit_test(what_only_this_machine_reaches_is_local),
	        cmocka_unit_test(the_host_of_an_address_is_what_stands_before_its_port),
	        cmocka_unit_test(hosts_are_names_and_addresses_without_brackets),
	        cmocka_unit_test(a_name_stands_with_all_its_ipv4_addresses_or_else_its_ipv6_ones),
	        cmocka_unit_test(the_dump_names_the_name_and_not_its_addresses),
	        cmocka_unit_test(a_name_that_does_not_resolve_is_told_with_the_resolvers_words),
	        cmocka_unit_test(what_is_no_name_is_never_looked_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
