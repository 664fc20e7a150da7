#include "gateway/net/socket.h"

#include <stdio.h>
#include <string.h>

void socket_unmap(struct sockaddr_storage *address)
{
	enum { MAPPED_AT = 12 };
	const struct sockaddr_in6 six = *(const struct sockaddr_in6 *)address;
	struct sockaddr_in *four = (struct sockaddr_in *)address;
	if (six.sin6_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&six.sin6_addr))
		return;
	*four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = six.sin6_port};
	memcpy(&four->sin_addr, &six.sin6_addr.s6_addr[MAPPED_AT], sizeof(four->sin_addr));
}

void socket_peer(const uv_handle_t *handle, struct sockaddr_storage *peer)
{
	int len = sizeof(*peer);
	memset(peer, 0, sizeof(*peer));
	if (handle->type != UV_TCP)
		peer->ss_family = AF_UNIX;
	else if (uv_tcp_getpeername((const uv_tcp_t *)handle, (struct sockaddr *)peer, &len) < 0)
		peer->ss_family = AF_UNSPEC;
	socket_unmap(peer);
}

void socket_own(const uv_handle_t *handle, struct sockaddr_storage *own)
{
	int len = sizeof(*own);
	memset(own, 0, sizeof(*own));
	if (handle->type != UV_TCP)
		own->ss_family = AF_UNIX;
	else if (uv_tcp_getsockname((const uv_tcp_t *)handle, (struct sockaddr *)own, &len) < 0)
		own->ss_family = AF_UNSPEC;
}

void socket_host_text(const struct sockaddr_storage *address, char text[SOCKET_ADDRESS_SIZE])
{
	if (address->ss_family == AF_INET6)
		uv_ip6_name((const struct sockaddr_in6 *)address, text, SOCKET_ADDRESS_SIZE);
	else if (address->ss_family == AF_INET)
		uv_ip4_name((const struct sockaddr_in *)address, text, SOCKET_ADDRESS_SIZE);
	else
		snprintf(text, SOCKET_ADDRESS_SIZE, "unix");
}

void socket_address_text(const struct sockaddr_storage *address, char text[SOCKET_ADDRESS_SIZE])
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
	char host[SOCKET_ADDRESS_SIZE];
	socket_host_text(address, host);
	if (address->ss_family == AF_INET6)
		snprintf(text, SOCKET_ADDRESS_SIZE, "[%.45s]:%d", host, ntohs(six->sin6_port));
	else if (address->ss_family == AF_INET)
		snprintf(text, SOCKET_ADDRESS_SIZE, "%.45s:%d", host, ntohs(four->sin_port));
	else
		memcpy(text, host, sizeof(host));
}

void socket_peer_text(const uv_handle_t *handle, char text[SOCKET_ADDRESS_SIZE])
{
	struct sockaddr_storage peer;
	socket_peer(handle, &peer);
	socket_address_text(&peer, text);
}

bool socket_ended_orderly(const uv_handle_t *handle)
{
	uv_os_fd_t socket;
	int error = 0;
	socklen_t len = sizeof(error);
	return uv_fileno(handle, &socket) == 0 &&
	       getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}
