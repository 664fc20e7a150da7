#include "gateway/backend_tls.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/address.h"

// What the backend's patterns say of it.
static void identify(const struct snapshot_backend *backend, const struct tls_peer *presented,
        struct arena *arena, struct policy_identity *identity)
{
	const struct policy_peer peer = {presented->reason, presented->detail, presented->uri};
	policy_identify_server(backend->policy, backend->index, &peer, arena, identity);
}

static enum reason judge(void *owner, const struct tls_peer *presented)
{
	struct arena scratch = {0};
	struct policy_identity identity;
	identify(owner, presented, &scratch, &identity);
	arena_fini(&scratch);
	return identity.reason;
}

struct tls_session *backend_tls_begin(
        const struct snapshot *snapshot, size_t backend, size_t endpoint, struct link *link)
{
	const struct config_backend *config = &snapshot->config->backends[backend];
	struct snapshot_backend *labels = &snapshot->backends[backend];
	if (!labels->tls)
		return NULL;
	struct tls_server server = {
	        .name = config->tls.server_name.text, .h2 = config->protocol == PROTOCOL_H2};
	if (!server.name.len)
		server.name = address_host(&config->endpoints[endpoint]);
	// The pool may be of another snapshot before the handshake is over, but of the same origin.
	if (snapshot->origin)
		labels = &snapshot->origin->backends[backend];
	return tls_session_dial(labels->tls, &link->wire, &server,
	        tls_context_asks_judge(labels->tls) ? judge : NULL, labels);
}

struct str backend_tls_scheme(const struct config_backend *backend)
{
	return backend->tls.tls.mark.line ? STR("https") : STR("http");
}

void backend_tls_opened(
        struct worker *worker, const struct snapshot_backend *labels, size_t endpoint)
{
	metrics_upstream_handshake(
	        worker->metrics, labels->label, labels->endpoint_labels[endpoint], "ok");
}

bool backend_tls_is_failure(const struct link *link)
{
	return link->tls &&
	       (tls_status(link->tls) == TLS_HANDSHAKING || tls_status(link->tls) == TLS_FAILED);
}

void backend_tls_failed(struct worker *worker, const struct snapshot_backend *labels,
        size_t endpoint, const struct link *link, bool heard)
{
	struct arena scratch = {0};
	const struct tls_peer *peer = tls_session_peer(link->tls);
	const char *label = labels->endpoint_labels[endpoint];
	struct str why;
	enum reason reason = tls_fault(link->tls, &why);
	if (tls_status(link->tls) == TLS_HANDSHAKING) {
		reason = REASON_tls_failed;
		why = link->ended ? STR("the connection ended within the handshake")
		                  : STR("the handshake took too long");
	}
	if (peer->presented && peer->reason == REASON_NONE && reason != REASON_tls_failed) {
		struct policy_identity identity;
		identify(labels, peer, &scratch, &identity);
		why = arena_printf(
		        &scratch, "%.*s %.*s", STR_FMT(peer->uri), STR_FMT(identity.detail));
	}
	if (!heard)
		metrics_upstream_handshake(
		        worker->metrics, labels->label, label, reason_name(reason));
	log_event(LOG_WARN, heard ? "TLS to a backend broke off" : "TLS to a backend failed",
	        "backend=%s endpoint=%s reason=%s why=\"%.*s\"", labels->label, label,
	        reason_name(reason), STR_FMT(why));
	arena_fini(&scratch);
}

int64_t backend_tls_left_ns(const struct link *link)
{
	int64_t expires_s = link->tls ? tls_session_peer(link->tls)->expires_s : 0;
	// RFC 5280, 4.1.2.5: 9999 is never, and more than fits.
	if (!expires_s || expires_s > INT64_MAX / NS_PER_S)
		return INT64_MAX;
	return expires_s * NS_PER_S - clock_wall_ns();
}
