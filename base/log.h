// The process log, for people and for what collects logs: one line on stderr an event, as logfmt or
// as JSON, each one write(). Any thread. Refusals go to the audit log and requests to the access
// log, never here. Values are escaped, whatever they hold, so that no line can be forged; what
// repeats itself is folded and counted (log_fold.h), so that a flood does not fill the disk and
// nothing vanishes uncounted.
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "base/check.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVELS };
enum log_format { LOG_LOGFMT, LOG_JSON };

void log_set_level(enum log_level lowest);
void log_set_format(enum log_format format);  // before the first event
bool log_is_json(void);

// log_event(LOG_INFO, "listener open", "name=%s address=\"%s\" routes=%zu", ...): `what` is
// constant text, `format` the pairs as logfmt would have them. Each value is taken for itself
// (log_line.h): whatever it holds, it stays that value.
void log_event(enum log_level level, const char *what, const char *format, ...) PRINTF(3, 4);

// Tells what was folded and is due; now and then, by whoever has a clock. The end of the process
// tells the rest by itself.
void log_settle(void);
// Tells all of it: for who is about to _exit.
void log_end(void);

#endif
