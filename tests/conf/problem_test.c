#include <stdio.h>
#include <unistd.h>

#include "tests/conf/loading.h"

static const char bad[] = "version: tollgate/v9\n"
                          "wrkers: many\n"
                          "listeners:\n"
                          "  - address: nowhere\n"
                          "    tls:\n"
                          "      certificates: []\n"
                          "      validation_context: {match_subject_alt_names: [spiffe://a/*]}\n"
                          "    timeouts: {idle: 5}\n"
                          "    routes:\n"
                          "      - {match: {path: /}, backend: ap}\n"
                          "backends:\n"
                          "  - {name: app, endpoints: [\"127.0.0.1\"]}\n";

static const char told[] =
        "b.yaml:1:10: version: found 'tollgate/v9', expected tollgate/v1\n"
        "b.yaml:2:1: wrkers: is no key here; did you mean workers?\n"
        "b.yaml:2:9: workers: found 'many', expected auto or a whole number from 1 to 1024\n"
        "b.yaml:4:5: listeners[0].name: is missing; expected a name of at most 64 letters, "
        "digits, dots, dashes and underscores\n"
        "b.yaml:4:14: listeners[0].address: found 'nowhere', which has no port from 1 to 65535; "
        "expected an address such as 127.0.0.1:8443, [::1]:8443 or unix:/path\n"
        "b.yaml:6:21: listeners[0].tls.certificates: is an empty list; expected at least one "
        "element\n"
        "b.yaml:7:27: listeners[0].tls.validation_context.trusted_ca: is missing; expected a file "
        "name, absolute or relative to the config file\n"
        "b.yaml:8:22: listeners[0].timeouts.idle: found '5', which has no unit; expected 5ms, 5s, "
        "5m or 5h\n"
        "b.yaml:10:37: listeners[0].routes[0].backend: found 'ap', which is no backend's name; did "
        "you mean app?\n"
        "b.yaml:12:29: backends[0].endpoints[0]: found '127.0.0.1', which has no port from 1 to "
        "65535; expected an address such as 127.0.0.1:50051, [::1]:50051, localhost:50051 or "
        "unix:/path\n";

static void assert_prints(const struct config_problems *problems, const char *expected)
{
	char printed[4096] = "";
	FILE *file = tmpfile();
	assert_non_null(file);
	config_problems_print(problems, fileno(file));
	rewind(file);
	size_t len = fread(printed, 1, sizeof(printed) - 1, file);
	printed[len] = '\0';
	fclose(file);
	assert_string_equal(printed, expected);
}

static void all_problems_are_told_in_one_run_in_the_order_of_the_file(void **state)
{
	(void)state;
	struct config_problems problems = {0};
	assert_null(config_parse(STR(bad), "b.yaml", "/etc", &problems));
	assert_prints(&problems, told);
	config_problems_fini(&problems);
}

static void a_problem_of_the_file_stands_at_its_beginning(void **state)
{
	(void)state;
	struct config_problems problems = {.file = STR("x.yaml")};
	config_problem_add(&problems, (struct config_mark){3, 4}, STR("a.b"), "second");
	config_problem_add(&problems, (struct config_mark){0, 0}, STR(""), "%s", "first");
	assert_prints(&problems, "x.yaml:1:1: (file): first\nx.yaml:3:4: a.b: second\n");
	config_problems_fini(&problems);
}

static void later_stages_join_in_at_their_place(void **state)
{
	(void)state;
	struct config_problems problems = {.file = STR("x.yaml")};
	config_problem_add(&problems, (struct config_mark){2, 1}, STR("b"), "two");
	config_problem_add(&problems, (struct config_mark){9, 1}, STR("d"), "nine");
	problems.read = true;
	config_problem_add(&problems, (struct config_mark){9, 1}, STR("e"), "nine again");
	config_problem_add(&problems, (struct config_mark){5, 7}, STR("c"), "five");
	config_problem_add(&problems, (struct config_mark){5, 7}, STR("c"), "five again");
	config_problem_add(&problems, (struct config_mark){5, 6}, STR("a"), "five before");
	assert_prints(&problems, "x.yaml:2:1: b: two\n"
	                         "x.yaml:5:6: a: five before\n"
	                         "x.yaml:5:7: c: five\n"
	                         "x.yaml:5:7: c: five again\n"
	                         "x.yaml:9:1: d: nine\n"
	                         "x.yaml:9:1: e: nine again\n");
	config_problems_fini(&problems);
}

static void the_echo_of_a_problem_of_reading_is_dropped(void **state)
{
	(void)state;
	static const struct {
		const char *key;
		bool kept;
	} table[] = {
	        {"listeners[0].tls.crl", false},        // the same
	        {"listeners[0].tls.crl.x", false},      // below
	        {"listeners[0].tls", false},            // above
	        {"listeners", false},                   // far above
	        {"listeners[0].tls.crl_x", true},       // another that begins alike
	        {"listeners[0].tls.trusted_ca", true},  // beside
	        {"listeners[1].tls.crl", true},         // elsewhere
	        {"", true},                             // the file
	};
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		struct config_problems problems = {0};
		struct config_mark mark = {1, 1};
		config_problem_add(&problems, mark, STR("listeners[0].tls.crl"), "read");
		problems.read = true;
		config_problem_add(&problems, mark, str_from(table[i].key), "later");
		assert_int_equal(problems.count, table[i].kept ? 2 : 1);
		config_problems_fini(&problems);
	}
}

static void a_thousand_problems_are_enough_and_the_rest_is_counted(void **state)
{
	(void)state;
	struct config_problems problems = {0};
	struct buffer text = {0};
	for (size_t i = 0; i < CONFIG_PROBLEMS_MAX + 10; i++)
		buffer_printf(&text, "unknown%zu: 1\n", i);
	assert_null(config_parse(buffer_str(&text), "b.yaml", "/etc", &problems));
	assert_int_equal(problems.count, CONFIG_PROBLEMS_MAX);
	assert_int_equal(problems.dropped, 12);  // and version, and listeners
	buffer_fini(&text);
	config_problems_fini(&problems);
}

static void a_faulty_file_still_serves_to_find_more_problems(void **state)
{
	(void)state;
	char path[] = "/tmp/tollgate-faulty-XXXXXX";
	int descriptor = mkstemp(path);
	struct config_problems problems = {0};
	assert_true(descriptor >= 0);
	assert_int_equal(write(descriptor, bad, strlen(bad)), strlen(bad));
	close(descriptor);
	struct config *config = config_load_faulty(path, CONFIG_LOOKUPS_NEEDED, &problems);
	unlink(path);
	assert_non_null(config);
	assert_int_equal(problems.count, 10);
	assert_int_equal(config->listeners[0].timeouts.idle_ns, 60000000000);
	assert_int_equal(config->listeners[0].tls.match_subject_alt_names.count, 1);
	assert_true(config->workers >= 1);
	config_problem_add(&problems, (struct config_mark){7, 5},
	        STR("listeners[0].tls.validation_context.trusted_ca"), "cannot be opened");
	assert_int_equal(problems.count, 10);
	config_free(config);
	config_problems_fini(&problems);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(all_problems_are_told_in_one_run_in_the_order_of_the_file),
	        cmocka_unit_test(a_problem_of_the_file_stands_at_its_beginning),
	        cmocka_unit_test(later_stages_join_in_at_their_place),
	        cmocka_unit_test(the_echo_of_a_problem_of_reading_is_dropped),
	        cmocka_unit_test(a_thousand_problems_are_enough_and_the_rest_is_counted),
	        cmocka_unit_test(a_faulty_file_still_serves_to_find_more_problems),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
