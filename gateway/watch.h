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
};

void watch_begin(struct watch *watch, const struct config *config);
// True when anything looks different since the last call; then that is the new normal.
bool watch_changed(struct watch *watch, const struct config *config);

#endif
