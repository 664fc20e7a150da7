#include "gateway/launcher_channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union room {
	char bytes[CMSG_SPACE(CHANNEL_DESCRIPTORS_MAX * sizeof(int))];
	struct cmsghdr align;
};

bool channel_send(
        int channel, const struct channel_packet *packet, const int descriptors[], size_t count)
{
	union room room = {0};
	CHECK(count >= 1 && count <= CHANNEL_DESCRIPTORS_MAX);
	struct iovec text = {(void *)packet, sizeof(*packet)};
	struct msghdr message = {.msg_iov = &text,
	        .msg_iovlen = 1,
	        .msg_control = room.bytes,
	        .msg_controllen = CMSG_SPACE(count * sizeof(int))};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
	ssize_t sent;
	do
		sent = sendmsg(channel, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)sizeof(*packet);
}

static size_t take_descriptors(struct msghdr *message, int descriptors[])
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return 0;
	size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(descriptors, CMSG_DATA(header), count * sizeof(int));
	return count;
}

enum channel_news channel_receive(
        int channel, struct channel_packet *packet, int descriptors[], size_t *count)
{
	union room room;
	struct iovec text = {packet, sizeof(*packet)};
	struct msghdr message = {.msg_iov = &text,
	        .msg_iovlen = 1,
	        .msg_control = room.bytes,
	        .msg_controllen = sizeof(room.bytes)};
	ssize_t got;
	do
		got = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	*count = 0;
	if (got <= 0)
		return CHANNEL_ENDED;
	*count = take_descriptors(&message, descriptors);
	bool whole = got == (ssize_t)sizeof(*packet) && *count &&
	             !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
	return whole ? CHANNEL_PACKET : CHANNEL_NONSENSE;
}
