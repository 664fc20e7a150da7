#include <stdio.h>

#include "tests/conf/malformed.h"
#include "tests/conf/resolver.h"

#define ENDPOINTS(list) "    endpoints: " list "\n"
#define API ENDPOINTS("[127.0.0.1:8080]")
#define TLS(text) API, API "    tls: {" text "}\n"
#define NAME(text) TLS("trusted_ca: ca.pem, server_name: " text)
#define BAD_NAME "expected a host name such as users.internal, or an IP address"
#define TEN "0123456789"
#define LABEL "abc" TEN TEN TEN TEN TEN TEN

static const struct malformed rows[] = {
        {"nothing but the block", TLS(""), 28, 10, "backends[1].tls.trusted_ca",
                "is missing: a server is worth nothing to know that anybody could be; expected a"},
        {"no block of keys", API, API "    tls: true\n", 28, 10, "backends[1].tls",
                "expected a mapping with the keys trusted_ca, crl,"},
        {"a block left empty", API, API "    tls:\n", 28, 9, "backends[1].tls",
                "expected a mapping with the keys trusted_ca, crl,"},
        {"no roots", TLS("server_name: users.internal"), 28, 10, "backends[1].tls.trusted_ca",
                "is missing: a server is worth nothing to know that anybody could be"},
        {"roots of no name", TLS("trusted_ca: ''"), 28, 23, "backends[1].tls.trusted_ca",
                "found '', expected a file name"},
        {"a certificate without its key", TLS("trusted_ca: ca, certificate_chain: us.pem"), 28, 10,
                "backends[1].tls.private_key",
                "is missing beside certificate_chain; expected both, or neither where servers"},
        {"a key without its certificate", TLS("trusted_ca: ca, private_key: us.key"), 28, 10,
                "backends[1].tls.certificate_chain",
                "is missing beside private_key; expected both, or neither where servers"},
        {"no list of patterns", TLS("trusted_ca: ca, match_subject_alt_names: []"), 28, 52,
                "backends[1].tls.match_subject_alt_names",
                "is an empty list; expected at least one element, or the key left out"},
        {"a pattern twice", TLS("trusted_ca: ca, match_subject_alt_names: [a, b, a]"), 28, 59,
                "backends[1].tls.match_subject_alt_names[2]", "stands twice in the list"},
        {"an old version", TLS("trusted_ca: ca, min_version: 1.1"), 28, 40,
                "backends[1].tls.min_version", "found '1.1', expected 1.2 or 1.3"},
        {"a misspelt key", TLS("trusted_ca: ca, server_names: a"), 28, 27,
                "backends[1].tls.server_names", "did you mean server_name?"},
        {"a switch that would trust everybody", TLS("trusted_ca: ca, insecure: true"), 28, 27,
                "backends[1].tls.insecure", "is no key here"},
        {"a listener's list of certificates", TLS("trusted_ca: ca, certificates: []"), 28, 27,
                "backends[1].tls.certificates", "is no key here"},
        {"a listener's context", TLS("trusted_ca: ca, validation_context: {}"), 28, 27,
                "backends[1].tls.validation_context", "is no key here"},
        {"a listener's mode", TLS("trusted_ca: ca, on_unauthenticated: alert"), 28, 27,
                "backends[1].tls.on_unauthenticated", "is no key here"},
        {"a listener's ticket keys", TLS("trusted_ca: ca, session_ticket_keys: [k]"), 28, 27,
                "backends[1].tls.session_ticket_keys", "is no key here"},
        {"an empty name", NAME("''"), 28, 44, "backends[1].tls.server_name", BAD_NAME},
        {"a name with port", NAME("'users.internal:443'"), 28, 44, "backends[1].tls.server_name",
                "found 'users.internal:443', " BAD_NAME},
        {"a URL", NAME("'https://users.internal'"), 28, 44, "backends[1].tls.server_name",
                BAD_NAME},
        {"brackets", NAME("'[::1]'"), 28, 44, "backends[1].tls.server_name", BAD_NAME},
        {"a wildcard", NAME("'*.internal'"), 28, 44, "backends[1].tls.server_name", BAD_NAME},
        {"a name that begins with a dot", NAME(".internal"), 28, 44, "backends[1].tls.server_name",
                BAD_NAME},
        {"half an address", NAME("'127.1'"), 28, 44, "backends[1].tls.server_name", BAD_NAME},
        {"a space", NAME("'users internal'"), 28, 44, "backends[1].tls.server_name", BAD_NAME},
        {"a NUL in the name", NAME("\"users.internal\\0\""), 28, 44, "backends[1].tls.server_name",
                BAD_NAME},
        {"a NUL behind an address", NAME("\"10.0.0.1\\0.evil\""), 28, 44,
                "backends[1].tls.server_name", BAD_NAME},
        {"a label too long", NAME(LABEL "d"), 28, 44, "backends[1].tls.server_name", BAD_NAME},
        {"a name too long", NAME(LABEL "." LABEL "." LABEL "." LABEL), 28, 44,
                "backends[1].tls.server_name", BAD_NAME},
        {"a unix socket has no name", API,
                ENDPOINTS("[127.0.0.1:1, 'unix:/run/api']") "    tls: {trusted_ca: ca}\n", 28, 10,
                "backends[1].tls.server_name",
                "is missing: 'unix:/run/api' has no host that its certificate could be for; "
                "expected it, or match_subject_alt_names"},
        {"several unix sockets are one problem", API,
                ENDPOINTS("['unix:/run/a', 'unix:/run/b']") "    tls: {trusted_ca: ca}\n", 28, 10,
                "backends[1].tls.server_name", "is missing: 'unix:/run/a' has no host"},
};

