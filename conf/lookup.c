#include "conf/lookup.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "conf/address.h"

enum { TRY_MS = 1000, TRIES = 2 };

const char *lookup_library_version(void)
{
	return ares_version(NULL);
}

static const char *why(int status)
{
	switch (status) {
	case ARES_ENOTFOUND:
		return "there is no such name";
	case ARES_ENODATA:
		return "the name has no address";
	case ARES_ETIMEOUT:
	case ARES_ECANCELLED:
		return "no answer in time";
	case ARES_ECONNREFUSED:  // of SERVFAIL too, once all were asked
		return "no server can be reached that has an answer";
	default:
		return ares_strerror(status);
	}
}

struct lookup_answer lookup_none(int status)
{
	return (struct lookup_answer){
	        .why = why(status), .gone = status == ARES_ENODATA || status == ARES_ENOTFOUND};
}

static void use_servers(ares_channel channel, const struct config_dns *dns)
{
	struct ares_addr_port_node nodes[LOOKUP_SERVERS_MAX] = {0};
	for (size_t i = 0; i < dns->count; i++) {
		const struct sockaddr_in *four =
		        (const struct sockaddr_in *)&dns->addresses[i].socket;
		const struct sockaddr_in6 *six =
		        (const struct sockaddr_in6 *)&dns->addresses[i].socket;
		struct ares_addr_port_node *node = &nodes[i];
		node->next = i + 1 < dns->count ? node + 1 : NULL;
		node->family = four->sin_family;
		node->tcp_port = node->udp_port = address_port(&dns->addresses[i]);
		if (node->family == AF_INET)
			node->addr.addr4 = four->sin_addr;
		else
			memcpy(&node->addr.addr6, &six->sin6_addr, sizeof(six->sin6_addr));
	}
	CHECK(ares_set_servers_ports(channel, nodes) == ARES_SUCCESS);
}

ares_channel lookup_open(const struct config_dns *dns, ares_sock_state_cb watch, void *argument)
{
	ares_channel channel;
	struct ares_options options = {.timeout = TRY_MS,
	        .tries = TRIES,
	        .sock_state_cb = watch,
	        .sock_state_cb_data = argument};
	int given = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | (watch ? ARES_OPT_SOCK_STATE_CB : 0);
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS ||
	        ares_init_options(&channel, &options, given) != ARES_SUCCESS)
		return NULL;
	if (dns->count)
		use_servers(channel, dns);
	return channel;
}

// 0.0.0.0 and :: are how filters say that there is no such server; a connection to them would be
// one to this machine.
static bool can_be_called(const struct ares_addrinfo_node *node)
{
	const struct sockaddr_in *four = (const void *)node->ai_addr;
	const struct sockaddr_in6 *six = (const void *)node->ai_addr;
	return node->ai_family == AF_INET ? four->sin_addr.s_addr != INADDR_ANY
	                                  : !IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);
}

static size_t count_family(const struct ares_addrinfo *answer, int family)
{
	size_t count = 0;
	for (const struct ares_addrinfo_node *node = answer->nodes; node; node = node->ai_next)
		count += node->ai_family == family && can_be_called(node);
	return count;
}

static void fill(struct config_address *address, const struct ares_addrinfo_node *node)
{
	struct sockaddr_in *four = (struct sockaddr_in *)&address->socket;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address->socket;
	address->kind = ADDRESS_INET;
	address->socket.ss_family = (sa_family_t)node->ai_family;
	if (node->ai_family == AF_INET) {
		four->sin_addr =
		        ((const struct sockaddr_in *)(const void *)node->ai_addr)->sin_addr;
		address->socket_len = sizeof(*four);
	} else {
		const struct sockaddr_in6 *found = (const void *)node->ai_addr;
		six->sin6_addr = found->sin6_addr;
		six->sin6_scope_id = found->sin6_scope_id;
		address->socket_len = sizeof(*six);
	}
}

static int by_bytes(const void *left, const void *right)
{
	const struct config_address *a = left, *b = right;
	return memcmp(&a->socket, &b->socket, sizeof(a->socket));
}

// Of the same address the heaviest first, whichever came first.
static int in_order(const void *left, const void *right)
{
	const struct config_address *a = left, *b = right;
	int order = by_bytes(left, right);
	return order ? order : (a->weight < b->weight) - (a->weight > b->weight);
}

size_t lookup_order(struct config_address *addresses, size_t count)
{
	size_t kept = 0;
	if (!count)
		return 0;  // there may be no array
	qsort(addresses, count, sizeof(*addresses), in_order);
	for (size_t i = 0; i < count; i++)
		if (!kept || by_bytes(&addresses[kept - 1], &addresses[i]) != 0)
			addresses[kept++] = addresses[i];
	return kept;
}

// The shortest of all: of the addresses, and of the aliases on the way to them.
static int64_t shortest_ttl_s(const struct ares_addrinfo *answer, int family)
{
	int64_t ttl = INT64_MAX;
	for (const struct ares_addrinfo_node *node = answer->nodes; node; node = node->ai_next)
		if (node->ai_family == family && node->ai_ttl < ttl)
			ttl = node->ai_ttl;
	for (const struct ares_addrinfo_cname *alias = answer->cnames; alias; alias = alias->next)
		if (alias->ttl < ttl)
			ttl = alias->ttl;
	return ttl > 0 && ttl < INT64_MAX ? ttl : 0;  // RFC 2181, 8: below 0 it is 0
}

