// What is to be said of the server of shared limits, as one worker sees it: log and audit hear when
// it is lost, or answers with errors, and when it is good again; once each, however many calls meet
// it. Owned by the limit store; its thread only.
#ifndef GATEWAY_LIMIT_STANDING_H
#define GATEWAY_LIMIT_STANDING_H

#include "conf/config.h"
#include "gateway/redis_reply.h"

struct worker;

struct limit_standing {
	struct worker *worker;
	enum { STANDING_NEW, STANDING_GOOD, STANDING_LOST, STANDING_ERRS } is;
	int64_t erred_ns;  // where it errs: when it last did
};

// `server` is the one that is asked.
void limit_standing_connected(struct limit_standing *standing, const struct config_redis *server);
void limit_standing_lost(
        struct limit_standing *standing, const struct config_redis *server, const char *why);
// It answered a call: with an error, or with anything else that is no answer; or as it should.
void limit_standing_erred(struct limit_standing *standing, const struct config_redis *server,
        const struct redis_reply *reply);
void limit_standing_answered(struct limit_standing *standing, const struct config_redis *server);

#endif
