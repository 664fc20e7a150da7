// Notices that a certificate, key, bundle or list on disk was replaced, however it was done
// (rewritten, renamed over, a symlink swapped): by looking at device, inode, size and times of what
// the path leads to, once a second. Looking is cheap, works on every filesystem, and misses nothing
// that inotify catches. The main thread; opens no file.
#ifndef GATEWAY_WATCH_H
#define GATEWAY_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/config.h"

struct watch {
	uint64_t seen;  // a digest of what the files looked like
	uint64_t config_seen, config_loaded;
};

// What the files that a configuration names look like. Taken before they are read, so that what
// changes meanwhile is noticed afterwards.
uint64_t watch_look(const struct config *config);
// True when anything looks different since the last call; then that is the new normal.
bool watch_changed(struct watch *watch, const struct config *config);

// The same of the configuration's own file: how it looks when it is loaded, and whether it has
// changed since and looks as it did at the last call, so that nobody is caught in the middle of
// writing it. `path` NULL: there is none.
void watch_config_begin(struct watch *watch, const char *path);
bool watch_config_rests_changed(struct watch *watch, const char *path);

#endif