static struct lookup_answer take(const struct ares_addrinfo *found, int family, struct arena *arena)
{
	size_t count = 0, room = count_family(found, family);
	struct config_address *addresses = arena_zalloc(arena, room * sizeof(*addresses));
	for (const struct ares_addrinfo_node *node = found->nodes; node; node = node->ai_next)
		if (node->ai_family == family && can_be_called(node))
			fill(&addresses[count++], node);
	if (!count)
		return lookup_none(ARES_ENODATA);
	return (struct lookup_answer){.addresses = addresses,
	        .count = lookup_order(addresses, count),
	        .ttl_s = shortest_ttl_s(found, family)};
}

// IPv6 is asked for where there is no IPv4, and only then: an answer that was lost is not one that
// says there is none.
struct inquiry {
	ares_channel channel;
	lookup_answered answered;
	void *argument;
	int family;
	char *host;
};

static void ask_family(struct inquiry *inquiry, int family);

static void on_family(void *argument, int status, int timeouts, struct ares_addrinfo *found)
{
	struct inquiry *inquiry = argument;
	struct arena arena = {0};
	(void)timeouts;
	struct lookup_answer answer = lookup_none(status);
	if (inquiry->family == AF_INET && answer.gone) {
		ask_family(inquiry, AF_INET6);
		return;
	}
	if (status == ARES_SUCCESS) {
		answer = take(found, inquiry->family, &arena);
		ares_freeaddrinfo(found);
	}
	inquiry->answered(inquiry->argument, &answer);
	arena_fini(&arena);
	free(inquiry->host);
	free(inquiry);
}

static void ask_family(struct inquiry *inquiry, int family)
{
	const struct ares_addrinfo_hints hints = {
	        .ai_flags = ARES_AI_NOSORT, .ai_family = family, .ai_socktype = SOCK_STREAM};
	inquiry->family = family;
	ares_getaddrinfo(inquiry->channel, inquiry->host, NULL, &hints, on_family, inquiry);
}

void lookup_ask(ares_channel channel, struct str host, lookup_answered answered, void *argument)
{
	struct inquiry *inquiry = must_alloc(sizeof(*inquiry));
	*inquiry = (struct inquiry){
	        channel, answered, argument, .host = must_copy(host.at, host.len)};
	ask_family(inquiry, AF_INET);
}

void lookup_aim(struct config_address *address, uint16_t port, struct str text)
{
	struct sockaddr_in *four = (struct sockaddr_in *)&address->socket;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address->socket;
	address->text = text;
	if (address->socket.ss_family == AF_INET)
		four->sin_port = htons(port);
	else
		six->sin6_port = htons(port);
}

struct wait {
	struct arena *arena;
	struct config_address **addresses;
	size_t *count;
	const char *why;
	bool over;
};

static void on_answer(void *argument, const struct lookup_answer *answer)
{
	struct wait *wait = argument;
	wait->over = true;
	wait->why = answer->why;
	if (answer->why)
		return;
	size_t bytes = answer->count * sizeof(**wait->addresses);
	*wait->addresses = memcpy(arena_alloc(wait->arena, bytes), answer->addresses, bytes);
	*wait->count = answer->count;
}

static void turn(ares_channel channel, int64_t left_ns)
{
	ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
	struct pollfd polls[ARES_GETSOCK_MAXNUM];
	struct timeval room,
	        most = {.tv_sec = left_ns / NS_PER_S, .tv_usec = left_ns % NS_PER_S / NS_PER_US};
	unsigned mask = (unsigned)ares_getsock(channel, sockets, ARES_GETSOCK_MAXNUM);
	nfds_t count = 0;
	for (; count < ARES_GETSOCK_MAXNUM; count++) {
		short wanted = (short)((ARES_GETSOCK_READABLE(mask, count) ? POLLIN : 0) |
		                       (ARES_GETSOCK_WRITABLE(mask, count) ? POLLOUT : 0));
		if (!wanted)
			break;
		polls[count] = (struct pollfd){.fd = sockets[count], .events = wanted};
	}
	struct timeval *until = ares_timeout(channel, &most, &room);
	(void)!poll(polls, count,
	        (int)(until->tv_sec * MS_PER_S + until->tv_usec / (NS_PER_MS / NS_PER_US)) + 1);
	ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // what is overdue
	for (nfds_t i = 0; i < count; i++)
		ares_process_fd(channel, polls[i].revents ? polls[i].fd : ARES_SOCKET_BAD,
		        polls[i].revents & POLLOUT ? polls[i].fd : ARES_SOCKET_BAD);
}

const char *lookup_wait(const struct config_dns *dns, struct str name, bool service,
        struct arena *arena, struct config_address **addresses, size_t *count)
{
	struct wait wait = {.arena = arena, .addresses = addresses, .count = count};
	int64_t deadline_ns = clock_monotonic_ns() + LOOKUP_DEADLINE_S * (int64_t)NS_PER_S;
	ares_channel channel = lookup_open(dns, NULL, NULL);
	if (!channel)
		return "resolv.conf cannot be read";
	(service ? lookup_ask_service : lookup_ask)(channel, name, on_answer, &wait);
	for (int64_t left_ns; !wait.over;) {
		left_ns = deadline_ns - clock_monotonic_ns();
		if (left_ns > 0)
			turn(channel, left_ns);
		else
			ares_cancel(channel);
	}
	ares_destroy(channel);
	return wait.why;
}
