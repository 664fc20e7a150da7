#include "conf/older.h"

#include <stdlib.h>

static void (*const rows[])(struct older *older, const struct tree *root) = {
        older_weights,  // `weights` beside `endpoints`
};

void older_begin(struct older *older, struct config_mark mark, struct str key, const char *now)
{
	if (older->count == older->capacity) {
		older->capacity = older->capacity ? older->capacity * 2 : 16;
		older->places = must_realloc(
		        older->places, older->capacity * sizeof(*older->places));
	}
	older->places[older->count++] = (struct older_place){mark, key, now, older->edits->count};
}

static void refuse(struct older *older, size_t place, struct config_mark mark, const char *why)
{
	config_problem_add(older->problems, mark, older->places[place].key,
	        "cannot be rewritten as %s: %s; expected it rewritten by hand, or left as it is",
	        older->places[place].now, why);
}

void older_refuse(struct older *older, struct config_mark mark, const char *why)
{
	refuse(older, older->count - 1, mark, why);
}

// Whether the text means the same once its first `places` are rewritten.
static bool means_the_same(const struct older *older, const struct config *config, size_t places)
{
	size_t edits = places < older->count ? older->places[places].edits : older->edits->count;
	struct config_problems problems = {0};
	struct buffer text = {0};
	char *path = must_copy(config->file.at, config->file.len);
	edits_apply(older->edits, edits, &text);
	struct config *after = config_parse_offline(buffer_str(&text), path, &problems);
	bool same = after && problems.count == 0 && config_same(config, after);
	config_free(after);
	config_problems_fini(&problems);
	config_forget(&text);
	free(path);
	return same;
}

static bool fits(const struct older *older)
{
	size_t len = older->edits->text.len;
	for (size_t i = 0; i < older->edits->count; i++) {
		const struct edit *edit = &older->edits->items[i];
		len += edit->other.len - (edit->end - edit->at);
	}
	return len <= TREE_BYTES_MAX;
}

// Of places that are rewritten one after the other, the one from which on it means something else.
static void find_other_meaning(struct older *older, const struct config *config)
{
	size_t good = 0, bad = older->count;
	while (bad - good > 1) {
		size_t middle = good + (bad - good) / 2;
		if (means_the_same(older, config, middle))
			good = middle;
		else
			bad = middle;
	}
	refuse(older, good, older->places[good].mark,
	        "it is written in a way in which that would not mean the same");
}

static void hold_to_the_meaning(struct older *older, const struct config *config)
{
	if (!fits(older))
		config_problem_add(older->problems, (struct config_mark){0, 0}, STR(""),
		        "would be larger than 4MiB in the present spelling; expected it left as it "
		        "is");
	else if (!means_the_same(older, config, older->count))
		find_other_meaning(older, config);
}

bool older_rewrite(
        const struct config *config, struct edits *edits, struct config_problems *problems)
{
	struct older older = {.edits = edits, .problems = problems};
	struct arena arena = {0};
	const struct tree *root = tree_parse(edits->text, &arena, problems);
	CHECK(root);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		rows[i](&older, root);
	if (older.count && problems->count == 0)
		hold_to_the_meaning(&older, config);
	free(older.places);
	arena_fini(&older.arena);
	arena_wipe(&arena);
	return problems->count == 0;
}
