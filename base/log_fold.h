// Keeps the process log from filling a disk. A text (an event with all its values) is written a few
// times in a window; more of it is counted, and told at the window's end as one line with
// `repeated=N`. As long as it goes on it is told once a window. Texts that differ are never folded
// together, so that there is a second bound: each level has a budget of lines, a burst and then one
// a second; what is beyond it is counted and told too. Any thread, behind one lock; bounded memory.
#ifndef BASE_LOG_FOLD_H
#define BASE_LOG_FOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/log.h"

enum {
	LOG_FOLD_WINDOW_S = 10,
	LOG_FOLD_AFTER = 5,    // lines of one text a window
	LOG_FOLD_TEXTS = 64,   // that are watched at a time
	LOG_FOLD_BURST = 500,  // lines of one level at once; then
	LOG_FOLD_PER_S = 1,
};

// Whether to write this one; if not, it is counted.
bool log_fold_admits(enum log_level level, struct str text, int64_t now_ns);

// One that is due to be told; false when there is none. `text` becomes what was folded, with
// *repeated how often; or it stays empty, and *repeated lines of `level` were left out.
bool log_fold_due(int64_t now_ns, struct buffer *text, uint64_t *repeated, enum log_level *level);
// The same for what is not due yet.
bool log_fold_rest(struct buffer *text, uint64_t *repeated, enum log_level *level);
void log_fold_forget(void);  // everything, as at the start

#endif
