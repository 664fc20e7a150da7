#include <grp.h>
#include <pwd.h>

#include "tests/conf/malformed.h"

#define RUN_AS(text) "workers: 2\n", "workers: 2\nrun_as: " text "\n"
#define SANDBOX(text) "workers: 2\n", "workers: 2\nsandbox: " text "\n"

static const struct malformed rows[] = {
        {"no user", RUN_AS("{group: nogroup}"), 3, 9, "run_as.user", "is missing; expected a name"},
        {"no mapping", RUN_AS("nobody"), 3, 9, "run_as", "expected a mapping"},
        {"an unknown user", RUN_AS("{user: nobdy}"), 3, 16, "run_as.user",
                "found 'nobdy', a user that cannot be found: there is none on this machine; "
                "expected the name or number"},
        {"root by name", RUN_AS("{user: root}"), 3, 16, "run_as.user", "which gives up nothing"},
        {"root by number", RUN_AS("{user: 0}"), 3, 16, "run_as.user", "which gives up nothing"},
        {"an unknown group", RUN_AS("{user: nobody, group: nogrup}"), 3, 31, "run_as.group",
                "found 'nogrup', a group that cannot be found"},
        {"an unknown user and an unknown group", RUN_AS("{user: nobdy, group: nogrup}"), 3, 30,
                "run_as.group", "cannot be found", 2},
        {"a number without an entry and no group", RUN_AS("{user: 54321}"), 3, 9, "run_as.group",
                "its group is not known"},
        {"the number that means nobody at all", RUN_AS("{user: 4294967295}"), 3, 16, "run_as.user",
                "cannot be found"},
        {"a user with a space", RUN_AS("{user: 'no body'}"), 3, 16, "run_as.user",
                "expected a name"},
        {"a misspelt key", RUN_AS("{usr: nobody, user: nobody}"), 3, 10, "run_as.usr", "user"},
        {"a sandbox of no kind", SANDBOX("on"), 3, 10, "sandbox", "expected auto or off"},
};

static void every_mistake_is_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		malformed_check(&rows[i]);
}

static struct config *parse(const char *line)
{
	struct config_problems problems = {0};
	struct buffer text = {0};
	const struct malformed row = {"", "workers: 2\n", line, 0, 0, "", "", 0};
	malformed_text(&row, &text);
	struct config *config = config_parse(buffer_str(&text), "good.yaml", "/etc", &problems);
	config_problems_print(&problems, 2);
	config_problems_fini(&problems);
	buffer_fini(&text);
	assert_non_null(config);
	return config;
}

static void users_and_groups_are_known_by_name_and_by_number(void **state)
{
	(void)state;
	const struct passwd *nobody = getpwnam("nobody");
	assert_non_null(nobody);
	const uid_t uid = nobody->pw_uid;
	const gid_t gid = nobody->pw_gid;
	const struct group *daemon = getgrnam("daemon");
	assert_non_null(daemon);
	const struct {
		const char *line;
		uid_t uid;
		gid_t gid;
	} known[] = {
	        {"run_as: {user: nobody}\n", uid, gid},
	        {"run_as: {user: nobody, group: daemon}\n", uid, daemon->gr_gid},
	        {"run_as: {user: nobody, group: 54321}\n", uid, 54321},
	        {"run_as: {user: 54321, group: 54322}\n", 54321, 54322},
	};
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct config *config = parse(known[i].line);
		assert_int_equal(config->run_as.uid, known[i].uid);
		assert_int_equal(config->run_as.gid, known[i].gid);
		// Keys are held against whom the process will be.
		assert_ptr_equal(config->listeners[0].tls.certificates[0].reader, &config->run_as);
		config_free(config);
	}
}

static void nobody_is_named_and_the_sandbox_is_on_by_default(void **state)
{
	(void)state;
	struct config *config = parse("");
	assert_int_equal(config->run_as.user.text.len, 0);
	assert_int_equal(config->sandbox, SANDBOX_AUTO);
	assert_null(config->listeners[0].tls.certificates[0].reader);
	config_free(config);
}

static void the_dump_says_who(void **state)
{
	(void)state;
	struct config *config = parse("run_as: {user: nobody, group: '54321'}\nsandbox: off\n");
	struct buffer dump = {0};
	config_dump(config, &dump);
	buffer_append(&dump, "", 1);
	assert_non_null(strstr(buffer_data(&dump), "run_as:\n  user: nobody\n  group: "));
	assert_non_null(strstr(buffer_data(&dump), "54321"));
	struct config_problems problems = {0};
	struct config *again = config_parse(
	        str_from(buffer_data(&dump)), "dump.yaml", "/", &problems);
	config_problems_print(&problems, 2);
	assert_non_null(again);
	assert_int_equal(again->run_as.gid, 54321);
	assert_int_equal(again->sandbox, SANDBOX_OFF);
	config_problems_fini(&problems);
	config_free(again);
	config_free(config);
	buffer_fini(&dump);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_mistake_is_told),
	        cmocka_unit_test(users_and_groups_are_known_by_name_and_by_number),
	        cmocka_unit_test(nobody_is_named_and_the_sandbox_is_on_by_default),
	        cmocka_unit_test(the_dump_says_who),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
