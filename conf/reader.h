// Walks a tree and the schema side by side and fills a struct config. It knows where in the file it
// stands, so that every problem carries its key path. Lives for one config_parse; one thread. It
// never stops at a problem: what cannot be understood is left empty or at its default.
#ifndef CONF_READER_H
#define CONF_READER_H

#include "base/check.h"
#include "conf/config.h"
#include "conf/schema.h"

enum { READER_STEPS_MAX = 16 };

struct reader {
	struct config *config;
	struct config_problems *problems;
	struct str directory;          // absolute; what relative paths are relative to
	bool offline;                  // neither DNS nor this machine is asked for anybody's name
	bool forgiving;                // names of backends need no address
	bool no_dns;                   // nobody is asked for names
	bool silence;                  // or not any more
	int64_t waited_ns;             // for answers that did not come
	const struct config *present;  // NULL, or whose names keep their addresses
	size_t present_at;             // the backend of it where one was found last
	struct {
		struct str key;  // `at` is NULL for a step into a list
		size_t index;
	} steps[READER_STEPS_MAX];
	size_t step_count;
};

// The whole file; what stands in several places is left to cross_check.
void reader_root(struct reader *reader, const struct tree *root);

void reader_enter(struct reader *reader, const char *key);
void reader_enter_item(struct reader *reader, size_t index);
void reader_leave(struct reader *reader);

// Whom to ask for names: NULL for nobody.
const struct config_dns *reader_dns(const struct reader *reader);

// The configuration in force, where it asks the same servers for names; else NULL.
const struct config *reader_present(const struct reader *reader);

// Adds a problem about the key the reader stands at.
void reader_problem(struct reader *reader, struct config_mark mark, const char *format, ...)
        PRINTF(3, 4);
// About `key` below where it stands: at its value in `map`, or at `map` itself where it is absent.
void reader_problem_at(struct reader *reader, const struct tree *map, const char *key,
        const char *format, ...) PRINTF(4, 5);
// "found X, expected what the key takes"; false, for the setters.
bool reader_refuse(struct reader *reader, const struct schema_key *key, const struct tree *node);

#endif
