// Who the caller is by the policy in force, asked anew when that changes.
#include "gateway/downstream.h"

void downstream_identify(struct downstream *downstream)
{
	struct worker *worker = downstream->worker;
	if (downstream->snapshot == worker->snapshot && downstream->codec)
		return;
	const struct tls_peer *presented = tls_session_peer(downstream->link.tls);
	struct policy_peer peer = {presented->reason, presented->detail, presented->uri};
	snapshot_unref(downstream->snapshot);
	downstream->snapshot = snapshot_ref(worker->snapshot);
	// Whoever asks now is the only one to look at it: a connection that outlives many reloads
	// does not gather their words.
	if (downstream->exchange_count <= 1)
		arena_fini(&downstream->identity_arena);
	policy_identify(worker->snapshot->policy, downstream->listener->index, &peer,
	        &downstream->identity_arena, &downstream->identity);
	if (downstream->standing == REASON_overloaded)
		return;
	downstream->standing = downstream->identity.reason;
	downstream->standing_detail = downstream->identity.detail;
}

// In `alert` mode the handshake itself asks who may pass.
enum reason downstream_judge(void *owner, const struct tls_peer *presented)
{
	struct downstream *downstream = owner;
	struct policy_peer peer = {presented->reason, presented->detail, presented->uri};
	policy_identify(downstream->snapshot->policy, downstream->listener->index, &peer,
	        &downstream->identity_arena, &downstream->identity);
	return downstream->identity.reason;
}
