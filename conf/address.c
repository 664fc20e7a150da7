#include "conf/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/clock.h"
#include "conf/lookup.h"

enum { HOST_NAME_MAX_BYTES = 253, LABEL_MAX_BYTES = 63, PORT_MAX = 65535 };

static bool parse_unix(struct str text, struct str directory, struct arena *arena,
        struct config_address *address, const char **why)
{
	struct str path = str_skip(text, strlen("unix:"));
	struct sockaddr_un *socket = (struct sockaddr_un *)&address->socket;
	if (!path.len) {
		*why = "which names no path behind unix:";
		return false;
	}
	if (path.at[0] != '/')
		path = arena_printf(arena, "%.*s/%.*s", STR_FMT(directory), STR_FMT(path));
	if (path.len >= sizeof(socket->sun_path)) {
		*why = "whose path is longer than the 107 bytes of a unix socket";
		return false;
	}
	socket->sun_family = AF_UNIX;
	memcpy(socket->sun_path, path.at, path.len);
	address->kind = ADDRESS_UNIX;
	address->socket_len = sizeof(*socket);
	address->text = arena_printf(arena, "unix:%.*s", STR_FMT(path));
	return true;
}

// `host:port`, the brackets of an IPv6 host taken off.
struct pair {
	struct str host;
	uint16_t port;  // 0: the host is a service
	bool bracketed;
};

static bool split_bracketed(struct str text, struct str *host, struct str *port, const char **why)
{
	const char *end = str_find_byte(text, ']');
	if (!end) {
		*why = "whose [ is not closed";
		return false;
	}
	*host = str_of(text.at + 1, (size_t)(end - text.at) - 1);
	*port = str_skip(text, host->len + 2);
	return true;
}

static bool split_plain(struct str text, struct str *host, struct str *port, const char **why)
{
	const char *colon = str_find_byte(text, ':');
	*host = str_of(text.at, colon ? (size_t)(colon - text.at) : text.len);
	*port = str_skip(text, host->len);
	if (port->len > 1 && str_find_byte(str_skip(*port, 1), ':')) {
		*why = "whose IPv6 address is not in brackets";
		return false;
	}
	return true;
}

static bool split(struct str text, struct pair *pair, const char **why)
{
	struct str port;
	uint64_t number;
	if (memmem(text.at, text.len, "://", 3)) {
		*why = "which is a URL";
		return false;
	}
	pair->bracketed = text.len && text.at[0] == '[';
	if (!(pair->bracketed ? split_bracketed : split_plain)(text, &pair->host, &port, why))
		return false;
	*why = "which has no port from 1 to 65535";
	if (!port.len || port.at[0] != ':' || !str_to_u64(str_skip(port, 1), PORT_MAX, &number) ||
	        !number)
		return false;
	pair->port = (uint16_t)number;
	*why = "which has no host";
	return pair->host.len > 0;
}

bool address_numeric(struct str text, int family, void *bytes)
{
	char host[INET6_ADDRSTRLEN];
	if (text.len >= sizeof(host) || str_find_byte(text, '\0'))
		return false;
	snprintf(host, sizeof(host), "%.*s", STR_FMT(text));
	return inet_pton(family, host, bytes) == 1;
}

static bool fill_numeric(const struct pair *pair, struct config_address *address)
{
	struct sockaddr_in *four = (struct sockaddr_in *)&address->socket;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&address->socket;
	if (!pair->bracketed && address_numeric(pair->host, AF_INET, &four->sin_addr)) {
		four->sin_family = AF_INET;
		four->sin_port = htons(pair->port);
		address->socket_len = sizeof(*four);
	} else if (pair->bracketed && address_numeric(pair->host, AF_INET6, &six->sin6_addr)) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(pair->port);
		address->socket_len = sizeof(*six);
	} else {
		return false;
	}
	address->kind = ADDRESS_INET;
	return true;
}

bool address_parse(struct str text, struct str directory, struct arena *arena,
        struct config_address *address, const char **why)
{
	struct pair pair;
	*address = (struct config_address){.text = arena_str(arena, text)};
	if (str_starts(text, STR("unix:")))
		return parse_unix(text, directory, arena, address, why);
	if (!split(text, &pair, why))
		return false;
	*why = pair.bracketed ? "whose host is no IPv6 address" : "whose host is no IP address";
	return fill_numeric(&pair, address);
}

