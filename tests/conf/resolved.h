// Configurations whose names a test's own name server resolves. One thread; for tests.
#ifndef TESTS_CONF_RESOLVED_H
#define TESTS_CONF_RESOLVED_H

#include "conf/address.h"
#include "tests/conf/dns_server.h"
#include "tests/conf/loading.h"

#define REST                                                                                       \
	"listeners: [{name: a, address: \"127.0.0.1:1\", tls: {certificates: "                     \
	"[{certificate_chain: c, private_key: k}], validation_context: {trusted_ca: ca, "          \
	"match_subject_alt_names: [\"spiffe://a/*\"]}}, routes: [{match: {path: /*}, backend: "    \
	"b}]}]\n"

static struct config_problems problems;

static inline struct config *parse(const char *dns, const char *backend)
{
	struct buffer text = {0};
	buffer_printf(&text, "version: tollgate/v1\n%s\n" REST "backends: [{name: b, %s}]\n", dns,
	        backend);
	struct config *config = config_parse(buffer_str(&text), "t.yaml", "/etc", &problems);
	buffer_fini(&text);
	return config;
}

// As `127.0.0.1:80*2 [::1]:81*1`: with their weights.
static inline void assert_endpoints(const struct config *config, const char *expected)
{
	struct buffer text = {0};
	const struct config_backend *backend = &config->backends[0];
	for (size_t i = 0; i < backend->endpoint_count; i++) {
		const struct config_address *address = &backend->endpoints[i];
		char host[INET6_ADDRSTRLEN], port[8];
		assert_int_equal(getnameinfo((const struct sockaddr *)&address->socket,
		                         address->socket_len, host, sizeof(host), port,
		                         sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV),
		        0);
		buffer_printf(&text, "%s%s:%s*%u", i ? " " : "", host, port, backend->weights[i]);
	}
	assert_text(buffer_str(&text), expected);
	buffer_fini(&text);
}

static inline int open_server(void **state)
{
	static struct dns_server server;
	dns_open(&server);
	*state = &server;
	return 0;
}

static inline int close_server(void **state)
{
	dns_close(*state);
	return 0;
}

#endif
