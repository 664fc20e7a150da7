#include "tests/conf/malformed.h"

static const struct malformed table[] = {
        {"no version", "version: tollgate/v1\n", "", 1, 1, "version",
                "is missing; expected tollgate/v1"},
        {"no listeners",
                "listeners:\n  - name: edge\n    address: 127.0.0.1:8443\n    tls:\n      "
                "certificates: [{certificate_chain: gateway.pem, private_key: gateway.key}]\n      "
                "min_version: \"1.2\"\n      validation_context:\n        trusted_ca: ca.pem\n     "
                "   match_subject_alt_names: [\"spiffe://cluster.local/*\"]\n    timeouts: "
                "{handshake: 5s}\n    limits: {header_bytes: 60KiB}\n    routes:\n      - match: "
                "{grpc: user.UserService/Login}\n        backend: users\n        rate_limits: "
                "[{rate: 5/s, burst: 10, per: [identity]}]\n      - match: {path: /api/*, methods: "
                "[GET], hosts: [api.example.com]}\n        backend: api\n      - match: {path: "
                "/healthz}\n        respond: {status: 200, body: \"ok\"}\n",
                "", 1, 1, "listeners",
                "is missing; expected a list of mappings with the keys name, address, tls,"},
        {"an empty list of listeners",
                "listeners:\n  - name: edge\n    address: 127.0.0.1:8443\n    tls:\n      "
                "certificates: [{certificate_chain: gateway.pem, private_key: gateway.key}]\n      "
                "min_version: \"1.2\"\n      validation_context:\n        trusted_ca: ca.pem\n     "
                "   match_subject_alt_names: [\"spiffe://cluster.local/*\"]\n    timeouts: "
                "{handshake: 5s}\n    limits: {header_bytes: 60KiB}\n    routes:\n      - match: "
                "{grpc: user.UserService/Login}\n        backend: users\n        rate_limits: "
                "[{rate: 5/s, burst: 10, per: [identity]}]\n      - match: {path: /api/*, methods: "
                "[GET], hosts: [api.example.com]}\n        backend: api\n      - match: {path: "
                "/healthz}\n        respond: {status: 200, body: \"ok\"}\n",
                "listeners: []\n", 3, 12, "listeners",
                "is an empty list; expected at least one element"},
        {"no routes",
                "    routes:\n      - match: {grpc: user.UserService/Login}\n        backend: "
                "users\n        rate_limits: [{rate: 5/s, burst: 10, per: [identity]}]\n      - "
                "match: {path: /api/*, methods: [GET], hosts: [api.example.com]}\n        backend: "
                "api\n      - match: {path: /healthz}\n        respond: {status: 200, body: "
                "\"ok\"}\n",
                "", 4, 5, "listeners[0].routes",
                "is missing; expected a list of mappings with the keys match, allow, backend,"},
        {"an empty list of routes",
                "    routes:\n      - match: {grpc: user.UserService/Login}\n        backend: "
                "users\n        rate_limits: [{rate: 5/s, burst: 10, per: [identity]}]\n      - "
                "match: {path: /api/*, methods: [GET], hosts: [api.example.com]}\n        backend: "
                "api\n      - match: {path: /healthz}\n        respond: {status: 200, body: "
                "\"ok\"}\n",
                "    routes: []\n", 14, 13, "listeners[0].routes",
                "is an empty list; expected at least one element"},
        {"a listener without tls",
                "    tls:\n      certificates: [{certificate_chain: gateway.pem, private_key: "
                "gateway.key}]\n      min_version: \"1.2\"\n      validation_context:\n        "
                "trusted_ca: ca.pem\n        match_subject_alt_names: "
                "[\"spiffe://cluster.local/*\"]\n",
                "", 4, 5, "listeners[0].tls",
                "is missing; expected a mapping with the keys certificates, min_version,"},
        {"a listener without patterns",
                "        match_subject_alt_names: [\"spiffe://cluster.local/*\"]\n", "", 10, 9,
                "listeners[0].tls.validation_context.match_subject_alt_names",
                "is missing: a listener without patterns accepts no identity; expected a list,"},
        {"an empty list of patterns", "[\"spiffe://cluster.local/*\"]", "[]", 11, 34,
                "listeners[0].tls.validation_context.match_subject_alt_names",
                "is an empty list; expected at least one element"},
        {"no trusted CA", "        trusted_ca: ca.pem\n", "", 10, 9,
                "listeners[0].tls.validation_context.trusted_ca",
                "is missing; expected a file name, absolute or relative to the config file"},
        {"no certificates",
                "      certificates: [{certificate_chain: gateway.pem, private_key: "
                "gateway.key}]\n",
                "", 7, 7, "listeners[0].tls.certificates",
                "is missing; expected a list of mappings with the keys certificate_chain and"},
        {"a certificate without key", ", private_key: gateway.key", "", 7, 22,
                "listeners[0].tls.certificates[0].private_key",
                "is missing; expected a file name, absolute or relative to the config file"},
        {"client certificates made optional", "min_version: \"1.2\"",
                "require_client_certificate: false", 8, 35,
                "listeners[0].tls.require_client_certificate",
                "found 'false', expected true: every connection must present a client"},
        {"a limit without rate", "rate: 5/s, ", "", 17, 23,
                "listeners[0].routes[0].rate_limits[0].rate",
                "is missing; expected a rate such as 5/s, 300/m or 10000/h, its number from 1"},
        {"a limit without burst", "burst: 10, ", "", 17, 23,
                "listeners[0].routes[0].rate_limits[0].burst",
                "is missing; expected a whole number from 1 to 1000000000"},
        {"a bucket that refills in a century", "rate: 5/s, burst: 10", "rate: 1/h, burst: 1000000",
                17, 42, "listeners[0].routes[0].rate_limits[0].burst",
                "takes more than a year to refill at this rate; expected a smaller burst or a"},
        {"an empty list in per", "per: [identity]", "per: []", 17, 51,
                "listeners[0].routes[0].rate_limits[0].per",
                "is an empty list; expected at least one element, or the key left out"},
        {"more keys in per than there are", "per: [identity]",
                "per: [identity, method, source_ip, \"header:a\", \"header:b\", \"header:c\", "
                "\"header:d\", \"header:e\", \"header:f\"]",
                17, 51, "listeners[0].routes[0].rate_limits[0].per",
                "has 9 elements, expected at most 8"},
        {"a table of keys without keys", "burst: 10, per: [identity]", "burst: 10, max_keys: 5", 17,
                56, "listeners[0].routes[0].rate_limits[0].max_keys",
                "can have no effect without per; expected it left out, or per given"},
        {"a shared limit without a server", "burst: 10", "burst: 10, store: redis", 17, 53,
                "listeners[0].routes[0].rate_limits[0].store",
                "found 'redis', and no server is named; expected a block such as"},
        {"a lease of nobody", "burst: 10", "burst: 10, lease: 5", 17, 53,
                "listeners[0].routes[0].rate_limits[0].lease",
                "can have no effect without store: redis; expected it left out"},
        {"what if nobody is asked", "burst: 10", "burst: 10, on_failure: deny", 17, 58,
                "listeners[0].routes[0].rate_limits[0].on_failure",
                "can have no effect without store: redis; expected it left out"},
        {"less than a token for each gateway", "burst: 10", "burst: 10, fleet: 11", 17, 53,
                "listeners[0].routes[0].rate_limits[0].fleet",
                "leaves less than one token of burst to each gateway; expected at most 10"},
        {"an override of less than the fleet", "burst: 10, per: [identity]",
                "burst: 10, fleet: 5, overrides: [{identity: 'spiffe://a/*', rate: 1/s, burst: 4}]",
                17, 68, "listeners[0].routes[0].rate_limits[0].overrides[0].burst",
                "is less than the limit's fleet or lease; expected at least 5"},
        {"a trial with less than a token each", "burst: 10, per: [identity]",
                "burst: 10, shadow: true, fleet: 11", 17, 67,
                "listeners[0].routes[0].rate_limits[0].fleet",
                "leaves less than one token of burst to each gateway; expected at most 10"},
        {"a cost by header and body", "burst: 10",
                "burst: 10, cost: {header: x-cost, body: 1KiB, max: 5}", 17, 75,
                "listeners[0].routes[0].rate_limits[0].cost.body",
                "stands beside header; expected either header or body", 2},
        {"a cost by header and body on a path", "backend: api",
                "backend: api\n        rate_limits: [{rate: 1/s, burst: 9, cost: {header: x-cost, "
                "body: 1KiB, max: 5}}]",
                20, 74, "listeners[0].routes[1].rate_limits[0].cost.body",
                "stands beside header; expected either header or body"},
        {"a cost by nothing", "burst: 10", "burst: 10, cost: {max: 5}", 17, 52,
                "listeners[0].routes[0].rate_limits[0].cost",
                "counts nothing; expected header or body"},
        {"a cost without a ceiling", "burst: 10", "burst: 10, cost: {header: x-cost}", 17, 52,
                "listeners[0].routes[0].rate_limits[0].cost.max",
                "is missing; expected a whole number from 2 to 1000000000"},
        {"a cost of one at most", "burst: 10", "burst: 10, cost: {header: x-cost, max: 1}", 17, 74,
                "listeners[0].routes[0].rate_limits[0].cost.max",
                "found '1', expected a whole number from 2 to 1000000000"},
        {"a cost of nothing for ever so many bytes", "backend: api",
                "backend: api\n        rate_limits: [{rate: 1/s, burst: 9, cost: {body: 0, max: "
                "5}}]",
                20, 58, "listeners[0].routes[1].rate_limits[0].cost.body", "found '0', expected"},
        {"a cost by a pseudo-header field", "burst: 10",
                "burst: 10, cost: {header: ':path', max: 5}", 17, 61,
                "listeners[0].routes[0].rate_limits[0].cost.header",
                "found a pseudo-header field; expected another"},
        {"a cost by what is no field", "burst: 10", "burst: 10, cost: {header: 'x cost', max: 5}",
                17, 61, "listeners[0].routes[0].rate_limits[0].cost.header", "found 'x cost'"},
        {"a cost by the body of a gRPC call", "burst: 10", "burst: 10, cost: {body: 1KiB, max: 5}",
                17, 59, "listeners[0].routes[0].rate_limits[0].cost.body",
                "can have no effect: gRPC calls announce no length; expected header"},
        {"a cost that no bucket holds", "burst: 10", "burst: 10, cost: {header: x-cost, max: 11}",
                17, 74, "listeners[0].routes[0].rate_limits[0].cost.max",
                "is more than the bucket ever holds; expected at most the burst, 10"},
        {"a cost that no gateway's share holds", "burst: 10",
                "burst: 10, fleet: 3, cost: {header: x-cost, max: 4}", 17, 84,
                "listeners[0].routes[0].rate_limits[0].cost.max",
                "is more than the bucket ever holds; expected at most the burst's share, 3"},
        {"a cost that an override's bucket does not hold", "burst: 10, per: [identity]",
                "burst: 10, cost: {header: x-cost, max: 5}, overrides: [{identity: "
                "'spiffe://a/*', rate: 1/s, burst: 4}]",
                17, 90, "listeners[0].routes[0].rate_limits[0].overrides[0].burst",
                "is less than what a call may cost; expected at least 5"},
        {"a cost that an override's share does not hold", "burst: 10, per: [identity]",
                "burst: 10, fleet: 2, cost: {header: x-cost, max: 5}, overrides: [{identity: "
                "'spiffe://a/*', rate: 1/s, burst: 9}]",
                17, 100, "listeners[0].routes[0].rate_limits[0].overrides[0].burst",
                "is less than what a call may cost; expected at least 10"},
        {"a cost of too many gateways", "burst: 10",
                "burst: 10, fleet: 11, cost: {header: x-cost, max: 5}", 17, 53,
                "listeners[0].routes[0].rate_limits[0].fleet",
                "leaves less than one token of burst to each gateway; expected at most 10"},
        {"a cost beside a limit without burst", "burst: 10, ", "cost: {header: x-cost, max: 5}, ",
                17, 23, "listeners[0].routes[0].rate_limits[0].burst",
                "is missing; expected a whole number from 1 to 1000000000"},
        {"a server by TLS", "workers: 2", "redis: {address: 127.0.0.1:1, tls: {}}", 2, 36,
                "redis.tls", "it left out: not supported; let a tunnel such as stunnel"},
        {"sentinels", "workers: 2", "redis: {address: 127.0.0.1:1, sentinel: x}", 2, 41,
                "redis.sentinel", "found 'x', expected it left out: not supported; name"},
        {"a cluster", "workers: 2", "redis: {address: 127.0.0.1:1, cluster: true}", 2, 40,
                "redis.cluster", "found 'true', expected it left out: not supported; use"},
        {"a user without a password", "workers: 2", "redis: {address: 127.0.0.1:1, username: me}",
                2, 41, "redis.username", "stands without a password; expected both, or neither"},
        {"admin pages that others can reach", "workers: 2", "admin: {address: 0.0.0.0:9901}", 2, 18,
                "admin.address",
                "found '0.0.0.0:9901', which others can reach: the admin pages have no"},
        {"admin pages that others can reach over IPv6", "workers: 2",
                "admin: {address: \"[::]:9901\"}", 2, 18, "admin.address",
                "found '[::]:9901', which others can reach: the admin pages have no password;"},
        {"admin pages without address", "workers: 2", "admin: {allow_remote: true}", 2, 8,
                "admin.address",
                "is missing; expected an address such as 127.0.0.1:8443, [::1]:8443 or"},
        {"admin TLS without patterns", "workers: 2",
                "admin: {address: 0.0.0.0:9901, tls: {certificate_chain: a, private_key: b, "
                "trusted_ca: c}}",
                2, 37, "admin.tls.match_subject_alt_names",
                "is missing: without patterns nobody would be let in; expected a list, each"},
        {"admin TLS without trust", "workers: 2",
                "admin: {address: 0.0.0.0:9901, tls: {certificate_chain: a, private_key: b, "
                "match_subject_alt_names: [spiffe://a/*]}}",
                2, 37, "admin.tls.trusted_ca", "is missing; expected a file name"},
        {"a listener at the admin address", "workers: 2", "admin: {address: 127.0.0.1:8443}", 5, 14,
                "listeners[0].address",
                "found '127.0.0.1:8443', which is the admin address; expected another"},
        {"a listener at every address, the admin's among them",
                "listeners:\n  - name: edge\n    address: 127.0.0.1:8443",
                "admin: {address: 127.0.0.1:8443}\nlisteners:\n  - name: edge\n"
                "    address: 0.0.0.0:8443",
                6, 14, "listeners[0].address", "which takes the admin address"},
        {"a listener at every IPv6 address, which takes those of IPv4 too",
                "listeners:\n  - name: edge\n    address: 127.0.0.1:8443",
                "admin: {address: 127.0.0.1:8443}\nlisteners:\n  - name: edge\n"
                "    address: '[::]:8443'",
                6, 14, "listeners[0].address", "which takes the admin address"},
        {"an access log without path", "workers: 2", "access_log: {}", 2, 13, "access_log.path",
                "is missing; expected stdout, stderr or a file name"},
        {"both logs in one file", "workers: 2",
                "audit: {path: a.jsonl}\naccess_log: {path: a.jsonl}", 3, 20, "access_log.path",
                "found '/etc/a.jsonl', which is the audit file; expected another"},
        {"an allow list without anybody", "backend: api", "backend: api\n        allow: []", 20, 16,
                "listeners[0].routes[1].allow",
                "is an empty list; expected at least one element, or the key left out"},
        {"a route with two ends", "backend: api", "backend: api\n        respond: {status: 200}",
                20, 18, "listeners[0].routes[1].respond",
                "stands beside backend; expected one of backend, backends, respond and redirect"},
        {"a route that leads nowhere", "        respond: {status: 200, body: \"ok\"}\n", "", 20, 9,
                "listeners[0].routes[2]",
                "leads nowhere; expected backend, backends, respond or redirect beside match"},
        {"a route that matches nothing", "{path: /healthz}", "{}", 20, 16,
                "listeners[0].routes[2].match", "names nothing to match; expected grpc or path"},
        {"a route without match", "- match: {path: /healthz}\n        respond", "- respond", 20, 9,
                "listeners[0].routes[2].match",
                "is missing; expected a mapping with the keys grpc, path, methods and hosts"},
        {"a route that matches two ways", "path: /healthz", "path: /healthz, grpc: \"*\"", 20, 23,
                "listeners[0].routes[2].match.path",
                "stands beside grpc; expected either grpc or path"},
        {"methods beside grpc", "grpc: user.UserService/Login",
                "grpc: user.UserService/Login, methods: [POST]", 15, 56,
                "listeners[0].routes[0].match.methods",
                "can have no effect: every gRPC call is a POST; expected methods beside path"},
        {"an empty list of methods", "[GET]", "[]", 18, 40, "listeners[0].routes[1].match.methods",
                "is an empty list; expected at least one element, or the key left out"},
        {"an empty list of hosts", "[api.example.com]", "[]", 18, 54,
                "listeners[0].routes[1].match.hosts",
                "is an empty list; expected at least one element, or the key left out"},
        {"a body where there is none", "status: 200", "status: 204", 21, 38,
                "listeners[0].routes[2].respond.body",
                "can have no effect: an answer with status 204 has no body; expected it left"},
        {"a timeout for an answer of our own", "        respond:",
                "        timeout: 3s\n        respond:", 21, 18, "listeners[0].routes[2].timeout",
                "can have no effect beside respond; expected it left out"},
        {"an upgrade of an answer of our own",
                "        respond:", "        upgrade: [websocket]\n        respond:", 21, 18,
                "listeners[0].routes[2].upgrade",
                "can have no effect beside respond; expected it left out"},
        {"an upgrade through h2", "backend: users", "backend: users\n        upgrade: [websocket]",
                17, 19, "listeners[0].routes[0].upgrade",
                "needs a backend that speaks http1, and users speaks h2; expected it left out"},
        {"a misspelt backend", "backend: api", "backend: apo", 19, 18,
                "listeners[0].routes[1].backend",
                "found 'apo', which is no backend's name; did you mean api?"},
        {"a backend that does not exist, and one that nobody uses", "backend: api",
                "backend: something", 19, 18, "listeners[0].routes[1].backend",
                "found 'something', which is no backend's name; expected one from backends", 2},
        {"a backend that nobody uses", "backends:\n",
                "backends:\n  - {name: idle, endpoints: [127.0.0.1:1]}\n", 23, 12,
                "backends[0].name",
                "found 'idle', to which no route leads; expected a route to it, or its removal"},
        {"two backends of one name", "backends:\n",
                "backends:\n  - {name: api, endpoints: [127.0.0.1:1]}\n", 27, 11,
                "backends[2].name", "found 'api', which backends[0] has already; expected another"},
        {"a backend without name", "- name: api", "- protocol: h2", 26, 5, "backends[1].name",
                "is missing; expected a name of at most 64 letters, digits, dots, dashes and"},
        {"a backend without endpoints", "    endpoints: [127.0.0.1:8080]\n", "", 26, 5,
                "backends[1].endpoints",
                "is missing; expected a list, each element an address such as 127.0.0.1:50051,"},
        {"an empty list of endpoints", "[127.0.0.1:8080]", "[]", 27, 16, "backends[1].endpoints",
                "is an empty list; expected at least one element"},
        {"two listeners of one name", "backends:\n",
                "  - name: edge\n    address: 127.0.0.1:8444\n    tls:\n      certificates: "
                "[{certificate_chain: gateway.pem, private_key: gateway.key}]\n      min_version: "
                "\"1.2\"\n      validation_context:\n        trusted_ca: ca.pem\n        "
                "match_subject_alt_names: [\"spiffe://cluster.local/*\"]\n    timeouts: "
                "{handshake: 5s}\n    limits: {header_bytes: 60KiB}\n    routes:\n      - match: "
                "{grpc: user.UserService/Login}\n        backend: users\n        rate_limits: "
                "[{rate: 5/s, burst: 10, per: [identity]}]\n      - match: {path: /api/*, methods: "
                "[GET], hosts: [api.example.com]}\n        backend: api\n      - match: {path: "
                "/healthz}\n        respond: {status: 200, body: \"ok\"}\nbackends:\n",
                22, 11, "listeners[1].name",
                "found 'edge', which listeners[0] has already; expected another"},
        {"two listeners at one address", "backends:\n",
                "  - name: other\n    address: 127.0.0.1:8443\n    tls:\n      certificates: "
                "[{certificate_chain: gateway.pem, private_key: gateway.key}]\n      min_version: "
                "\"1.2\"\n      validation_context:\n        trusted_ca: ca.pem\n        "
                "match_subject_alt_names: [\"spiffe://cluster.local/*\"]\n    timeouts: "
                "{handshake: 5s}\n    limits: {header_bytes: 60KiB}\n    routes:\n      - match: "
                "{grpc: user.UserService/Login}\n        backend: users\n        rate_limits: "
                "[{rate: 5/s, burst: 10, per: [identity]}]\n      - match: {path: /api/*, methods: "
                "[GET], hosts: [api.example.com]}\n        backend: api\n      - match: {path: "
                "/healthz}\n        respond: {status: 200, body: \"ok\"}\nbackends:\n",
                23, 14, "listeners[1].address",
                "found '127.0.0.1:8443', which listeners[0] has already; expected another"},
};

static void what_contradicts_itself_or_has_no_effect_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		malformed_check(&table[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_contradicts_itself_or_has_no_effect_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
