#include "gateway/tracing.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digits.h"
#include "base/log.h"
#include "gateway/otlp.h"
#include "gateway/trace_post.h"
#include "gateway/version.h"
#include "tls/digest.h"

enum {
	GATHER_MS = 1000,      // spans gather this long, so that many leave in one export
	FIRST_PAUSE_MS = 500,  // between two tries; doubled each time
	PAUSE_MS_MAX = 30000,
	GIVE_UP_S = 60,  // on one batch
	CLOSING_MS = 1800,
	HURRIED_MS = 100,
	NOTICE_MS = 200,  // more, for the thread to end
	SHOUT_S = 30,
};

struct tracing {
	struct trace_queue queue;
	struct trace_lane *lanes;
	size_t lane_count, next_lane;
	struct trace_post *post;
	pthread_t thread;
	struct audit_bell finished;
	_Atomic(struct config *) offered;
	struct config *config;  // in force: the exporter's
	char host[256], instance[2 * DIGITS_HEX];
	struct buffer spans, request;
	int64_t try_until_ns, shout_ns;
	bool shouted;
	atomic_uint_fast64_t exported, failed;
	_Atomic int64_t closing_ns;  // when all must be over; 0: not closing
	uint64_t random;
};

static const struct config_tracing *settings(const struct tracing *tracing)
{
	return &tracing->config->tracing;
}

// What a reload has changed. True when there was anything.
static bool follow(struct tracing *tracing)
{
	struct config *next = atomic_exchange(&tracing->offered, NULL);
	if (!next)
		return false;
	trace_post_aim(tracing->post, &next->tracing);
	if (tracing->config)
		config_free(tracing->config);
	tracing->config = next;
	return true;
}

