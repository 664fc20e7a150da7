#include "tests/conf/loading.h"

#define HEAD                                                                                       \
	"version: tollgate/v1\n"                                                                   \
	"listeners: [{name: a, address: \"127.0.0.1:1\", tls: {certificates: "                     \
	"[{certificate_chain: c, "                                                                 \
	"private_key: k}], validation_context: {trusted_ca: ca, match_subject_alt_names: "         \
	"[\"spiffe://a/*\"]}}, routes: [{match: {path: /*}, "
#define TAIL                                                                                       \
	"}]}]\n"                                                                                   \
	"backends: [{name: old, endpoints: [\"127.0.0.1:2\"]}, {name: new, protocol: h2, "         \
	"endpoints: [\"127.0.0.1:3\"]}]\n"
#define BOTH "backends: [{name: old, weight: 90}, {name: new, weight: 10}]"

static struct config_problems problems;

static struct config *parse(const char *rest)
{
	struct buffer text = {0};
	buffer_printf(&text, HEAD "%s" TAIL, rest);
	struct config *config = config_parse(buffer_str(&text), "t.yaml", "/etc", &problems);
	buffer_fini(&text);
	return config;
}

static void shares_are_resolved_and_summed_up(void **state)
{
	(void)state;
	struct config *config = parse(BOTH);
	struct buffer dump = {0};
	config_problems_print(&problems, 2);
	assert_non_null(config);
	const struct config_route *route = &config->listeners[0].routes[0];
	assert_int_equal(route->share_count, 2);
	assert_int_equal(route->share_weight, 100);
	assert_int_equal(route->shares[0].backend, 0);
	assert_int_equal(route->shares[1].backend, 1);
	assert_int_equal(route->backend, 0);
	assert_int_equal(route->mirror.backend_name.text.len, 0);
	config_dump(config, &dump);
	assert_null(memmem(buffer_data(&dump), buffer_len(&dump), "mirror", 6));
	struct config *again = assert_parses(buffer_str(&dump), "/elsewhere");
	assert_int_equal(again->listeners[0].routes[0].shares[1].weight, 10);
	config_free(again);
	config_free(config);
	buffer_fini(&dump);
	config_problems_fini(&problems);
}

static void a_mirror_is_resolved_and_a_use_of_its_backend(void **state)
{
	(void)state;
	struct config *config = parse("backend: old, mirror: {backend: new, share: 0.25}");
	struct buffer dump = {0};
	config_problems_print(&problems, 2);
	assert_non_null(config);
	config_dump(config, &dump);
	struct config *again = assert_parses(buffer_str(&dump), "/elsewhere");
	const struct config_mirror *mirror = &again->listeners[0].routes[0].mirror;
	assert_int_equal(mirror->backend, 1);
	assert_true(mirror->share == 0.25);
	config_free(again);
	config_free(config);
	buffer_fini(&dump);
	config_problems_fini(&problems);
}

static const struct {
	const char *rest, *key, *what;
	size_t problems;  // 0: one
} bad[] = {
        {"backends: []", ".backends", "is an empty list", 0},
        {"backends: [{name: old, weight: 1}]", ".backends", "names one alone; expected backend", 2},
        {"backends: [{name: old, weight: 0}, {name: new, weight: 0}]", ".backends",
                "has no weight above 0", 0},
        {"backends: [{name: old, weight: 1}, {name: old, weight: 2}, {name: new, weight: 1}]",
                ".backends[1].name", "found 'old', which stands in the list already", 0},
        {"backends: [{name: old, weight: 1}, {name: nwe, weight: 2}]", ".backends[1].name",
                "found 'nwe', which is no backend's name; did you mean new?", 0},
        {"backends: [{name: old, weight: 1}, {name: xyzzy, weight: 2}]", ".backends[1].name",
                "found 'xyzzy', which is no backend's name; expected one from backends", 2},
        {"backends: [{name: old, weight: 1}, {name: new}]", ".backends[1].weight", "is missing", 0},
        {"backends: [{name: old, weight: 1}, {weight: 1}]", ".backends[1].name", "is missing", 0},
        {"backends: [{name: old, weight: 1000001}, {name: new, weight: 1}]", ".backends[0].weight",
                "from 0 to 1000000", 0},
        {"backends: [{name: old, weight: -1}, {name: new, weight: 1}]", ".backends[0].weight",
                "from 0 to 1000000", 0},
        {"backends: [{name: old, weight: 1, share: 2}, {name: new, weight: 1}]",
                ".backends[0].share", "is no key here; expected name or weight", 0},
        {"backend: old, " BOTH, ".backends",
                "stands beside backend; expected one of backend, backends, respond and redirect",
                0},
        {BOTH ", respond: {}", ".respond", "stands beside backends", 0},
        {"backend: old, mirror: {backend: nwe}", ".mirror.backend",
                "found 'nwe', which is no backend's name; did you mean new?", 0},
        {"backend: old, mirror: {backend: old}", ".mirror.backend",
                "found 'old', which gets the requests themselves; expected another", 2},
        {BOTH ", mirror: {backend: new}", ".mirror.backend", "gets the requests themselves", 0},
        {"backend: old, mirror: {backend: new, share: 0}", ".mirror.share", "copies nothing", 0},
        {"backend: old, mirror: {backend: new, share: 1.5}", ".mirror.share",
                "expected a number from 0 to 1", 0},
        {"backend: old, mirror: {share: 1}", ".mirror.backend", "is missing", 2},
        {"respond: {}, mirror: {backend: new}", ".mirror",
                "can have no effect beside respond; expected it left out", 2},
        {BOTH ", upgrade: [websocket]", ".upgrade",
                "needs a backend that speaks http1, and new speaks h2", 0},
};

static void what_is_wrong_is_told_with_its_key(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char key[128];
		bool told = false;
		snprintf(key, sizeof(key), "listeners[0].routes[0]%s", bad[i].key);
		struct config *config = parse(bad[i].rest);
		for (size_t k = 0; k < problems.count; k++)
			told |= str_eq(problems.items[k].key, str_from(key)) &&
			        strstr(problems.items[k].what.at, bad[i].what);
		if (config || !told || problems.count != bad[i].problems + !bad[i].problems) {
			config_problems_print(&problems, 2);
			fail_msg("%s: expected %s: %s", bad[i].rest, key, bad[i].what);
		}
		config_problems_fini(&problems);
		problems = (struct config_problems){0};
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(shares_are_resolved_and_summed_up),
	        cmocka_unit_test(a_mirror_is_resolved_and_a_use_of_its_backend),
	        cmocka_unit_test(what_is_wrong_is_told_with_its_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
