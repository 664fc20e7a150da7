#include "gateway/worker.h"

#include <signal.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/spare.h"
#include "gateway/admission.h"
#include "gateway/downstream.h"
#include "gateway/http/h2_memory.h"
#include "gateway/limit_store.h"
#include "gateway/pending.h"
#include "gateway/pool.h"
#include "tls/digest.h"

enum { REVIEW_MS = 2 };

uint64_t worker_random(struct worker *worker)  // xoshiro256++
{
	uint64_t *s = worker->random;
#define ROTATE(x, by) (((x) << (by)) | ((x) >> (64 - (by))))
	uint64_t result = ROTATE(s[0] + s[3], 23) + s[0], t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = ROTATE(s[3], 45);
	return result;
}

// Who came in by another configuration is judged by this one, a few at a time: chains that were
// never seen under this bundle have to be verified anew.
static void on_review(struct timer *timer)
{
	struct worker *worker = CONTAINER_OF(timer, struct worker, review);
	int64_t until_ns = clock_monotonic_ns() + (int64_t)REVIEW_MS * NS_PER_MS;
	struct list *node;
	while (clock_monotonic_ns() < until_ns && (node = list_pop(&worker->unreviewed))) {
		list_push(&worker->downstreams, node);
		downstream_review(LIST_ITEM(node, struct downstream, node));
	}
	if (!list_empty(&worker->unreviewed))
		turn_set_timer(&worker->turn, &worker->review, (int64_t)REVIEW_MS * NS_PER_MS);
}

static void say_taken(struct worker *worker)
{
	uv_mutex_lock(&worker->lock);
	worker->serves = worker->snapshot;
	uv_cond_signal(&worker->turned);
	uv_mutex_unlock(&worker->lock);
}

static void take_offer(struct worker *worker)
{
	struct snapshot *next = atomic_exchange(&worker->offered, NULL);
	if (!next)
		return;
	worker_listeners_leave(worker, next);
	snapshot_unref(worker->snapshot);
	worker->snapshot = next;
	admissions_use(worker, next);
	limit_store_use(worker->limits, next->config);
	if (worker->begun) {
		pools_renew(worker);
		worker_listeners_join(worker);
	}
	metrics_prune(worker->metrics);
	list_splice(&worker->unreviewed, &worker->downstreams);
	turn_set_timer(&worker->turn, &worker->review, (int64_t)REVIEW_MS * NS_PER_MS);
	say_taken(worker);
}

static void begin_drain(struct worker *worker)
{
	worker_listeners_shut(worker);
	worker->draining = true;
	list_splice(&worker->downstreams, &worker->unreviewed);
	LIST_EACH (&worker->downstreams, node)
		downstream_drain(LIST_ITEM(node, struct downstream, node));
}

static void begin_stop(struct worker *worker)
{
	worker->stopping = true;
	list_splice(&worker->downstreams, &worker->unreviewed);
	LIST_EACH (&worker->downstreams, node)
		downstream_close(LIST_ITEM(node, struct downstream, node));
}

static void begin(struct worker *worker)
{
	if (worker->begun || !atomic_load(&worker->begin_asked))
		return;
	worker->begun = true;
	pools_renew(worker);
	worker_listeners_join(worker);
}

static void on_bell(uv_async_t *bell)
{
	struct worker *worker = bell->data;
	turn_wake(&worker->turn);
	atomic_store(&worker->pulse, atomic_load(&worker->pulse_asked));
	begin(worker);
	take_offer(worker);
	if (atomic_load(&worker->drain_asked) && !worker->draining)
		begin_drain(worker);
	if (atomic_load(&worker->stop_asked) && !worker->stopping)
		begin_stop(worker);
	worker_settle(worker);
}

void worker_settle(struct worker *worker)
{
	if (!worker->draining || worker->downstream_count || worker->finished)
		return;
	if (worker->upstream_count) {
		pools_close(worker);
		return;
	}
	limit_store_use(worker->limits, NULL);
	if (limit_store_open(worker->limits))
		return;
	worker->finished = true;
	turn_stop_timer(&worker->turn, &worker->review);
	pools_rest(worker);
	uv_close((uv_handle_t *)&worker->bell, NULL);
	turn_close(&worker->turn);
}

