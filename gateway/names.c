#include "gateway/names.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/address.h"
#include "conf/lookup.h"
#include "gateway/net/socket.h"

enum {
	SETTLE_MS = 10,
	UNKNOWN_MS = 1000,  // until a name without an address is asked for again
	AT_ONCE = 32,
	TOLD_MAX = 16,  // addresses in a line of the log
};

struct name {
	struct list node, due;
	struct names *names;
	struct timer timer;
	struct resolver_question question;
	struct str text;  // in the configuration: a host, or a service
	bool service;
	struct config_address *addresses;
	size_t count;              // 0: not known yet
	size_t endpoints, groups;  // as loaded: of so many that are alike
	bool unknown;  // it had no address as the configuration was loaded, and has none yet
	bool failed;
	bool dirty;    // not said yet that they are others
	bool refused;  // a backend has no place for them
};

static void ask_after(struct name *name, int64_t ttl_ns)
{
	const struct config_dns *dns = &name->names->config->dns;
	if (ttl_ns > dns->max_ttl_ns)
		ttl_ns = dns->max_ttl_ns;
	if (ttl_ns < dns->min_ttl_ns)
		ttl_ns = dns->min_ttl_ns;
	turn_set_timer(name->names->turn, &name->timer, ttl_ns);
}

// Once it is in force.
static void say_changed(struct name *name)
{
	struct buffer text = {0};
	if (!name->dirty)
		return;
	name->dirty = false;
	for (size_t i = 0; i < name->count && i < TOLD_MAX; i++) {
		char one[SOCKET_ADDRESS_SIZE];
		(name->service ? socket_address_text : socket_host_text)(
		        &name->addresses[i].socket, one);
		buffer_printf(&text, "%s%s", i ? " " : "", one);
	}
	if (name->count > TOLD_MAX)
		buffer_printf(&text, " and %zu more", name->count - TOLD_MAX);
	log_event(name->refused ? LOG_WARN : LOG_INFO,
	        name->refused ? "too many backend addresses, the former ones stay"
	                      : "backend addresses changed",
	        "name=%.*s addresses=\"%.*s\"", STR_FMT(name->text), STR_FMT(buffer_str(&text)));
	buffer_fini(&text);
}

static void take(struct name *name, const struct lookup_answer *answer)
{
	size_t bytes = answer->count * sizeof(*name->addresses);
	name->addresses = must_realloc(name->addresses, bytes);
	memcpy(name->addresses, answer->addresses, bytes);
	name->count = answer->count;
	name->dirty = true;
	name->unknown = false;
	if (!timer_armed(&name->names->settle))
		turn_set_timer(
		        name->names->turn, &name->names->settle, SETTLE_MS * (int64_t)NS_PER_MS);
}

static void on_failed(struct name *name, const char *why)
{
	if (!name->failed)
		log_event(LOG_WARN,
		        name->unknown ? "name cannot be resolved, it has no address yet"
		                      : "name cannot be resolved, its addresses stay",
		        "name=%.*s problem=\"%s\"", STR_FMT(name->text), why);
	name->failed = true;
	name->names->lookups[NAMES_FAILED]++;
	if (name->unknown)
		turn_set_timer(name->names->turn, &name->timer, UNKNOWN_MS * (int64_t)NS_PER_MS);
	else
		ask_after(name, 0);
}

static void ask_more(struct names *names);

static void on_answered(struct resolver_question *question, const struct lookup_answer *answer)
{
	struct name *name = CONTAINER_OF(question, struct name, question);
	struct names *names = name->names;
	if (!names->config)
		return;
	names->asked--;
	ask_more(names);
	if (answer->why) {
		on_failed(name, answer->why);
		return;
	}
	if (name->failed)
		log_event(LOG_INFO, "name is resolved again", "name=%.*s", STR_FMT(name->text));
	name->failed = false;
	bool same = endpoints_alike(name->addresses, name->count, answer->addresses, answer->count);
	names->lookups[same ? NAMES_UNCHANGED : NAMES_CHANGED]++;
	if (!same)
		take(name, answer);
	ask_after(name, answer->ttl_s * (int64_t)NS_PER_S);
}

// Perhaps resolv.conf says something else by now.
static void open_anew(struct names *names)
{
	resolver_close(&names->resolver);
	resolver_open(&names->resolver, names->turn, &names->config->dns);
}

// Where answers are there at once it is called within itself: the outermost goes on.
static void ask_more(struct names *names)
{
	if (names->asking)
		return;
	names->asking = true;
	for (struct list *node; names->asked < AT_ONCE && (node = list_pop(&names->due));) {
		struct name *name = LIST_ITEM(node, struct name, due);
		names->asked++;
		resolver_ask(&names->resolver, &name->question, name->text, name->service);
	}
	names->asking = false;
}

