#include "policy/shard.h"
#include "tests/policy/bucket_fixture.h"

struct entry {
	bool used;
	uint64_t full_at;
};

static struct fingerprint print_of(uint64_t key)
{
	// Few homes in the index, so that runs are long and wrap around its end.
	return (struct fingerprint){key, key % 5 ? UINT64_MAX - key % 5 : 3};
}

static void assert_agrees(struct shard *shard, const struct entry *entries, uint64_t count)
{
	uint32_t used = 0;
	uint64_t earliest = UINT64_MAX;
	for (uint64_t key = 0; key < count; key++) {
		struct shard_slot *slot = shard_find(shard, print_of(key));
		assert_int_equal(slot != NULL, entries[key].used);
		if (!slot)
			continue;
		used++;
		assert_true(slot->full_at == entries[key].full_at);
		if (slot->full_at < earliest)
			earliest = slot->full_at;
	}
	assert_int_equal(shard_used(shard), used);
	if (used == 0)
		assert_null(shard_earliest(shard));
	else
		assert_true(
		        shard_earliest(shard)->full_at == earliest && shard->earliest == earliest);
}

static void a_shard_is_a_map_that_knows_its_earliest(void **state)
{
	(void)state;
	enum { KEYS = 60, CAPACITY = 40 };
	struct entry entries[KEYS] = {0};
	struct shard shard;
	uint64_t seed = 3;
	shard_init(&shard, CAPACITY);
	for (int step = 0; step < 20000; step++) {
		uint64_t key = random_below(&seed, KEYS), full_at = random_below(&seed, 1000);
		struct shard_slot *slot = shard_find(&shard, print_of(key));
		if (slot && random_below(&seed, 2)) {
			shard_remove(&shard, slot);
			entries[key].used = false;
		} else if (slot) {
			shard_set(&shard, slot, full_at);
			entries[key].full_at = full_at;
		} else if (shard_used(&shard) < CAPACITY) {
			shard_add(&shard, print_of(key), full_at);
			entries[key] = (struct entry){true, full_at};
		}
		assert_agrees(&shard, entries, KEYS);
	}
	shard_fini(&shard);
}

static void moments_are_ordered_across_their_wrap(void **state)
{
	(void)state;
	struct shard shard;
	shard_init(&shard, 3);
	shard_add(&shard, print_of(1), 5);
	shard_add(&shard, print_of(2), UINT64_MAX - 5);
	shard_add(&shard, print_of(3), 0);
	assert_true(shard_earliest(&shard)->full_at == UINT64_MAX - 5);
	shard_remove(&shard, shard_earliest(&shard));
	assert_true(shard_earliest(&shard)->full_at == 0);
	shard_fini(&shard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_shard_is_a_map_that_knows_its_earliest),
	        cmocka_unit_test(moments_are_ordered_across_their_wrap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
