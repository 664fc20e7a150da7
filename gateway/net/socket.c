#include "gateway/net/socket.h"

#include <stdio.h>

void socket_peer_text(const uv_handle_t *handle, char text[SOCKET_ADDRESS_SIZE])
{
	struct sockaddr_storage address;
	int len = sizeof(address);
	char host[INET6_ADDRSTRLEN] = "";
	snprintf(text, SOCKET_ADDRESS_SIZE, "unix");
	if (handle->type != UV_TCP ||
	        uv_tcp_getpeername((const uv_tcp_t *)handle, (struct sockaddr *)&address, &len) < 0)
		return;
	if (address.ss_family == AF_INET6) {
		const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address;
		uv_ip6_name(six, host, sizeof(host));
		snprintf(text, SOCKET_ADDRESS_SIZE, "[%s]:%d", host, ntohs(six->sin6_port));
	} else {
		const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
		uv_ip4_name(four, host, sizeof(host));
		snprintf(text, SOCKET_ADDRESS_SIZE, "%s:%d", host, ntohs(four->sin_port));
	}
}

bool socket_ended_orderly(const uv_handle_t *handle)
{
	uv_os_fd_t socket;
	int error = 0;
	socklen_t len = sizeof(error);
	return uv_fileno(handle, &socket) == 0 &&
	       getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}
