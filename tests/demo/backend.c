// The demo's backend where there is no Go toolchain: an h2c gRPC server (prior knowledge) that
// answers every call with one empty message and grpc-status 0, once the whole request is there.
// One thread, one poll(2) loop; each connection owns its nghttp2 session and has a place in a fixed
// table, so nothing here grows. Prints the address it serves on, which may be asked for as port 0,
// and runs until a signal ends it. It never looks at what is called: the gateway does that.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

enum { PEERS_MAX = 64, EMPTY_MESSAGE_BYTES = 5 };

struct peer {
	int socket;
	nghttp2_session *session;  // NULL: the place is free
};

static struct peer peers[PEERS_MAX];
static nghttp2_session_callbacks *callbacks;

static void die(const char *what)
{
	fprintf(stderr, "demo-backend: %s: %s\n", what, strerror(errno));
	exit(1);
}

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
	        NGHTTP2_NV_FLAG_NONE};
}

// The one message: a frame that says "not compressed, no bytes". The status follows in trailers.
static ssize_t read_message(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
        uint32_t *flags, nghttp2_data_source *source, void *user)
{
	nghttp2_nv trailers[] = {field("grpc-status", "0")};
	(void)source, (void)user;
	if (room < EMPTY_MESSAGE_BYTES)
		return NGHTTP2_ERR_DEFERRED;
	memset(out, 0, EMPTY_MESSAGE_BYTES);
	*flags = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	if (nghttp2_submit_trailer(session, stream, trailers, 1) != 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return EMPTY_MESSAGE_BYTES;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	nghttp2_nv head[] = {field(":status", "200"), field("content-type", "application/grpc")};
	nghttp2_data_provider body = {.read_callback = read_message};
	(void)user;
	bool carries_request = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
	if (!carries_request || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	return nghttp2_submit_response(session, frame->hd.stream_id, head, 2, &body) == 0
	               ? 0
	               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static ssize_t on_send(
        nghttp2_session *session, const uint8_t *bytes, size_t length, int flags, void *user)
{
	const struct peer *peer = user;
	(void)session, (void)flags;
	ssize_t sent = send(peer->socket, bytes, length, MSG_NOSIGNAL);
	if (sent >= 0)
		return sent;
	return errno == EAGAIN || errno == EINTR ? NGHTTP2_ERR_WOULDBLOCK
	                                         : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static ssize_t on_receive(
        nghttp2_session *session, uint8_t *into, size_t room, int flags, void *user)
{
	const struct peer *peer = user;
	(void)session, (void)flags;
	ssize_t received = recv(peer->socket, into, room, 0);
	if (received > 0)
		return received;
	if (received == 0)
		return NGHTTP2_ERR_EOF;
	return errno == EAGAIN || errno == EINTR ? NGHTTP2_ERR_WOULDBLOCK
	                                         : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void drop(struct peer *peer)
{
	nghttp2_session_del(peer->session);
	close(peer->socket);
	*peer = (struct peer){0};
}

static void welcome(int socket)
{
	nghttp2_settings_entry streams = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100};
	struct peer *peer = peers;
	while (peer < peers + PEERS_MAX && peer->session)
		peer++;
	if (peer == peers + PEERS_MAX) {
		close(socket);
		return;
	}
	peer->socket = socket;
	if (nghttp2_session_server_new(&peer->session, callbacks, peer) != 0 ||
	        nghttp2_submit_settings(peer->session, NGHTTP2_FLAG_NONE, &streams, 1) != 0)
		die("no memory for a session");
}

static void accept_peer(int listener)
{
	int socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (socket >= 0)
		welcome(socket);
}

static void serve_peer(struct peer *peer, short events)
{
	bool readable = events & (POLLIN | POLLHUP | POLLERR);
	if ((readable && nghttp2_session_recv(peer->session) != 0) ||
	        nghttp2_session_send(peer->session) != 0 ||
	        (!nghttp2_session_want_read(peer->session) &&
	                !nghttp2_session_want_write(peer->session)))
		drop(peer);
}

// One turn: waits, then serves whoever has something. A free place polls nothing (socket -1).
static void turn(int listener)
{
	struct pollfd watched[PEERS_MAX + 1];
	for (size_t i = 0; i < PEERS_MAX; i++) {
		struct peer *peer = &peers[i];
		bool writes = peer->session && nghttp2_session_want_write(peer->session);
		watched[i] = (struct pollfd){.fd = peer->session ? peer->socket : -1,
		        .events = (short)(POLLIN | (writes ? POLLOUT : 0))};
	}
	watched[PEERS_MAX] = (struct pollfd){.fd = listener, .events = POLLIN};
	if (poll(watched, PEERS_MAX + 1, -1) < 0 && errno != EINTR)
		die("poll");
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (watched[i].fd >= 0 && watched[i].revents)
			serve_peer(&peers[i], watched[i].revents);
	if (watched[PEERS_MAX].revents)
		accept_peer(listener);
}

static void make_callbacks(void)
{
	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		die("no memory");
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
	nghttp2_session_callbacks_set_recv_callback(callbacks, on_receive);
}

static bool read_address(const char *text, struct sockaddr_in *address)
{
	char host[INET_ADDRSTRLEN] = {0};
	unsigned port;
	char rest;
	if (sscanf(text, "%15[0-9.]:%5u%c", host, &port, &rest) != 2 || port > UINT16_MAX)
		return false;
	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	return inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

static int listen_on(struct sockaddr_in *address)
{
	socklen_t length = sizeof(*address);
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	        bind(listener, (struct sockaddr *)address, length) != 0 ||
	        listen(listener, 128) != 0 ||
	        getsockname(listener, (struct sockaddr *)address, &length) != 0)
		die("cannot listen");
	return listener;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address;
	char host[INET_ADDRSTRLEN];
	if (argc != 2 || !read_address(argv[1], &address)) {
		fputs("usage: demo-backend IPV4:PORT\n", stderr);
		return 2;
	}
	int listener = listen_on(&address);
	make_callbacks();
	printf("%s:%u\n", inet_ntop(AF_INET, &address.sin_addr, host, sizeof(host)),
	        ntohs(address.sin_port));
	fflush(stdout);
	for (;;)
		turn(listener);
}
