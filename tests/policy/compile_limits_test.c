#include "tests/policy/compile_rows.h"

// Limits that can have no effect, or cannot be counted.

static void limits_that_never_fire_or_cannot_be_counted_are_found(void **state)
{
	(void)state;
	static const struct row rows[] = {
#define BATCH "{identity: 'spiffe://cluster.local/ns/batch/*', rate: 1/s, burst: 1}"
#define LIMITED(list) "- {match: {grpc: a.S/M}" LIMITS(list)
	        {LIMITED("[{rate: 5/s, burst: 10}]"), NULL, NULL},
	        {LIMITED("[{rate: 5/s, burst: 10, per: [method]}]"), NULL, NULL},
	        // A slower one behind a larger burst, each with its own say.
	        {LIMITED("[{rate: 5/s, burst: 10}, {rate: 60/m, burst: 20}]"), NULL, NULL},
	        {LIMITED("[{rate: 5/s, burst: 10}, {rate: 6/s, burst: 9}]"), NULL, NULL},
	        {LIMITED("[{rate: 5/s, burst: 10, per: [identity]}, {rate: 50/s, burst: 100}]"),
	                NULL, NULL},
	        {LIMITED("[{rate: 5/s, burst: 10, per: [identity]}, "
	                 "{rate: 9/s, burst: 10, per: [source_ip]}]"),
	                NULL, NULL},
	        {LIMITED("[{rate: 5/s, burst: 10, per: ['header:a']}, "
	                 "{rate: 9/s, burst: 10, per: ['header:b']}]"),
	                NULL, NULL},
	        {LIMITED("[{rate: 5/s, burst: 10}, {rate: 5/s, burst: 10}]"),
	                "routes[0].rate_limits[1]", "rate_limits[0] of this route always"},
	        {LIMITED("[{rate: 5/s, burst: 10}, {rate: 300/m, burst: 10}]"),
	                "routes[0].rate_limits[1]", "never fires"},
	        {LIMITED("[{rate: 6/s, burst: 10}, {rate: 300/m, burst: 10}]"),
	                "routes[0].rate_limits[0]", "rate_limits[1] of this route always"},
	        {LIMITED("[{rate: 5/s, burst: 10}, {rate: 9/s, burst: 100}]"),
	                "routes[0].rate_limits[1]", "never fires"},
	        {LIMITED("[{rate: 5/s, burst: 10, per: [identity, method]}, "
	                 "{rate: 5/s, burst: 11, per: [method, identity]}]"),
	                "routes[0].rate_limits[1]", "never fires"},
	        // Whoever empties a bucket of the finer split has emptied the coarser one first.
	        {LIMITED("[{rate: 5/s, burst: 10}, {rate: 5/s, burst: 10, per: [identity]}]"),
	                "routes[0].rate_limits[1]", "never fires"},
	        {LIMITED("[{rate: 7919/h, burst: 1000000}]"), "routes[0].rate_limits[0]",
	                "counted exactly"},
	        // What others say of it does not count where it has overrides, or is but a trial.
	        {LIMITED("[{rate: 5/s, burst: 10, overrides: [" BATCH
	                 "]}, {rate: 9/s, burst: 10}]"),
	                NULL, NULL},
	        {LIMITED("[{rate: 5/s, burst: 10, shadow: true}, {rate: 9/s, burst: 10}]"), NULL,
	                NULL},
	        {LIMITED("[{rate: 5/s, burst: 10, overrides: [" BATCH "]}]"), NULL, NULL},
	        {LIMITED("[{rate: 5/s, burst: 10, overrides: [" BATCH ", " BATCH "]}]"),
	                "routes[0].rate_limits[0].overrides[1]",
	                "is never used: overrides[0] takes"},
	        {LIMITED("[{rate: 5/s, burst: 10, overrides: [{identity: 'spiffe://else.where/*', "
	                 "rate: 1/s, burst: 1}]}]"),
	                "routes[0].rate_limits[0].overrides[0]", "which nobody can satisfy"},
	        {LIMITED("[{rate: 5/s, burst: 10, overrides: [{identity: "
	                 "'spiffe://cluster.local/a', "
	                 "rate: 7919/h, burst: 1000000}]}]"),
	                "routes[0].rate_limits[0].overrides[0]", "counted exactly"},
#undef LIMITED
	};
	CHECK_ROWS(NAMES_ALL, rows);
}