static bool closing(const struct tracing *tracing)
{
	return atomic_load(&tracing->closing_ns) != 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

// For the sender, which asks again when it is woken.
static int64_t send_until(void *argument)
{
	const struct tracing *tracing = argument;
	int64_t closing_ns = atomic_load(&tracing->closing_ns);
	return closing_ns ? earlier(closing_ns, tracing->try_until_ns) : tracing->try_until_ns;
}

static size_t gather(struct tracing *tracing)
{
	size_t count = 0;
	buffer_clear(&tracing->spans);
	for (size_t i = 0; i < tracing->lane_count; i++) {
		size_t lane = (tracing->next_lane + i) % tracing->lane_count;
		count += trace_lane_take(
		        &tracing->lanes[lane], settings(tracing)->batch - count, &tracing->spans);
	}
	tracing->next_lane++;  // a busy lane does not starve the others
	return count;
}

static void shout(struct tracing *tracing, const char *why, size_t count)
{
	int64_t now_ns = clock_monotonic_ns();
	if (tracing->shouted && now_ns < tracing->shout_ns)
		return;
	tracing->shouted = true;
	tracing->shout_ns = now_ns + (int64_t)SHOUT_S * NS_PER_S;
	log_event(LOG_WARN, "spans not exported", "endpoint=\"%.*s\" error=\"%s\" spans=%zu",
	        STR_FMT(settings(tracing)->endpoint.text), why, count);
}

static void fail(struct tracing *tracing, size_t count)
{
	atomic_fetch_add_explicit(&tracing->failed, count, memory_order_relaxed);
}

static void taken(struct tracing *tracing, struct str answer, size_t count)
{
	uint64_t rejected;
	struct str message;
	if (!otlp_response(answer, &rejected, &message) || rejected > count)
		rejected = 0;  // whoever says 200 and nonsense took them
	fail(tracing, rejected);
	atomic_fetch_add_explicit(&tracing->exported, count - rejected, memory_order_relaxed);
	if (rejected) {
		char why[256];
		snprintf(why, sizeof(why), "%.*s", STR_FMT(message));
		shout(tracing, why, rejected);
	} else if (tracing->shouted) {
		tracing->shouted = false;
		log_event(LOG_INFO, "spans are exported again", "%s", "");
	}
}

// Half of it at least and all of it at most, so that many gateways do not come back at once.
static int64_t shuffled(struct tracing *tracing, int64_t ns)
{
	tracing->random = tracing->random * UINT64_C(6364136223846793005) +
	                  UINT64_C(1442695040888963407);
	return ns / 2 + (int64_t)((tracing->random >> 33) % (uint64_t)(ns / 2 + 1));
}

// Until the time, the end, or another configuration. False at the end.
static bool pause_until(struct tracing *tracing, int64_t until_ns)
{
	for (;;) {
		audit_bell_clear(&tracing->queue.bell);
		int64_t left_ns = until_ns - clock_monotonic_ns();
		if (closing(tracing))
			return false;
		if (follow(tracing) || left_ns <= 0)
			return true;
		audit_bell_wait(
		        &tracing->queue.bell, AUDIT_BELL_URGENT, (int)(left_ns / NS_PER_MS) + 1);
	}
}

static void send_once(struct tracing *tracing, struct trace_post_answer *answer)
{
	tracing->try_until_ns = clock_monotonic_ns() + settings(tracing)->timeout_ns;
	trace_post_send(tracing->post, buffer_str(&tracing->request), send_until, tracing, answer);
}

static void write_request(struct tracing *tracing)
{
	const struct otlp_resource resource = {.service_name = settings(tracing)->service_name.text,
	        .service_version = str_from(version_text()),
	        .instance_id = str_of(tracing->instance, sizeof(tracing->instance)),
	        .host_name = str_from(tracing->host),
	        .pid = getpid()};
	buffer_clear(&tracing->request);
	otlp_request(&tracing->request, &resource, buffer_str(&tracing->spans));
}

static void export_batch(struct tracing *tracing, size_t count)
{
	int64_t give_up_ns = clock_monotonic_ns() + (int64_t)GIVE_UP_S * NS_PER_S;
	int64_t pause_ns = (int64_t)FIRST_PAUSE_MS * NS_PER_MS;
	struct trace_post_answer answer;
	for (;;) {
		write_request(tracing);
		send_once(tracing, &answer);
		if (answer.result == TRACE_POST_TAKEN) {
			taken(tracing, answer.body, count);
			return;
		}
		shout(tracing, answer.why, count);
		int64_t wait_ns = answer.retry_after_ns ? answer.retry_after_ns
		                                        : shuffled(tracing, pause_ns);
		int64_t until_ns = clock_monotonic_ns() + wait_ns;
		if (answer.result == TRACE_POST_REFUSED || until_ns > give_up_ns ||
		        !pause_until(tracing, until_ns)) {
			fail(tracing, count);
			return;
		}
		pause_ns = earlier(2 * pause_ns, (int64_t)PAUSE_MS_MAX * NS_PER_MS);
	}
}

static uint64_t waiting(const struct tracing *tracing)
{
	return atomic_load_explicit(&tracing->queue.waiting, memory_order_relaxed);
}

static void await_work(struct tracing *tracing)
{
	struct audit_bell *bell = &tracing->queue.bell;
	if (closing(tracing))
		return;
	if (!waiting(tracing))
		audit_bell_wait(bell, AUDIT_BELL_WANTED, AUDIT_BELL_FOR_EVER);
	if (waiting(tracing) < settings(tracing)->batch)
		audit_bell_wait(bell, AUDIT_BELL_URGENT, GATHER_MS);
}

static void *exporter(void *argument)
{
	struct tracing *tracing = argument;
	for (;;) {
		audit_bell_clear(&tracing->queue.bell);  // before looking at anything
		follow(tracing);
		await_work(tracing);
		size_t count = gather(tracing);
		if (count)
			export_batch(tracing, count);
		else if (closing(tracing))
			break;
	}
	audit_bell_ring(&tracing->finished, AUDIT_BELL_URGENT);
	return NULL;
}

static void limit(struct tracing *tracing, const struct config_tracing *config)
{
	atomic_store_explicit(&tracing->queue.most, config->queue, memory_order_relaxed);
	atomic_store_explicit(&tracing->queue.batch, config->batch, memory_order_relaxed);
}

static void start_thread(struct tracing *tracing)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	CHECK(pthread_create(&tracing->thread, NULL, exporter, tracing) == 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct tracing *tracing_open(struct config *config, size_t lanes)
{
	struct tracing *tracing = must_alloc(sizeof(*tracing));
	uint64_t random[3];
	digest_random(random, sizeof(random));
	digits_hex_padded(tracing->instance, random[0]);
	digits_hex_padded(tracing->instance + DIGITS_HEX, random[1]);
	tracing->random = random[2];
	if (gethostname(tracing->host, sizeof(tracing->host) - 1) < 0)
		tracing->host[0] = '\0';
	trace_queue_init(&tracing->queue);
	audit_bell_init(&tracing->finished);
	limit(tracing, &config->tracing);
	tracing->lane_count = lanes;
	tracing->lanes = must_alloc(lanes * sizeof(*tracing->lanes));
	for (size_t i = 0; i < lanes; i++)
		trace_lane_init(&tracing->lanes[i], &tracing->queue);
	tracing->post = trace_post_new();
	atomic_store(&tracing->offered, config_ref(config));
	follow(tracing);
	start_thread(tracing);
	return tracing;
}

struct trace_lane *tracing_lane_of(struct tracing *tracing, size_t index)
{
	CHECK(index < tracing->lane_count);
	return &tracing->lanes[index];
}

void tracing_follow(struct tracing *tracing, struct config *config)
{
	limit(tracing, &config->tracing);
	struct config *before = atomic_exchange(&tracing->offered, config_ref(config));
	if (before)
		config_free(before);
	audit_bell_ring(&tracing->queue.bell, AUDIT_BELL_URGENT);
}

uint64_t tracing_total(const struct tracing *tracing, enum tracing_result result)
{
	switch (result) {
	case TRACING_EXPORTED:
		return atomic_load_explicit(&tracing->exported, memory_order_relaxed);
	case TRACING_DROPPED:
		return atomic_load_explicit(&tracing->queue.dropped, memory_order_relaxed);
	case TRACING_FAILED:
		return atomic_load_explicit(&tracing->failed, memory_order_relaxed);
	case TRACING_RESULT_COUNT:
		break;
	}
	CHECK(!"a result");
	return 0;
}

const char *tracing_result_name(enum tracing_result result)
{
	static const char *const names[TRACING_RESULT_COUNT] = {"exported", "dropped", "failed"};
	return names[result];
}

static void say_what_is_lost(const struct tracing *tracing, uint64_t failed_before)
{
	uint64_t failed = tracing_total(tracing, TRACING_FAILED);
	uint64_t lost = waiting(tracing) + failed - failed_before;
	if (lost)
		log_event(LOG_WARN, "spans lost, the collector did not take them in time",
		        "spans=%" PRIu64, lost);
}

static void release(struct tracing *tracing)
{
	struct config *offered = atomic_exchange(&tracing->offered, NULL);
	if (offered)
		config_free(offered);
	config_free(tracing->config);
	buffer_fini(&tracing->spans);
	buffer_fini(&tracing->request);
	audit_bell_fini(&tracing->finished);
	trace_queue_fini(&tracing->queue);
	free(tracing);
}

void tracing_close(struct tracing *tracing, bool hurried)
{
	if (!tracing)
		return;
	uint64_t failed_before = tracing_total(tracing, TRACING_FAILED);
	int64_t patience_ms = hurried ? HURRIED_MS : CLOSING_MS;
	atomic_store(&tracing->closing_ns, clock_monotonic_ns() + patience_ms * NS_PER_MS);
	audit_bell_ring(&tracing->queue.bell, AUDIT_BELL_URGENT);
	trace_post_wake(tracing->post);
	audit_bell_wait(&tracing->finished, AUDIT_BELL_URGENT, (int)patience_ms + NOTICE_MS);
	say_what_is_lost(tracing, failed_before);
	if (atomic_load(&tracing->finished.level) < AUDIT_BELL_URGENT) {
		// It hangs in the resolver, which no signal ends. What it holds stays its own; the
		// process goes down under it.
		pthread_detach(tracing->thread);
		return;
	}
	CHECK(pthread_join(tracing->thread, NULL) == 0);
	for (size_t i = 0; i < tracing->lane_count; i++)
		trace_lane_fini(&tracing->lanes[i]);
	free(tracing->lanes);
	trace_post_free(tracing->post);
	release(tracing);
}
