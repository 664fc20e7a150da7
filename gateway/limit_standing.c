#include "gateway/limit_standing.h"

#include "base/log.h"
#include "gateway/worker.h"

// Where some calls meet an error and others do not, each of them would be news.
#define QUIET_NS NS_PER_S

// For the auditor: while it is lost, calls pass or are refused that the fleet would decide about
// otherwise.
static void note(const struct limit_standing *standing, const struct config_redis *server,
        const char *event, const char *why)
{
	struct arena arena = {0};
	struct audit_record record = {
	        .event = event,
	        .detail = arena_printf(&arena, "redis %.*s, worker %zu%s%s",
	                STR_FMT(server->address.text), standing->worker->index, why ? ": " : "",
	                why ? why : ""),
	};
	audit_submit(standing->worker->lane, &record);
	arena_fini(&arena);
}

static void tell_good(struct limit_standing *standing, const struct config_redis *server)
{
	if (standing->is != STANDING_NEW)
		note(standing, server, "limit_store_restored", NULL);
	standing->is = STANDING_GOOD;
}

static void tell_lost(
        struct limit_standing *standing, const struct config_redis *server, const char *why)
{
	log_event(LOG_WARN, "limit store lost", "redis=%.*s worker=%zu error=\"%s\"",
	        STR_FMT(server->address.text), standing->worker->index, why);
	if (standing->is == STANDING_NEW || standing->is == STANDING_GOOD)
		note(standing, server, "limit_store_lost", why);
}

void limit_standing_connected(struct limit_standing *standing, const struct config_redis *server)
{
	log_event(LOG_INFO, "limit store connected", "redis=%.*s worker=%zu",
	        STR_FMT(server->address.text), standing->worker->index);
	if (standing->is != STANDING_ERRS)  // which only an answer ends
		tell_good(standing, server);
}

void limit_standing_lost(
        struct limit_standing *standing, const struct config_redis *server, const char *why)
{
	tell_lost(standing, server, why);
	if (standing->is != STANDING_ERRS)
		standing->is = STANDING_LOST;
}

// The server's own words stay unsaid but for their code.
static const char *error_of(const struct redis_reply *reply)
{
	static const struct {
		const char *code, *means;
	} errors[] = {
	        {"CLUSTERDOWN", "the server is a cluster"},
	        {"CROSSSLOT", "the server is a cluster"},
	        {"MOVED", "the server is a cluster"},
	        {"ASK", "the server is a cluster"},
	        {"NOPERM", "the server forbids a command or a key"},
	        {"OOM", "the server is out of memory"},
	        {"MISCONF", "the server cannot keep its data"},
	        {"LOADING", "the server is loading its data"},
	        {"BUSY", "the server is busy with another script"},
	};
	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		if (redis_reply_is(reply, errors[i].code))
			return errors[i].means;
	return reply->error ? "the server answers with an error" : "the server's answer is none";
}

void limit_standing_erred(struct limit_standing *standing, const struct config_redis *server,
        const struct redis_reply *reply)
{
	standing->erred_ns = standing->worker->turn.now_ns;
	if (standing->is == STANDING_ERRS)
		return;
	tell_lost(standing, server, error_of(reply));
	standing->is = STANDING_ERRS;
}

void limit_standing_answered(struct limit_standing *standing, const struct config_redis *server)
{
	if (standing->is != STANDING_ERRS ||
	        standing->worker->turn.now_ns - standing->erred_ns < QUIET_NS)
		return;
	log_event(LOG_INFO, "limit store answers again", "redis=%.*s worker=%zu",
	        STR_FMT(server->address.text), standing->worker->index);
	tell_good(standing, server);
}
