// The promise of `version: tollgate/v1`: a file that was right stays right and means the same.
// Every key that it may have stands in v1.keys with its shape, type, default, range and choices;
// there may be more keys, more choices and wider ranges, never less. A new key is promised once it
// is written there: REGENERATE=1 with this program from the root of the repository.
#include <stdio.h>

#include "conf/schema.h"
#include "tests/conf/loading.h"

static const char path[] = "tests/conf/v1.keys";

enum field { PATH, SHAPE, TYPE_NAME, PRESENCE, RELOAD, MIN, MAX, FALLBACK, CHOICES, FIELDS };

struct promise {
	char *line;
	const char *fields[FIELDS];
};

static void write_keys(const struct schema_object *object, const char *prefix, FILE *out)
{
	static const char *const shapes[] = {"scalar", "texts", "object", "objects"};
	static const char *const presences[] = {"default", "required", "optional"};
	for (size_t i = 0; i < object->key_count; i++) {
		const struct schema_key *key = &object->keys[i];
		char inner[256];
		snprintf(inner, sizeof(inner), "%s%s%s", prefix, key->name,
		        key->shape == SHAPE_OBJECTS ? "[]." : ".");
		const struct schema_key *scalar = key->object ? key->object->shorthand : key;
		fprintf(out, "%s%s\t%s\t%s\t%s\t%s\t%llu\t%llu\t%s\t", prefix, key->name,
		        shapes[key->shape], scalar && scalar->type ? scalar->type->name : "-",
		        presences[key->presence], key->reload == RELOAD_LIVE ? "live" : "restart",
		        (unsigned long long)key->min, (unsigned long long)key->max,
		        key->fallback && *key->fallback ? key->fallback : "-");
		for (const char *const *choice = key->choices; choice && *choice; choice++)
			fprintf(out, "%s,", *choice);
		fprintf(out, "\n");
		if (key->object)
			write_keys(key->object, inner, out);
	}
}

static size_t read_promises(char *text, struct promise promises[], size_t most)
{
	size_t count = 0;
	for (char *line; (line = strsep(&text, "\n")) && *line; count++) {
		assert_true(count < most);
		promises[count].line = line;
		for (size_t i = 0; i < FIELDS; i++) {
			promises[count].fields[i] = strsep(&line, "\t");
			assert_non_null(promises[count].fields[i]);
		}
	}
	return count;
}

static char *present(void)
{
	char *text = NULL;
	size_t len;
	FILE *file = open_memstream(&text, &len);
	assert_non_null(file);
	write_keys(&schema_config, "", file);
	assert_int_equal(fclose(file), 0);
	return text;
}

static char *promised(void)
{
	char *text = calloc(1, 1 << 20);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
	fclose(file);
	return text;
}

static const struct promise *find(const struct promise promises[], size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(promises[i].fields[PATH], key) == 0)
			return &promises[i];
	return NULL;
}

static bool has_all_choices(const char *now, const char *then)
{
	while (*then) {
		size_t len = strcspn(then, ",") + 1;
		bool found = false;
		for (const char *at = now; *at && !found; at += strcspn(at, ",") + 1)
			found = strncmp(at, then, len) == 0;
		if (!found)
			return false;
		then += len;
	}
	return true;
}

// A list of scalars may have become one of mappings in whose place such a scalar may stand.
static bool takes_the_shape(const struct promise *then, const struct promise *now)
{
	return strcmp(then->fields[SHAPE], now->fields[SHAPE]) == 0 ||
	       (strcmp(then->fields[SHAPE], "texts") == 0 &&
	               strcmp(now->fields[SHAPE], "objects") == 0);
}

static const char *broken(const struct promise *then, const struct promise *now)
{
	static const enum field same[] = {TYPE_NAME, FALLBACK};
	if (!now)
		return "is gone";
	if (!takes_the_shape(then, now))
		return "has another shape";
	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		if (strcmp(then->fields[same[i]], now->fields[same[i]]) != 0)
			return "has another type or default";
	if (strcmp(now->fields[PRESENCE], "required") == 0 &&
	        strcmp(then->fields[PRESENCE], "required") != 0)
		return "is required now";
	if (strcmp(then->fields[RELOAD], "live") == 0 && strcmp(now->fields[RELOAD], "live") != 0)
		return "takes a restart now";
	if (strtoull(now->fields[MIN], NULL, 10) > strtoull(then->fields[MIN], NULL, 10) ||
	        strtoull(now->fields[MAX], NULL, 10) < strtoull(then->fields[MAX], NULL, 10))
		return "has a narrower range";
	return has_all_choices(now->fields[CHOICES], then->fields[CHOICES]) ? NULL
	                                                                    : "has lost a choice";
}

