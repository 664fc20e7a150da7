// For the tests of this folder: the plainest gate and a client that may pass it.
#ifndef TESTS_TLS_GATE_H
#define TESTS_TLS_GATE_H

#include "tests/tls/desk.h"
#include "tests/tls/duel.h"

struct gate {
	struct desk desk;
	struct paper root, gateway, client;
	struct tls_context *context;
};

static const int tls_versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static inline int gate_open(void **state)
{
	static struct gate gate;
	clock_fake(0, NOW_S * NS_PER_S);
	desk_init(&gate.desk);
	gate.root = forge(&(struct draft){.cn = "root", .ca = true}, NULL);
	gate.gateway = forge(&(struct draft){.cn = "gateway",
	                             .names = "DNS:gateway.test,URI:spiffe://cluster.local/gw"},
	        &gate.root);
	gate.client = forge(&(struct draft){.cn = "client"}, &gate.root);
	desk_serve(&gate.desk, &gate.gateway);
	desk_trust(&gate.desk, (const struct paper *[]){&gate.root}, 1);
	gate.context = desk_context(&gate.desk);
	*state = &gate;
	return gate.context ? 0 : -1;
}

static inline int gate_close(void **state)
{
	struct gate *gate = *state;
	tls_context_unref(gate->context);
	paper_fini(&gate->client);
	paper_fini(&gate->gateway);
	paper_fini(&gate->root);
	desk_fini(&gate->desk);
	return 0;
}

// A new context from what the desk holds now.
static inline void gate_renew(struct gate *gate)
{
	tls_context_unref(gate->context);
	gate->context = desk_context(&gate->desk);
	CHECK(gate->context);
}

static inline void gate_meet(struct gate *gate, struct duel *duel, struct duel_client client)
{
	if (!client.paper)
		client.paper = &gate->client;
	duel_init(duel, gate->context, NULL, NULL, &client);
}

#endif
