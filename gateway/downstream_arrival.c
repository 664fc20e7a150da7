// Where a newcomer comes from, and whether there is room for it.
#include <stdio.h>

#include "gateway/downstream.h"
#include "gateway/net/socket.h"

void downstream_note_address(struct downstream *downstream)
{
	socket_peer_text(&downstream->link.handle.any, downstream->address);
	struct str text = str_from(downstream->address);
	const char *colon = strrchr(downstream->address, ':');
	if (colon)
		text.len = (size_t)(colon - downstream->address);
	if (text.len > 2 && *text.at == '[')
		text = str_of(text.at + 1, text.len - 2);
	snprintf(downstream->source_ip, sizeof(downstream->source_ip), "%.*s", STR_FMT(text));
}

// Past a ceiling a few more are let in to be told so; beyond those the door is shut.
bool downstream_over_ceiling(struct downstream *downstream, size_t count)
{
	enum memory_level memory = memory_level(downstream->worker->memory);
	if (memory != MEMORY_ROOM) {
		downstream->standing = REASON_overloaded;
		downstream->standing_detail = STR(MEMORY_DETAIL);
		return memory == MEMORY_GONE;
	}
	enum policy_room room = policy_count_address(downstream->snapshot->policy,
	        downstream->listener_index, str_from(downstream->source_ip),
	        &downstream->address_place);
	if (room != POLICY_ROOM) {
		downstream->standing = REASON_overloaded;
		downstream->standing_detail = STR("the address has all the connections it may "
		                                  "have: limits.connections_per_address");
		return room == POLICY_OVERFULL;
	}
	uint64_t most = downstream_config(downstream)->limits.connections;
	if (most == 0 || count <= most)
		return false;
	downstream->standing = REASON_overloaded;
	downstream->standing_detail = STR("the listener has all the connections it may have");
	return count > most + most / 8 + 16;
}
