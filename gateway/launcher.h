// A small process beside the gateway's that can still do what the gateway has closed behind itself:
// start a program, with the rights that the gateway was started with. On SIGUSR2 it is handed the
// gateway's sockets and runs the binary that now stands at the path, with the arguments of then and
// nothing else: whoever takes the gateway over gets no more from it than a fresh gateway. It is a
// program run anew, not a fork, so it shares no secret and no layout of memory; it listens to no
// signal, holds no socket, and ends with the gateway.
#ifndef GATEWAY_LAUNCHER_H
#define GATEWAY_LAUNCHER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

#define LAUNCHER_NAME "tollgate-launcher"

struct launcher {
	int channel;  // -1: there is none
};

// First of all, before the process gives up any right. `arguments` are the program's own. A gateway
// without a launcher serves all the same, and cannot be upgraded.
void launcher_begin(struct launcher *launcher, char *const arguments[]);

// Asks for a successor. It gets the descriptors as systemd would hand them over (sd_listen_fds(3)),
// named "inherited", but the first `private_count`, whose numbers stand in LAUNCHER_PRIVATE. False
// with the reason in errno.
MUST_USE bool launcher_ask(const struct launcher *launcher, const int descriptors[], size_t count,
        size_t private_count);
#define LAUNCHER_PRIVATE "TOLLGATE_HANDOVER"

void launcher_end(struct launcher *launcher);

// What the process of that name does instead of all else; its exit status.
int launcher_main(void);

#endif
