// Asks DNS without waiting: a channel of c-ares on a turn's loop, which watches its sockets while
// they are open and keeps its time-outs by one timer. Answers come in the loop, or before
// resolver_ask returns where /etc/hosts has them. A resolver is not closed while it answers. Its
// turn's thread only.
#ifndef GATEWAY_NET_RESOLVER_H
#define GATEWAY_NET_RESOLVER_H

#include <ares.h>

#include "conf/lookup.h"
#include "gateway/net/turn.h"

struct resolver {
	struct turn *turn;
	ares_channel channel;  // NULL: closed
	struct list watched;   // its sockets
	struct timer timer;
};

struct resolver_question {
	void (*answered)(struct resolver_question *question, const struct lookup_answer *answer);
	bool asked;  // and not answered yet
};

// Where /etc/resolv.conf cannot be read each answer is that.
void resolver_open(struct resolver *resolver, struct turn *turn, const struct config_dns *dns);
// Once at a time; `answered` is called once.
void resolver_ask(struct resolver *resolver, struct resolver_question *question, struct str name,
        bool service);
// What is asked is answered with that.
void resolver_close(struct resolver *resolver);

#endif