static void call_limits_that_never_fire_are_found(void **state)
{
	(void)state;
	static const struct row rows[] = {
#define LIMITED(list) "- {match: {grpc: a.S/M}, call_limits: " list OK
#define EACH "per: [identity]"
#define SOME "{identity: 'spiffe://cluster.local/batch/*', "
	        {LIMITED("[{calls: 5}]"), NULL, NULL},
	        {LIMITED("[{calls: 9}, {calls: 5, " EACH "}]"), NULL, NULL},
	        {LIMITED("[{calls: 5, " EACH "}, {calls: 9}]"), NULL, NULL},
	        {LIMITED("[{calls: 5, " EACH "}, {calls: 5, per: [method]}]"), NULL, NULL},
	        {LIMITED("[{calls: 5}, {calls: 5, " EACH "}]"), "routes[0].call_limits[1]",
	                "call_limits[0] of this route always refuses first"},
	        {LIMITED("[{calls: 6, " EACH "}, {calls: 5}]"), "routes[0].call_limits[0]",
	                "call_limits[1] of this route always refuses first"},
	        {LIMITED("[{calls: 5, " EACH "}, {calls: 6, per: [method, identity]}]"),
	                "routes[0].call_limits[1]", "never fires"},
	        // Of two that say the same the first counts.
	        {LIMITED("[{calls: 5}, {calls: 5}]"), "routes[0].call_limits[1]", "never fires"},
	        {LIMITED("[{calls: 5, per: [identity, method]}, {calls: 5, per: [method, "
	                 "identity]}]"),
	                "routes[0].call_limits[1]", "call_limits[0] of this route"},
	        // A trial refuses nobody, and is none beside a limit that refuses first.
	        {LIMITED("[{calls: 5, shadow: true}, {calls: 9}]"), NULL, NULL},
	        {LIMITED("[{calls: 5, shadow: true}, {calls: 5, shadow: true}]"), NULL, NULL},
	        {LIMITED("[{calls: 5, shadow: true}, {calls: 5}]"), "routes[0].call_limits[0]",
	                "call_limits[1] of this route always refuses first"},
	        {LIMITED("[{calls: 5}, {calls: 9, shadow: true, " EACH "}]"),
	                "routes[0].call_limits[1]", "never fires"},
	        // What others say of it does not count where it has overrides, nor what it says.
	        {LIMITED("[{calls: 5, overrides: [" SOME "calls: 9}]}, {calls: 6}]"), NULL, NULL},
	        {LIMITED("[{calls: 5}, {calls: 6, overrides: [" SOME "calls: 4}]}]"), NULL, NULL},
	        {LIMITED("[{calls: 5, overrides: [" SOME "calls: 9}, " SOME "calls: 4}]}]"),
	                "routes[0].call_limits[0].overrides[1]",
	                "is never used: overrides[0] takes"},
	        {LIMITED("[{calls: 5, overrides: [{identity: 'spiffe://else.where/*', calls: "
	                 "9}]}]"),
	                "routes[0].call_limits[0].overrides[0]", "which nobody can satisfy"},
	        {LIMITED("[{calls: 5, overrides: [{identity: 'spiffe://a*', calls: 9}]}]"),
	                "routes[0].call_limits[0].overrides[0]", "expected a SPIFFE ID in which"},
#undef SOME
#undef EACH
#undef LIMITED
	};
	CHECK_ROWS(NAMES_ALL, rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(limits_that_never_fire_or_cannot_be_counted_are_found),
	        cmocka_unit_test(call_limits_that_never_fire_are_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
