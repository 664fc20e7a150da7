// What the process gives up, for good: core dumps and new privileges at its very start; root, once
// its sockets are bound and its logs open (`run_as`). The main thread, before the workers start.
// After the drop a reload, a replaced key and a reopened log go by what the new user may: what it
// may not is said at once, not when it is too late.
#ifndef GATEWAY_PRIVILEGE_H
#define GATEWAY_PRIVILEGE_H

#include "conf/config.h"

// Before anything secret is read: no set-user-ID programs, no core, nobody's debugger but root's;
// and as many descriptors as the hard limit lets it have.
void privilege_harden(void);
void privilege_raise_descriptor_limit(void);  // that last part alone

// Log files that are not there yet are made for the user the process becomes, so that it can open
// them again. False after adding a problem. Nothing without run_as.
MUST_USE bool privilege_make_logs(const struct config *config, struct config_problems *problems);

// Becomes the user and group of run_as in all threads, and proves that there is no way back. False
// after logging why not. Warns of files that the new user may not read, and of logs that it may not
// open again. Nothing without run_as. `config_path` NULL: the embedded default.
MUST_USE bool privilege_drop(const struct config *config, const char *config_path);

#endif
