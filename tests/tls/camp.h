// For the tests of this folder: the plainest backend, of which we show a certificate, and a server
// that may be asked. Servers are known by name, or by SPIFFE ID where dialled so.
#ifndef TESTS_TLS_CAMP_H
#define TESTS_TLS_CAMP_H

#include "tests/tls/desk.h"
#include "tests/tls/errand.h"

#define SERVER_NAME "users.internal"
#define SERVER_ID "spiffe://cluster.local/ns/users/sa/users"

struct camp {
	struct desk desk;
	struct paper root, gateway, server;
	struct tls_context *by_name, *by_id;
};

static const int camp_versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static inline struct paper camp_forge(const struct draft *draft, const struct paper *issuer)
{
	struct draft whole = *draft;
	bool named = draft->names || draft->raw_san.at || draft->raw_uri.at;
	whole.cn = draft->cn ? draft->cn : "server";
	whole.names = named ? draft->names : "DNS:" SERVER_NAME ",URI:" SERVER_ID;
	whole.extended = draft->extended ? draft->extended : "serverAuth";
	return forge(&whole, issuer);
}

static inline void camp_forget(struct camp *camp)
{
	tls_context_unref(camp->by_name);
	tls_context_unref(camp->by_id);
	camp->by_name = camp->by_id = NULL;
}

// New contexts from what the desk holds now.
static inline void camp_renew(struct camp *camp)
{
	camp_forget(camp);
	camp->desk.tls.match_subject_alt_names.count = 0;
	camp->by_name = desk_context(&camp->desk);
	desk_know_by_id(&camp->desk);
	camp->by_id = desk_context(&camp->desk);
	CHECK(camp->by_name && camp->by_id);
}

static inline int camp_pitch(void **state)
{
	static struct camp camp;
	clock_fake(0, NOW_S * NS_PER_S);
	desk_init(&camp.desk);
	desk_dial(&camp.desk);
	camp.root = forge(&(struct draft){.cn = "root", .ca = true}, NULL);
	camp.gateway = forge(&(struct draft){.cn = "gateway"}, &camp.root);
	camp.server = camp_forge(&(struct draft){0}, &camp.root);
	desk_serve(&camp.desk, &camp.gateway);
	desk_trust(&camp.desk, (const struct paper *[]){&camp.root}, 1);
	camp_renew(&camp);
	*state = &camp;
	return 0;
}

static inline int camp_strike(void **state)
{
	struct camp *camp = *state;
	camp_forget(camp);
	paper_fini(&camp->server);
	paper_fini(&camp->gateway);
	paper_fini(&camp->root);
	desk_fini(&camp->desk);
	return 0;
}

// Dials the camp's server, unless another paper is given, by name.
static inline void camp_dial(struct camp *camp, struct errand *errand, struct errand_server server)
{
	if (!server.paper)
		server.paper = &camp->server;
	errand_init(errand, camp->by_name, &(struct tls_server){.name = STR(SERVER_NAME)}, NULL,
	        NULL, &server);
}

#endif