// RFC 1123 section 2.1, and the underscore that service names use. Digits and dots alone are a
// mistyped address: resolvers would take `127.1` or `010.0.0.1` for something unexpected.
static bool is_name(struct str host)
{
	size_t label = 0;
	bool letter = false;
	if (host.len > HOST_NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < host.len; i++) {
		unsigned char c = (unsigned char)host.at[i];
		if (c == '.' ? label == 0 : !isalnum(c) && c != '-' && c != '_')
			return false;
		letter = letter || isalpha(c);
		label = c == '.' ? 0 : label + 1;
		if (label > LABEL_MAX_BYTES)
			return false;
	}
	return letter;
}

// RFC 2782: `_service._proto.name`, which has its port from DNS.
static bool is_service(struct str text)
{
	const char *second = text.len && text.at[0] == '_' ? str_find_byte(text, '.') : NULL;
	if (!second || !is_name(text))
		return false;
	struct str rest = str_skip(text, (size_t)(second - text.at) + 1);
	const char *third = rest.len && rest.at[0] == '_' ? str_find_byte(rest, '.') : NULL;
	return third && third + 1 < rest.at + rest.len;
}

bool address_is_service(const struct config_address *address)
{
	return address->kind == ADDRESS_INET && is_service(address->text);
}

bool address_is_looked_up(struct str text)
{
	struct pair pair;
	const char *why;
	if (is_service(text))
		return true;
	return !str_starts(text, STR("unix:")) && split(text, &pair, &why) && !pair.bracketed &&
	       is_name(pair.host);
}

bool address_is_host(struct str text)
{
	struct in6_addr bytes;
	return is_name(text) || address_numeric(text, AF_INET, &bytes) ||
	       address_numeric(text, AF_INET6, &bytes);
}

static size_t count_family(const struct addrinfo *found, int family)
{
	size_t count = 0;
	for (; found; found = found->ai_next)
		count += found->ai_family == family;
	return count;
}

static bool take_found(const struct addrinfo *found, struct str text, struct arena *arena,
        struct config_address **addresses, size_t *count)
{
	int family = count_family(found, AF_INET) ? AF_INET : AF_INET6;
	size_t room = count_family(found, family);
	*count = 0;
	*addresses = arena_zalloc(arena, room * sizeof(**addresses));
	for (; found; found = found->ai_next) {
		if (found->ai_family != family)
			continue;
		struct config_address *address = &(*addresses)[(*count)++];
		address->kind = ADDRESS_INET;
		address->text = text;
		address->socket_len = found->ai_addrlen;
		memcpy(&address->socket, found->ai_addr, found->ai_addrlen);
	}
	return room > 0;
}

static bool ask_system(const struct pair *pair, struct str text, struct arena *arena,
        struct config_address **addresses, size_t *count, const char **why)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *found = NULL;
	char host[HOST_NAME_MAX_BYTES + 1], port[sizeof("65535")];
	snprintf(host, sizeof(host), "%.*s", STR_FMT(pair->host));
	snprintf(port, sizeof(port), "%u", pair->port);
	int error = getaddrinfo(host, port, &hints, &found);
	if (error) {
		*why = arena_printf(
		        arena, "whose name cannot be resolved (%s)", gai_strerror(error))
		               .at;
		return false;
	}
	*why = "whose name has no IP address";
	bool taken = take_found(found, text, arena, addresses, count);
	freeaddrinfo(found);
	return taken;
}

static bool ask_servers(const struct config_dns *dns, const struct pair *pair, struct str text,
        struct arena *arena, struct config_address **addresses, size_t *count, const char **why)
{
	bool service = pair->port == 0;
	const char *problem = lookup_wait(dns, pair->host, service, arena, addresses, count);
	if (problem) {
		*why = arena_printf(arena, "whose name cannot be resolved (%s)", problem).at;
		return false;
	}
	for (size_t i = 0; i < *count; i++)
		lookup_aim(&(*addresses)[i], service ? address_port(&(*addresses)[i]) : pair->port,
		        text);
	return true;
}

static void be_unknown(struct config_address *address, uint16_t port, struct str text)
{
	address->kind = ADDRESS_INET;
	address->unknown = true;
	address->socket.ss_family = AF_INET;
	address->socket_len = sizeof(struct sockaddr_in);
	lookup_aim(address, port, text);
}

static bool ask_anybody(const struct config_dns *dns, const struct pair *pair, struct str text,
        struct arena *arena, struct config_address **addresses, size_t *count, const char **why)
{
	if (dns->count || pair->port == 0)  // libc knows no services
		return ask_servers(dns, pair, text, arena, addresses, count, why);
	return ask_system(pair, text, arena, addresses, count, why);
}

