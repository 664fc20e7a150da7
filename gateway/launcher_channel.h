// What passes between the gateway and its launcher: packets, the first with the arguments of the
// program, each later one with some of the descriptors for a successor.
#ifndef GATEWAY_LAUNCHER_CHANNEL_H
#define GATEWAY_LAUNCHER_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

enum {
	CHANNEL_DESCRIPTORS_MAX = 250,  // in one packet; the kernel takes 253
	CHANNEL_ARGUMENTS_MAX = 16 * 1024,
	LAUNCHER_DESCRIPTORS_MAX = 16 * 1024,
};

struct channel_packet {
	uint32_t total;          // descriptors of this request
	uint32_t following;      // of them yet to come, with this packet's
	uint32_t private_count;  // the first so many of all are not for listening
};

// Never waits: a launcher that does not listen is none.
MUST_USE bool channel_send(
        int channel, const struct channel_packet *packet, const int descriptors[], size_t count);
enum channel_news { CHANNEL_PACKET, CHANNEL_NONSENSE, CHANNEL_ENDED };

// NONSENSE: a packet that is none of ours, or that could not be taken whole for want of
// descriptors; what came of it is in `descriptors`, which has room for CHANNEL_DESCRIPTORS_MAX.
MUST_USE enum channel_news channel_receive(
        int channel, struct channel_packet *packet, int descriptors[], size_t *count);

#endif
