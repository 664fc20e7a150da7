#include "conf/network.h"

#include <netinet/in.h>

#include "conf/address.h"

enum { FOUR_BITS = 32, SIX_BITS = 128 };

static bool is_beyond(const uint8_t bytes[], unsigned prefix, unsigned bits)
{
	for (unsigned i = prefix; i < bits; i++)
		if (bytes[i / 8] >> (7 - i % 8) & 1)
			return true;
	return false;
}

static bool is_mapped(const struct config_network *network)
{
	enum { MAPPED_BITS = 96 };
	struct in6_addr address;
	memcpy(&address, network->bytes, sizeof(address));
	return network->prefix >= MAPPED_BITS && IN6_IS_ADDR_V4MAPPED(&address);
}

bool network_parse(struct str text, struct config_network *network, const char **why)
{
	uint64_t prefix;
	const char *slash = str_find_byte(text, '/');
	struct str address = str_of(text.at, slash ? (size_t)(slash - text.at) : text.len);
	*network = (struct config_network){.family = AF_UNIX};
	if (str_eq(text, STR("unix")))
		return true;
	*why = "which is no IP network";
	bool four = address_numeric(address, AF_INET, network->bytes);
	unsigned bits = four ? FOUR_BITS : SIX_BITS;
	if (!four && !address_numeric(address, AF_INET6, network->bytes))
		return false;
	network->family = four ? AF_INET : AF_INET6;
	prefix = bits;
	*why = four ? "whose prefix is not from 0 to 32" : "whose prefix is not from 0 to 128";
	if (slash && !str_to_u64(str_skip(text, address.len + 1), bits, &prefix))
		return false;
	network->prefix = (unsigned)prefix;
	*why = "which is an IPv4 network written as one of IPv6";
	if (!four && is_mapped(network))
		return false;
	*why = "which has bits beyond its prefix";
	return !is_beyond(network->bytes, network->prefix, bits);
}

static bool begins_alike(const uint8_t a[], const uint8_t b[], unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	return memcmp(a, b, whole) == 0 && (!rest || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

bool network_has(const struct config_network *network, const struct sockaddr_storage *peer)
{
	enum { MAPPED_AT = 12 };
	const struct sockaddr_in *four = (const struct sockaddr_in *)peer;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)peer;
	const uint8_t *bytes = (const uint8_t *)&four->sin_addr;
	int family = peer->ss_family;
	if (family == AF_INET6)
		bytes = six->sin6_addr.s6_addr;
	if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		family = AF_INET;
		bytes += MAPPED_AT;
	}
	return family == network->family &&
	       (family == AF_UNIX || begins_alike(network->bytes, bytes, network->prefix));
}
