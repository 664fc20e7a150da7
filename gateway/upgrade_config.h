// `tollgate upgrade-config`: shows a configuration file in the present spelling as a diff, and with
// `write` puts that in its place. It asks nobody but the file system: no certificate has to be
// there and no name known.
#ifndef GATEWAY_UPGRADE_CONFIG_H
#define GATEWAY_UPGRADE_CONFIG_H

#include <stdbool.h>

// The exit status, once all is said.
int upgrade_config(const char *path, bool write);

#endif
