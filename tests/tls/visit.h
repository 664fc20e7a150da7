// For the tests of this folder: clients that come, and come back with what they kept.
#ifndef TESTS_TLS_VISIT_H
#define TESTS_TLS_VISIT_H

#include "tests/tls/gate.h"

static const struct paper nobody;

// What the client keeps of a visit; freeing an SSL that said no goodbye would spoil it.
static inline SSL_SESSION *leave(struct duel *duel)
{
	SSL_SESSION *kept = SSL_get1_session(duel->client);
	SSL_set_shutdown(duel->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	duel_fini(duel);
	return kept;
}

static inline void visit(struct gate *gate, struct duel *duel, struct duel_client client)
{
	if (client.paper == &nobody) {
		client.paper = NULL;
		duel_init(duel, gate->context, NULL, NULL, &client);
	} else {
		gate_meet(gate, duel, client);
	}
	duel_pump(duel);
	assert_int_equal(tls_status(duel->session), TLS_OPEN);
	assert_true(duel_say(duel, STR("hello")) && duel_answer(duel, STR("hello")));
}

// What may happen between two visits.
static inline void nothing(struct gate *gate)
{
	(void)gate;
}

static inline void a_day_later(struct gate *gate)
{
	(void)gate;
	clock_fake(0, (NOW_S + DAY) * NS_PER_S);
}

static inline void two_hours_back(struct gate *gate)
{
	(void)gate;
	clock_fake(0, (NOW_S - 2 * HOUR) * NS_PER_S);
}

#endif