static void on_worked(struct turn *turn, int64_t worked_ns)
{
	struct worker *worker = CONTAINER_OF(turn, struct worker, turn);
	metrics_turn(worker->metrics, worked_ns);
	metrics_network(worker->metrics, METRICS_CLIENT, turn->accepted.in, turn->accepted.out);
	metrics_network(worker->metrics, METRICS_BACKEND, turn->dialled.in, turn->dialled.out);
}

void worker_init(struct worker *worker, size_t index, size_t peers, struct snapshot *snapshot,
        struct audit *audit)
{
	*worker = (struct worker){.index = index, .peers = peers, .audit = audit};
	worker->snapshot = snapshot_ref(snapshot);
	worker->lane = audit_lane_of(audit, index);
	worker->metrics = metrics_new();
	digest_random(worker->random, sizeof(worker->random));
	turn_init(&worker->turn);
	worker->turn.worked = on_worked;
	list_init(&worker->listeners);
	list_init(&worker->downstreams);
	list_init(&worker->unreviewed);
	list_init(&worker->pools);
	list_init(&worker->pools_retired);
	worker->room.flush = pending_serve;
	list_init(&worker->admissions);
	admissions_use(worker, snapshot);
	worker->limits = limit_store_new(worker);
	timer_init(&worker->review, on_review);
	CHECK(uv_async_init(&worker->turn.loop, &worker->bell, on_bell) == 0);
	worker->bell.data = worker;
	CHECK(uv_mutex_init(&worker->lock) == 0 && uv_cond_init(&worker->turned) == 0);
}

static void run(void *argument)
{
	struct worker *worker = argument;
	spare_open();
	h2_memory_share();
	limit_store_use(worker->limits, worker->snapshot->config);
	turn_run(&worker->turn);
	h2_memory_part();
	spare_close();
	worker->on_finished(worker);
}

void worker_start(struct worker *worker)
{
	// Signals are main's: a thread inherits its creator's mask.
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	CHECK(uv_thread_create(&worker->thread, run, worker) == 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	worker->threaded = true;
}

void worker_join(struct worker *worker)
{
	if (worker->threaded)
		uv_thread_join(&worker->thread);
	worker->threaded = false;
}

void worker_fini(struct worker *worker)
{
	pools_free(worker);
	admissions_free(worker);
	limit_store_free(worker->limits);
	turn_fini(&worker->turn);
	snapshot_unref(atomic_exchange(&worker->offered, NULL));
	snapshot_unref(worker->snapshot);
	worker_listeners_free(worker);
	metrics_free(worker->metrics);
	uv_cond_destroy(&worker->turned);
	uv_mutex_destroy(&worker->lock);
}

void worker_begin(struct worker *worker)
{
	atomic_store(&worker->begin_asked, true);
	uv_async_send(&worker->bell);
}

void worker_offer(struct worker *worker, struct snapshot *snapshot)
{
	snapshot_unref(atomic_exchange(&worker->offered, snapshot));
	uv_async_send(&worker->bell);
}

void worker_await(struct worker *worker, const struct snapshot *snapshot, int64_t until_ns)
{
	uv_mutex_lock(&worker->lock);
	for (int64_t left_ns; worker->serves != snapshot;) {
		left_ns = until_ns - clock_monotonic_ns();
		if (left_ns <= 0 ||
		        uv_cond_timedwait(&worker->turned, &worker->lock, (uint64_t)left_ns) < 0)
			break;
	}
	uv_mutex_unlock(&worker->lock);
}

void worker_drain(struct worker *worker)
{
	atomic_store(&worker->drain_asked, true);
	uv_async_send(&worker->bell);
}

void worker_stop(struct worker *worker)
{
	atomic_store(&worker->stop_asked, true);
	worker_drain(worker);
}

bool worker_has_pulse(struct worker *worker)
{
	uint64_t asked = atomic_load(&worker->pulse_asked);
	bool answered = atomic_load(&worker->pulse) == asked;
	atomic_store(&worker->pulse_asked, asked + 1);
	uv_async_send(&worker->bell);
	return answered;
}
