// Older spellings: what a file may say, and for ever, though there is a better way to say it now.
// `tollgate upgrade-config` has them rewritten: the text is edited where they stand and stays as it
// is everywhere else. One thread. A new one is a row of the table in older.c.
#ifndef CONF_OLDER_H
#define CONF_OLDER_H

#include "base/edit.h"
#include "conf/tree.h"

// The edits that give the text, which said `config` without a problem, its present spelling; they
// change nothing of what it says. False after adding the problems: what cannot be rewritten.
MUST_USE bool older_rewrite(
        const struct config *config, struct edits *edits, struct config_problems *problems);

// For the rows: a place that is rewritten, by the edits added until the next one begins.
struct older_place {
	struct config_mark mark;
	struct str key;
	const char *now;  // the present spelling
	size_t edits;     // before it
};

struct older {
	struct edits *edits;
	struct config_problems *problems;
	struct arena arena;
	struct older_place *places;
	size_t count, capacity;
};

// `key` lives in the arena.
void older_begin(struct older *older, struct config_mark mark, struct str key, const char *now);
// The place that was begun cannot be rewritten, by what stands at `mark`.
void older_refuse(struct older *older, struct config_mark mark, const char *why);

void older_weights(struct older *older, const struct tree *root);  // older_weights.c

#endif
