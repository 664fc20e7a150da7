#include "gateway/audit_bell.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"

void audit_bell_init(struct audit_bell *bell)
{
	pthread_condattr_t attributes;
	CHECK(pthread_mutex_init(&bell->mutex, NULL) == 0);
	CHECK(pthread_condattr_init(&attributes) == 0);
	CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&bell->rung, &attributes) == 0);
	pthread_condattr_destroy(&attributes);
	bell->level = AUDIT_BELL_QUIET;
}

void audit_bell_fini(struct audit_bell *bell)
{
	pthread_cond_destroy(&bell->rung);
	pthread_mutex_destroy(&bell->mutex);
}

void audit_bell_ring(struct audit_bell *bell, enum audit_bell_level level)
{
	if (atomic_load_explicit(&bell->level, memory_order_relaxed) >= level)
		return;
	pthread_mutex_lock(&bell->mutex);
	if (bell->level < level)
		bell->level = level;
	pthread_cond_signal(&bell->rung);
	pthread_mutex_unlock(&bell->mutex);
}

void audit_bell_clear(struct audit_bell *bell)
{
	pthread_mutex_lock(&bell->mutex);
	bell->level = AUDIT_BELL_QUIET;
	pthread_mutex_unlock(&bell->mutex);
}

void audit_bell_wait(struct audit_bell *bell, enum audit_bell_level level, int at_most_ms)
{
	// The true clock, not base/clock: a test's fake time must not stop the writer's real waits.
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += at_most_ms / MS_PER_S;
	until.tv_nsec += (long)(at_most_ms % MS_PER_S) * NS_PER_MS;
	if (until.tv_nsec >= NS_PER_S) {
		until.tv_nsec -= NS_PER_S;
		until.tv_sec++;
	}
	pthread_mutex_lock(&bell->mutex);
	int result = 0;
	while (bell->level < level && result != ETIMEDOUT)
		result = at_most_ms == AUDIT_BELL_FOR_EVER
		                 ? pthread_cond_wait(&bell->rung, &bell->mutex)
		                 : pthread_cond_timedwait(&bell->rung, &bell->mutex, &until);
	pthread_mutex_unlock(&bell->mutex);
}
