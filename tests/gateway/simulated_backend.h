// A backend that exists in numbers only, on a clock of its own: so many servers, one queue, answers
// that take a given time and more or less noise; in front of it the limits of one or several
// workers, and callers who come at random, whatever became of those before.
#ifndef TESTS_GATEWAY_SIMULATED_BACKEND_H
#define TESTS_GATEWAY_SIMULATED_BACKEND_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "gateway/concurrency.h"

enum { SERVERS_MAX = 128, WAITING_MAX = 1 << 16, WORKERS_MAX = 8, ANSWERS_MAX = 1 << 21 };

enum noise { STEADY, NOISY, WILD };  // none, by a third, exponential

struct call {
	int64_t came_ns, ends_ns;
	uint64_t ticket;
	unsigned worker;
};

struct simulation {
	struct concurrency workers[WORKERS_MAX];
	unsigned worker_count;
	unsigned servers;
	double service_ms;
	enum noise noise;
	double fails;  // the share of calls it refuses at once
	int64_t now_ns;
	uint64_t random;
	struct call busy[SERVERS_MAX];
	unsigned busy_count;
	struct call *waiting;
	size_t waiting_first, waiting_count;
	enum config_priority priority;
	// Of the last run.
	double *took_ms;
	size_t offered, shed, answers;
};

static inline double sim_random(struct simulation *sim)
{
	sim->random ^= sim->random << 13;
	sim->random ^= sim->random >> 7;
	sim->random ^= sim->random << 17;
	return ((double)(sim->random >> 11) + 1) / 9007199254740993.0;
}

static inline void sim_init(
        struct simulation *sim, const struct config_concurrency *config, unsigned workers)
{
	*sim = (struct simulation){.worker_count = workers,
	        .servers = 20,
	        .service_ms = 50,
	        .now_ns = 7 * (int64_t)NS_PER_S + 123456789,
	        .random = 88172645463325252,
	        .priority = PRIORITY_NORMAL};
	sim->waiting = must_alloc(WAITING_MAX * sizeof(*sim->waiting));
	sim->took_ms = must_alloc(ANSWERS_MAX * sizeof(*sim->took_ms));
	for (unsigned i = 0; i < workers; i++)
		concurrency_init(&sim->workers[i], config, workers, sim->now_ns);
}

static inline void sim_fini(struct simulation *sim)
{
	free(sim->waiting);
	free(sim->took_ms);
}

static inline int64_t sim_service_ns(struct simulation *sim)
{
	double factor = 1;
	if (sim->noise == NOISY)
		factor = 1 + (sim_random(sim) - 0.5) * 2 / 3;
	else if (sim->noise == WILD)
		factor = -log(sim_random(sim));
	return (int64_t)(sim->service_ms * factor * NS_PER_MS) + 1;
}

static inline void sim_start_waiting(struct simulation *sim)
{
	while (sim->waiting_count && sim->busy_count < sim->servers) {
		struct call call = sim->waiting[sim->waiting_first % WAITING_MAX];
		sim->waiting_first++;
		sim->waiting_count--;
		call.ends_ns = sim->now_ns + sim_service_ns(sim);
		sim->busy[sim->busy_count++] = call;
	}
}

static inline void sim_arrive(struct simulation *sim)
{
	unsigned worker = (unsigned)(sim_random(sim) * sim->worker_count) % sim->worker_count;
	struct concurrency *concurrency = &sim->workers[worker];
	sim->offered++;
	if (!concurrency_room(concurrency, sim->priority, sim->now_ns)) {
		sim->shed++;
		return;
	}
	concurrency_enter(concurrency);
	uint64_t ticket = concurrency_begin(concurrency, sim->now_ns);
	if (sim->fails > 0 && sim_random(sim) < sim->fails) {
		concurrency_leave(concurrency);
		concurrency_end(concurrency, ticket, CONCURRENCY_UNAVAILABLE, 0, sim->now_ns);
		return;
	}
	CHECK(sim->waiting_count < WAITING_MAX);
	sim->waiting[(sim->waiting_first + sim->waiting_count++) % WAITING_MAX] = (struct call){
	        .came_ns = sim->now_ns, .ticket = ticket, .worker = worker};
	sim_start_waiting(sim);
}

static inline void sim_finish(struct simulation *sim, unsigned index)
{
	struct call call = sim->busy[index];
	struct concurrency *concurrency = &sim->workers[call.worker];
	sim->busy[index] = sim->busy[--sim->busy_count];
	concurrency_leave(concurrency);
	concurrency_end(concurrency, call.ticket, CONCURRENCY_ANSWERED, sim->now_ns - call.came_ns,
	        sim->now_ns);
	CHECK(sim->answers < ANSWERS_MAX);
	sim->took_ms[sim->answers++] = (double)(sim->now_ns - call.came_ns) / NS_PER_MS;
	sim_start_waiting(sim);
}

static inline unsigned sim_next_finish(const struct simulation *sim)
{
	unsigned next = 0;
	for (unsigned i = 1; i < sim->busy_count; i++)
		if (sim->busy[i].ends_ns < sim->busy[next].ends_ns)
			next = i;
	return next;
}

static inline void sim_run(struct simulation *sim, double seconds, double per_second)
{
	int64_t end_ns = sim->now_ns + (int64_t)(seconds * NS_PER_S), arrival_ns = sim->now_ns;
	sim->offered = sim->shed = sim->answers = 0;
	for (;;) {
		unsigned next = sim_next_finish(sim);
		bool finish = sim->busy_count && sim->busy[next].ends_ns <= arrival_ns;
		int64_t at_ns = finish ? sim->busy[next].ends_ns : arrival_ns;
		if (at_ns >= end_ns)
			break;
		sim->now_ns = at_ns;
		if (finish) {
			sim_finish(sim, next);
			continue;
		}
		sim_arrive(sim);
		double gap_s = -log(sim_random(sim)) / per_second;
		arrival_ns += (int64_t)(gap_s * NS_PER_S) + 1;
	}
	sim->now_ns = end_ns;
}

static inline double sim_capacity(const struct simulation *sim)
{
	return sim->servers * 1000 / sim->service_ms;
}

static inline double sim_limit(const struct simulation *sim)
{
	double sum = 0;
	for (unsigned i = 0; i < sim->worker_count; i++)
		sum += sim->workers[i].limit;
	return sum;
}

static inline int sim_compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

static inline double sim_percentile_ms(struct simulation *sim, double share)
{
	CHECK(sim->answers);
	qsort(sim->took_ms, sim->answers, sizeof(*sim->took_ms), sim_compare);
	return sim->took_ms[(size_t)((double)(sim->answers - 1) * share)];
}

#endif
