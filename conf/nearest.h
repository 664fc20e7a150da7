// Which of a few known words somebody may have meant. Pure; any thread.
#ifndef CONF_NEAREST_H
#define CONF_NEAREST_H

#include <stddef.h>

#include "base/str.h"

// Insertions, deletions, replacements and swaps of neighbours that make one of the other; upper and
// lower case count as the same, and so do `-` and `_`. At most 63 bytes are compared.
size_t nearest_distance(struct str a, struct str b);

// The best of a growing set: start with {.word = what was written}, offer each candidate.
struct nearest {
	struct str word, best;
	size_t distance;
};
// Candidates further away than a third of the word (but at most 3 edits) are not near. True when
// this one is the best so far.
bool nearest_offer(struct nearest *nearest, struct str candidate);

#endif
