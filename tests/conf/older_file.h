// Files with older spellings, of which only the text is there: neither certificates nor names nor
// users. One thread; for tests.
#ifndef TESTS_CONF_OLDER_FILE_H
#define TESTS_CONF_OLDER_FILE_H

#include <stdio.h>

#include "conf/older.h"
#include "tests/conf/loading.h"

static const char older_head[] =
        "version: tollgate/v1\n"
        "listeners:\n"
        "  - name: edge\n"
        "    address: 127.0.0.1:8443\n"
        "    tls:\n"
        "      certificates: [{certificate_chain: none.pem, private_key: none.key}]\n"
        "      validation_context:\n"
        "        trusted_ca: none.pem  # ü\n"
        "        match_subject_alt_names: [\"spiffe://cluster.local/*\"]\n"
        "    routes:\n"
        "      - {match: {path: /a}, backend: a}\n"
        "      - {match: {path: /b}, backend: b}\n";
static const char older_backends[] =
        "redis: {address: \"nowhere.invalid:1\", password: \"ü# [, ]\"}\n"
        "run_as: {user: nobody-knows}\n"
        "backends:\n"
        "  - {name: b, endpoints: [\"_grpc._tcp.nowhere.invalid\"]}\n";

// With a route to each backend that is there, and with these line ends.
static inline void older_write(const char *rest, const char *line_end, struct buffer *out)
{
	struct buffer text = {0};
	buffer_append_str(&text, STR(older_head));
	for (const char *name = "cd"; *name; name++) {
		const char words[] = {'n', 'a', 'm', 'e', ':', ' ', *name, '\0'};
		if (strstr(rest, words))
			buffer_printf(
			        &text, "      - {match: {path: /%c}, backend: %c}\n", *name, *name);
	}
	buffer_printf(&text, "%s%s", older_backends, rest);
	for (size_t i = 0; i < buffer_len(&text); i++) {
		const char *at = buffer_data(&text) + i;
		buffer_append_str(out, *at == '\n' ? str_from(line_end) : str_of(at, 1));
	}
	buffer_fini(&text);
}

static inline struct config *older_parse(struct str text, struct config_problems *problems)
{
	return config_parse_offline(text, "/nowhere/older.yaml", problems);
}

#endif
