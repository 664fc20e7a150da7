#include "policy/host.h"

#include <arpa/inet.h>

#include "conf/address.h"

static bool is_host_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

// RFC 3986, 3.2.3 lets the digits be absent.
static bool is_port(struct str tail)
{
	uint64_t port;
	if (tail.len == 0 || str_eq(tail, STR(":")))
		return true;
	return tail.at[0] == ':' && str_to_u64(str_skip(tail, 1), UINT16_MAX, &port);
}

static bool literal(struct str authority, struct arena *arena, struct str *host)
{
	const char *close = str_find_byte(authority, ']');
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;
	if (!close)
		return false;
	size_t len = (size_t)(close - authority.at) - 1;
	if (!is_port(str_skip(authority, len + 2)) ||
	        !address_numeric(str_of(authority.at + 1, len), AF_INET6, &address))
		return false;
	CHECK(inet_ntop(AF_INET6, &address, text, sizeof(text)));
	*host = arena_printf(arena, "[%s]", text);
	return true;
}

bool host_normalise(struct str authority, struct arena *arena, struct str *host)
{
	if (authority.len == 0)
		return false;
	if (str_starts(authority, STR("[")))
		return literal(authority, arena, host);
	const char *colon = str_find_byte(authority, ':');
	struct str name = str_of(
	        authority.at, colon ? (size_t)(colon - authority.at) : authority.len);
	if (!is_port(str_skip(authority, name.len)))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!is_host_byte(name.at[i]))
			return false;
	if (str_ends(name, STR(".")))
		name.len--;
	if (name.len == 0 || name.len > HOST_MAX || str_ends(name, STR(".")))
		return false;
	*host = arena_lower(arena, name);
	return true;
}