// While DNS is silent the system's resolver takes up to a minute for a name, as resolv.conf says.
// So it is asked, for what it may know besides, once DNS has said that it has nothing.
static bool ask_briefly(const struct config_dns *dns, const struct pair *pair, struct str text,
        struct arena *arena, struct config_address **addresses, size_t *count, const char **why)
{
	int64_t asked_ns = clock_monotonic_ns();
	if (ask_servers(dns, pair, text, arena, addresses, count, why))
		return true;
	bool silent = clock_monotonic_ns() - asked_ns > ADDRESS_SILENCE_MS * (int64_t)NS_PER_MS;
	return !silent && !dns->count && pair->port &&
	       ask_system(pair, text, arena, addresses, count, why);
}

typedef bool (*asker)(const struct config_dns *dns, const struct pair *pair, struct str text,
        struct arena *arena, struct config_address **addresses, size_t *count, const char **why);

void (*address_before_lookup)(void);

static bool look_up(const struct config_dns *dns, asker ask, const struct pair *pair,
        struct str text, struct arena *arena, struct config_address **addresses, size_t *count,
        const char **why)
{
	if (!dns) {
		be_unknown(*addresses, pair->port, text);
		return true;
	}
	if (address_before_lookup)
		address_before_lookup();
	return ask(dns, pair, text, arena, addresses, count, why);
}

static bool resolve(struct str text, struct str directory, const struct config_dns *dns, asker ask,
        struct arena *arena, struct config_address **addresses, size_t *count, const char **why)
{
	struct config_address *address = arena_alloc(arena, sizeof(*address));
	struct pair pair;
	const char *no_pair;
	*addresses = address;
	*count = 1;
	if (address_parse(text, directory, arena, address, why))
		return true;
	if (is_service(text)) {
		pair = (struct pair){.host = address->text};
		return look_up(dns, ask, &pair, address->text, arena, addresses, count, why);
	}
	if (str_starts(text, STR("unix:")) || !split(text, &pair, &no_pair) || pair.bracketed)
		return false;
	*why = "whose host is neither an IP address nor a name";
	return is_name(pair.host) &&
	       look_up(dns, ask, &pair, address->text, arena, addresses, count, why);
}

bool address_resolve(struct str text, struct str directory, const struct config_dns *dns,
        struct arena *arena, struct config_address **addresses, size_t *count, const char **why)
{
	return resolve(text, directory, dns, ask_anybody, arena, addresses, count, why);
}

bool address_resolve_briefly(struct str text, struct str directory, const struct config_dns *dns,
        struct arena *arena, struct config_address **addresses, size_t *count, const char **why)
{
	return resolve(text, directory, dns, ask_briefly, arena, addresses, count, why);
}

struct str address_host(const struct config_address *address)
{
	struct pair pair = {0};
	const char *why;
	if (address->kind != ADDRESS_INET || !split(address->text, &pair, &why))
		return STR("");
	return pair.host;
}

// Every struct config_address is zero where its family says nothing, so the bytes compare.
bool address_equal(const struct config_address *a, const struct config_address *b)
{
	return a->kind == b->kind && a->socket_len == b->socket_len &&
	       memcmp(&a->socket, &b->socket, a->socket_len) == 0;
}

uint16_t address_port(const struct config_address *address)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&address->socket;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->socket;
	return ntohs(four->sin_family == AF_INET ? four->sin_port : six->sin6_port);
}

bool address_takes(const struct config_address *wide, const struct config_address *narrow)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&wide->socket;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&wide->socket;
	if (wide->kind != ADDRESS_INET || narrow->kind != ADDRESS_INET ||
	        address_port(wide) != address_port(narrow))
		return false;
	if (four->sin_family == AF_INET)
		return four->sin_addr.s_addr == INADDR_ANY && narrow->socket.ss_family == AF_INET;
	return IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr);  // IPv4's too, on a socket of both
}

bool address_is_local(const struct config_address *address)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)&address->socket;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address->socket;
	enum { LOOPBACK_NET = 127 };
	if (address->kind != ADDRESS_INET)
		return true;
	if (four->sin_family == AF_INET)
		return ntohl(four->sin_addr.s_addr) >> 24 == LOOPBACK_NET;
	if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
		return six->sin6_addr.s6_addr[12] == LOOPBACK_NET;
	return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}
