// Threads that use the same limits at once.
#ifndef TESTS_POLICY_BUCKET_SCENE_H
#define TESTS_POLICY_BUCKET_SCENE_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/policy/bucket_fixture.h"

// Threads come to life together and count what they were granted; the sums are checked afterwards.
enum { THREADS_MAX = 8, NOW_S = 1000 };

struct worker {
	pthread_t thread;
	struct scene *scene;
	unsigned number;
	uint64_t granted, refused;
	uint64_t tokens[2];  // of each limit, where calls want several
};

struct scene {
	struct bucket_store *store;
	struct bucket_limit *limits[3];
	_Atomic int64_t *clock_ns;
	_Atomic unsigned waiting;
	unsigned threads;
	bool steady;  // of the numbers that change the rate is none
	uint64_t calls;
	void (*play)(struct worker *worker);
};

static inline void *run(void *argument)
{
	struct worker *worker = argument;
	atomic_fetch_sub(&worker->scene->waiting, 1);
	while (atomic_load(&worker->scene->waiting))
		sched_yield();
	worker->scene->play(worker);
	return NULL;
}

static inline uint64_t play(struct scene *scene, struct worker workers[THREADS_MAX])
{
	uint64_t granted = 0;
	atomic_store(&scene->waiting, scene->threads);
	for (unsigned i = 0; i < scene->threads; i++) {
		workers[i] = (struct worker){.scene = scene, .number = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
	}
	for (unsigned i = 0; i < scene->threads; i++) {
		pthread_join(workers[i].thread, NULL);
		granted += workers[i].granted;
	}
	return granted;
}

static inline struct bucket_limit *limit_of(struct bucket_store *store, const char *name,
        uint64_t per_second, uint64_t burst, uint64_t max_keys)
{
	return bucket_limit_get(store, str_from(name),
	        (struct bucket_rate){per_second, NS_PER_S, burst}, max_keys > 0, max_keys, 0);
}

// What reloads do, again and again: the second of the scene's limits tells whether they are keyed.
static inline void change_numbers(const struct scene *scene)
{
	struct bucket_limit *held = NULL;
	for (uint64_t i = 0; i < 200; i++) {
		uint64_t count = scene->steady ? 1 : 1 + i % 3;
		struct bucket_rate rate = {count, NS_PER_S, 5000 + i % 7};
		struct bucket_limit *next = bucket_limit_get(scene->store, STR("limit"), rate,
		        scene->limits[1] != NULL, 10 + i % 5, NOW_S * second_ns);
		bucket_limit_unref(held);
		held = next;
	}
	bucket_limit_unref(held);
}

#endif
