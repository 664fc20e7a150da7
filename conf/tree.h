// A YAML file as a tree of nodes with their places, nothing understood yet: the step between
// libyaml and the schema. Everything lives in the caller's arena and dies with it; the text may go
// once it is parsed. One thread. It never expands an alias, so a tree is never larger than its
// file. (libcyaml has a schema table of its own but stops at the first error and knows no columns;
// here all errors of a file are wanted, hence libyaml's events.)
#ifndef CONF_TREE_H
#define CONF_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/config.h"

enum { TREE_BYTES_MAX = 4 << 20, TREE_DEPTH_MAX = 32 };

enum tree_kind { TREE_TEXT, TREE_LIST, TREE_MAP, TREE_ALIAS };

struct tree {
	enum tree_kind kind;
	struct config_mark mark;
	size_t at, end;   // its bytes in the file, from its first character to behind its last
	struct str text;  // of a TREE_TEXT; NUL-terminated
	bool plain;       // a TREE_TEXT without quotes
	bool anchor, tag;
	struct str key;  // under which it stands in a map; `at` is NULL when that is no plain text
	struct config_mark key_mark;
	size_t key_at;                     // its first byte
	struct tree *first, *last, *next;  // the elements of a list, the values of a map
	size_t count;
};

// NULL after adding the problem: junk, a syntax error, no document or more than one, too deep.
MUST_USE struct tree *tree_parse(
        struct str text, struct arena *arena, struct config_problems *problems);

// A key without a value, or with one of YAML's words for none.
bool tree_absent(const struct tree *node);

// The first value under that key of a map; NULL when absent.
const struct tree *tree_get(const struct tree *map, const char *key);

#endif
