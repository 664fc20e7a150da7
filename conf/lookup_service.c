// Services (RFC 2782): the SRV records of a name, and then the addresses of the servers they name.
#include <arpa/nameser.h>
#include <stdlib.h>
#include <strings.h>

#include "conf/endpoints.h"
#include "conf/lookup.h"

enum {
	TARGETS_MAX = 1024,
	AT_ONCE = 32,       // questions: a burst would overflow a name server's socket
	WEIGHT_MAX = 1000,  // as one may write it
	RDATA_FIXED = 6,    // priority, weight, port
	ROOT_ONLY = 1,      // the target `.`: there is no such service
};

struct target {
	struct service *service;
	struct str host;
	unsigned priority, weight;
	uint16_t port;
};

struct service {
	ares_channel channel;
	lookup_answered answered;
	void *argument;
	struct arena arena;
	struct target targets[TARGETS_MAX];
	size_t target_count, next, pending;
	struct config_address *addresses;
	size_t count;
	int64_t ttl_s;
	bool asking;
	struct lookup_answer failure;  // of one of them
};

static void finish(struct service *service)
{
	struct lookup_answer answer = service->failure;
	if (!answer.why && !service->count)
		answer = lookup_none(ARES_ENODATA);
	if (!answer.why)
		answer = (struct lookup_answer){.addresses = service->addresses,
		        .count = lookup_order(service->addresses, service->count),
		        .ttl_s = service->ttl_s};
	service->answered(service->argument, &answer);
	free(service->addresses);
	arena_fini(&service->arena);
	free(service);
}

static void shorten(struct service *service, int64_t ttl_s)
{
	if (ttl_s < service->ttl_s)
		service->ttl_s = ttl_s;
}

static void add_addresses(const struct target *target, const struct lookup_answer *answer)
{
	struct service *service = target->service;
	if (service->count + answer->count > ENDPOINT_ADDRESSES_MAX) {
		service->failure = (struct lookup_answer){.why = "it has too many addresses"};
		return;
	}
	service->addresses = must_realloc(
	        service->addresses, (service->count + answer->count) * sizeof(*service->addresses));
	for (size_t i = 0; i < answer->count; i++) {
		struct config_address *address = &service->addresses[service->count++];
		*address = answer->addresses[i];
		address->weight = target->weight;
		lookup_aim(address, target->port, STR(""));
	}
	shorten(service, answer->ttl_s);
}

static void ask_more(struct service *service);

// A server that does not exist is left out. One of which nothing is known may be there: then
// nothing is known of the service.
static void on_target(void *argument, const struct lookup_answer *answer)
{
	const struct target *target = argument;
	struct service *service = target->service;
	if (!answer->why)
		add_addresses(target, answer);
	else if (!answer->gone)
		service->failure = *answer;
	service->pending--;
	ask_more(service);
}

// Where answers are there at once it is called within itself: the outermost goes on.
static void ask_more(struct service *service)
{
	if (service->asking)
		return;
	service->asking = true;
	while (!service->failure.why && service->next < service->target_count &&
	        service->pending < AT_ONCE) {
		struct target *target = &service->targets[service->next++];
		service->pending++;
		lookup_ask(service->channel, target->host, on_target, target);
	}
	service->asking = false;
	if (service->pending == 0)
		finish(service);
}

static const char unreadable[] = "its records cannot be read";

// NULL, or what is wrong with the record.
static const char *take_record(struct service *service, const ns_msg *message, const ns_rr *record)
{
	char host[NS_MAXDNAME];
	const unsigned char *data = ns_rr_rdata(*record);
	if (ns_rr_rdlen(*record) <= RDATA_FIXED ||
	        ns_name_uncompress(ns_msg_base(*message), ns_msg_end(*message), data + RDATA_FIXED,
	                host, sizeof(host)) < 0)
		return unreadable;
	if (ns_rr_rdlen(*record) == RDATA_FIXED + ROOT_ONLY || !ns_get16(data + 4))
		return NULL;
	if (service->target_count == TARGETS_MAX)
		return "it has too many servers";
	service->targets[service->target_count++] = (struct target){service,
	        arena_str(&service->arena, str_from(host)), ns_get16(data), ns_get16(data + 2),
	        (uint16_t)ns_get16(data + 4)};
	return NULL;
}

// The owner of the records is the name that was asked for, or what that is an alias of.
static bool follow_alias(const ns_msg *message, const ns_rr *record, char owner[NS_MAXDNAME])
{
	return ns_name_uncompress(ns_msg_base(*message), ns_msg_end(*message), ns_rr_rdata(*record),
	               owner, NS_MAXDNAME) >= 0;
}

static const char *take_records(struct service *service, const unsigned char *bytes, int len)
{
	ns_msg message;
	ns_rr record;
	const char *why = NULL;
	char owner[NS_MAXDNAME];
	if (ns_initparse(bytes, len, &message) < 0 || ns_msg_getflag(message, ns_f_tc) ||
	        ns_parserr(&message, ns_s_qd, 0, &record) < 0)
		return unreadable;
	strcpy(owner, ns_rr_name(record));
	for (int i = 0; !why && i < ns_msg_count(message, ns_s_an); i++) {
		if (ns_parserr(&message, ns_s_an, i, &record) < 0)
			return unreadable;
		if (strcasecmp(ns_rr_name(record), owner) != 0)
			continue;
		// RFC 2181, 8: below 0 it is 0.
		shorten(service, ns_rr_ttl(record) <= INT32_MAX ? ns_rr_ttl(record) : 0);
		if (ns_rr_type(record) == ns_t_cname && !follow_alias(&message, &record, owner))
			return unreadable;
		if (ns_rr_type(record) == ns_t_srv)
			why = take_record(service, &message, &record);
	}
	return why;
}

static void keep_first_priority(struct service *service)
{
	size_t kept = 0;
	unsigned first = UINT16_MAX;
	for (size_t i = 0; i < service->target_count; i++)
		if (service->targets[i].priority < first)
			first = service->targets[i].priority;
	for (size_t i = 0; i < service->target_count; i++)
		if (service->targets[i].priority == first)
			service->targets[kept++] = service->targets[i];
	service->target_count = kept;
}

static void scale_weights(struct service *service)
{
	unsigned heaviest = WEIGHT_MAX;
	for (size_t i = 0; i < service->target_count; i++)
		if (service->targets[i].weight > heaviest)
			heaviest = service->targets[i].weight;
	for (size_t i = 0; i < service->target_count; i++) {
		unsigned *weight = &service->targets[i].weight;
		*weight = *weight * WEIGHT_MAX / heaviest;
		if (!*weight)
			*weight = 1;
	}
}

static void on_records(void *argument, int status, int timeouts, unsigned char *bytes, int len)
{
	struct service *service = argument;
	(void)timeouts;
	if (status == ARES_SUCCESS)
		service->failure.why = take_records(service, bytes, len);
	else
		service->failure = lookup_none(status);
	keep_first_priority(service);
	scale_weights(service);
	ask_more(service);
}

void lookup_ask_service(
        ares_channel channel, struct str name, lookup_answered answered, void *argument)
{
	struct service *service = must_alloc(sizeof(*service));
	char *text = must_copy(name.at, name.len);
	service->channel = channel;
	service->answered = answered;
	service->argument = argument;
	service->ttl_s = INT64_MAX;
	ares_search(channel, text, ns_c_in, ns_t_srv, on_records, service);
	free(text);
}
