// What a connection waits for, and for how long.
#include "base/clock.h"
#include "gateway/downstream.h"

enum {
	REFUSED_WAIT_MS = 2000,  // for what a refused caller asks
	LAST_CALL_MS = 1000,     // for the next request of a connection that is to end
};

void downstream_set_deadline(struct downstream *downstream, int64_t after_ns)
{
	struct turn *turn = &downstream->worker->turn;
	turn_stop_timer(turn, &downstream->timer);
	if (after_ns > 0)
		turn_set_timer(turn, &downstream->timer, after_ns);
}

// While draining over HTTP/1.1 the next request may be under way already.
static int64_t idle_wait_ns(const struct downstream *downstream)
{
	int64_t idle_ns = downstream_config(downstream)->timeouts.idle_ns;
	if (downstream->standing != REASON_NONE)
		return (int64_t)REFUSED_WAIT_MS * NS_PER_MS;
	if (!downstream->draining || downstream->codec->h2)
		return idle_ns;
	int64_t last_ns = (int64_t)LAST_CALL_MS * NS_PER_MS;
	return idle_ns && idle_ns < last_ns ? idle_ns : last_ns;
}

static int64_t head_wait_ns(const struct downstream *downstream)
{
	if (downstream->standing != REASON_NONE)
		return (int64_t)REFUSED_WAIT_MS * NS_PER_MS;
	return downstream_config(downstream)->timeouts.request_headers_ns;
}

void downstream_enter(struct downstream *downstream, enum downstream_phase phase)
{
	const struct config_timeouts *timeouts = &downstream_config(downstream)->timeouts;
	if (downstream->phase == phase)
		return;
	downstream->phase = phase;
	switch (phase) {
	case DOWNSTREAM_HANDSHAKE:
		downstream_set_deadline(downstream, timeouts->handshake_ns);
		break;
	case DOWNSTREAM_IDLE:
		downstream_set_deadline(downstream, idle_wait_ns(downstream));
		break;
	case DOWNSTREAM_HEAD:
		downstream_set_deadline(downstream, head_wait_ns(downstream));
		break;
	case DOWNSTREAM_BUSY:
	case DOWNSTREAM_CLOSING:
		downstream_set_deadline(downstream, 0);
		break;
	}
}

void downstream_enter_head(struct downstream *downstream)
{
	bool another = downstream->head != downstream->codec->head_pending;
	downstream->head = downstream->codec->head_pending;
	if (downstream->phase == DOWNSTREAM_HEAD && another)
		downstream_set_deadline(downstream, head_wait_ns(downstream));
	else
		downstream_enter(downstream, DOWNSTREAM_HEAD);
}

void downstream_wait_anew(struct downstream *downstream)
{
	if (downstream->phase == DOWNSTREAM_IDLE)
		downstream_set_deadline(downstream, idle_wait_ns(downstream));
}
