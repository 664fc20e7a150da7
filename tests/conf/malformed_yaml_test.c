#include <stdlib.h>

#include "tests/conf/malformed.h"

static const struct malformed table[] = {
        {"an empty file", NULL, "", 1, 1, "",
                "is empty, expected a config that begins with version: tollgate/v1"},
        {"a file with a comment alone", NULL, "# nothing\n", 1, 1, "",
                "is empty, expected a config that begins with version: tollgate/v1"},
        {"a document that says nothing", NULL, "---\n", 2, 1, "",
                "found nothing, expected a mapping with the keys version, workers,"},
        {"a list instead of a config", NULL, "- a\n", 1, 1, "",
                "found a list, expected a mapping with the keys version, workers,"},
        {"a word instead of a config", NULL, "hello\n", 1, 1, "",
                "found 'hello', expected a mapping with the keys version, workers,"},
        {"a byte that is not UTF-8", NULL, "version: tollgate/v1\n# caf\351\n", 2, 6, "",
                "holds the byte 0xe9, which is not UTF-8 here; expected UTF-8 text"},
        {"UTF-16", NULL, "\377\376v", 1, 1, "",
                "holds the byte 0xff, which is not UTF-8 here; expected UTF-8 text"},
        {"an overlong form of UTF-8", NULL, "a: \300\257\n", 1, 4, "",
                "holds the byte 0xc0, which is not UTF-8 here; expected UTF-8 text"},
        {"half of a surrogate pair", NULL, "a: \355\240\200\n", 1, 4, "",
                "holds the byte 0xed, which is not UTF-8 here; expected UTF-8 text"},
        {"a UTF-8 sequence cut short", NULL, "a: \342\202", 1, 4, "",
                "holds the byte 0xe2, which is not UTF-8 here; expected UTF-8 text"},
        {"an escape sequence of a terminal", NULL, "version: \033[31m\n", 1, 10, "",
                "holds the control character U+001B, expected text without any"},
        {"a C1 control", NULL, "a: \302\205b\n", 1, 4, "",
                "holds the control character U+0085, expected text without any"},
        {"a line separator that editors do not show", NULL, "a: b\342\200\250c: d\n", 1, 5, "",
                "holds the control character U+2028, expected text without any"},
        {"a byte order mark in the middle", NULL, "a: \357\273\277b\n", 1, 4, "",
                "holds the control character U+FEFF, expected text without any"},
        {"lists nested too deeply", NULL,
                "a: "
                "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
                1, 35, "", "is nested too deeply, expected at most 32 levels"},
        {"a second document", "backends:", "---\nbackends:", 22, 1, "",
                "begins a second YAML document, expected one document a file"},
        {"a tab in the indentation", "workers: 2", "workers:\n	- 2", 3, 1, "",
                "is not YAML here: found character that cannot start any token; indent with"},
        {"a list that is not closed", "[127.0.0.1:50051]", "[127.0.0.1:50051", 26, 9, "",
                "is not YAML here: did not find expected ',' or ']'; a list opened with [ is"},
        {"a mapping that is not closed", "{path: /healthz}", "{path: /healthz", 21, 16, "",
                "is not YAML here: did not find expected ',' or '}'; a mapping opened with {"},
        {"a quote that is not closed", "body: \"ok\"}", "body: \"ok}", 28, 1, "",
                "is not YAML here: found unexpected end of stream; a quoted text ends with the"},
        {"a star without quotes", "grpc: user.UserService/Login", "grpc: *", 15, 24, "",
                "is not YAML here: did not find expected alphabetic or numeric character; a"},
        {"keys of one mapping indented differently", "    protocol: h2", "   protocol: h2", 24, 4,
                "",
                "is not YAML here: did not find expected '-' indicator; indent the elements of"},
        {"a colon in a value without quotes", "name: users", "name: users: b", 23, 16, "",
                "is not YAML here: mapping values are not allowed in this context; quote a"},
        {"a directive that nobody knows", "version: tollgate/v1\n",
                "%TAG a b\n---\nversion: tollgate/v1\n", 1, 6, "",
                "is not YAML here: did not find expected '!'; expected well-formed YAML"},
        {"an anchor", "name: edge", "name: &x edge", 4, 11, "listeners[0].name",
                "carries a YAML anchor; expected the value alone, anchors are not supported"},
        {"an alias without an anchor", "workers: 2", "workers: *none", 2, 10, "workers",
                "is a YAML alias; expected the value itself, aliases are not supported"},
        {"a tag on a word", "workers: 2", "workers: !!int 2", 2, 10, "workers",
                "carries a YAML tag; expected the value alone, tags are not supported"},
        {"a tag on a mapping", "    timeouts: {", "    timeouts: !x {", 12, 15,
                "listeners[0].timeouts",
                "carries a YAML tag; expected the value alone, tags are not supported"},
        {"an anchor on a list", "certificates: [", "certificates: &c [", 7, 21,
                "listeners[0].tls.certificates",
                "carries a YAML anchor; expected the value alone, anchors are not supported"},
        {"a merge key", "workers: 2", "<<: {a: b}", 2, 1, "<<",
                "is no key here; expected version, workers, "},
        {"a list for a key", "workers: 2", "? [a, b]\n: 2", 2, 3, "",
                "has a key that is no plain text; expected a key alone, without anchor, alias"},
        {"an anchor on a key", "workers: 2", "&a workers: 2", 2, 1, "",
                "has a key that is no plain text; expected a key alone, without anchor, alias"},
        {"a key twice", "workers: 2", "workers: 2\nworkers: 3", 3, 1, "workers",
                "stands twice, first in line 2; expected it once"},
        {"a key twice, deep down", "      min_version: \"1.2\"",
                "      min_version: \"1.2\"\n      min_version: \"1.3\"", 9, 7,
                "listeners[0].tls.min_version", "stands twice, first in line 8; expected it once"},
        {"a misspelt key", "min_version", "min_verson", 8, 7, "listeners[0].tls.min_verson",
                "is no key here; did you mean min_version?"},
        {"a misspelt key with a wrong value", "min_version: \"1.2\"", "min_verson: \"1.1\"", 8, 7,
                "listeners[0].tls.min_verson", "is no key here; did you mean min_version?", 2},
        {"a key misspelt beside itself", "      min_version",
                "      min_verson: 1\n      min_version", 8, 7, "listeners[0].tls.min_verson",
                "is no key here; did you mean min_version?"},
        {"a key in camel case", "min_version", "minVersion", 8, 7, "listeners[0].tls.minVersion",
                "is no key here; did you mean min_version?"},
        {"two letters of a key swapped", "respond: {st", "repsond: {st", 21, 9,
                "listeners[0].routes[2].repsond", "is no key here; did you mean respond?"},
        {"a key that resembles none", "workers: 2", "wibble: 2", 2, 1, "wibble",
                "is no key here; expected version, workers, "},
        {"a key that resembles none of its siblings", "hosts: [api.example.com]", "verbs: [GET]",
                18, 47, "listeners[0].routes[1].match.verbs",
                "is no key here; expected grpc, path, methods or hosts"},
        {"a key with control characters", "workers: 2", "\"wor\\x1bk\\\"x y\": 2", 2, 1,
                "wor\\x1bk\"x y", "is no key here; expected version, workers, "},
        {"a key without a value", "workers: 2", "workers:", 2, 9, "workers",
                "found nothing, expected auto or a whole number from 1 to 1024"},
        {"YAML's word for nothing", "backend: api", "backend: ~", 19, 18,
                "listeners[0].routes[1].backend",
                "found nothing, expected a name of at most 64 letters, digits, dots, dashes"},
        {"an empty word", "workers: 2", "workers: \"\"", 2, 10, "workers",
                "found '', expected auto or a whole number from 1 to 1024"},
        {"a word for a list", "[127.0.0.1:8080]", "127.0.0.1:8080", 27, 16, "backends[1].endpoints",
                "found '127.0.0.1:8080', expected a list, each element an address such as"},
        {"a word for a mapping", "{handshake: 5s}", "5s", 12, 15, "listeners[0].timeouts",
                "found '5s', expected a mapping with the keys handshake, request_headers,"},
        {"a word for a list of mappings",
                "backends:\n  - name: users\n    protocol: h2\n    endpoints: [127.0.0.1:50051]\n  "
                "- name: api\n    endpoints: [127.0.0.1:8080]\n",
                "backends: none\n", 22, 11, "backends",
                "found 'none', expected a list of mappings with the keys name, protocol,"},
        {"a mapping for a list", "[{certificate_chain: gateway.pem, private_key: gateway.key}]",
                "{certificate_chain: gateway.pem}", 7, 21, "listeners[0].tls.certificates",
                "found a mapping, expected a list of mappings with the keys certificate_chain"},
        {"a word in a list of mappings",
                "[{certificate_chain: gateway.pem, private_key: gateway.key}]", "[gateway.pem]", 7,
                22, "listeners[0].tls.certificates[0]",
                "found 'gateway.pem', expected a mapping with the keys certificate_chain and"},
        {"a list for a word", "workers: 2", "workers: [2]", 2, 10, "workers",
                "found a list, expected auto or a whole number from 1 to 1024"},
        {"nothing in a list", "[127.0.0.1:8080]", "[127.0.0.1:8080, ~]", 27, 33,
                "backends[1].endpoints[1]",
                "found nothing, expected an address such as 127.0.0.1:50051, [::1]:50051,"},
        {"a list in a list", "[127.0.0.1:8080]", "[[127.0.0.1:8080]]", 27, 17,
                "backends[1].endpoints[0]",
                "found a list, expected an address such as 127.0.0.1:50051, [::1]:50051,"},
};

static void what_is_no_config_is_refused_with_its_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		malformed_check(&table[i]);
}

static void nul_is_refused_with_its_place(void **state)
{
	(void)state;
	static const char text[] = "version: tollgate/v1\nwork\0ers: 2\n";
	struct config_problems problems = {0};
	assert_null(config_parse(str_of(text, sizeof(text) - 1), "bad.yaml", "/etc", &problems));
	assert_int_equal(problems.count, 1);
	assert_int_equal(problems.items[0].mark.line, 2);
	assert_int_equal(problems.items[0].mark.column, 5);
	config_problems_fini(&problems);
}

static void more_than_4_mib_is_refused(void **state)
{
	(void)state;
	struct config_problems problems = {0};
	size_t len = (4 << 20) + 1;
	char *text = memset(must_alloc(len), '#', len);
	assert_null(config_parse(str_of(text, len), "bad.yaml", "/etc", &problems));
	assert_non_null(strstr(problems.items[0].what.at, "4MiB"));
	config_problems_fini(&problems);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_no_config_is_refused_with_its_place),
	        cmocka_unit_test(nul_is_refused_with_its_place),
	        cmocka_unit_test(more_than_4_mib_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
