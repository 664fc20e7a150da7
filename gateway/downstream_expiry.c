// A connection does not outlive its right to be here: at the certificate's not_after, or when trust
// is withdrawn, it is drained, and what does not let itself be drained is cut after drain_timeout.
#include "base/clock.h"
#include "gateway/downstream.h"

enum { EXPIRY_CHECK_S = 60 };  // the wheel is set at most this far ahead

static void set_timer(struct downstream *downstream, int64_t after_ns)
{
	turn_set_timer(&downstream->worker->turn, &downstream->expiry, after_ns);
}

static void wait_for_end(struct downstream *downstream)
{
	int64_t now_ns = clock_wall_ns();
	int64_t left_ns = EXPIRY_CHECK_S * (int64_t)NS_PER_S;
	if (downstream->ends_s - now_ns / NS_PER_S <= EXPIRY_CHECK_S)
		left_ns = downstream->ends_s * (int64_t)NS_PER_S - now_ns;
	set_timer(downstream, left_ns > 0 ? left_ns : 0);
}

// A client that does not answer the first GOAWAY gets the last one; calls without end are cut in
// the end.
static void expire(struct downstream *downstream)
{
	const int64_t first_ns = (int64_t)LINK_LINGER_MS * NS_PER_MS;
	int64_t now_ns = clock_monotonic_ns();
	bool told = downstream->codec->shutting_down;
	if (!downstream->drains_ns)
		downstream->drains_ns = now_ns;
	int64_t left_ns = downstream->drains_ns + downstream->snapshot->config->drain_timeout_ns -
	                  now_ns;
	if (told && left_ns <= 0) {
		downstream_close(downstream);
		return;
	}
	downstream_last_call(downstream);
	if (told)
		downstream->codec->ops->shutdown(downstream->codec);
	set_timer(downstream, told || left_ns < first_ns ? left_ns : first_ns);
}

void downstream_on_expiry(struct timer *timer)
{
	struct downstream *downstream = CONTAINER_OF(timer, struct downstream, expiry);
	if (!downstream->drains_ns && downstream->ends_s > clock_wall_ns() / NS_PER_S)
		wait_for_end(downstream);
	else
		expire(downstream);
}

void downstream_watch_expiry(struct downstream *downstream)
{
	downstream->ends_s = tls_session_peer(downstream->link.tls)->expires_s;
	wait_for_end(downstream);
}

void downstream_drain(struct downstream *downstream)
{
	bool known = downstream->draining && downstream->codec && downstream->codec->shutting_down;
	downstream->draining = true;
	if (!downstream->codec || known)
		return;  // the handshake has its deadline
	downstream->ends_s = clock_wall_ns() / NS_PER_S;
	downstream->drains_ns = clock_monotonic_ns();
	// When the whole process leaves, gateway.c cuts what is left and says so; not we before it.
	if (downstream->worker->draining)
		downstream->drains_ns += LINK_LINGER_MS * (int64_t)NS_PER_MS;
	expire(downstream);
}
