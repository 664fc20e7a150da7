// A connection does not outlive its certificate: at not_after it is drained, and what does not let itself be drained is
// cut after drain_timeout.
#include "base/clock.h"
#include "gateway/downstream.h"

enum { EXPIRY_CHECK_S = 60 };  // the wheel is set at most this far ahead

static void watch_expiry(struct downstream *downstream, int64_t not_after_s)
{
	int64_t left_s = not_after_s - clock_wall_ns() / NS_PER_S;
	if (left_s > EXPIRY_CHECK_S)
		left_s = EXPIRY_CHECK_S;
	turn_set_timer(&downstream->worker->turn, &downstream->expiry,
	        left_s > 0 ? (left_s + 1) * (int64_t)NS_PER_S : 0);
}

// A client that does not answer the first GOAWAY gets the last one; calls without end are cut in the end.
static void expire(struct downstream *downstream, int64_t not_after_s)
{
	int64_t drain_ns = downstream->snapshot->config->drain_timeout_ns;
	int64_t since_ns = clock_wall_ns() - (not_after_s + 1) * (int64_t)NS_PER_S;
	bool told = downstream->draining;
	if (told && since_ns >= drain_ns) {
		downstream_close(downstream);
		return;
	}
	downstream_drain(downstream);
	if (told)
		downstream->codec->ops->shutdown(downstream->codec);
	int64_t wait_ns = told ? drain_ns - since_ns : (int64_t)LINK_LINGER_MS * NS_PER_MS;
	turn_set_timer(&downstream->worker->turn, &downstream->expiry, wait_ns);
}

void downstream_on_expiry(struct timer *timer)
{
	struct downstream *downstream = CONTAINER_OF(timer, struct downstream, expiry);
	int64_t not_after_s = tls_session_peer(downstream->link.tls)->expires_s;
	if (not_after_s >= clock_wall_ns() / NS_PER_S)
		watch_expiry(downstream, not_after_s);
	else
		expire(downstream, not_after_s);
}

void downstream_watch_expiry(struct downstream *downstream)
{
	watch_expiry(downstream, tls_session_peer(downstream->link.tls)->expires_s);
}