static void whatever_a_file_of_v1_could_say_it_can_still_say(void **state)
{
	static struct promise then[1024], now[1024];
	(void)state;
	char *old_text = promised(), *new_text = present();
	size_t old_count = read_promises(old_text, then, ARRAY_LEN(then));
	size_t new_count = read_promises(new_text, now, ARRAY_LEN(now));
	assert_true(old_count > 200);
	for (size_t i = 0; i < old_count; i++) {
		const char *key = then[i].fields[PATH];
		const char *why = broken(&then[i], find(now, new_count, key));
		if (why)
			fail_msg("%s %s, and files of tollgate/v1 may have it", key, why);
	}
	for (size_t i = 0; i < new_count; i++)
		if (!find(then, old_count, now[i].fields[PATH]))
			fail_msg("%s is not promised yet: add it to %s with REGENERATE=1",
			        now[i].fields[PATH], path);
	free(old_text);
	free(new_text);
}

// Each kind of breach is one.
static void what_breaks_the_promise_is_found(void **state)
{
	static const struct {
		const char *then, *now;
		bool breaks;
	} cases[] = {
	        {"a\tscalar\tcount\tdefault\tlive\t1\t9\t5\tx,y,", "", true},
	        {"a\tscalar\tcount\tdefault\tlive\t1\t9\t5\t",
	                "a\ttexts\tcount\tdefault\tlive\t1\t9\t5\t", true},
	        {"a\tscalar\tcount\tdefault\tlive\t1\t9\t5\t",
	                "a\tscalar\tsize\tdefault\tlive\t1\t9\t5\t", true},
	        {"a\tscalar\tcount\tdefault\tlive\t1\t9\t5\t",
	                "a\tscalar\tcount\tdefault\tlive\t1\t9\t6\t", true},
	        {"a\tscalar\tcount\toptional\tlive\t1\t9\t-\t",
	                "a\tscalar\tcount\trequired\tlive\t1\t9\t-\t", true},
	        {"a\tscalar\tcount\tdefault\tlive\t1\t9\t5\t",
	                "a\tscalar\tcount\tdefault\trestart\t1\t9\t5\t", true},
	        {"a\tscalar\tcount\tdefault\tlive\t1\t9\t5\t",
	                "a\tscalar\tcount\tdefault\tlive\t2\t9\t5\t", true},
	        {"a\tscalar\tcount\tdefault\tlive\t1\t9\t5\t",
	                "a\tscalar\tcount\tdefault\tlive\t1\t8\t5\t", true},
	        {"a\tscalar\tc\tdefault\tlive\t0\t0\tx\tx,y,",
	                "a\tscalar\tc\tdefault\tlive\t0\t0\tx\tx,yy,", true},
	        {"a\tscalar\tc\tdefault\tlive\t1\t9\tx\tx,y,",
	                "a\tscalar\tc\tdefault\tlive\t0\t10\tx\tz,y,x,", false},
	        {"a\ttexts\tcount\trequired\tlive\t1\t9\t-\t",
	                "a\tobjects\tcount\trequired\tlive\t1\t9\t-\t", false},
	        {"a\ttexts\tcount\trequired\tlive\t1\t9\t-\t",
	                "a\tobjects\t-\trequired\tlive\t1\t9\t-\t", true},
	        {"a\tobjects\tcount\trequired\tlive\t1\t9\t-\t",
	                "a\ttexts\tcount\trequired\tlive\t1\t9\t-\t", true},
	        {"a\tscalar\tc\trequired\trestart\t1\t9\t-\t",
	                "a\tscalar\tc\toptional\tlive\t1\t9\t-\t", false},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct promise then, now;
		char *old_text = strdup(cases[i].then), *new_text = strdup(cases[i].now);
		assert_int_equal(read_promises(old_text, &then, 1), 1);
		size_t count = read_promises(new_text, &now, 1);
		const char *why = broken(&then, find(&now, count, "a"));
		if ((why != NULL) != cases[i].breaks)
			fail_msg("%s: %s", cases[i].now, why ? why : "keeps the promise");
		free(old_text);
		free(new_text);
	}
}

static void regenerate(void)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	write_keys(&schema_config, "", file);
	assert_int_equal(fclose(file), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(whatever_a_file_of_v1_could_say_it_can_still_say),
	        cmocka_unit_test(what_breaks_the_promise_is_found),
	};
	const char *wish = getenv("REGENERATE");
	if (wish && strcmp(wish, "1") == 0)
		regenerate();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
