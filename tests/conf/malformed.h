// What every table of malformed files needs: a good file, one change to it, and the one problem
// that the change must give. One thread; for tests.
#ifndef TESTS_CONF_MALFORMED_H
#define TESTS_CONF_MALFORMED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buffer.h"
#include "conf/config.h"
#include "tests/conf/loading.h"

// clang-format off
static const char malformed_good[] =
	"version: tollgate/v1\n"                                                         // 1
	"workers: 2\n"                                                                   // 2
	"listeners:\n"                                                                   // 3
	"  - name: edge\n"                                                               // 4
	"    address: 127.0.0.1:8443\n"                                                  // 5
	"    tls:\n"                                                                     // 6
	"      certificates: [{certificate_chain: gateway.pem, private_key: gateway.key}]\n"    // 7
	"      min_version: \"1.2\"\n"                                                   // 8
	"      validation_context:\n"                                                    // 9
	"        trusted_ca: ca.pem\n"                                                   // 10
	"        match_subject_alt_names: [\"spiffe://cluster.local/*\"]\n"              // 11
	"    timeouts: {handshake: 5s}\n"                                                // 12
	"    limits: {header_bytes: 60KiB}\n"                                            // 13
	"    routes:\n"                                                                  // 14
	"      - match: {grpc: user.UserService/Login}\n"                                // 15
	"        backend: users\n"                                                       // 16
	"        rate_limits: [{rate: 5/s, burst: 10, per: [identity]}]\n"               // 17
	"      - match: {path: /api/*, methods: [GET], hosts: [api.example.com]}\n"      // 18
	"        backend: api\n"                                                         // 19
	"      - match: {path: /healthz}\n"                                              // 20
	"        respond: {status: 200, body: \"ok\"}\n"                                 // 21
	"backends:\n"                                                                    // 22
	"  - name: users\n"                                                              // 23
	"    protocol: h2\n"                                                             // 24
	"    endpoints: [127.0.0.1:50051]\n"                                             // 25
	"  - name: api\n"                                                                // 26
	"    endpoints: [127.0.0.1:8080]\n";                                             // 27
// clang-format on

struct malformed {
	const char *name;       // what is wrong
	const char *from, *to;  // the change to the good file; without `from`, `to` is the file
	int line, column;
	const char *key, *what;  // the key path; a part of the message
	size_t problems;         // 0: this one alone; else how many there are, this one among them
};

static inline void malformed_text(const struct malformed *row, struct buffer *text)
{
	const char *from = row->from ? strstr(malformed_good, row->from) : NULL;
	if (!row->from) {
		buffer_append_str(text, str_from(row->to));
		return;
	}
	assert_non_null(from);
	buffer_append(text, malformed_good, (size_t)(from - malformed_good));
	buffer_append_str(text, str_from(row->to));
	buffer_append_str(text, str_from(from + strlen(row->from)));
}

// The good file with a change that leaves it good.
static inline struct config *parse_changed(const char *from, const char *to)
{
	struct buffer text = {0};
	malformed_text(&(const struct malformed){.from = from, .to = to}, &text);
	struct config *config = assert_parses(buffer_str(&text), "/etc");
	buffer_fini(&text);
	return config;
}

static inline bool malformed_told(const struct malformed *row, const struct config_problem *problem)
{
	return problem->mark.line == row->line && problem->mark.column == row->column &&
	       str_eq(problem->key, str_from(row->key)) &&
	       memmem(problem->what.at, problem->what.len, row->what, strlen(row->what));
}

static inline void malformed_check(const struct malformed *row)
{
	struct config_problems problems = {0};
	struct buffer text = {0};
	bool told = false;
	malformed_text(row, &text);
	struct config *config = config_parse(buffer_str(&text), "bad.yaml", "/etc", &problems);
	for (size_t i = 0; i < problems.count; i++)
		told = told || malformed_told(row, &problems.items[i]);
	size_t expected = row->problems ? row->problems : 1;
	if (config || !told || problems.count != expected) {
		print_error("%s: expected %d:%d: %s: ...%s... among %zu, got\n", row->name,
		        row->line, row->column, row->key, row->what, expected);
		config_problems_print(&problems, 2);
		fail();
	}
	config_problems_fini(&problems);
	buffer_fini(&text);
}

#endif
