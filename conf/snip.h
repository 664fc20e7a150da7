// Lines of a YAML text, and a key taken out of it with its value: comments and all else stay. Pure
// but for the edits; one thread.
#ifndef CONF_SNIP_H
#define CONF_SNIP_H

#include "base/edit.h"
#include "conf/tree.h"

// Where the line that `at` stands in begins, where its break does, and where the next begins.
size_t snip_line_begin(struct str text, size_t at);
size_t snip_line_end(struct str text, size_t at);
size_t snip_next_line(struct str text, size_t at);

// Takes a member out of its map. It is of words without `#`, a list of numbers say: whatever begins
// so in its midst is a comment.
void snip_member(struct edits *edits, const struct tree *map, const struct tree *member);

#endif
