// Where a newcomer comes from, and whether there is room for it.
#include <stdio.h>

#include "conf/network.h"
#include "gateway/downstream.h"
#include "gateway/net/socket.h"
#include "gateway/proxy_header.h"

static void set_address(struct downstream *downstream, const struct sockaddr_storage *address)
{
	memcpy(&downstream->client, address, sizeof(downstream->client));
	socket_address_text(address, downstream->address);
	socket_host_text(address, downstream->source_ip);
}

void downstream_note_address(struct downstream *downstream)
{
	const struct config_proxy_protocol *proxy = &downstream_config(downstream)->proxy_protocol;
	struct sockaddr_storage peer;
	socket_peer(&downstream->link.handle.any, &peer);
	set_address(downstream, &peer);
	for (size_t i = 0; i < proxy->count; i++)
		downstream->link.prefaced |= network_has(&proxy->networks[i], &peer);
}

static struct listening *listening_of(const struct downstream *downstream)
{
	return downstream->listener->listening;
}

bool downstream_tell(struct downstream *downstream, struct str detail)
{
	uint64_t most = downstream_config(downstream)->limits.connections;
	downstream->standing = REASON_overloaded;
	downstream->standing_detail = detail;
	listening_leave(&downstream->count);
	return listening_enter(&listening_of(downstream)->told, most ? policy_told(most) : SIZE_MAX,
	        &downstream->count);
}

static bool is_let_in_by_address(struct downstream *downstream)
{
	enum policy_room room = policy_count_address(downstream->snapshot->policy,
	        downstream->listener_index, str_from(downstream->source_ip),
	        &downstream->address_place);
	if (room == POLICY_ROOM)
		return true;
	bool told = downstream_tell(
	        downstream, STR("the address has all the connections it may have: "
	                        "limits.connections_per_address"));
	return told && room == POLICY_FULL;
}

static bool is_let_in_by_listener(struct downstream *downstream)
{
	uint64_t most = downstream_config(downstream)->limits.connections;
	if (listening_enter(
	            &listening_of(downstream)->served, most ? most : SIZE_MAX, &downstream->count))
		return true;
	tally_leave(&downstream->address_place);
	return downstream_tell(downstream, STR("the listener has all the connections it may have"));
}

bool downstream_is_let_in(struct downstream *downstream)
{
	enum memory_level memory = memory_level(downstream->worker->memory);
	if (memory != MEMORY_ROOM)
		return downstream_tell(downstream, STR(MEMORY_DETAIL)) && memory != MEMORY_GONE;
	// A balancer's address is nobody's; the client's counts once it is known.
	if (!downstream->link.prefaced && !is_let_in_by_address(downstream))
		return false;
	return downstream->standing != REASON_NONE || is_let_in_by_listener(downstream);
}

// The header is whole: from here on it is the client who is met.
static void meet_client(struct downstream *downstream, const struct proxy_header *header)
{
	struct sockaddr_storage client = header->client;
	downstream->link.prefaced = false;
	if (!header->told) {
		downstream->probe_bytes = header->len;
		return;
	}
	snprintf(downstream->proxy, sizeof(downstream->proxy), "%s", downstream->address);
	socket_unmap(&client);
	set_address(downstream, &client);
	if (downstream->standing == REASON_NONE && !is_let_in_by_address(downstream))
		downstream_close(downstream);
}

struct str downstream_preface(struct link *link, struct str raw)
{
	struct downstream *downstream = CONTAINER_OF(link, struct downstream, link);
	struct buffer *kept = &downstream->preface;
	struct proxy_header header;
	const char *why;
	if (buffer_len(kept)) {
		buffer_append_str(kept, raw);
		raw = buffer_str(kept);
	}
	switch (proxy_header_read(raw, &header, &why)) {
	case PROXY_MORE:
		if (!buffer_len(kept))
			buffer_append_str(kept, raw);
		break;
	case PROXY_WHOLE:
		meet_client(downstream, &header);
		return str_skip(raw, header.len);
	case PROXY_BROKEN:
		downstream_fail_handshake(downstream, REASON_tls_failed, str_from(why));
		downstream_close(downstream);
		break;
	}
	return STR("");
}