static void on_due(struct timer *timer)
{
	struct name *name = CONTAINER_OF(timer, struct name, timer);
	if (name->failed && !name->names->asked)
		open_anew(name->names);
	list_push(&name->names->due, &name->due);
	ask_more(name->names);
}

// What is looked up; empty where there is nothing to look up.
static struct str text_of(const struct config_address *address)
{
	struct in6_addr bytes;
	struct str host = address_is_service(address) ? address->text : address_host(address);
	bool numeric = address_numeric(host, AF_INET, &bytes) ||
	               address_numeric(host, AF_INET6, &bytes);
	return numeric ? STR("") : host;
}

static struct name *find(const struct names *names, const struct config_address *address)
{
	struct str text = text_of(address);
	bool service = address_is_service(address);
	LIST_EACH (&names->all, node) {
		struct name *name = LIST_ITEM(node, struct name, node);
		if (name->service == service && str_eq(name->text, text))
			return name;
	}
	return NULL;
}

static void know(struct name *name, const struct config_address *address)
{
	name->addresses = must_realloc(
	        name->addresses, (name->count + 1) * sizeof(*name->addresses));
	name->addresses[name->count] = *address;
	name->addresses[name->count].mark = (struct config_mark){0};
	lookup_aim(&name->addresses[name->count++], name->service ? address_port(address) : 0,
	        STR(""));
}

static void add(struct names *names, const struct config_address *address, bool first)
{
	struct str text = text_of(address);
	if (!text.len)
		return;
	struct name *name = find(names, address);
	if (!name) {
		name = must_alloc(sizeof(*name));
		name->names = names;
		name->text = text;
		name->service = address_is_service(address);
		name->question.answered = on_answered;
		timer_init(&name->timer, on_due);
		list_push(&names->all, &name->node);
		if (names->config->stale_names)
			turn_set_timer(names->turn, &name->timer, 0);
		else
			ask_after(name, 0);
	}
	if (address->unknown)
		name->unknown = true;
	else
		know(name, address);
	name->endpoints++;
	name->groups += first;
}

static void add_backend(struct names *names, const struct config_backend *backend)
{
	const struct config_address *before = NULL;
	for (size_t i = 0; i < backend->endpoint_count; i++) {
		const struct config_address *address = &backend->endpoints[i];
		add(names, address, !before || !str_eq(before->text, address->text));
		before = address;
	}
}

// A name may stand at several places, and may have changed, or come to an address, while one was
// resolved after the other. Then nothing is known of it, so that any answer is news for all places.
static void settle(struct name *name)
{
	name->count = lookup_order(name->addresses, name->count);
	if (name->unknown || name->endpoints != name->groups * name->count)
		name->count = 0;
}

static void forget_all(struct names *names)
{
	struct list *node;
	struct config *config = names->config;
	names->config = NULL;
	resolver_close(&names->resolver);
	turn_stop_timer(names->turn, &names->settle);
	while ((node = list_pop(&names->all))) {
		struct name *name = LIST_ITEM(node, struct name, node);
		turn_stop_timer(names->turn, &name->timer);
		list_remove(&name->due);
		free(name->addresses);
		free(name);
	}
	config_free(config);
}

static void on_settled(struct timer *timer)
{
	struct names *names = CONTAINER_OF(timer, struct names, settle);
	LIST_EACH (&names->all, node) {
		struct name *name = LIST_ITEM(node, struct name, node);
		name->dirty |= name->refused;
		name->refused = false;
	}
	names->changed(names);
	LIST_EACH (&names->all, node)
		say_changed(LIST_ITEM(node, struct name, node));
}

void names_begin(struct names *names, struct turn *turn, void (*changed)(struct names *names))
{
	*names = (struct names){.turn = turn, .changed = changed};
	list_init(&names->all);
	list_init(&names->due);
	timer_init(&names->settle, on_settled);
}

void names_use(struct names *names, struct config *config)
{
	names_end(names);
	names->asked = 0;
	names->config = config_ref(config);
	for (size_t i = 0; i < config->backend_count; i++)
		add_backend(names, &config->backends[i]);
	LIST_EACH (&names->all, node)
		settle(LIST_ITEM(node, struct name, node));
	resolver_open(&names->resolver, names->turn, &config->dns);
}

void names_end(struct names *names)
{
	if (names->config)
		forget_all(names);
}

bool names_find(
        const struct config_address *present, struct endpoints_of_name *found, void *argument)
{
	struct name *name = find(argument, present);
	if (!name || !name->count)
		return false;
	*found = (struct endpoints_of_name){name->addresses, name->count, &name->refused};
	return true;
}
