// What the policy tests share: a config from the lines that matter, compiled. Everything else in
// the file is the same for all. One fixture a test; the store outlives several policies.
#ifndef TESTS_POLICY_POLICY_FIXTURE_H
#define TESTS_POLICY_POLICY_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buffer.h"
#include "policy/policy.h"

#define NAMES_ALL "['spiffe://cluster.local/*']"

struct fixture {
	struct config *config;
	struct config_problems problems;
	struct policy *policy;
};

// `names` is the value of match_subject_alt_names, `routes` the items of the list, each beginning
// with "- ".
static inline void fixture_parse(
        struct fixture *fixture, const char *names, const char *routes, const char *backends)
{
	struct buffer text = {0};
	buffer_printf(&text,
	        "version: tollgate/v1\n"
	        "listeners:\n"
	        "  - name: edge\n"
	        "    address: 127.0.0.1:8443\n"
	        "    tls:\n"
	        "      certificates: [{certificate_chain: gateway.pem, private_key: gateway.key}]\n"
	        "      validation_context: {trusted_ca: ca.pem, match_subject_alt_names: %s}\n"
	        "    routes:\n",
	        names);
	for (const char *line = routes; *line;) {
		size_t len = strcspn(line, "\n");
		buffer_printf(&text, "      %.*s\n", (int)len, line);
		line += len + (line[len] == '\n');
	}
	buffer_printf(&text, "%s", backends);
	*fixture = (struct fixture){0};
	fixture->config = config_parse(buffer_str(&text), "gate.yaml", "/etc", &fixture->problems);
	buffer_fini(&text);
}

static inline void fixture_fail_on_problems(struct fixture *fixture)
{
	config_problems_print(&fixture->problems, 2);
	assert_int_equal(fixture->problems.count, 0);
}

static inline void fixture_compile(struct fixture *fixture, struct bucket_store *store,
        const char *names, const char *routes, const char *backends)
{
	fixture_parse(fixture, names, routes, backends);
	fixture_fail_on_problems(fixture);
	fixture->policy = policy_compile(fixture->config, store, &fixture->problems);
	fixture_fail_on_problems(fixture);
	assert_non_null(fixture->policy);
}

static inline void fixture_free(struct fixture *fixture)
{
	policy_free(fixture->policy);
	config_free(fixture->config);
	config_problems_fini(&fixture->problems);
}

#endif