static void every_mistake_is_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		malformed_check(&rows[i]);
}

static struct config *parse(const char *backend)
{
	return parse_changed(API, backend);
}

static const struct config_backend_tls *tls_of(const struct config *config)
{
	return &config->backends[1].tls;
}

static void servers_are_called_in_clear_text_unless_told(void **state)
{
	(void)state;
	struct config *config = parse(API);
	assert_int_equal(tls_of(config)->tls.mark.line, 0);
	assert_int_equal(tls_of(config)->tls.certificate_count, 0);
	assert_false(dump_holds(config, "\n    tls:\n      trusted_ca"));
	assert_dump_reads_back(config);
	config_free(config);
}

static void with_roots_alone_the_rest_is_at_its_defaults(void **state)
{
	(void)state;
	struct config *config = parse(API "    tls: {trusted_ca: ca.pem}\n");
	const struct config_backend_tls *tls = tls_of(config);
	assert_int_equal(tls->tls.side, TLS_OF_BACKEND);
	assert_int_equal(tls->tls.mark.line, 28);
	assert_text(tls->tls.trusted_ca.text, "/etc/ca.pem");
	assert_int_equal(tls->tls.trusted_ca.mark.line, 28);
	assert_text(tls->tls.crl.text, "");
	assert_int_equal(tls->tls.certificate_count, 0);
	assert_int_equal(tls->tls.match_subject_alt_names.count, 0);
	assert_int_equal(tls->tls.session_ticket_keys.count, 0);
	assert_int_equal(tls->tls.min_version, TLS_1_2);
	assert_text(tls->server_name.text, "");
	assert_true(dump_holds(config, "\n    tls:\n      trusted_ca: /etc/ca.pem\n"
	                               "      min_version: \"1.2\"\n"));
	assert_dump_reads_back(config);
	config_free(config);
}

static void all_that_is_given_is_read(void **state)
{
	(void)state;
	struct config *config = parse(API
	        "    tls: {trusted_ca: /ca, crl: ca.crl, match_subject_alt_names: [spiffe://a/*,"
	        " spiffe://b/c], server_name: Users.internal, certificate_chain: us.pem,"
	        " private_key: us.key, min_version: 1.3}\n");
	const struct config_backend_tls *tls = tls_of(config);
	assert_text(tls->tls.trusted_ca.text, "/ca");
	assert_text(tls->tls.crl.text, "/etc/ca.crl");
	assert_int_equal(tls->tls.match_subject_alt_names.count, 2);
	assert_text(tls->tls.match_subject_alt_names.items[1].text, "spiffe://b/c");
	assert_text(tls->server_name.text, "Users.internal");
	assert_int_equal(tls->tls.certificate_count, 1);
	assert_text(tls->tls.certificates[0].certificate_chain.text, "/etc/us.pem");
	assert_text(tls->tls.certificates[0].private_key.text, "/etc/us.key");
	assert_int_equal(tls->tls.min_version, TLS_1_3);
	static const char *const lines[] = {"      crl: /etc/ca.crl\n",
	        "      match_subject_alt_names: [\"spiffe://a/*\", \"spiffe://b/c\"]\n",
	        "      server_name: Users.internal\n", "      certificate_chain: /etc/us.pem\n",
	        "      private_key: /etc/us.key\n", "      min_version: \"1.3\"\n"};
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (!dump_holds(config, lines[i]))
			fail_msg("no '%s'", lines[i]);
	assert_dump_reads_back(config);
	config_free(config);
}

static void names_are_hosts_and_addresses(void **state)
{
	(void)state;
	static const char *const names[] = {"localhost", "users.internal", "users.internal.",
	        "a_b.c-d", "10.0.0.1", "::1", "fd00::1", LABEL "." LABEL "." LABEL "." TEN TEN TEN};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char text[512];
		snprintf(text, sizeof(text), API "    tls: {trusted_ca: c, server_name: \"%s\"}\n",
		        names[i]);
		struct config *config = parse(text);
		assert_text(tls_of(config)->server_name.text, names[i]);
		assert_dump_reads_back(config);
		config_free(config);
	}
}

