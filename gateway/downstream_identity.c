// Who the caller is by the policy in force, asked anew when that changes.
#include "gateway/downstream.h"

// Where only addresses of backends are others, who it is stays as it was found.
static bool is_as_before(const struct downstream *downstream)
{
	return downstream->codec &&
	       downstream->snapshot->policy == downstream->worker->snapshot->policy;
}

// Heads that come now are held to it. How many streams there may be the client was told when it
// came. A wait begins anew only for another number: reloads do not keep idle connections.
static void follow_numbers(struct downstream *downstream, int64_t former_idle_ns)
{
	struct codec *codec = downstream->codec;
	if (!codec || codec->limits.refused)
		return;
	struct codec_limits limits = downstream_limits(downstream);
	codec->limits.header_bytes = limits.header_bytes;
	codec->limits.header_fields = limits.header_fields;
	if (downstream_config(downstream)->timeouts.idle_ns != former_idle_ns)
		downstream_wait_anew(downstream);
}

static void follow_snapshot(struct downstream *downstream)
{
	struct worker *worker = downstream->worker;
	int64_t former_idle_ns = downstream_config(downstream)->timeouts.idle_ns;
	snapshot_unref(downstream->snapshot);
	downstream->snapshot = snapshot_ref(worker->snapshot);
	downstream->listener_index = downstream->listener->index;
	follow_numbers(downstream, former_idle_ns);
}

// The bundle, the lists and the patterns may be others now.
static void judge_chain(struct downstream *downstream)
{
	const struct worker *worker = downstream->worker;
	tls_session_judge_again(
	        downstream->link.tls, worker->snapshot->listeners[downstream->listener_index].tls);
}

static void identify(struct downstream *downstream)
{
	const struct tls_peer *presented = tls_session_peer(downstream->link.tls);
	struct policy_peer peer = {presented->reason, presented->detail, presented->uri};
	policy_identify(downstream->snapshot->policy, downstream->listener_index, &peer,
	        &downstream->identity_arena, &downstream->identity);
}

// A ceiling that a reload brings is for newcomers.
static void count_identity(struct downstream *downstream)
{
	enum policy_room room = policy_count_identity(downstream->snapshot->policy,
	        downstream->listener_index, &downstream->identity.id, downstream->codec != NULL,
	        &downstream->identity_place);
	if (room == POLICY_ROOM)
		return;
	tally_leave(&downstream->address_place);
	(void)downstream_tell(downstream, STR("the identity has all the connections it may have: "
	                                      "limits.connections_per_identity"));
}

void downstream_identify(struct downstream *downstream)
{
	bool follows = downstream->snapshot != downstream->worker->snapshot &&
	               !downstream->listener->removed;
	if (!follows && downstream->codec)
		return;
	if (follows) {
		bool settled = is_as_before(downstream);
		follow_snapshot(downstream);
		if (settled)
			return;
		judge_chain(downstream);
	}
	// While nobody else looks at it: a connection that outlives many reloads does not gather
	// their words.
	if (downstream->exchange_count == 0)
		arena_fini(&downstream->identity_arena);
	identify(downstream);
	if (downstream->standing == REASON_overloaded)
		return;
	downstream->standing = downstream->identity.reason;
	downstream->standing_detail = downstream->identity.detail;
	if (downstream->standing == REASON_NONE && !downstream->identity_place.tally)
		count_identity(downstream);
}

void downstream_review(struct downstream *downstream)
{
	if (!downstream->codec || downstream->phase == DOWNSTREAM_CLOSING) {
		return;  // whoever is still shaking hands is judged when that is over
	}
	downstream_identify(downstream);
	// Whoever was never let in gets the one answer as ever.
	bool was_in = downstream->ends_s != 0;
	if (downstream->listener->removed)
		downstream_drain(downstream);
	else if (downstream->standing == REASON_NONE && !downstream->draining)
		downstream_watch_expiry(downstream);
	else if (downstream->standing != REASON_NONE && was_in)
		downstream_drain(downstream);
}

// In `alert` mode the handshake itself asks who may pass.
enum reason downstream_judge(void *owner, const struct tls_peer *presented)
{
	struct downstream *downstream = owner;
	struct policy_peer peer = {presented->reason, presented->detail, presented->uri};
	policy_identify(downstream->snapshot->policy, downstream->listener_index, &peer,
	        &downstream->identity_arena, &downstream->identity);
	return downstream->identity.reason;
}

// The session knows that the judge refused, and only the judge for want of what.
enum reason downstream_fault(const struct downstream *downstream, struct str *detail)
{
	enum reason reason = tls_fault(downstream->link.tls, detail);
	if (reason == downstream->identity.reason)
		*detail = downstream->identity.detail;
	return reason;
}
