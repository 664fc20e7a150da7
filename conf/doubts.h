// What stands in a good file and is hardly meant: it loads, and `check` and the log say so. Nothing
// that could ever be right belongs here. Reads an immutable config; any thread.
#ifndef CONF_DOUBTS_H
#define CONF_DOUBTS_H

#include "conf/config.h"

struct config_doubt {
	struct config_mark mark;
	struct str key;     // the key path; good for this call
	const char *words;  // what is wrong with it
};

typedef void (*config_doubt_tell)(const struct config_doubt *doubt, void *argument);
// In the order of the file.
void config_doubts(const struct config *config, config_doubt_tell tell, void *argument);

#endif