static void a_unix_socket_is_fine_where_it_is_known_by_something(void **state)
{
	(void)state;
	static const char *const blocks[] = {
	        "{trusted_ca: c, server_name: users.internal}",
	        "{trusted_ca: c, match_subject_alt_names: [spiffe://a/*]}",
	};
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		char text[256];
		snprintf(text, sizeof(text), ENDPOINTS("['unix:/run/api']") "    tls: %s\n",
		        blocks[i]);
		struct config *config = parse(text);
		assert_dump_reads_back(config);
		config_free(config);
	}
}

static void every_protocol_and_check_goes_with_it(void **state)
{
	(void)state;
	static const char *const blocks[] = {
	        "    protocol: h2\n    health_check: {grpc: a.B}\n",
	        "    protocol: http1\n    health_check: {path: /healthz}\n",
	        "    protocol: h2\n    health_check: {tcp: true}\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		char text[256];
		snprintf(text, sizeof(text),
		        ENDPOINTS("[\"both.test:1\"]") "%s"
		                                       "    tls: {trusted_ca: c}\n",
		        blocks[i]);
		struct config *config = parse(text);
		assert_int_equal(config->backends[1].endpoint_count, 2);
		assert_dump_reads_back(config);
		config_free(config);
	}
}

static const char crowd[] =
        "version: tollgate/v1\n"
        "run_as: {user: \"4242\", group: \"4242\"}\n"
        "admin: {address: 127.0.0.1:9901, tls: {certificate_chain: a, private_key: a.key,"
        " trusted_ca: ca, match_subject_alt_names: [spiffe://ops/*]}}\n"
        "listeners:\n"
        "  - name: edge\n"
        "    address: 127.0.0.1:8443\n"
        "    tls:\n"
        "      certificates: [{certificate_chain: c, private_key: c.key}]\n"
        "      validation_context: {trusted_ca: ca, match_subject_alt_names: [spiffe://a/*]}\n"
        "    routes: [{match: {path: /0}, backend: b0}, {match: {path: /1}, backend: b1},"
        " {match: {path: /2}, backend: b2}, {match: {path: /3}, backend: b3}]\n"
        "backends:\n"
        "  - {name: b0, endpoints: [\"127.0.0.1:1\"], tls: {trusted_ca: ca, certificate_chain:"
        " b0, private_key: b0.key}}\n"
        "  - {name: b1, endpoints: [\"127.0.0.1:1\"]}\n"
        "  - {name: b2, endpoints: [\"127.0.0.1:1\"], tls: {trusted_ca: ca}}\n"
        "  - {name: b3, endpoints: [\"127.0.0.1:1\"], tls: {trusted_ca: ca, certificate_chain:"
        " b3, private_key: b3.key}}\n";

struct visits {
	const struct config *config;
	char sides[8];
	size_t count;
	struct buffer keys;
};

static void note(const struct config_tls *tls, struct str key, void *argument)
{
	struct visits *visits = argument;
	buffer_printf(&visits->keys, "%.*s ", STR_FMT(key));
	assert_true(visits->count < sizeof(visits->sides) - 1);
	visits->sides[visits->count++] = "lab"[tls->side];
	assert_true(tls->mark.line > 0);
	assert_text(tls->trusted_ca.text, "/etc/ca");
	for (size_t i = 0; i < tls->certificate_count; i++)
		assert_ptr_equal(tls->certificates[i].reader, &visits->config->run_as);
}

static void every_block_is_visited_and_its_key_read_by_who_we_will_be(void **state)
{
	(void)state;
	struct config *config = assert_parses(STR(crowd), "/etc");
	struct visits visits = {.config = config};
	config_each_tls(config, note, &visits);
	assert_string_equal(visits.sides, "labbb");
	assert_text(buffer_str(&visits.keys), "listeners[0].tls admin.tls backends[0].tls "
	                                      "backends[2].tls backends[3].tls ");
	buffer_fini(&visits.keys);
	static const char *const keys[] = {"/etc/b0.key", NULL, NULL, "/etc/b3.key"};
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct config_backend_tls *tls = &config->backends[i].tls;
		assert_int_equal(tls->tls.certificate_count, keys[i] != NULL);
		if (!keys[i])
			continue;
		assert_ptr_equal(tls->tls.certificates, &tls->certificate);
		assert_text(tls->tls.certificates[0].private_key.text, keys[i]);
	}
	assert_dump_reads_back(config);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_mistake_is_told),
	        cmocka_unit_test(servers_are_called_in_clear_text_unless_told),
	        cmocka_unit_test(with_roots_alone_the_rest_is_at_its_defaults),
	        cmocka_unit_test(all_that_is_given_is_read),
	        cmocka_unit_test(names_are_hosts_and_addresses),
	        cmocka_unit_test(a_unix_socket_is_fine_where_it_is_known_by_something),
	        cmocka_unit_test(every_protocol_and_check_goes_with_it),
	        cmocka_unit_test(every_block_is_visited_and_its_key_read_by_who_we_will_be),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
