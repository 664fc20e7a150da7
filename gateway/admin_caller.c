#include "gateway/admin_caller.h"

#include "base/clock.h"

#define LISTENER STR("admin")

static struct str rule_of(enum reason reason)
{
	if (reason == REASON_identity_not_allowed)
		return STR("match_subject_alt_names");
	return reason == REASON_tls_failed ? STR("") : STR("trusted_ca");
}

static struct audit_record new_record(const struct admin_connection *connection)
{
	struct audit_record record = {.event = "rejected",
	        .reason = connection->identity.reason,
	        .detail = connection->identity.detail,
	        .principal = connection->identity.id.text,
	        .listener = LISTENER,
	        .policy_name = LISTENER};
	record.matched_rule = rule_of(record.reason);
	record.answer.grpc_status = -1;
	audit_record_caller(&record, connection->address, connection->link.tls);
	return record;
}

static void submit(struct admin_connection *connection, const struct audit_record *record)
{
	const struct admin *admin = connection->admin;
	admin->hooks.refused(admin->gate.gateway, record);
}

static void identify(struct admin_connection *connection)
{
	const struct admin *admin = connection->admin;
	const struct tls_peer *presented = tls_session_peer(connection->link.tls);
	const struct policy_peer peer = {presented->reason, presented->detail, presented->uri};
	struct policy_identity *identity = &connection->identity;
	arena_fini(&connection->arena);
	admin->hooks.identify(admin->gate.gateway, &peer, &connection->arena, identity);
	if (identity->reason == REASON_NONE && presented->expires_s &&
	        clock_wall_ns() / NS_PER_S >= presented->expires_s) {
		identity->reason = REASON_certificate_expired;
		identity->detail = STR("a certificate of its chain expired on an open connection");
	}
}

enum reason admin_caller_judge(struct admin_connection *connection, const struct head *request)
{
	if (!connection->link.tls)
		return REASON_NONE;
	connection->judged = true;
	identify(connection);
	enum reason reason = connection->identity.reason;
	if (reason == REASON_NONE)
		return reason;
	struct audit_record record = new_record(connection);
	record.answer.status = reason_http_status(reason);
	record.request.protocol = STR("http/1.1");
	record.request.method = request->method;
	record.request.host = request->authority;
	record.request.path = request->target;
	submit(connection, &record);
	return reason;
}

bool admin_caller_is_stranger(const struct admin_connection *connection)
{
	bool known = connection->judged && connection->identity.reason == REASON_NONE;
	return connection->link.tls && !known && !connection->link.closing;
}

void admin_caller_left(struct admin_connection *connection, enum link_end why)
{
	const struct link *link = &connection->link;
	struct policy_identity *identity = &connection->identity;
	if (!link->tls || connection->judged || link->bytes_in == 0)
		return;
	connection->judged = true;
	if (link->open) {
		identify(connection);
	} else {
		identity->reason = REASON_tls_failed;
		identity->detail = why == LINK_PEER_ENDED
		                           ? STR("the client hung up during the handshake")
		                           : STR("the handshake broke off or took too long");
		if (why == LINK_TLS_FAILED)
			identity->reason = tls_fault(link->tls, &identity->detail);
	}
	if (identity->reason == REASON_NONE)
		return;
	struct audit_record record = new_record(connection);
	record.answer.tls_alert = tls_session_alert(link->tls);
	submit(connection, &record);
}
