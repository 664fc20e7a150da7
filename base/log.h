// The process log, for people: one logfmt line on stderr an event. Any thread; a line is one
// write(). Refusals go to the audit log and requests to the access log, never here. Values from
// outside are quoted and escaped.
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/check.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level lowest);

// log_event(LOG_INFO, "listener open", "name=%s address=%s", ...): `what` is constant text,
// `format` the logfmt pairs.
void log_event(enum log_level level, const char *what, const char *format, ...) PRINTF(3, 4);

#endif
