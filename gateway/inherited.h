// Sockets that were bound before the process began: by systemd (socket activation,
// sd_listen_fds(3)) or by the gateway whose place it takes (SIGUSR2), which hands them over in the
// same way. Each goes to the listener of its address, or of its name. Main's, from the start to the
// end of it.
#ifndef GATEWAY_INHERITED_H
#define GATEWAY_INHERITED_H

#include <stdbool.h>

#include "conf/config.h"

struct inherited {
	size_t count;
	struct inherited_socket {
		int socket;  // -1: taken
		char *name;  // FileDescriptorName=, or "" where it has none
	} * items;
};

void inherited_receive(struct inherited *inherited);
// How many of `sockets` are the listener's; they are the caller's then. `sockets` has room for all.
size_t inherited_take(struct inherited *inherited, const struct config_address *address,
        struct str name, int sockets[]);
bool inherited_is_at(int descriptor, const struct config_address *address);
void inherited_say_rest(const struct inherited *inherited);  // what nobody took, in the log
void inherited_fini(struct inherited *inherited);            // closes that

#endif
