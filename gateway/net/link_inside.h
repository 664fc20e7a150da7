// What the two halves of a link ask of each other: link.c begins and ends it, link_flow.c has bytes
// come in and go out. Nobody else's.
#ifndef GATEWAY_NET_LINK_INSIDE_H
#define GATEWAY_NET_LINK_INSIDE_H

#include "gateway/net/link.h"

// Tells the owner, or closes a link that it has finished with.
void link_ended(struct link *link, enum link_end why);
// Sets the deadline by which what waits is with the kernel, and then for the peer to hang up.
void link_linger(struct link *link);
void link_say_goodbye(struct link *link);  // all is written: announces the end, or cuts short

void link_flush(struct dirty *dirty);
void link_stop_unwanted(struct dirty *pause);
void link_step(struct dirty *step);               // its turn has come
MUST_USE bool link_write_out(struct link *link);  // false when nothing more can be written now

#endif
