#include <netinet/in.h>
#include <string.h>

#include "gateway/net/socket.h"
#include "gateway/proxy_header.h"

// One end: IPv4 in its mapped form, so that both ends are of one family where they differ.
struct end {
	bool four;
	uint8_t address[16];
	uint8_t port[2];
};

enum { MAPPED = 12 };  // bytes before an IPv4 address in IPv6

static bool end_of(const struct sockaddr_storage *address, struct end *end)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
	static const uint8_t mapped[MAPPED] = {[10] = 0xff, [11] = 0xff};
	if (address->ss_family == AF_INET) {
		memcpy(end->address, mapped, MAPPED);
		memcpy(end->address + MAPPED, &four->sin_addr, sizeof(four->sin_addr));
		memcpy(end->port, &four->sin_port, sizeof(end->port));
	} else if (address->ss_family == AF_INET6) {
		memcpy(end->address, &six->sin6_addr, sizeof(end->address));
		memcpy(end->port, &six->sin6_port, sizeof(end->port));
	} else {
		return false;
	}
	end->four = memcmp(end->address, mapped, MAPPED) == 0;
	return true;
}

static void host_text(const struct end *end, bool four, char text[SOCKET_ADDRESS_SIZE])
{
	struct sockaddr_storage address = {.ss_family = four ? AF_INET : AF_INET6};
	if (four)
		memcpy(&((struct sockaddr_in *)&address)->sin_addr, end->address + MAPPED, 4);
	else
		memcpy(&((struct sockaddr_in6 *)&address)->sin6_addr, end->address, 16);
	socket_host_text(&address, text);
}

static int port_of(const struct end *end)
{
	return end->port[0] << 8 | end->port[1];
}

static void write_line(const struct end *from, const struct end *to, bool four, struct buffer *out)
{
	char from_host[SOCKET_ADDRESS_SIZE], to_host[SOCKET_ADDRESS_SIZE];
	host_text(from, four, from_host);
	host_text(to, four, to_host);
	buffer_printf(out, "PROXY TCP%d %s %s %d %d\r\n", four ? 4 : 6, from_host, to_host,
	        port_of(from), port_of(to));
}

static void write_block(const struct end *from, const struct end *to, bool four, struct buffer *out)
{
	size_t skipped = four ? MAPPED : 0, len = sizeof(from->address) - skipped;
	buffer_append(out, from->address + skipped, len);
	buffer_append(out, to->address + skipped, len);
	buffer_append(out, from->port, sizeof(from->port));
	buffer_append(out, to->port, sizeof(to->port));
}

void proxy_header_write(int version, const struct sockaddr_storage *client,
        const struct sockaddr_storage *gateway, struct buffer *out)
{
	struct end from, to;
	bool known = end_of(client, &from) && end_of(gateway, &to);
	bool four = known && from.four && to.four;
	if (version == 1 && known) {
		write_line(&from, &to, four, out);
	} else if (version == 1) {
		buffer_append_str(out, STR("PROXY UNKNOWN\r\n"));
	} else {
		// Command, family and transport, length (section 2.2).
		const char block[] = {known ? 0x21 : 0x20,
		        !known ? 0
		        : four ? 0x11
		               : 0x21,
		        0,
		        !known ? 0
		        : four ? 12
		               : 36};
		buffer_append(out, "\r\n\r\n\0\r\nQUIT\n", 12);
		buffer_append(out, block, sizeof(block));
		if (known)
			write_block(&from, &to, four, out);
	}
}
